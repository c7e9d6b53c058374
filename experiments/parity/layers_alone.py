"""Single layers against PyTorch: output and gradients, at the sizes that they have in AlexNet."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from alexnet_jax.network import ops
from alexnet_jax.network.layers import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Layer,
    Local,
    Lrn,
    MaxPool,
    ResponseNorm,
    padding_of,
)
from experiments.parity import torch_reference
from experiments.parity.compare import apart
from experiments.parity.samples import uniform


class Case(NamedTuple):
    """One layer and its images, `[n, size, size, channels]` within -scale..scale."""

    name: str
    layer: Layer
    shape: tuple[int, int, int, int]
    scale: float = 100.0


CASES = (
    Case("LRN as printed (alpha 1e-4, k 2), two towers", Lrn(groups=2), (2, 27, 27, 96)),
    Case("LRN as run (alpha 2e-5, k 2), two towers", Lrn(alpha=2e-5, groups=2), (2, 27, 27, 96)),
    Case("LRN of Caffe (alpha 2e-5, k 1)", Lrn(alpha=2e-5, bias=1.0), (2, 27, 27, 96)),
    Case("LRN of CIFAR (9 channels)", Lrn(9, 1e-3 / 9, bias=1.0), (4, 12, 12, 64)),
    Case("rnorm, 5x5", ResponseNorm(), (2, 27, 27, 256)),
    Case("rnorm, 3x3", ResponseNorm(3, 5e-5 / 9), (4, 16, 16, 32)),
    Case("max pooling, 55 to 27", MaxPool(), (2, 55, 55, 96)),
    Case("max pooling, ceil: 32 to 16", MaxPool(), (4, 32, 32, 64)),
    Case("average pooling, ceil: 16 to 8", AvgPool(), (4, 16, 16, 32)),
    Case("adaptive average pooling, 7 to 6", AdaptiveAvgPool(6), (2, 7, 7, 256)),
    Case("overhanging conv1, 224 to 55", Conv("conv1", 96, 11, stride=4), (2, 224, 224, 3)),
    Case(
        "conv1 without overhang, 227 to 55",
        Conv("conv1", 96, 11, stride=4, overhang=False),
        (2, 227, 227, 3),
    ),
    Case("grouped conv2", Conv("conv2", 256, 5, padding=2, groups=2), (2, 27, 27, 96)),
    Case("unshared local3", Local("local3", 64, 3, padding=1), (4, 6, 6, 64)),
    Case("tanh", Activation("tanh"), (4, 16, 16, 32), 2.0),
)


def compare_layer(case: Case, dtype: Any) -> dict[str, float]:
    """Returns the largest relative difference of each quantity of one layer.

    Float64 needs `jax.enable_x64(True)` around it.
    """
    dtype = np.dtype(dtype)
    x = (case.scale * uniform((3, 0), case.shape)).astype(dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), _params(case))
    shape = jax.eval_shape(lambda x, params: _ours(case.layer, x, params), x, params).shape
    direction = uniform((3, 1), shape).astype(dtype)

    @jax.jit
    def compute(x, params):
        found, backward = jax.vjp(lambda x, params: _ours(case.layer, x, params), x, params)
        return found, *backward(direction)

    found, image_gradient, gradients = compute(x, params)

    kind = torch.float64 if dtype == np.float64 else torch.float32
    leaves = torch_reference.to_torch(params, kind) if params else None
    pixels = torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).requires_grad_()
    expected = torch_reference.apply(case.layer, pixels, leaves)
    expected.backward(torch.tensor(np.ascontiguousarray(direction.transpose(0, 3, 1, 2))))
    assert found.dtype == dtype and pixels.grad is not None
    result = {
        "output": apart(found, expected.detach().numpy().transpose(0, 2, 3, 1)),
        "image gradient": apart(image_gradient, pixels.grad.numpy().transpose(0, 2, 3, 1)),
    }
    if leaves is not None:
        for leaf, value in torch_reference.from_torch(leaves, params).items():
            result[f"{leaf} gradient"] = apart(gradients[leaf], value)
    return result


def _params(case: Case) -> dict[str, np.ndarray]:
    layer, (_, size, _, channels) = case.layer, case.shape
    if isinstance(layer, Conv):
        shape = (layer.window, layer.window, channels // layer.groups, layer.features)
        bias = (layer.features,)
    elif isinstance(layer, Local):
        rows = size + 2 * layer.padding - layer.window + 1
        shape = (rows, rows, layer.window, layer.window, channels, layer.features)
        bias = (rows, rows, layer.features)
    else:
        return {}
    return {"kernel": uniform((3, 2), shape), "bias": uniform((3, 3), bias)}


def _ours(layer: Layer, x: Any, params: Any) -> Any:
    """Returns the output of the project's kernels."""
    windowed = isinstance(layer, Conv | Local | MaxPool | AvgPool)
    edges = padding_of(x.shape[1], layer) if windowed else (0, 0)
    match layer:
        case Conv(stride=stride, groups=groups):
            y = ops.convolution(
                x, params["kernel"], stride=stride, padding=(edges, edges), groups=groups
            )
            return y + params["bias"].reshape(1, 1, 1, -1)
        case Local():
            y = ops.local_convolution(x, params["kernel"], padding=(edges, edges))
            return y + params["bias"][None]
        case Lrn(depth, alpha, beta, bias, groups):
            return ops.local_response_norm(
                x, depth=depth, alpha=alpha, beta=beta, bias=bias, groups=groups
            )
        case ResponseNorm(window, alpha, beta, bias):
            return ops.response_norm(x, window=window, alpha=alpha, beta=beta, bias=bias)
        case MaxPool(window, stride):
            return ops.max_pool(x, window=window, stride=stride, padding=(edges, edges))
        case AvgPool(window, stride):
            return ops.avg_pool(x, window=window, stride=stride, padding=(edges, edges))
        case AdaptiveAvgPool(size=size):
            return ops.adaptive_avg_pool(x, size)
        case Activation(kind="tanh"):
            return jnp.tanh(x)
    raise NotImplementedError(type(layer).__name__)
