"""Pooling: the plain `lax` form, which is the definition, and a fast form for CPUs.

XLA's CPU backend walks overlapping windows pixel by pixel. The fast form walks them
along one axis at a time, and its gradient adds `window ** 2` dilated maps. Images are
`[batch, height, width, channels]`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from alexnet_jax.network.conv_ops import Padding, accumulator


def max_pool(x: jax.Array, *, window: int, stride: int, padding: Padding) -> jax.Array:
    """Returns the maximum over square windows; the padding is minus infinity.

    The gradient of a window goes to one pixel: the first of its maxima, row by row. Deviation:
    cuda-convnet sends all of it to each of them; ties are zeros as a rule, where ReLU blocks it.

    Args:
      x: `[n, h, w, c]`, float32 or bfloat16.
      window: height and width in pixels.
      stride: pixels between neighbouring windows.
      padding: (rows before, after), (columns before, after).

    Returns:
      `[n, out_h, out_w, c]`, of the dtype of `x`.

    Paper: §3.4, windows of 3 with stride 2 overlap.
    """
    return _max_pool(x, window, stride, padding)


def plain_max_pool(x: jax.Array, *, window: int, stride: int, padding: Padding) -> jax.Array:
    """Defines `max_pool`: the same arguments, one `lax` operation on every platform.

    Args:
      x: float `[n, h, w, c]`.
      window: height and width, pixels.
      stride: pixels between neighbouring windows.
      padding: (rows before, after), (columns before, after).
    """
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
        cpu=lambda x: _fast_max_pool(x, window, stride, padding),
        default=functools.partial(plain_max_pool, window=window, stride=stride, padding=padding),
    )


def _max_pool_forward(x, window, stride, padding):
    # Each platform keeps what its gradient needs, and the compiler drops the other residual.
    def plain(x):
        y = plain_max_pool(x, window=window, stride=stride, padding=padding)
        return y, jnp.zeros_like(y, jnp.uint8)

    y, winners = lax.platform_dependent(
        x, cpu=lambda x: _fast_max_pool_winners(x, window, stride, padding), default=plain
    )
    return y, (x, winners)


def _max_pool_backward(window, stride, padding, residuals, grad):
    def plain(x, winners, grad):
        pool = functools.partial(plain_max_pool, window=window, stride=stride, padding=padding)
        return jax.vjp(pool, x)[1](grad)[0]

    def fast(x, winners, grad):
        wide = grad.astype(accumulator(grad))
        zero = jnp.zeros((), wide.dtype)

        def share(row, column):
            return jnp.where(winners == np.uint8(row * window + column), wide, zero)

        return _spread(share, x, window, stride, padding)

    return (lax.platform_dependent(*residuals, grad, cpu=fast, default=plain),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _slices(x, window, stride, padding, fill):
    """Returns the pixel at each place of the window, for all windows: `[n, out_h, out_w, c]`."""
    x = lax.pad(x, jnp.asarray(fill, x.dtype), ((0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)))
    n, height, width, channels = x.shape
    last_row, last_column = ((size - window) // stride * stride + 1 for size in (height, width))
    return [
        lax.slice(
            x,
            (0, row, column, 0),
            (n, row + last_row, column + last_column, channels),
            (1, stride, stride, 1),
        )
        for row in range(window)
        for column in range(window)
    ]


def _fast_max_pool(x, window, stride, padding):
    """Returns the maximum, first along the rows and then along the columns.

    XLA fuses nothing with a windowed reduction: the layer before is computed once per pixel, and
    this one once for all that read it. A maximum of slices would be computed again by each.
    """
    for axis in (2, 1):
        sizes, strides, edges = [1] * 4, [1] * 4, [(0, 0)] * 4
        sizes[axis], strides[axis], edges[axis] = window, stride, padding[axis - 1]
        x = lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, sizes, strides, edges)
    return x


def _fast_max_pool_winners(x, window, stride, padding):
    """Returns the maximum and the place in the window (uint8) of the first pixel that has it."""
    best, *others = _slices(x, window, stride, padding, -np.inf)
    winners = jnp.zeros_like(best, jnp.uint8)
    for place, candidate in enumerate(others, start=1):
        better = candidate > best
        best = jnp.where(better, candidate, best)
        winners = jnp.where(better, np.uint8(place), winners)
    return _fast_max_pool(x, window, stride, padding), winners


def _spread(share, x, window, stride, padding):
    """Returns the gradient of `x` from the share of each window that goes to each of its places.

    `share` maps (row, column) of the window to float32 `[n, out_h, out_w, c]`; of the images `x`
    only shape and dtype are used. The shares of one place lie `stride` pixels apart, so the
    gradient is a sum of dilated and shifted maps: XLA makes one loop of it, without scattering.
    """

    def placed(row, column):
        part = share(row, column)
        edges = []
        for place, size, count, (before, _) in zip(
            (row, column), x.shape[1:3], part.shape[1:3], padding, strict=True
        ):
            first = place - before
            edges.append((first, size - 1 - first - (count - 1) * stride, stride - 1))
        return lax.pad(part, jnp.zeros((), part.dtype), ((0, 0, 0), *edges, (0, 0, 0)))

    places = [(row, column) for row in range(window) for column in range(window)]
    return functools.reduce(lax.add, [placed(*place) for place in places]).astype(x.dtype)


def avg_pool(x: jax.Array, *, window: int, stride: int, padding: Padding) -> jax.Array:
    """Returns the mean over square windows, of the pixels that a window really covers.

    Args:
      x: `[n, h, w, c]`, float32 or bfloat16; summed in float32.
      window: height and width in pixels.
      stride: pixels between neighbouring windows.
      padding: (rows before, after), (columns before, after); never counted.

    Returns:
      `[n, out_h, out_w, c]`, of the dtype of `x`.

    Source: 2012 code, pooling type `avg`.
    """
    return _avg_pool(x, window, stride, padding)


def plain_avg_pool(x: jax.Array, *, window: int, stride: int, padding: Padding) -> jax.Array:
    """Defines `avg_pool`: the same arguments, in `lax` operations.

    Args:
      x: float `[n, h, w, c]`.
      window: height and width, pixels.
      stride: pixels between neighbouring windows.
      padding: (rows before, after), (columns before, after).
    """
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _avg_pool(x, window, stride, padding):
    return lax.platform_dependent(
        x,
        cpu=lambda x: _fast_avg_pool(x, window, stride, padding),
        default=functools.partial(plain_avg_pool, window=window, stride=stride, padding=padding),
    )


def _fast_avg_pool(x, window, stride, padding):
    total = functools.reduce(lax.add, _slices(x.astype(accumulator(x)), window, stride, padding, 0))
    return (total * _inverse_counts(x, window, stride, padding)).astype(x.dtype)


def _avg_pool_forward(x, window, stride, padding):
    return _avg_pool(x, window, stride, padding), x


def _avg_pool_backward(window, stride, padding, x, grad):
    def plain(x, grad):
        pool = functools.partial(plain_avg_pool, window=window, stride=stride, padding=padding)
        return jax.vjp(pool, x)[1](grad)[0]

    def fast(x, grad):
        scaled = grad.astype(accumulator(grad)) * _inverse_counts(x, window, stride, padding)
        return _spread(lambda row, column: scaled, x, window, stride, padding)

    return (lax.platform_dependent(x, grad, cpu=fast, default=plain),)


_avg_pool.defvjp(_avg_pool_forward, _avg_pool_backward)


def adaptive_avg_pool(x: jax.Array, size: int) -> jax.Array:
    """Returns the mean over `size` x `size` windows that cover the image whatever its size.

    Window i covers rows `floor(i h / size)` to `ceil((i + 1) h / size)`, exclusive; windows may
    overlap by a row. The same for columns.

    Args:
      x: `[n, h, w, c]`, float32 or bfloat16; summed in float32.
      size: rows and columns of the result.

    Returns:
      `[n, size, size, c]`, of the dtype of `x`.

    Source: PyTorch's AdaptiveAvgPool2d.
    """
    if x.shape[1:3] == (size, size):
        return x
    wide = x.astype(accumulator(x))
    rows, columns = (_adaptive_matrix(extent, size) for extent in x.shape[1:3])
    out = jnp.einsum(
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
