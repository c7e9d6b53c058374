"""The same networks in PyTorch, as a fluent user writes them for speed; float32, NCHW.

Used by the PyTorch contestants only. Where eager PyTorch offers several spellings the fastest of
those that were tried on a CPU is used: normalization per tower on a view instead of two halves and
a concatenation where the memory format allows a view, ReLU in place, fused SGD.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
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
    LayerSummary,
    Local,
    Lrn,
    MaxPool,
    Network,
    Parametric,
    ResponseNorm,
    padding_of,
    summarize,
)


class TorchNetwork(nn.Module):
    """Computes the logits of a network from images `[n, 3, size, size]`.

    The weights of `conv` are `[out, in / groups, height, width]`, those of dense layers
    `[out, in]`, their inputs in the order height, width, channels; those of unshared layers
    `[positions, in * height * width, out]` with biases `[positions, 1, out]`.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.steps: list[Callable[[torch.Tensor], torch.Tensor]] = []
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for summary in summarize(network):
            if isinstance(summary.layer, Parametric):
                self._add_parameters(summary)
            self.steps.append(self._step(summary.layer, summary))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns float32 logits `[n, classes]`."""
        for step in self.steps:
            x = step(x)
        return x

    def load(self, params: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes over the parameters of this project's model."""
        with torch.no_grad():
            for name, leaves in params.items():
                kernel, bias = np.asarray(leaves["kernel"]), np.asarray(leaves["bias"])
                if kernel.ndim == 6:
                    kernel = kernel.transpose(0, 1, 4, 2, 3, 5)
                else:
                    kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
                for target, value in ((self.weights[name], kernel), (self.biases[name], bias)):
                    target.copy_(torch.tensor(np.ascontiguousarray(value)).reshape(target.shape))

    def _add_parameters(self, summary: LayerSummary) -> None:
        layer, depth = summary.layer, summary.input_shape[-1]
        match layer:
            case Conv():
                shape = (layer.features, depth // layer.groups, layer.window, layer.window)
                bias = (layer.features,)
            case Dense(groups=1):
                shape, bias = (layer.features, depth), (layer.features,)
            case Local():
                positions = summary.output_shape[0] * summary.output_shape[1]
                shape = (positions, depth * layer.window**2, layer.features)
                bias = (positions, 1, layer.features)
            case _:
                raise NotImplementedError(f"layer '{summary.name}' has no PyTorch form here")
        std = 0.01 if layer.weight_std is None else layer.weight_std
        self.weights[layer.name] = nn.Parameter(torch.randn(shape) * std)
        self.biases[layer.name] = nn.Parameter(torch.full(bias, float(layer.bias)))

    def _step(self, layer: Layer, summary: LayerSummary) -> Callable:
        match layer:
            case Conv():
                return self._convolution(layer, summary)
            case Dense():
                return lambda x: F.linear(x, self.weights[layer.name], self.biases[layer.name])
            case Local():
                return lambda x: _unshared(
                    x, self.weights[layer.name], self.biases[layer.name], layer
                )
            case Activation(kind="relu"):
                return lambda x: F.relu(x, inplace=True)
            case Activation(kind="tanh"):
                return torch.tanh
            case Lrn():
                return lambda x: _local_response_norm(x, layer)
            case ResponseNorm():
                return lambda x: _response_norm(x, layer)
            case MaxPool(window, stride, overhang):
                return lambda x: F.max_pool2d(x, window, stride, ceil_mode=overhang)
            case AvgPool(window, stride, overhang):
                return lambda x: F.avg_pool2d(
                    x, window, stride, ceil_mode=overhang, count_include_pad=False
                )
            case AdaptiveAvgPool(size=size):
                return lambda x: F.adaptive_avg_pool2d(x, (size, size))
            case Flatten(groups=1):
                return lambda x: x.permute(0, 2, 3, 1).flatten(1)
            case Dropout():
                # Scaling by the rate back is the 2012 convention, in training and in tests.
                scale = 1.0 if layer.inverted else 1.0 - layer.rate
                return lambda x: F.dropout(x, layer.rate, self.training) * scale
        raise NotImplementedError(f"layer '{summary.name}' has no PyTorch form here")

    def _convolution(self, layer: Conv, summary: LayerSummary) -> Callable:
        before, after = padding_of(summary.input_shape[0], layer)
        edges = (0, after - before, 0, after - before)  # what an overhanging window needs

        def convolution(x: torch.Tensor) -> torch.Tensor:
            if after > before:
                x = F.pad(x, edges)
            weight, bias = self.weights[layer.name], self.biases[layer.name]
            return F.conv2d(x, weight, bias, layer.stride, before, 1, layer.groups)

        return convolution


def _local_response_norm(x: torch.Tensor, layer: Lrn) -> torch.Tensor:
    """Normalizes each tower by itself; PyTorch divides alpha by the size of the window."""
    options = (layer.depth, layer.alpha * layer.depth, layer.beta, layer.bias)
    if layer.groups == 1:
        return F.local_response_norm(x, *options)
    if x.is_contiguous():
        n, channels, *size = x.shape
        towers = x.view(n * layer.groups, channels // layer.groups, *size)
        return F.local_response_norm(towers, *options).view(x.shape)
    halves = torch.chunk(x, layer.groups, dim=1)
    return torch.cat([F.local_response_norm(half, *options) for half in halves], dim=1)


def _response_norm(x: torch.Tensor, layer: ResponseNorm) -> torch.Tensor:
    """Normalizes within maps; average pooling with zeros is the sum / window^2."""
    mean = F.avg_pool2d(x * x, layer.window, 1, layer.window // 2, count_include_pad=True)
    return x / (layer.bias + layer.alpha * layer.window**2 * mean) ** layer.beta


def _unshared(x: torch.Tensor, weight, bias, layer: Local) -> torch.Tensor:
    """Is one matrix product for each position."""
    patches = F.unfold(x, layer.window, padding=layer.padding)  # [n, in * window^2, positions]
    out = torch.baddbmm(bias, patches.permute(2, 0, 1), weight)  # [positions, n, out]
    size = x.shape[2] + 2 * layer.padding - layer.window + 1
    return out.permute(1, 2, 0).unflatten(2, (size, size))
