"""OpenVINO on the CPU; `option` is a precision, or nothing for the processor's own choice."""

import openvino


def load(file, option):
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": option} if option else {}
    model = core.compile_model(core.read_model(file), "CPU", settings)
    print("precision:", model.get_property("INFERENCE_PRECISION_HINT").to_string())
    return lambda images: model({0: images})["logits"]
