"""Runs in PyTorch's environment: random values, the files, and onnxruntime's logits.

python write_onnx.py torch   # files of PyTorch, into the folder torch/
python write_onnx.py zoo     # that of the model zoo, into zoo/
"""

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import nn

rng = np.random.default_rng(0)


class AlexNet(nn.Module):
    """torchvision's, whose package needs PyTorch for CUDA."""

    def __init__(self):
        super().__init__()
        sizes = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1))
        layers = []
        for place, (inputs, outputs, window, stride, pad) in enumerate(
            (*sizes, (256, 256, 3, 1, 1))
        ):
            layers += [nn.Conv2d(inputs, outputs, window, stride, pad), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(3, 2)] * (place in (0, 1, 4))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        dense = [nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(inplace=True)]
        dense += [nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 7)]
        self.classifier = nn.Sequential(*dense)

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def values(shape):
    std = 0.1 if len(shape) == 1 else (2 / np.prod(shape[1:])) ** 0.5
    return rng.normal(0, std, shape).astype("f4")


def write_torch(folder):
    folder.mkdir(exist_ok=True)
    model = AlexNet().eval()
    for parameter in model.parameters():
        parameter.data = torch.tensor(values(tuple(parameter.shape)))
    images = rng.normal(size=(2, 3, 224, 224)).astype("f4")
    one = torch.tensor(images[:1])
    batch = torch.export.Dim("n", min=1, max=64)
    both = torch.tensor(images)
    options = {
        "script": (one, {"dynamo": False}),
        "free": (one, {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}),
        "plain": (
            one,
            {"dynamo": False, "do_constant_folding": False, "opset_version": 9,
             "keep_initializers_as_inputs": True},
        ),
        "dynamo": (one, {"dynamo": True}),
        "free_dynamo": (
            both,
            {"dynamo": True, "dynamic_shapes": {"x": {0: batch}}, "external_data": False},
        ),
        "unoptimized": (one, {"dynamo": True, "optimize": False, "external_data": False}),
    }  # fmt: skip
    for name, (example, settings) in options.items():
        torch.onnx.export(model, (example,), folder / f"{name}.onnx", verbose=False, **settings)
    torch.onnx.export(
        model.half(), (one.half(),), folder / "half.onnx", verbose=False, dynamo=False
    )
    logits: dict[str, Any] = {
        f"{name}.onnx": run(folder / f"{name}.onnx", images) for name in (*options, "half")
    }
    np.savez(folder / "data.npz", images=images, **logits)


def write_zoo(folder):
    folder.mkdir(exist_ok=True)
    light = Path(onnx.__file__).parent / "backend/test/data/light/light_bvlc_alexnet.onnx"
    model = onnx.load(light)
    shapes = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    used = {name for node in model.graph.node for name in node.input}
    used -= {n.input[0] for n in model.graph.node if n.op_type == "ConstantOfShape"}
    kept = [array for array in model.graph.initializer if array.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    made = [node for node in model.graph.node if node.op_type == "ConstantOfShape"]
    for node in made:
        model.graph.node.remove(node)
        shape = tuple(int(side) for side in shapes[node.input[0]])
        array = numpy_helper.from_array(values(shape), node.output[0])
        model.graph.initializer.append(array)
        given = next(i for i in model.graph.input if i.name == node.input[0])
        given.CopyFrom(helper.make_tensor_value_info(node.output[0], 1, shape))
    onnx.save(model, folder / "zoo.onnx")
    last = next(node for node in model.graph.node if node.op_type == "Softmax").input[0]
    model.graph.node.pop()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(last, 1, [1, 1000]))
    onnx.save(model, folder / "logits.onnx")
    images = rng.normal(0, 50, (2, 3, 224, 224)).astype("f4")
    logits = run(folder / "logits.onnx", images[:, ::-1])  # BGR
    np.savez(folder / "data.npz", images=images, logits=logits)


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    dtype = "f2" if "float16" in given.type else "f4"
    rows = [session.run(None, {given.name: image[None].astype(dtype)})[0] for image in images]
    return np.concatenate([np.asarray(row) for row in rows]).astype("f4")


{"torch": write_torch, "zoo": write_zoo}[sys.argv[1]](Path(sys.argv[1]))
versions = {"python": platform.python_version()}
for package in ("torch", "onnx", "onnxscript", "onnxruntime", "numpy"):
    versions[package] = version(package).partition("+")[0]
Path("versions.json").write_text(json.dumps(versions))
