"""torchvision's key layout, and PyTorch's container without PyTorch."""

import json
import stat

import numpy as np
import pytest

from alexnet_jax.errors import CheckpointError, InputError
from alexnet_jax.weights.exporting import export
from alexnet_jax.weights.readers.safetensors import read_safetensors
from alexnet_jax.weights.readers.source_file import open_source
from alexnet_jax.weights.readers.torch_file import read_torch
from alexnet_jax.weights.readers.torchvision import from_torchvision
from alexnet_jax.weights.writers import torch_zip
from alexnet_jax.weights.writers import torchvision as writer

IMAGENET = {"mean": "imagenet", "scale": "imagenet"}


@pytest.fixture
def weights(narrow_weights):
    return narrow_weights("one-weird-trick", **IMAGENET)


def read(path):
    return read_torch(open_source(path)) if path.suffix == ".pth" else read_safetensors(path)[0]


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_our_parameters_come_back_bit_for_bit(weights, tmp_path, name, assert_same_params):
    weights.params["conv1"]["bias"][:4] = [-0.0, 1e-42, 1e-30, 1.0]
    done = export(weights, tmp_path / name, "torchvision")
    arrays = read(done.path)
    assert list(arrays)[:2] == ["features.0.weight", "features.0.bias"] or name == "a.safetensors"
    assert_same_params(from_torchvision(arrays, weights.run.network), weights.params)
    assert "largest difference of parameters 0" in done.summary() and not done.notes
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, f"{name}.json"]
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert len(modes) == 1  # as readable as any other file of the user's


def torchvision_alexnet(torch, weights):
    """Writes torchvision's module down again, as narrow as the run's network."""
    nn = torch.nn
    params = weights.params
    width = {name: leaves["bias"].shape[0] for name, leaves in params.items()}

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            relu, pool = nn.ReLU(inplace=True), nn.MaxPool2d(kernel_size=3, stride=2)
            self.features = nn.Sequential(
                *(nn.Conv2d(3, width["conv1"], 11, stride=4, padding=2), relu, pool),
                *(nn.Conv2d(width["conv1"], width["conv2"], 5, padding=2), relu, pool),
                *(nn.Conv2d(width["conv2"], width["conv3"], 3, padding=1), relu),
                *(nn.Conv2d(width["conv3"], width["conv4"], 3, padding=1), relu),
                *(nn.Conv2d(width["conv4"], width["conv5"], 3, padding=1), relu, pool),
            )
            self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
            self.classifier = nn.Sequential(
                *(nn.Dropout(), nn.Linear(width["conv5"] * 36, width["fc6"]), relu),
                *(nn.Dropout(), nn.Linear(width["fc6"], width["fc7"]), relu),
                nn.Linear(width["fc7"], width["fc8"]),
            )

        def forward(self, x):
            return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))

    return Module().eval()


@pytest.mark.oracle
def test_pytorch_loads_the_file_and_computes_our_logits(weights, expected_logits, tmp_path):
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch, which is not installed")
    done = export(weights, tmp_path / "a.pth", "torchvision")
    module = torchvision_alexnet(torch, weights)
    module.load_state_dict(torch.load(done.path, weights_only=True), strict=True)
    size, start = weights.run.image_size, 4
    stored = weights.run.stored_size
    images = np.random.default_rng(3).integers(0, 256, (2, stored, stored, 3), np.uint8)
    facts = json.loads(done.sidecar.read_text("utf-8"))["preprocessing"]
    x = images[:, start : start + size, start : start + size].astype(np.float32)
    x = (x - np.float32(facts["mean_values"])) / np.float32(facts["scale_values"])
    with torch.no_grad():
        logits = module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    expected = expected_logits(weights, images)
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.oracle
def test_the_container_holds_any_float_arrays_as_pytorch_reads_them(tmp_path):
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch, which is not installed")
    rng = np.random.default_rng(0)
    shapes = {"a.weight": (3, 4, 2, 2), "scalar": (), "empty": (0, 3), "long": (70_000,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    torch_zip.write(arrays, tmp_path / "a.pth")
    loaded = torch.load(tmp_path / "a.pth", weights_only=True)
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].shape == array.shape and loaded[name].dtype == torch.float32
        assert loaded[name].numpy().tobytes() == array.tobytes()
    torch_zip.write(arrays, tmp_path / "b.pth")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_other_networks_are_refused_with_the_reason(narrow_weights, tmp_path):
    with pytest.raises(InputError, match="'paper' is not torchvision's AlexNet"):
        export(narrow_weights("paper"), tmp_path / "a.pth", "torchvision")
    assert not list(tmp_path.iterdir())


def test_other_preprocessing_than_torchvisions_is_said(narrow_weights, tmp_path):
    weights = narrow_weights("one-weird-trick", mean="channel")
    done = export(weights, tmp_path / "a.safetensors", "torchvision")
    assert "note: this run does not prepare images as torchvision does" in done.summary()
    facts = json.loads(done.sidecar.read_text("utf-8"))["preprocessing"]
    np.testing.assert_allclose(facts["mean_values"], weights.run.inputs.mean)
    assert facts["scale_values"] is None


@pytest.mark.parametrize("damage", ["bit", "layout"])
def test_a_file_that_differs_is_not_kept(weights, tmp_path, monkeypatch, damage):
    if damage == "bit":
        write = torch_zip.write

        def other(arrays, path):
            bias = arrays["classifier.6.bias"].copy()
            bias[0] = np.nextafter(bias[0], np.float32(9))
            write(arrays | {"classifier.6.bias": bias}, path)

        monkeypatch.setattr(torch_zip, "write", other)
        message = "fc8 bias changed in writing"
    else:  # both directions wrong: only the logits can tell
        to, back = writer.to_torchvision, writer.from_torchvision

        def flipped(arrays):
            key = "features.3.weight"
            return arrays | {key: np.ascontiguousarray(arrays[key][:, :, ::-1])}

        monkeypatch.setattr(writer, "to_torchvision", lambda *a: flipped(to(*a)))
        monkeypatch.setattr(writer, "from_torchvision", lambda arrays, n: back(flipped(arrays), n))
        message = "gives other logits than the run"
    with pytest.raises(CheckpointError, match=message):
        export(weights, tmp_path / "a.pth", "torchvision")
    assert not list(tmp_path.iterdir())
