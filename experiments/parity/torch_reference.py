"""Every layer once more in PyTorch, from the formulas of its source; NCHW, any precision.

Written to be read, not to be fast, and without the project's kernels or its shape arithmetic. Only
the list of layers and their numbers are shared with the project: that those are the network's is
the matter of `tests/network/test_oracle.py`, which spells the networks out.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from alexnet_jax.network.layers import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Local,
    Lrn,
    MaxPool,
    Network,
    ResponseNorm,
)

Leaves = tuple[torch.Tensor, torch.Tensor]


def forward(network: Network, x: torch.Tensor, params: Mapping[str, Leaves]) -> torch.Tensor:
    """Returns logits `[n, classes]` of images `[n, 3, size, size]`, without dropout masks."""
    for layer in network.layers:
        x = apply(layer, x, params.get(getattr(layer, "name", "")))
    return x


def smallest_margin(network: Network, x: torch.Tensor, params: Mapping[str, Leaves]) -> float:
    """Returns how near the closest decision of a forward pass is to going the other way.

    A ReLU decides by the sign of its input, a max pooling by the two largest values of a window;
    their distance is given relative to the root mean square of the layer's input. In a precision
    that rounds by more, a gradient may take another way, and is then right all the same.
    """
    smallest = math.inf
    with torch.no_grad():
        for layer in network.layers:
            scale = x.square().mean().sqrt()
            if isinstance(layer, Activation) and layer.kind == "relu":
                smallest = min(smallest, float((x[x != 0].abs() / scale).min()))
            if isinstance(layer, MaxPool):
                gaps = _gaps(x, layer)
                smallest = min(smallest, float(gaps.min() / scale))
            x = apply(layer, x, params.get(getattr(layer, "name", "")))
    return smallest


def _gaps(x: torch.Tensor, layer: MaxPool) -> torch.Tensor:
    """Returns the distances of the two largest values of each window whose largest is not 0."""
    room = (x.shape[2] - layer.window) / layer.stride
    steps = math.ceil(room) if layer.overhang else math.floor(room)
    pad = max(steps * layer.stride + layer.window - x.shape[2], 0)
    images = F.pad(x.flatten(0, 1)[:, None], (0, pad, 0, pad), value=-math.inf)
    windows = F.unfold(images, layer.window, stride=layer.stride)  # [n * c, window^2, positions]
    first, second = windows.topk(2, dim=1).values.unbind(1)
    return (first - second)[torch.isfinite(second) & (first != 0)]


def apply(layer: Layer, x: torch.Tensor, leaves: Leaves | None = None) -> torch.Tensor:
    """Returns what one layer makes of `x`; `leaves` are its weight and bias."""
    match layer:
        case Conv():
            assert leaves is not None
            return convolution(x, *leaves, layer)
        case Local():
            assert leaves is not None
            return unshared(x, *leaves, layer)
        case Dense(groups=groups):
            assert leaves is not None
            return dense(x, *leaves, groups)
        case Activation(kind="relu"):
            return torch.clamp(x, min=0)
        case Activation(kind="tanh"):
            return torch.tanh(x)
        case Activation(kind="sigmoid"):
            return torch.sigmoid(x)
        case Lrn(depth, alpha, beta, bias, groups):
            return across_channels(x, depth, alpha, beta, bias, groups)
        case ResponseNorm(window, alpha, beta, bias):
            return within_maps(x, window, alpha, beta, bias)
        case MaxPool(window, stride, overhang):
            return F.max_pool2d(x, window, stride, ceil_mode=overhang)
        case AvgPool(window, stride, overhang):
            return F.avg_pool2d(x, window, stride, ceil_mode=overhang, count_include_pad=False)
        case AdaptiveAvgPool(size=size):
            return F.adaptive_avg_pool2d(x, (size, size))
        case Flatten(groups=groups):
            towers = torch.chunk(x.permute(0, 2, 3, 1), groups, dim=3)
            return torch.cat([tower.flatten(1) for tower in towers], dim=1)
        case Dropout(rate=rate, inverted=inverted):
            return x if inverted else x * (1 - rate)
    raise NotImplementedError(type(layer).__name__)


def convolution(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, layer: Conv):
    """The last window may reach over the far edge, where it reads zeros (2012: `layer.py`)."""
    room = (x.shape[2] + 2 * layer.padding - layer.window) / layer.stride
    windows = 1 + (math.ceil(room) if layer.overhang else math.floor(room))
    reach = (windows - 1) * layer.stride + layer.window
    after = max(reach - x.shape[2] - layer.padding, 0)
    x = F.pad(x, (layer.padding, after, layer.padding, after))
    return F.conv2d(x, weight, bias, stride=layer.stride, groups=layer.groups)


def unshared(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, layer: Local):
    """Weight `[positions, in * window^2, out]`, bias `[positions, out]`."""
    columns = F.unfold(x, layer.window, padding=layer.padding)  # [n, in * window^2, positions]
    out = torch.einsum("ncp,pco->npo", columns, weight) + bias
    size = x.shape[2] + 2 * layer.padding - layer.window + 1
    return out.transpose(1, 2).reshape(x.shape[0], -1, size, size)


def dense(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: int):
    """Weight `[out, in / groups]`; each group of outputs sees its group of inputs."""
    parts = zip(torch.chunk(x, groups, 1), torch.chunk(weight, groups, 0), strict=True)
    return torch.cat([part @ own.T for part, own in parts], dim=1) + bias


def across_channels(
    x: torch.Tensor, depth: int, alpha: float, beta: float, k: float, groups: int
) -> torch.Tensor:
    """`b_i = a_i / (k + alpha * sum of a_j^2 for j = i - n/2 .. i + n/2) ** beta`, paper §3.3."""
    towers = []
    for tower in torch.chunk(x, groups, dim=1):
        channels, half = tower.shape[1], depth // 2
        sums = [
            sum(tower[:, j] ** 2 for j in range(max(0, i - half), min(channels - 1, i + half) + 1))
            for i in range(channels)
        ]
        towers.append(tower / (k + alpha * torch.stack(sums, dim=1)) ** beta)  # type: ignore[arg-type]
    return torch.cat(towers, dim=1)


def within_maps(x: torch.Tensor, window: int, alpha: float, beta: float, k: float) -> torch.Tensor:
    """`b = a / (k + alpha * sum of a^2 over window x window neighbours in the map) ** beta`."""
    half, (height, width) = window // 2, x.shape[2:]
    padded = F.pad(x**2, (half, half, half, half))
    total = torch.zeros_like(x)
    for row in range(window):
        for column in range(window):
            total = total + padded[:, :, row : row + height, column : column + width]
    return x / (k + alpha * total) ** beta


def to_torch(leaves: Mapping[str, np.ndarray], dtype: torch.dtype) -> Leaves:
    """Returns weight and bias of one layer, brought from our layout, ready for gradients."""
    kernel, bias = np.asarray(leaves["kernel"]), np.asarray(leaves["bias"])
    if kernel.ndim == 6:  # [oh, ow, h, w, in, out] to [oh * ow, in * h * w, out]
        rows, columns, height, width, inputs, outputs = kernel.shape
        kernel = np.moveaxis(kernel, 4, 2).reshape(rows * columns, inputs * height * width, outputs)
        bias = bias.reshape(rows * columns, outputs)
    else:
        kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
    weight = torch.tensor(np.ascontiguousarray(kernel), dtype=dtype)
    return weight.requires_grad_(), torch.tensor(bias.copy(), dtype=dtype).requires_grad_()


def from_torch(leaves: Leaves, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the gradients of a layer in our layout, that of the arrays `like`."""
    weight, bias = (_gradient(leaf) for leaf in leaves)
    shape = np.shape(like["kernel"])
    if len(shape) == 6:
        rows, columns, height, width, inputs, outputs = shape
        weight = weight.reshape(rows, columns, inputs, height, width, outputs)
        weight = np.moveaxis(weight, 2, 4)
    else:
        weight = weight.transpose(2, 3, 1, 0) if len(shape) == 4 else weight.T
    return {"kernel": weight, "bias": bias.reshape(np.shape(like["bias"]))}


def _gradient(leaf: torch.Tensor) -> np.ndarray:
    assert leaf.grad is not None
    return leaf.grad.numpy()


def outcome(network: Network, params: Any, images: np.ndarray, labels: np.ndarray, dtype: Any):
    """Returns logits and gradients as `compare.Outcome` has them; `params` are in our layout."""
    kind = torch.float64 if np.dtype(dtype) == np.float64 else torch.float32
    theirs = {name: to_torch(leaves, kind) for name, leaves in params.items()}
    x = torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), dtype=kind)
    x.requires_grad_()
    logits = forward(network, x, theirs)
    F.cross_entropy(logits, torch.tensor(labels.astype(np.int64))).backward()
    gradients = {name: from_torch(theirs[name], leaves) for name, leaves in params.items()}
    return logits.detach().numpy(), _gradient(x).transpose(0, 2, 3, 1), gradients
