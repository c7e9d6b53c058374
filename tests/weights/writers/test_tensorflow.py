"""SavedModel and TFLite; where TensorFlow is not installed this proves nothing."""

import json

import numpy as np
import pytest

from alexnet_jax.errors import CheckpointError
from alexnet_jax.network.layers import Lrn, with_changes

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra `savedmodel`)")

from alexnet_jax.weights.exporting import export  # noqa: E402
from alexnet_jax.weights.writers import tensorflow_graph  # noqa: E402

# TensorFlow's own warnings about its own deprecations.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

NETWORKS = [
    *("original", "one-weird-trick", "one-tower", "one-tower-adaptive", "no-talk"),
    *("cifar-11pct", "cifar-18pct"),
]


def images_for(weights, count=2):
    size = weights.run.stored_size
    return np.random.default_rng(5).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_savedmodel_computes_our_logits(narrow_weights, expected_logits, tmp_path, name):
    weights = narrow_weights(name, scale="channel")
    done = export(weights, tmp_path / "a", "savedmodel")
    images = images_for(weights)
    program = tf.saved_model.load(str(done.path)).signatures["serving_default"]
    outputs = program(images=tf.constant(images))
    expected = expected_logits(weights, images)
    np.testing.assert_allclose(outputs["logits"], expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(np.sum(outputs["probabilities"], axis=1), 1, rtol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a.json"]
    facts = json.loads(done.sidecar.read_text("utf-8"))
    assert facts["signature"] == "serving_default" and "TensorFlow" in facts["check"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_tflite_file_computes_our_logits(narrow_weights, expected_logits, tmp_path, name):
    weights = narrow_weights(name, mean="image-aligned")
    done = export(weights, tmp_path / "a.tflite", "tflite")
    images = images_for(weights)
    runner = tf.lite.Interpreter(model_path=str(done.path)).get_signature_runner("serving_default")
    outputs = runner(images=images)
    expected = expected_logits(weights, images)
    np.testing.assert_allclose(outputs["logits"], expected, atol=2e-5 * np.abs(expected).max())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tflite", "a.tflite.json"]


@pytest.mark.parametrize("format", ["savedmodel", "tflite"])
@pytest.mark.parametrize(("form", "batch"), [("whole", 2), ("network", 2), ("network", None)])
def test_forms_and_batches(
    narrow_weights, expected_logits, prepare_by_sidecar, tmp_path, format, form, batch
):
    weights = narrow_weights("cifar-80sec", mean="image", scale="channel")
    done = export(weights, tmp_path / "a.tflite", format, form=form, batch=batch)
    facts = json.loads(done.sidecar.read_text("utf-8"))
    (given,) = facts["inputs"]
    images = images_for(weights)
    x = images if form == "whole" else prepare_by_sidecar(facts, images)
    if format == "tflite":
        runner = tf.lite.Interpreter(model_path=str(done.path)).get_signature_runner(
            "serving_default"
        )
        (shape,) = (details["shape"] for details in runner.get_input_details().values())
        assert list(shape) == [batch or 1, *given["shape"][1:]]
        outputs = runner(**{given["name"]: x})
    else:
        program = tf.saved_model.load(str(done.path)).signatures["serving_default"]
        spec = program.structured_input_signature[1][given["name"]]
        assert spec.shape.as_list() == [batch, *given["shape"][1:]]
        outputs = program(**{given["name"]: tf.constant(x)})
    expected = expected_logits(weights, images)
    np.testing.assert_allclose(outputs["logits"], expected, atol=2e-5 * np.abs(expected).max())
    assert ("probabilities" in outputs) == (form == "whole")


def test_even_windows_are_ours(narrow_weights, expected_logits, tmp_path):
    """TensorFlow has odd ones only."""
    weights = narrow_weights(
        "digits", change=lambda layers: with_changes(layers, Lrn, depth=4, alpha=0.01)
    )
    done = export(weights, tmp_path / "a", "savedmodel")
    images = images_for(weights)
    program = tf.saved_model.load(str(done.path)).signatures["serving_default"]
    expected = expected_logits(weights, images)
    logits = program(images=tf.constant(images))["logits"]
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("form", ["savedmodel", "tflite"])
def test_a_program_that_computes_something_else_is_not_kept(
    narrow_weights, tmp_path, monkeypatch, form
):
    padded = tensorflow_graph._padded
    monkeypatch.setattr(  # zeros before and after change places
        tensorflow_graph, "_padded", lambda x, edges, *v: padded(x, [e[::-1] for e in edges], *v)
    )
    with pytest.raises(CheckpointError, match="gives other logits than the run"):
        export(narrow_weights("original"), tmp_path / "a.tflite", form)
    assert not list(tmp_path.iterdir())
