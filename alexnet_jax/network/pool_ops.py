"""Pooling: the plain `lax` form, which is the definition, and a fast form for CPUs.

XLA's CPU backend walks windows pixel by pixel. The fast form takes one axis after the other:
`2 * window` operations for a pixel instead of `window ** 2`. Images are `[n, h, w, c]`; results,
`[n, out_h, out_w, c]`, have their dtype.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from alexnet_jax.network.conv_ops import Padding, accumulator, window_places
from alexnet_jax.network.forms import by_platform


def max_pool(x: jax.Array, *, window: int, stride: int, padding: Padding) -> jax.Array:
    """Returns the maximum over square windows, which overlap in the paper (§3.4): 3 with stride 2.

    `x` is `[n, h, w, c]`, float32 or bfloat16, the padding minus infinity. The gradient of a window
    goes to one pixel: the first of its maxima, row by row. Deviation: cuda-convnet sends all of it
    to each of them; ties are zeros as a rule, where ReLU blocks it.
    """
    return _max_pool(x, window, stride, padding)


def plain_max_pool(x: jax.Array, *, window: int, stride: int, padding: Padding) -> jax.Array:
    return lax.reduce_window(
        x,
        np.array(-np.inf, x.dtype),
        lax.max,
        (1, window, window, 1),
        (1, stride, stride, 1),
        ((0, 0), *padding, (0, 0)),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x, window, stride, padding):
    return lax.platform_dependent(
        x,
        cpu=lambda x: _fast_max_pool(x, window, stride, padding)[0],
        default=functools.partial(plain_max_pool, window=window, stride=stride, padding=padding),
    )


def _max_pool_forward(x, window, stride, padding):
    # Each platform keeps what its gradient needs, and the compiler drops the other residual.
    def plain(x):
        y = plain_max_pool(x, window=window, stride=stride, padding=padding)
        rows = lax.slice_in_dim(x, 0, y.shape[2], axis=2)
        return y, [jnp.zeros_like(array, jnp.uint8) for array in (rows, y)]

    fast = functools.partial(_fast_max_pool, window=window, stride=stride, padding=padding)
    y, winners = lax.platform_dependent(x, cpu=fast, default=plain)
    return y, (x, winners)


def _max_pool_backward(window, stride, padding, residuals, grad):
    def plain(x, winners, grad):
        pool = functools.partial(plain_max_pool, window=window, stride=stride, padding=padding)
        return jax.vjp(pool, x)[1](grad)[0]

    def fast(x, winners, grad):
        def shares(axis, grad):
            zero = jnp.zeros((), grad.dtype)
            places = range(window)
            return [jnp.where(winners[2 - axis] == np.uint8(i), grad, zero) for i in places]

        return _spread(shares, grad, x, stride, padding)

    return (lax.platform_dependent(*residuals, grad, cpu=fast, default=plain),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _fast_max_pool(x, window, stride, padding):
    """Returns the maximum, and the first columns and rows of the windows that have it."""
    winners = []  # uint8 [n, h, out_w, c], [n, out_h, out_w, c]
    for axis in (2, 1):
        best, *others = window_places(x, window, stride, padding, axis, -np.inf)
        winner = jnp.zeros_like(best, jnp.uint8)
        for place, candidate in enumerate(others, start=1):
            better = candidate > best
            best = jnp.where(better, candidate, best)
            winner = jnp.where(better, np.uint8(place), winner)
        winners.append(winner)
        # XLA fuses nothing with a windowed reduction: the layer before is computed once per pixel,
        # whereas each reader would compute a maximum of slices again.
        sizes, strides, edges = [1] * 4, [1] * 4, [(0, 0)] * 4
        sizes[axis], strides[axis], edges[axis] = window, stride, padding[axis - 1]
        x = lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, sizes, strides, edges)
    return x, winners


def _spread(shares, grad, x, stride, padding):
    """Returns the gradient of `x`; `shares(axis, grad)` divides one among places of windows."""
    grad = grad.astype(accumulator(grad))
    for axis in (1, 2):
        size, (before, _) = x.shape[axis], padding[axis - 1]
        placed = []  # dilated and shifted maps: shares of one place lie `stride` pixels apart
        for first, part in enumerate(shares(axis, grad), start=-before):
            edges = [(0, 0, 0)] * 4
            last = first + (part.shape[axis] - 1) * stride
            edges[axis] = (first, size - 1 - last, stride - 1)
            placed.append(lax.pad(part, jnp.zeros((), part.dtype), edges))
        grad = functools.reduce(lax.add, placed)
    return grad.astype(x.dtype)


def avg_pool(
    x: jax.Array,
    *,
    window: int,
    stride: int,
    padding: Padding,
    sources: Any = None,
) -> jax.Array:
    """Returns the mean of the pixels that each square window really covers.

    `x` is `[n, h, w, c]`, float32 or bfloat16; summed in float32. Source: 2012 code, pool `avg`.
    `sources`: see `conv_ops.convolution`.
    """
    return _avg_pool(x, sources=sources, window=window, stride=stride, padding=padding)


def plain_avg_pool(x: jax.Array, *, window: int, stride: int, padding: Padding) -> jax.Array:
    total = lax.reduce_window(
        x.astype(accumulator(x)),
        np.zeros((), accumulator(x))[()],
        lax.add,
        (1, window, window, 1),
        (1, stride, stride, 1),
        ((0, 0), *padding, (0, 0)),
    )
    return (total * _inverse_counts(x, window, stride, padding)).astype(x.dtype)


def _inverse_counts(x, window, stride, padding):
    """Returns `[1, out_h, out_w, 1]`, 1 / the pixels of the image in each window."""

    def along(size, before, after):
        starts = np.arange(0, size + before + after - window + 1, stride) - before
        return np.minimum(starts + window, size) - np.maximum(starts, 0)

    rows, columns = (along(size, *edges) for size, edges in zip(x.shape[1:3], padding, strict=True))
    return (1 / np.outer(rows, columns)).astype(accumulator(x))[None, :, :, None]


def _fast_avg_pool(x, window, stride, padding):
    total = x.astype(accumulator(x))
    for axis in (2, 1):
        total = functools.reduce(lax.add, window_places(total, window, stride, padding, axis))
    return (total * _inverse_counts(x, window, stride, padding)).astype(x.dtype)


def _fast_avg_pool_gradient(x, grad, window, stride, padding):
    scaled = grad.astype(accumulator(grad)) * _inverse_counts(x, window, stride, padding)
    return _spread(lambda axis, grad: [grad] * window, scaled, x, stride, padding)


_avg_pool = by_platform(plain_avg_pool, _fast_avg_pool, _fast_avg_pool_gradient)


def adaptive_avg_pool(x: jax.Array, size: int) -> jax.Array:
    """Returns the mean over `size` x `size` windows, as PyTorch's AdaptiveAvgPool2d.

    Window i covers rows `floor(i h / size)` to `ceil((i + 1) h / size)`, exclusive. `x` is
    `[n, h, w, c]`, float32 or bfloat16; summed in float32.
    """
    if x.shape[1:3] == (size, size):
        return x
    wide = x.astype(accumulator(x))
    rows, columns = (_adaptive_matrix(extent, size) for extent in x.shape[1:3])
    out = jnp.einsum(  # [n, size, size, c]
        "nhwc,ph,qw->npqc",
        wide,
        rows.astype(wide.dtype),
        columns.astype(wide.dtype),
        precision=lax.Precision.HIGHEST,
    )
    return out.astype(x.dtype)


def _adaptive_matrix(extent, size):
    """Returns float64 `[size, extent]`; row i averages the pixels of window i."""
    matrix = np.zeros((size, extent))
    for i in range(size):
        start, stop = i * extent // size, -(-(i + 1) * extent // size)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix
