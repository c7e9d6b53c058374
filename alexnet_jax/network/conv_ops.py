"""Convolutions: the plain `lax` form, which is the definition, and a fast form for CPUs.

XLA's CPU backend is slow at grouped convolutions, most of all at their gradients. The fast form
computes each group apart, by minimal filtering where that pays, except for the values of a network
whose images are differentiated (`forms.py`). Images are `[batch, height, width, channels]`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from alexnet_jax.network import minimal_filtering
from alexnet_jax.network.forms import by_platform, gradient
from alexnet_jax.network.minimal_filtering import Padding

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_NO_PADDING: Padding = ((0, 0), (0, 0))


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: Padding = ((0, 0), (0, 0)),
    groups: int = 1,
    sources: Any = None,
) -> jax.Array:
    """Returns the cross-correlation with a filter bank, `[n, out_h, out_w, features]`. Paper: §3.5.

    `x` is `[n, h, w, c]`, `kernel` `[window_h, window_w, c / groups, features]`, both float32 or
    bfloat16, as the result. The padding is zeros. Groups are runs of channels. Where `sources`, a
    tree of what the network was given, are differentiated, values are those of the plain form.
    """
    options = {"stride": stride, "padding": padding, "groups": groups}
    return _convolution(x, kernel, sources=sources, **options)


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


def accumulator(x: jax.Array) -> Any:
    """Returns the dtype to sum `x` in: float32, or float64 for float64."""
    return np.promote_types(x.dtype, np.float32)


def _by_group(form, x, kernel, groups):
    xs, kernels = (jnp.split(array, groups, axis=-1) for array in (x, kernel))  # one per group
    parts = [form(*pair) for pair in zip(xs, kernels, strict=True)]
    return jnp.concatenate(parts, axis=-1)  # [n, out_h, out_w, features]


def _fast_convolution(x, kernel, *, stride, padding, groups, result="output"):
    """`result`: what is wanted, as forms suit some better; "output", "images" or "kernel"."""
    form = functools.partial(one_group, stride=stride, padding=padding, result=result)
    return _by_group(form, x, kernel, groups)


def _plain_convolution_by_group(x, kernel, *, stride, padding, groups):
    """Has the bits of the grouped one in a third of the time (jaxlib 0.10.2)."""
    form = functools.partial(plain_convolution, stride=stride, padding=padding)
    return _by_group(form, x, kernel, groups)


_convolution = by_platform(
    plain_convolution,
    _fast_convolution,
    *(
        gradient(functools.partial(_fast_convolution, result=result), argument)
        for argument, result in enumerate(("images", "kernel"))
    ),
    exact=_plain_convolution_by_group,
)


def one_group(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, result: str
) -> jax.Array:
    """Computes an ungrouped convolution in the form that is fastest on CPUs for `result`."""
    tile = minimal_filtering.best_tile(*without_stride(x, kernel, stride, padding))
    if tile is not None:
        return by_minimal_filtering(x, kernel, stride, padding, tile)
    if kernel[..., 0].size <= _FEW_VALUES and not _direct(result, x.dtype):
        return by_patches(x, kernel, stride, padding)
    return plain_convolution(x, kernel, stride=stride, padding=padding)


def by_minimal_filtering(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, tile: int
) -> jax.Array:
    wide = accumulator(x)  # the transforms subtract large values: too coarse in bfloat16
    squared, filters, padding = without_stride(x, kernel, stride, padding)
    squared, filters = squared.astype(wide), filters.astype(wide)
    out: Any = minimal_filtering.convolve(squared, filters, padding, tile)
    return out.astype(x.dtype)


# With so few values per filter XLA's convolution spends its time around the inner products, but for
# float32 in these versions of JAX (by what is wanted): timed on two cores with AVX-512, in 0.10.2,
# 0.11.2 and 0.12.0 (`python -m experiments.benchmarks.convolutions`).
_FEW_VALUES = 160
_DIRECT_SINCE = {"output": (0, 12), "kernel": (0, 10)}


def _direct(result, dtype):
    since = _DIRECT_SINCE.get(result)
    return since is not None and dtype == jnp.float32 and jax.__version_info__ >= since


def by_patches(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """Computes one product of all patches and all filters."""
    # Neighbouring output columns share a patch: the product has fewer rows and more columns.
    batch, height, width, channels = x.shape
    rows, columns, _, features = kernel.shape
    together = 4 if not isinstance(batch, int) or batch > 8 else 1
    step = together * stride
    out = (width + sum(padding[1]) - columns) // stride + 1
    count = -(-out // together)  # of patches in a row
    blocks = -(-((together - 1) * stride + columns) // step)  # in a patch, of `step` columns
    before, extent = padding[1][0], (count + blocks - 1) * step
    edges = (before, extent - width - before, 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (0, 0, 0), edges, (0, 0, 0)))
    x = x.reshape(batch, height, count + blocks - 1, step * channels)
    x = jnp.concatenate(window_places(x, blocks, 1, _NO_PADDING, 2), axis=-1)
    x = jnp.concatenate(window_places(x, rows, stride, (padding[0], (0, 0)), 1), axis=-1)
    # x is now [n, out_h, count, rows * blocks * step * c].
    shifted = [
        lax.pad(kernel, jnp.zeros((), kernel.dtype), [(0, 0, 0), shift, (0, 0, 0), (0, 0, 0)])
        for first in range(0, step, stride)
        for shift in [(first, blocks * step - columns - first, 0)]
    ]
    filters = jnp.stack(shifted, axis=3).reshape(x.shape[-1], together * features)
    y = lax.dot_general(x, filters, (((3,), (0,)), ((), ())), precision=lax.Precision.HIGHEST)
    return y.reshape(batch, y.shape[1], count * together, features)[:, :, :out]


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


def without_stride(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding
) -> tuple[jax.Array, jax.Array, Padding]:
    """Makes squares of pixels channels: the paper's conv1 has 3x3 windows over 48 channels then."""
    if stride == 1:
        return x, kernel, padding
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
