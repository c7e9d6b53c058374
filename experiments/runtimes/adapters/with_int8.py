"""onnxruntime on an int8 copy (QDQ, static); `option` is `per-channel` or `per-tensor`.

The images that fix the ranges lie beside the file, in FILE.calibration.npy.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static


class Images(CalibrationDataReader):
    """Calibration images, one by one."""

    def __init__(self, images):
        self.images = iter(images)

    def get_next(self):  # pyright: ignore[reportIncompatibleMethodOverride]  # None ends it
        image = next(self.images, None)
        return None if image is None else {"images": image[None]}


def load(file, option):
    made = str(Path(tempfile.mkdtemp(), "int8.onnx"))
    images = Images(np.load(file + ".calibration.npy"))
    per_channel = option == "per-channel"
    quantize_static(file, made, images, quant_format=QuantFormat.QDQ, per_channel=per_channel)
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images})[0]
