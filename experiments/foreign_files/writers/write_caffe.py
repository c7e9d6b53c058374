"""Runs in PyTorch's environment: random values of `bvlc-alexnet`, logits, and one `.mat` of SciPy.

`arrays/NAME_w.bin` and `_b.bin` are float32: filters `[height, width, in / groups, out]` in
Fortran's order, for Octave; `arrays.npz` has caffe-tensorflow's layouts.
"""

import json
import platform
from pathlib import Path

import numpy as np
import scipy
import torch
from scipy.io import savemat
from torch.nn import functional as F

CONVOLUTIONS = {  # filters, inputs of a group, window, stride, padding, groups
    "conv1": (96, 3, 11, 4, 0, 1),
    "conv2": (256, 48, 5, 1, 2, 2),
    "conv3": (384, 256, 3, 1, 1, 1),
    "conv4": (384, 192, 3, 1, 1, 2),
    "conv5": (256, 192, 3, 1, 1, 2),
}
DENSE = {"fc6": (4096, 256, 6), "fc7": (4096, 4096, 1), "fc8": (7, 4096, 1)}

rng = np.random.default_rng(0)
values = {}  # [out, in, height, width], inputs RGB
for name, (features, depth, window, *_) in (CONVOLUTIONS | DENSE).items():
    shape = (features, depth, window, window)
    scale = (2 / np.prod(shape[1:])) ** 0.5 * (0.02 if name == "conv1" else 1)
    kernel = (rng.normal(size=shape) * scale).astype("f4")
    values[name] = kernel, rng.normal(0, 0.1, features).astype("f4")

images = rng.normal(0, 50, (2, 3, 227, 227)).astype("f4")
x = torch.tensor(images)
for name, (*_, stride, padding, groups) in CONVOLUTIONS.items():
    weights = map(torch.tensor, values[name])
    x = F.relu(F.conv2d(x, *weights, stride=stride, padding=padding, groups=groups))
    x = F.local_response_norm(x, 5, 1e-4, 0.75, 1.0) if name in ("conv1", "conv2") else x
    x = F.max_pool2d(x, 3, 2, ceil_mode=True) if name in ("conv1", "conv2", "conv5") else x
for name in DENSE:
    x = F.conv2d(x, *map(torch.tensor, values[name]))
    x = x if name == "fc8" else F.relu(x)
np.savez("data.npz", images=images, logits=x[:, :, 0, 0].numpy())

Path("arrays").mkdir(exist_ok=True)
arrays, layers = {}, []
for name, (kernel, bias) in values.items():
    hwio = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
    hwio.ravel(order="F").tofile(f"arrays/{name}_w.bin")
    bias.tofile(f"arrays/{name}_b.bin")
    first = hwio[:, :, ::-1] if name == "conv1" else hwio  # BGR
    arrays[f"{name}_w"] = first if name in CONVOLUTIONS else hwio.reshape(-1, bias.size)
    arrays[f"{name}_b"] = bias
    both = np.empty((1, 2), object)
    both[0, :] = hwio, bias[None]
    *_, stride, padding, _ = CONVOLUTIONS.get(name, (1, 0, 1))
    pad, strides = np.full((1, 4), float(padding)), np.full((1, 2), float(stride))
    layers.append({"name": name, "type": "conv", "weights": both, "pad": pad, "stride": strides})
    layers.append({"name": f"relu{name[-1]}", "type": "relu", "leak": 0.0})
    if name in ("conv1", "conv2"):
        layers.append({"name": f"norm{name[-1]}", "type": "lrn", "param": [5, 1, 2e-5, 0.75]})
    if name in ("conv1", "conv2", "conv5"):
        pool = {"method": "max", "pool": [3.0, 3.0], "stride": [2.0, 2.0], "pad": [0.0] * 4}
        layers.append({"name": f"pool{name[-1]}", "type": "pool", **pool})
layers[-1] = {"name": "prob", "type": "softmax"}  # in place of the last ReLU
cells = np.empty((1, len(layers)), object)
cells[0, :] = layers
np.savez("arrays.npz", **arrays)
mean = np.full((227, 227, 3), 110, "f4")
normalization = {"imageSize": [227.0, 227.0, 3.0], "averageImage": mean, "border": [29.0, 29.0]}
content = {"layers": cells, "meta": {"normalization": normalization}}
savemat("scipy.mat", content, oned_as="row", do_compression=True)
versions = {"python": platform.python_version(), "torch": torch.__version__.partition("+")[0]}
versions |= {"numpy": np.__version__, "scipy": scipy.__version__}
Path("versions_1.json").write_text(json.dumps(versions))
