"""onnxruntime on a float16 copy made by onnxconverter-common; `option` is `inner` or `all`.

`inner`: images and logits stay as they are; `all`: they are float16, too.
"""

import onnx
import onnxruntime
from onnxconverter_common import float16


def load(file, option):
    model = float16.convert_float_to_float16(onnx.load(file), keep_io_types=option == "inner")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    [entry] = session.get_inputs()

    def run(images):
        images = images.astype("float16") if entry.type == "tensor(float16)" else images
        return session.run(["logits"], {entry.name: images})[0]

    return run
