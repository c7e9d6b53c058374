"""A program for TensorFlow: SavedModel and TFLite."""

import contextlib
import importlib
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # or TensorFlow's start fills the screen

import tensorflow as tf  # noqa: E402  # pyright: ignore[reportMissingImports]

from alexnet_jax.runs.run_weights import RunWeights  # noqa: E402
from alexnet_jax.weights.writers.description import describe_program  # noqa: E402
from alexnet_jax.weights.writers.logits_check import Written, errors_of  # noqa: E402
from alexnet_jax.weights.writers.output_files import scratch_folder  # noqa: E402
from alexnet_jax.weights.writers.program_spec import ProgramSpec  # noqa: E402
from alexnet_jax.weights.writers.tensorflow_graph import Program  # noqa: E402

SIGNATURE = "serving_default"

with contextlib.suppress(RuntimeError):  # TensorFlow has chosen its devices already
    tf.config.set_visible_devices([], "GPU")  # they are JAX's


def write_savedmodel(weights: RunWeights, path: Path, spec: ProgramSpec) -> Written:
    engine = f"TensorFlow {tf.__version__}"
    with errors_of(engine, "the SavedModel"):
        _save(weights, path, spec)
        program = tf.saved_model.load(str(path)).signatures[SIGNATURE]

    def compute(images: np.ndarray) -> Any:
        images = spec.prepare(weights.run, images)
        return program(**{spec.input_name: tf.constant(images)})["logits"]

    return Written(_describe(weights, spec, "savedmodel"), compute, "the SavedModel", engine)


def write_tflite(weights: RunWeights, path: Path, spec: ProgramSpec) -> Written:
    engine = f"the interpreter of TensorFlow {tf.__version__}"
    with scratch_folder(path) as folder, errors_of(engine, "the TFLite model"):
        _save(weights, folder, spec)
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())
        runner = _interpreter(path).get_signature_runner(SIGNATURE)

    def compute(images: np.ndarray) -> Any:
        return runner(**{spec.input_name: spec.prepare(weights.run, images)})["logits"]

    return Written(_describe(weights, spec, "tflite"), compute, "the TFLite model", engine)


def _save(weights: RunWeights, folder: Path, spec: ProgramSpec) -> None:
    program = Program(weights, spec)
    tf.saved_model.save(program, str(folder), signatures={SIGNATURE: program.compute})


def _describe(weights: RunWeights, spec: ProgramSpec, format: str) -> dict[str, Any]:
    return describe_program(weights, spec, format, tensorflow=tf.__version__, signature=SIGNATURE)


def _interpreter(path: Path) -> Any:
    """TFLite's interpreter moves from TensorFlow to a package of its own."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tf.lite.Interpreter(model_path=str(path))
