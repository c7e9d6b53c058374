"""Safetensors out and in again, bit for bit."""

import json

import pytest

from alexnet_jax.errors import CheckpointError, InputError
from alexnet_jax.weights.exporting import export
from alexnet_jax.weights.readers.safetensors import read_safetensors, unflatten
from alexnet_jax.weights.writers import safetensors as writer


@pytest.fixture
def weights(narrow_weights):
    return narrow_weights("cifar-13pct")  # with unshared layers


def test_every_array_comes_back_bit_for_bit(weights, tmp_path, assert_same_params):
    weights.params["conv1"]["bias"][:4] = [-0.0, 1e-42, 3.4e38, 1.0]
    done = export(weights, tmp_path / "out" / "a.safetensors", "safetensors")
    tensors, _ = read_safetensors(done.path)
    params, inputs = unflatten(tensors)
    assert_same_params(params, weights.params)
    assert inputs.keys() == {"mean", "scale"}
    assert inputs["mean"].tobytes() == weights.run.inputs.mean.tobytes()
    assert "12 tensors read back, largest difference 0" in done.summary()
    assert done.path.stat().st_mode == done.sidecar.stat().st_mode
    assert sorted(p.name for p in done.path.parent.iterdir()) == [
        "a.config.json",
        "a.safetensors",
    ]


def test_header_and_sidecar_say_how_to_use_it(weights, tmp_path):
    done = export(weights, tmp_path / "a.safetensors", "safetensors")
    _, metadata = read_safetensors(done.path)
    assert metadata["format"] == "alexnet_jax" and metadata["network"] == "cifar-13pct"
    assert metadata["classes"] == "7" and metadata["step"] == "40"
    assert json.loads(metadata["class_names"]) == list(weights.run.class_names)
    assert "HWIO" in json.loads(metadata["layout"])["convolution kernel"]
    assert json.loads(metadata["preprocessing"])["mean"] == "image"
    config = json.loads(done.sidecar.read_text("utf-8"))
    assert config["class_names"] == list(weights.run.class_names)
    names = [layer["name"] for layer in config["layers"]]
    assert names[:3] == ["conv1", "relu1", "pool1"] and "local3" in names
    assert config["image_size"] == weights.run.image_size
    assert config["layers"][0]["type"] == "Conv" and config["layers"][0]["stride"] == 1
    assert config["layers"][-1]["output_shape"] == [7]


def test_a_link_to_a_disk_that_is_not_there_is_left_alone(weights, tmp_path):
    (tmp_path / "a.safetensors").symlink_to(tmp_path / "unmounted" / "a.safetensors")
    with pytest.raises(InputError, match="a.safetensors exists already"):
        export(weights, tmp_path / "a.safetensors", "safetensors")
    assert (tmp_path / "a.safetensors").is_symlink()


def test_a_file_that_differs_from_the_parameters_is_found_and_removed(
    weights, tmp_path, monkeypatch
):
    save = writer.save_file

    def flipping(tensors, path, metadata):
        save(tensors, path, metadata=metadata)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    monkeypatch.setattr(writer, "save_file", flipping)
    with pytest.raises(CheckpointError, match="changed in writing"):
        export(weights, tmp_path / "a.safetensors", "safetensors")
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_whole_are_refused(weights, tmp_path):
    done = export(weights, tmp_path / "a.safetensors", "safetensors")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(done.path.read_bytes()[:-7])
    with pytest.raises(InputError, match="torn.safetensors is not a complete safetensors file"):
        read_safetensors(torn)
    with pytest.raises(InputError, match="gone.safetensors does not exist"):
        read_safetensors(tmp_path / "gone.safetensors")
