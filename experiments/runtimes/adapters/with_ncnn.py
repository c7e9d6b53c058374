"""ncnn after pnnx, one image at a time; `option` is `float32`, or nothing for their default."""

import tempfile
from pathlib import Path

import ncnn
import numpy as np
import onnx

from experiments.runtimes.adapters.tool import run_tool


def load(file, option):
    folder = Path(tempfile.mkdtemp())
    (folder / "m.onnx").symlink_to(Path(file).absolute())
    tensor = onnx.load(file).graph.input[0].type.tensor_type
    shape = ",".join(str(dim.dim_value or 1) for dim in tensor.shape.dim)
    kind = {1: "f32", 2: "u8"}[tensor.elem_type]
    words = ["m.onnx", f"inputshape=[{shape}]{kind}", f"fp16={int(not option)}"]
    run_tool("pnnx", words, folder / "m.ncnn.param", folder)
    network = ncnn.Net()
    if option:
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(network.opt, "use_" + name, False)
    if network.load_param(str(folder / "m.ncnn.param")):
        raise ValueError("ncnn: load_param failed")
    network.load_model(str(folder / "m.ncnn.bin"))

    def run(images):
        with network.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(images[0]).clone())
            return np.array(extractor.extract("out0")[1])

    return run
