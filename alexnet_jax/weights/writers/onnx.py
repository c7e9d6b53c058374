"""A program as ONNX, checked by onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx  # pyright: ignore[reportMissingImports]
import onnxruntime  # pyright: ignore[reportMissingImports]

from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights.writers import onnx_graph
from alexnet_jax.weights.writers.description import describe_program, metadata
from alexnet_jax.weights.writers.logits_check import Written, errors_of
from alexnet_jax.weights.writers.program_spec import ProgramSpec

PROGRAM = "the ONNX model"


def write(weights: RunWeights, path: Path, spec: ProgramSpec) -> Written:
    description = describe_program(weights, spec, "onnx")
    model = onnx_graph.build_model(weights, spec, metadata(description))
    onnx.save_model(model, str(path))
    with errors_of(f"onnx {onnx.__version__}", PROGRAM):
        onnx.checker.check_model(str(path), full_check=True)
    engine = f"onnxruntime {onnxruntime.__version__}"
    with errors_of(engine, PROGRAM):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def compute(images: np.ndarray) -> Any:
        return session.run(["logits"], {spec.input_name: spec.prepare(weights.run, images)})[0]

    facts = {"onnx": onnx.__version__, "opset": onnx_graph.OPSET}
    return Written(description | facts, compute, PROGRAM, engine)
