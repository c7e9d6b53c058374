"""onnxruntime on the CPU."""

import onnxruntime


def load(file, option):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(["logits"], {name: images})[0]
