"""A PyTorch module made by onnx2torch."""

import onnx
import torch

# onnx2torch imports torchvision, whose wheel on PyPI has no operators beside a PyTorch for CPUs.
for name in ("nms", "qnms"):
    torch.library.define("torchvision::" + name, "(Tensor a, Tensor b, float c) -> Tensor")

from onnx2torch import convert  # noqa: E402


def load(file, option):
    module = convert(onnx.load(file)).eval()

    def run(images):
        with torch.no_grad():
            outputs = module(torch.from_numpy(images))
        return (outputs[0] if isinstance(outputs, (tuple, list)) else outputs).numpy()

    return run
