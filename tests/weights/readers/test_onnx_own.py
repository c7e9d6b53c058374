"""What `export` writes as ONNX is a run again."""

import dataclasses

import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.weights import READERS

onnx = pytest.importorskip("onnx", reason="onnx is not installed (the extra `export`)")

from alexnet_jax.weights.writers.description import describe_program, metadata  # noqa: E402
from alexnet_jax.weights.writers.onnx_graph import build_model  # noqa: E402
from alexnet_jax.weights.writers.program_spec import ProgramSpec  # noqa: E402

read = READERS["onnx"].read


@pytest.fixture
def exported(narrow_weights, monkeypatch, tmp_path):
    """Returns `make(name, …)`: a narrow network's run, and the model of it."""

    def make(name, mean="image", scale="none", form="whole"):
        weights = narrow_weights(name, mean=mean, scale=scale)
        network = dataclasses.replace(weights.run.network, image_size=weights.run.image_size)
        monkeypatch.setitem(NETWORKS, name, network)
        spec = ProgramSpec(form, None, "NCHW")
        facts = metadata(describe_program(weights, spec, "onnx"))
        return weights, build_model(weights, spec, facts)

    return make


def save(model, tmp_path):
    path = tmp_path / "own.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("name", "mean", "scale"),
    [
        ("original", "image", "none"),
        ("one-weird-trick", "imagenet", "imagenet"),
        ("one-tower-adaptive", "channel", "channel"),
        ("no-talk", "none", "none"),
        ("cifar-11pct", "image", "none"),
        ("cifar-18pct", "image-aligned", "channel"),
    ],
)
def test_a_run_comes_back_bit_for_bit(name, mean, scale, exported, tmp_path, assert_same_params):
    weights, model = exported(name, mean, scale)
    found, run = read(save(model, tmp_path)), weights.run
    assert_same_params(found.params, weights.params)
    assert (found.network.layers, found.image_size) == (run.network.layers, run.image_size)
    assert (found.class_names, found.stored_size) == (run.class_names, run.stored_size)
    assert found.form == "ONNX of alexnet_jax" and found.preprocess.scale == scale
    start = (run.stored_size - run.image_size) // 2
    window = slice(start, start + run.image_size)
    expected = {
        "none": np.zeros(3),
        "image-aligned": run.inputs.mean[window, window] if mean == "image-aligned" else None,
    }.get(mean, run.inputs.mean)
    np.testing.assert_array_equal(found.inputs.mean, expected)
    np.testing.assert_array_equal(
        found.inputs.scale, np.ones(3) if scale == "none" else run.inputs.scale
    )
    assert found.preprocess.mean == ("image" if mean == "image-aligned" else mean)


def test_the_network_alone_comes_back_with_its_preprocessing(
    exported, tmp_path, assert_same_params
):
    weights, model = exported("caffenet", "channel", "channel", form="network")
    found = read(save(model, tmp_path))
    assert_same_params(found.params, weights.params)
    for name in ("mean", "scale"):
        expected = getattr(weights.run.inputs, name)
        np.testing.assert_array_equal(getattr(found.inputs, name), expected)
    _, model = exported("caffenet", "image", form="network")
    with pytest.raises(InputError, match="lacks the mean image.*--form whole"):
        read(save(model, tmp_path))


def test_a_changed_model_is_refused(exported, tmp_path):
    _, model = exported("caffenet", "channel")
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.node.remove(gemm)
    with pytest.raises(InputError, match="was changed since `export` wrote it .fc"):
        read(save(changed, tmp_path))
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.initializer[:]
    with pytest.raises(InputError, match="arrays are missing"):
        read(save(changed, tmp_path))
    with pytest.raises(InputError, match="holds network 'caffenet', not 'paper'"):
        read(save(model, tmp_path), "paper")
    for entry in model.metadata_props:
        if entry.key == "classes":
            entry.value = "nine"
    with pytest.raises(InputError, match="header of own.onnx is damaged"):
        read(save(model, tmp_path))
