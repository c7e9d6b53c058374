"""Minimal filtering: convolutions of stride 1 with fewer multiplications than a direct product.

Winograd's F(m, r), nested, computes `m * m` outputs of an `r * r` window in `n * n`
multiplications, `n = m + r - 1`: for F(5, 3) 49 instead of 225. Tiles of the images and the filters
are transformed, multiplied element by element (over channels and filters: one matrix product for
each of the `n * n` elements), and transformed back. Source: Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks (2015); Winograd (1980).
"""

import functools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]
"""(rows before, after), (columns before, after), in pixels."""
Matrices = tuple[np.ndarray, np.ndarray, np.ndarray]

# In which the polynomials are evaluated; infinity is the last point of every tile.
_POINTS = tuple(Fraction(point) for point in ("0", "1", "-1", "2", "-2", "1/2", "-1/2"))

# Tiles by window, of at least `window - 1` and with at most 8 points.
_TILES = {3: (2, 3, 4, 5, 6), 5: (4,)}
# The form is chosen where it needs so many times fewer multiplications: found by timing every
# convolution of our networks in both forms, for 1, 4, 16 and 128 images, on two CPU cores.
_MIN_GAIN = 1.7
# Windows whose tiles are cut and transformed along one axis, then along the other: 16 instead of 64
# multiplications for a value, but the tiles are copied twice. For others both at once is as fast.
_ONE_AXIS_AT_A_TIME = (5,)


@functools.cache
def matrices(tile: int, window: int) -> Matrices:
    """Returns float64 A `[tile, n]`, G `[n, window]`, B `[n, n]` of F(tile, window) (Cook-Toom).

    The outputs of an input `d` of `n = tile + window - 1` values are `A @ ((G @ g) * (B @ d))`.
    Raises `ValueError` for an `n` above 8, where float32 loses too many digits.
    """
    n = tile + window - 1
    if n > len(_POINTS) + 1:
        raise ValueError(f"F({tile}, {window}) needs {n} points; there are {len(_POINTS) + 1}")

    def powers(count: int) -> np.ndarray:
        rows = [[point**power for power in range(count)] for point in _POINTS[: n - 1]]
        return np.array([*rows, [0] * (count - 1) + [1]], dtype=object)

    # The product of two polynomials of `tile` and `window` coefficients is found from its values
    # at n points; the transpose of that computation is the filter.
    a, g, b = powers(tile).T, powers(window), _inverse(powers(n)).T
    for i in range(n):  # Rows of like size keep the rounding errors small.
        ratio = float(abs(g[i]).sum() / abs(b[i]).sum())
        factor = Fraction(2) ** round(math.log2(ratio) / 2)
        g[i], b[i] = g[i] / factor, b[i] * factor
    return a.astype(np.float64), g.astype(np.float64), b.astype(np.float64)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Gauss-Jordan elimination, in exact fractions."""
    n = len(matrix)
    rows = np.concatenate([matrix, np.eye(n, dtype=int)], axis=1) * Fraction(1)
    for i in range(n):
        pivot = next(j for j in range(i, n) if rows[j, i])
        rows[[i, pivot]] = rows[[pivot, i]]
        rows[i] /= rows[i, i]
        for j in set(range(n)) - {i}:
            rows[j] -= rows[j, i] * rows[i]
    return rows[:, n:]


@functools.cache
def _transforms(tile: int, window: int) -> Matrices:
    """Returns A, G, B for both axes of flattened tiles; columns of B as `_tiles` has them."""
    a, g, b = (np.kron(matrix, matrix) for matrix in matrices(tile, window))
    n = tile + window - 1
    places, runs = np.arange(n * n).reshape(n, n), (slice(tile), slice(tile, n))
    return a, g, b[:, np.concatenate([places[i, j].ravel() for i in runs for j in runs])]


def _apply(matrix: np.ndarray, tiles: jax.Array) -> jax.Array:
    """Transforms flattened tiles `[places, count, channels]`."""
    flat = tiles.reshape(tiles.shape[0], -1)
    transform = jnp.asarray(matrix, tiles.dtype)
    out = jnp.matmul(transform, flat, precision=lax.Precision.HIGHEST)
    return out.reshape(-1, *tiles.shape[1:])


def squares(x: jax.Array, size: int, counts: tuple[int, int], before: tuple[int, int]) -> jax.Array:
    """Returns images `[n, h, w, c]` cut into squares, `[n, rows, size, columns, size, c]`.

    `counts` are rows and columns of squares; zeros are added, or pixels cut off, where they end
    elsewhere. `before` are the zeros before the first; negative: so many pixels are cut off.
    """
    x = _padded(x, (counts[0] * size, counts[1] * size), before)
    return x.reshape(x.shape[0], counts[0], size, counts[1], size, x.shape[3])


def _padded(x: jax.Array, extents: tuple[int, int], before: tuple[int, int]) -> jax.Array:
    edges = [
        (zeros, extent - size - zeros, 0)
        for zeros, extent, size in zip(before, extents, x.shape[1:3], strict=True)
    ]
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))


def _tiles(x: jax.Array, tile: int, window: int, counts: tuple[int, int]) -> jax.Array:
    """Returns overlapping squares of `tile + window - 1` pixels, `[places, batch * tiles, c]`."""
    (rows, columns), n, channels = counts, x.shape[0], x.shape[3]
    x = x.reshape(n, rows + 1, tile, columns + 1, tile, channels)
    x = x.transpose(2, 4, 0, 1, 3, 5)  # [tile, tile, n, rows + 1, columns + 1, channels]
    # XLA's CPU backend takes these four parts faster than one slice for each place.
    parts = [
        x[:height, :width, :, i : i + rows, j : j + columns]
        for i, height in enumerate((tile, window - 1))
        for j, width in enumerate((tile, window - 1))
    ]
    return jnp.concatenate([part.reshape(-1, n * rows * columns, channels) for part in parts])


def _transformed(
    x: jax.Array, tile: int, window: int, counts: tuple[int, int], before: tuple[int, int]
) -> jax.Array:
    """Returns B applied to both axes of the overlapping squares, `[places, batch * tiles, c]`."""
    rows, columns = counts
    x = _padded(x, ((rows + 1) * tile, (columns + 1) * tile), before)
    if window not in _ONE_AXIS_AT_A_TIME:
        return _apply(_transforms(tile, window)[2], _tiles(x, tile, window, counts))
    b = matrices(tile, window)[2]
    for count in (columns, rows):  # [n, h, w, c], [places, n, h, columns, c]
        x = _apply(b, jnp.stack(_every(x, 2, tile, count, len(b))))
    return x.reshape(len(b) ** 2, -1, x.shape[-1])


def _transformed_gradient(
    grad: jax.Array, a: np.ndarray, tile: int, counts: tuple[int, int]
) -> jax.Array:
    """Returns A transposed, applied to squares of `tile` pixels, `[places, batch * tiles, c]`."""
    # A slice for each place: a transposition takes XLA's CPU backend two to three times as long.
    grad = _padded(grad, (counts[0] * tile, counts[1] * tile), (0, 0))
    squares = [
        place.reshape(-1, grad.shape[3])
        for row in _every(grad, 1, tile, counts[0], tile)
        for place in _every(row, 2, tile, counts[1], tile)
    ]
    return _apply(a.T, jnp.stack(squares))


def _every(x: jax.Array, axis: int, stride: int, count: int, places: int) -> list[jax.Array]:
    """Returns for each place every `stride`-th pixel from it on, `count` of them."""
    length = (count - 1) * stride + 1
    return [lax.slice_in_dim(x, i, i + length, stride, axis) for i in range(places)]


def best_tile(
    x: jax.Array | jax.ShapeDtypeStruct, kernel: jax.Array | jax.ShapeDtypeStruct, padding: Padding
) -> int | None:
    """Returns the tile for `convolve`; None: directly is faster. A symbolic batch is large."""
    (window, width, channels, features), batch = kernel.shape, x.shape[0]
    if window != width:
        return None
    batch = batch if isinstance(batch, int) else 128
    out = [s + sum(p) - window + 1 for s, p in zip(x.shape[1:3], padding, strict=True)]

    def multiplications(tile: int) -> float:
        n = tile + window - 1
        tiles = -(-out[0] // tile) * -(-out[1] // tile)
        per_tile = n**2 * (n**2 * channels + channels * features + tile**2 * features)
        return tiles * per_tile + n**2 * window**2 * channels * features / batch

    tile = min(_TILES.get(window, ()), key=multiplications, default=None)
    direct = math.prod(out) * window**2 * channels * features
    return tile if tile and direct > _MIN_GAIN * multiplications(tile) else None


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: jax.Array, kernel: jax.Array, padding: Padding, tile: int) -> jax.Array:
    """Returns the cross-correlation with stride 1, `[n, out_h, out_w, features]`.

    `x` is float `[n, h, w, c]`, `kernel` `[window, window, c, features]`. Negative padding cuts
    pixels off. `tile` is the number of outputs along a side of a tile, at least `window - 1`.
    """
    window = kernel.shape[0]
    out = [s + sum(p) - window + 1 for s, p in zip(x.shape[1:3], padding, strict=True)]
    counts = (-(-out[0] // tile), -(-out[1] // tile))
    a, g, _ = _transforms(tile, window)
    # With m = tile, places = (m + window - 1)^2 and `tiles` of all images:
    v = _transformed(x, tile, window, counts, (padding[0][0], padding[1][0]))
    # v: [places, tiles, c]
    u = _apply(g, kernel.reshape(window**2, *kernel.shape[2:]))  # [places, c, features]
    y = _apply(a, jnp.matmul(v, u, precision=lax.Precision.HIGHEST))  # [m * m, tiles, features]
    y = y.reshape(tile, tile, x.shape[0], *counts, -1)  # [m, m, n, rows, columns, features]
    y = y.transpose(2, 3, 0, 4, 1, 5)  # [n, rows, m, columns, m, features]
    y = y.reshape(x.shape[0], counts[0] * tile, counts[1] * tile, -1)
    return y[:, : out[0], : out[1]]


def _forward(x, kernel, padding, tile):
    return convolve(x, kernel, padding, tile), (x, kernel)


def _backward(padding, tile, residuals, grad):
    x, kernel = residuals
    given = (x, kernel, grad, padding, tile)
    return _input_gradient(*given), _filter_gradient(*given)


convolve.defvjp(_forward, _backward)


def _input_gradient(x, kernel, grad, padding, tile):
    window = kernel.shape[0]
    rows, columns = (
        (window - 1 - before, extent + before - out)
        for (before, _), extent, out in zip(padding, x.shape[1:3], grad.shape[1:3], strict=True)
    )
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    return convolve(grad, turned, (rows, columns), tile)


def _filter_gradient(x, kernel, grad, padding, tile):
    counts = (-(-grad.shape[1] // tile), -(-grad.shape[2] // tile))
    a, g, _ = _transforms(tile, kernel.shape[0])
    v = _transformed(x, tile, kernel.shape[0], counts, (padding[0][0], padding[1][0]))
    w = _transformed_gradient(grad, a, tile, counts)
    # v: [places, tiles, c], w: [places, tiles, features], u: [places, c, features]
    u = lax.dot_general(v, w, (((1,), (1,)), ((0,), (0,))), precision=lax.Precision.HIGHEST)
    return _apply(g.T, u).reshape(kernel.shape)
