"""Convolutions: the plain `lax` form, which is the definition, and a fast form for CPUs.

XLA's CPU backend is slow at grouped convolutions, most of all at their gradients. The fast form
computes each group apart, by minimal filtering where that pays. The form is chosen when the program
is lowered for a platform. Images are `[batch, height, width, channels]`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from alexnet_jax.network import minimal_filtering
from alexnet_jax.network.minimal_filtering import Padding

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: Padding = ((0, 0), (0, 0)),
    groups: int = 1,
) -> jax.Array:
    """Returns the cross-correlation with a filter bank, `[n, out_h, out_w, features]`. Paper: §3.5.

    `x` is `[n, h, w, c]`, `kernel` `[window_h, window_w, c / groups, features]`, both float32 or
    bfloat16, as the result. The padding is zeros. Groups are runs of channels.
    """
    x, kernel = match_variance(x, kernel)
    return _convolution(x, kernel, stride, padding, groups)


def plain_convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: Padding = ((0, 0), (0, 0)),
    groups: int = 1,
) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )


def match_variance(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Marks all arrays as varying over the manual mesh axes that any of them varies over.

    Inside `shard_map` the gradient of an array that is equal on all devices is the sum over these.
    A `custom_vjp` does not add it up; this marking, transposed, does.
    """
    varying = [_varying_axes(array) for array in arrays]
    axes = frozenset().union(*varying)
    missing = [tuple(sorted(axes - own)) for own in varying]
    return tuple(
        lax.pcast(array, names, to="varying") if names else array
        for array, names in zip(arrays, missing, strict=True)
    )


def _varying_axes(array):
    kind = jax.typeof(array)
    return kind.mat.varying if hasattr(kind, "mat") else kind.vma  # `vma` before JAX 0.10


def accumulator(x: jax.Array) -> Any:
    """Returns the dtype to sum `x` in: float32, or float64 for float64."""
    return np.promote_types(x.dtype, np.float32)


def by_platform(plain: Callable, fast: Callable, fast_gradient: Callable) -> Callable:
    """Returns `op(x, **options)`: `fast`, with its gradient, on CPUs and `plain` elsewhere."""

    @functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
    def compute(x, options):
        cpu, default = (functools.partial(form, **dict(options)) for form in (fast, plain))
        return lax.platform_dependent(x, cpu=cpu, default=default)

    def forward(x, options):
        return compute(x, options), x

    def backward(options, x, grad):
        def plain_gradient(x, grad):
            return jax.vjp(functools.partial(plain, **dict(options)), x)[1](grad)[0]

        cpu = functools.partial(fast_gradient, **dict(options))
        return (lax.platform_dependent(x, grad, cpu=cpu, default=plain_gradient),)

    compute.defvjp(forward, backward)
    return lambda x, **options: compute(x, tuple(options.items()))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolution(x, kernel, stride, padding, groups):
    options = {"stride": stride, "padding": padding, "groups": groups}
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_fast_convolution, **options),
        default=functools.partial(plain_convolution, **options),
    )


def _convolution_forward(x, kernel, stride, padding, groups):
    return _convolution(x, kernel, stride, padding, groups), (x, kernel)


def _convolution_backward(stride, padding, groups, residuals, grad):
    options = {"stride": stride, "padding": padding, "groups": groups}

    def gradient(form, argument):
        def compute(x, kernel, grad):
            def of(value):
                return form(*(value, kernel) if argument == 0 else (x, value), **options)

            return jax.vjp(of, (x, kernel)[argument])[1](grad)[0]

        return compute

    # Two separate choices, so that an unused input gradient (conv1) disappears from the program.
    x_gradient, kernel_gradient = (
        lax.platform_dependent(
            *residuals,
            grad,
            cpu=gradient(_fast_convolution, argument),
            default=gradient(plain_convolution, argument),
        )
        for argument in (0, 1)
    )
    return x_gradient, kernel_gradient


_convolution.defvjp(_convolution_forward, _convolution_backward)


def _fast_convolution(x, kernel, *, stride, padding, groups):
    xs, kernels = (jnp.split(array, groups, axis=-1) for array in (x, kernel))  # one per group
    parts = [_one_group(*pair, stride, padding) for pair in zip(xs, kernels, strict=True)]
    return jnp.concatenate(parts, axis=-1)  # [n, out_h, out_w, features]


def _one_group(x, kernel, stride, padding):
    squared = _without_stride(x, kernel, stride, padding) if stride > 1 else (x, kernel, padding)
    tile = minimal_filtering.best_tile(*squared)
    if tile is None and kernel[..., 0].size <= _FEW_VALUES:
        return _by_patches(x, kernel, stride, padding)
    if tile is None:
        return plain_convolution(x, kernel, stride=stride, padding=padding)
    x, kernel, padding = squared
    wide = accumulator(x)  # the transforms subtract large values: too coarse in bfloat16
    out: Any = minimal_filtering.convolve(x.astype(wide), kernel.astype(wide), padding, tile)
    return out.astype(x.dtype)


# With so few values per filter, XLA's convolution spends its time around the inner products.
_FEW_VALUES = 160


def _by_patches(x, kernel, stride, padding):
    for axis in (2, 1):  # The windows along a row are collected only once.
        places = window_places(x, kernel.shape[axis - 1], stride, padding, axis)
        x = jnp.concatenate(places, axis=-1)
    # x is now [n, out_h, out_w, window_h * window_w * c].
    filters = kernel.reshape(-1, kernel.shape[-1])  # [window_h * window_w * c, features]
    return lax.dot_general(x, filters, (((3,), (0,)), ((), ())), precision=lax.Precision.HIGHEST)


def window_places(
    x: jax.Array, window: int, stride: int, padding: Padding, axis: int, fill: float = 0
) -> list[jax.Array]:
    """Returns the pixels at each place of the windows along one axis, for all windows.

    From `[n, h, w, c]`: `window` arrays `[n, out_h, w, c]` (axis 1) or `[n, h, out_w, c]` (axis 2).
    `fill` is the value of the padding.
    """
    edges = [(0, 0, 0)] * 4
    edges[axis] = (*padding[axis - 1], 0)
    x = lax.pad(x, jnp.asarray(fill, x.dtype), edges)
    length = (x.shape[axis] - window) // stride * stride + 1
    return [lax.slice_in_dim(x, i, i + length, stride, axis=axis) for i in range(window)]


def _without_stride(x, kernel, stride, padding):
    """Makes squares of pixels channels: the paper's conv1 has 3x3 windows over 48 channels then."""
    window = -(-max(kernel.shape[:2]) // stride)
    rows, columns = (
        (extent + sum(edges) - size) // stride + window
        for extent, edges, size in zip(x.shape[1:3], padding, kernel.shape[:2], strict=True)
    )
    before = (padding[0][0], padding[1][0])
    x = minimal_filtering.squares(x, stride, (rows, columns), before)
    x = x.transpose(0, 1, 3, 2, 4, 5)  # [n, rows, columns, stride, stride, c]
    x = x.reshape(x.shape[0], rows, columns, -1)
    missing = [(0, window * stride - size, 0) for size in kernel.shape[:2]]
    kernel = lax.pad(kernel, jnp.zeros((), kernel.dtype), (*missing, (0, 0, 0), (0, 0, 0)))
    kernel = kernel.reshape(window, stride, window, stride, *kernel.shape[2:])
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5)  # [window, window, stride, stride, c, features]
    kernel = kernel.reshape(window, window, x.shape[3], -1)
    return x, kernel, ((0, 0), (0, 0))


def local_convolution(
    x: jax.Array, kernel: jax.Array, *, padding: Padding = ((0, 0), (0, 0))
) -> jax.Array:
    """Returns a convolution with stride 1 whose output pixels have filters of their own.

    `x` is `[n, h, w, c]`, `kernel` `[out_h, out_w, window_h, window_w, c, features]`, both float32
    or bfloat16, as the result `[n, out_h, out_w, features]`. The padding is zeros. Source: 2012
    code, layer type `local`.
    """
    out_height, out_width, *window, channels, features = kernel.shape
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)))
    # Positions first: one matrix product [n, window] x [window, features] for each of them. The
    # small image is transposed, once, instead of its many overlapping patches.
    x = lax.optimization_barrier(x.transpose(1, 2, 0, 3))
    patches = jnp.concatenate(  # [out_h, out_w, n, window_h * window_w * c]
        [
            x[row : row + out_height, column : column + out_width]
            for row in range(window[0])
            for column in range(window[1])
        ],
        axis=-1,
    )
    kernel = kernel.reshape(out_height, out_width, window[0] * window[1] * channels, features)
    out = lax.dot_general(
        patches, kernel, (((3,), (2,)), ((0, 1), (0, 1))), preferred_element_type=accumulator(x)
    )
    return out.transpose(2, 0, 1, 3).astype(x.dtype)  # from [out_h, out_w, n, features]
