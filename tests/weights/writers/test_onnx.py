"""ONNX: every network's own, by another program."""

import dataclasses
import json

import numpy as np
import pytest
import quick

from alexnet_jax.errors import CheckpointError, InputError
from alexnet_jax.network.layers import Flatten, Lrn, MaxPool, ResponseNorm, with_changes

onnx = pytest.importorskip("onnx", reason="onnx is not installed (the extra `export`)")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra `export`)")

from alexnet_jax.weights.exporting import export  # noqa: E402
from alexnet_jax.weights.writers import onnx_graph  # noqa: E402
from alexnet_jax.weights.writers.program_spec import ProgramSpec  # noqa: E402


def session_of(path):
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("name", "mean", "scale"),
    quick.rows(
        [("paper", "image", "none"), ("one-weird-trick", "imagenet", "imagenet")],
        [
            ("paper", "image", "none"),
            ("original", "image-aligned", "none"),
            ("caffenet", "channel", "none"),
            ("bvlc-alexnet", "none", "channel"),
            ("one-weird-trick", "imagenet", "imagenet"),
            ("one-tower", "image", "none"),
            ("one-tower-adaptive", "channel", "channel"),
            ("no-talk", "image", "none"),
            ("six-conv-2011", "image", "channel"),
            ("cifar-11pct", "image", "none"),
            ("cifar-18pct", "image", "none"),
            ("figure1-tanh", "channel", "channel"),
        ],
    ),
)
def test_onnxruntime_computes_our_logits(
    narrow_weights, expected_logits, tmp_path, name, mean, scale
):
    weights = narrow_weights(name, mean=mean, scale=scale)
    done = export(weights, tmp_path / "a.onnx", "onnx")
    size = weights.run.stored_size
    images = np.random.default_rng(5).integers(0, 256, (2, size, size, 3), np.uint8)
    logits, probabilities = session_of(done.path).run(None, {"images": images})
    expected = expected_logits(weights, images)
    spread = np.ptp(expected, axis=1).max()
    assert spread > 0 and np.ptp(expected, axis=0).max() > 1e-3 * spread
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert "logits differ from ours by" in done.summary()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "a.onnx.json"]


def test_the_graph_is_in_standard_operators_and_says_how_to_use_it(narrow_weights, tmp_path):
    weights = narrow_weights("paper")
    done = export(weights, tmp_path / "a.onnx", "onnx")
    model = onnx.load(done.path)
    nodes = {output: node for node in model.graph.node for output in node.output}
    assert {"preprocessed", "conv1", "relu1", "norm1", "pool1", "fc6", "fc8"} <= set(nodes)
    groups = {a.name: a for a in nodes["conv2"].attribute}["group"].i
    assert nodes["conv2"].op_type == "Conv" and groups == 2
    norms = [node for node in model.graph.node if node.op_type == "LRN"]
    assert len(norms) == 4  # two layers, each normalizing its two towers apart
    alpha = {a.name: a.f for a in norms[0].attribute}["alpha"]
    assert alpha == pytest.approx(5e-4)  # ONNX divides by the window, the paper does not
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert model.graph.input[0].name == "images" and batch.dim_param == "batch"
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["class_names"]) == list(weights.run.class_names)
    sidecar = json.loads(done.sidecar.read_text("utf-8"))
    assert sidecar["inputs"][0]["shape"] == ["batch", 104, 104, 3]
    assert sidecar["opset"] == onnx_graph.OPSET and "onnxruntime" in sidecar["check"]


@pytest.mark.parametrize(
    ("network", "change"),
    [
        ("paper", lambda layers: with_changes(layers, Lrn, alpha=1e-4 / 5)),
        ("paper", lambda layers: with_changes(layers, Lrn, groups=1)),
        ("original", lambda layers: with_changes(layers, ResponseNorm, alpha=1e-3)),
        ("no-talk", lambda layers: with_changes(layers, Flatten, groups=1)),
        ("cifar-11pct", lambda layers: with_changes(layers, MaxPool, overhang=False)),
    ],
    ids=["alpha", "towers", "rnorm", "order", "overhang"],
)
def test_a_graph_that_computes_something_else_is_not_kept(
    narrow_weights, tmp_path, monkeypatch, network, change
):
    build = onnx_graph.build_model

    def wrong(weights, *arguments):
        layers = change(weights.run.network.layers)
        changed = dataclasses.replace(weights.run.network, layers=layers)
        return build(weights._replace(run=weights.run._replace(network=changed)), *arguments)

    monkeypatch.setattr(onnx_graph, "build_model", wrong)
    with pytest.raises((CheckpointError, InputError)) as caught:
        export(narrow_weights(network), tmp_path / "a.onnx", "onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


WRITTEN_OUT = {
    "Conv": {"dilations", "group", "kernel_shape", "pads", "strides"},
    "MaxPool": {"ceil_mode", "kernel_shape", "pads", "strides"},
    "AveragePool": {"ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"},
    "Gemm": {"alpha", "beta", "transA", "transB"},
    "Pad": {"mode"},
    "Softmax": {"axis"},
}
"""Optional attributes: what PyTorch's exporter writes, and so what every reader was tried with."""


@pytest.mark.parametrize("name", ["original", "no-talk", "one-tower-adaptive", "cifar-11pct",
                                  "cifar-18pct"])  # fmt: skip
def test_the_graph_is_spelled_for_the_strictest_reader(narrow_weights, name):
    weights = narrow_weights(name, mean="channel", scale="channel")
    graph = onnx_graph.build_model(weights, ProgramSpec(), {}).graph
    shapes = {array.name: list(array.dims) for array in graph.initializer}
    outputs = {output.name for output in graph.output}
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert WRITTEN_OUT.get(node.op_type, set()) <= attributes.keys(), node.name
        assert node.name.startswith(f"{node.op_type}_")  # no module's method is called so
        assert not outputs & set(node.input), "a converter that retypes outputs breaks a reader"
        if node.op_type == "Gemm":
            assert attributes["transB"] == 1
        if node.op_type == "AveragePool":
            assert attributes["ceil_mode"] == 1 and not any(attributes["pads"])
        if node.op_type in ("Sub", "Div") and node.input[1] in shapes:
            assert shapes[node.input[1]] == [weights.run.image_size] * 2 + [3]
        if node.op_type == "MatMul":
            assert node.input[0] not in shapes, "constants stand on the right"
    assert len({node.name for node in graph.node}) == len(graph.node)


def test_even_windows_are_ours(narrow_weights, expected_logits, tmp_path):
    """ONNX's start a channel later, and onnxruntime refuses them."""
    weights = narrow_weights(
        "digits", change=lambda layers: with_changes(layers, Lrn, depth=4, alpha=0.01)
    )
    done = export(weights, tmp_path / "a.onnx", "onnx")
    size = weights.run.stored_size
    images = np.random.default_rng(5).integers(0, 256, (2, size, size, 3), np.uint8)
    logits = session_of(done.path).run(["logits"], {"images": images})[0]
    expected = expected_logits(weights, images)
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("form", "batch"), [("whole", 2), ("network", None)])
def test_forms_and_batches(
    narrow_weights, expected_logits, prepare_by_sidecar, tmp_path, form, batch
):
    weights = narrow_weights("cifar-80sec", mean="image-aligned", scale="channel")
    done = export(weights, tmp_path / "a.onnx", "onnx", form=form, batch=batch)
    size = weights.run.stored_size
    images = np.random.default_rng(5).integers(0, 256, (2, size, size, 3), np.uint8)
    facts = json.loads(done.sidecar.read_text("utf-8"))
    session = session_of(done.path)
    (given,), results = session.get_inputs(), session.get_outputs()
    assert given.shape == facts["inputs"][0]["shape"] and given.name == facts["inputs"][0]["name"]
    assert given.shape[0] == (batch or "batch") == results[0].shape[0]
    outputs = ["logits", "probabilities"] if form == "whole" else ["logits"]
    assert [one.name for one in results] == outputs == [one["name"] for one in facts["outputs"]]
    x = images if form == "whole" else prepare_by_sidecar(facts, images).transpose(0, 3, 1, 2)
    (logits,) = session.run(["logits"], {given.name: x})
    expected = expected_logits(weights, images)
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())
    assert f"in batches of {batch or '1 and 3'} in onnxruntime" in done.check
    text = " ".join(entry.value for entry in onnx.load(done.path).metadata_props)
    assert len(text) < 10_000, "the mean image is in the sidecar, not in what viewers show"
    if batch:
        with pytest.raises(Exception, match="(?i)invalid dimensions"):
            session.run(["logits"], {given.name: x[:1]})
