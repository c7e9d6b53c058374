"""LiteRT on a file that onnx2tf made."""

import tempfile
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

from experiments.runtimes.adapters.tool import run_tool


def load(file, option):
    made = Path(tempfile.mkdtemp(), Path(file).stem + "_float32.tflite")
    # Stored images are channels last, which onnx2tf would turn.
    run_tool("onnx2tf", ["-i", file, "-o", str(made.parent), "-n", "-kat", "images"], made)
    interpreter = Interpreter(str(made))
    interpreter.allocate_tensors()
    [entry] = interpreter.get_input_details()
    result = interpreter.get_output_details()[0]  # logits; a whole program has probabilities, too

    def run(images):
        if images.shape[1] == 3:
            images = images.transpose(0, 2, 3, 1)
        interpreter.set_tensor(entry["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run
