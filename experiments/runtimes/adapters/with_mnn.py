"""MNN, after its converter; `option` is a precision."""

import tempfile
from pathlib import Path

import MNN
import MNN.expr
import MNN.nn
import numpy as np

from experiments.runtimes.adapters.tool import run_tool


def load(file, option):
    converted = str(Path(tempfile.mkdtemp(), "model.mnn"))
    words = ["-f", "ONNX", "--modelFile", file, "--MNNModel", converted, "--bizCode", "none"]
    run_tool("mnnconvert", words, converted)
    settings = {"precision": option, "backend": 0, "numThread": 2}
    manager = MNN.nn.create_runtime_manager((settings,))
    network = MNN.nn.load_module_from_file(converted, [], ["logits"], runtime_manager=manager)
    kinds = {"uint8": MNN.expr.uint8, "float32": MNN.expr.float}

    def run(images):
        values = MNN.expr.const(images, list(images.shape), MNN.expr.NCHW, kinds[str(images.dtype)])
        logits = MNN.expr.convert(network.forward(values), MNN.expr.NCHW)
        return np.array(logits.read())  # what `read` returns lies in the variable's memory

    return run
