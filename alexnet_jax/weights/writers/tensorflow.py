"""The whole program, from stored images to probabilities, for TensorFlow: SavedModel and TFLite."""

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from alexnet_jax.runs.weights import RunWeights
from alexnet_jax.weights.writers import output as out
from alexnet_jax.weights.writers.interface import describe_program
from alexnet_jax.weights.writers.probe import check, judged, make_probe
from alexnet_jax.weights.writers.safetensors import check_params

SIGNATURE = "serving_default"


def export_savedmodel(weights: RunWeights, output: str | Path) -> out.Exported:
    """Writes a folder that `tf.saved_model.load` and TensorFlow Serving read.

    It holds the centre crop, the preprocessing and the parameters, in TensorFlow's own operators.

    Args:
      weights: from `load_weights`.
      output: a folder's name; nothing may exist there, nor at `<output>.json`.

    Raises:
      InputError: it exists already, or cannot be written; TensorFlow is missing, or the network
        has a layer that it cannot express.
      CheckpointError: the parameters are not finite, or the file computes other logits.
    """
    path, sidecar = out.names(output)
    tf = _tensorflow()
    check_params(weights)
    probe = make_probe(weights)
    with out.fresh(path, sidecar) as (folder, notes):
        with judged("the SavedModel", f"TensorFlow {tf.__version__}"):
            _save(tf, weights, folder)
            program = tf.saved_model.load(str(folder)).signatures[SIGNATURE]
        checked = check(
            "the SavedModel",
            f"TensorFlow {tf.__version__}",
            probe,
            lambda images: program(images=tf.constant(images))["logits"],
        )
        facts = {"tensorflow": tf.__version__, "signature": SIGNATURE}
        out.write_json(notes, describe_program(weights, "savedmodel", checked) | facts)
    return out.Exported(path, sidecar, out.size_of(path), checked)


def export_tflite(weights: RunWeights, output: str | Path) -> out.Exported:
    """Writes a float32 model for the TFLite (LiteRT) interpreter, in its built-in operators.

    Args:
      weights: from `load_weights`.
      output: a file name ending in `.tflite`; nothing may exist there, nor at `<output>.json`.

    Raises:
      As `export_savedmodel`.
    """
    path, sidecar = out.names(output, ".tflite")
    tf = _tensorflow()
    check_params(weights)
    probe = make_probe(weights)
    folder = path.with_name(f"{path.name}.savedmodel")
    with out.fresh(path, sidecar) as (file, notes), out.scratch(folder) as saved:
        with judged("the TFLite model", f"TensorFlow {tf.__version__}"):
            _save(tf, weights, saved)
            file.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert())
            runner = _interpreter(tf)(model_path=str(file)).get_signature_runner(SIGNATURE)
        checked = check(
            "the TFLite model",
            f"the interpreter of TensorFlow {tf.__version__}",
            probe,
            lambda images: runner(images=images)["logits"],
        )
        facts = {"tensorflow": tf.__version__, "signature": SIGNATURE}
        out.write_json(notes, describe_program(weights, "tflite", checked) | facts)
    return out.Exported(path, sidecar, out.size_of(path), checked)


def _tensorflow() -> ModuleType:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # or its start fills the screen
    tf = out.need("tensorflow", "this export", "savedmodel")
    with contextlib.suppress(RuntimeError):  # it has chosen its devices already
        tf.config.set_visible_devices([], "GPU")  # they are JAX's
    return tf


def _interpreter(tf: Any) -> Callable[..., Any]:
    """Returns the interpreter of TFLite, which moves from TensorFlow to a package of its own."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("ai_edge_litert.interpreter").Interpreter

    def make(**arguments: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tf.lite.Interpreter(**arguments)

    return make


def _save(tf: Any, weights: RunWeights, folder: Path) -> None:
    from alexnet_jax.weights.writers.tensorflow_graph import Program

    program = Program(weights)
    tf.saved_model.save(program, str(folder), signatures={SIGNATURE: program.compute})
