"""The fit of an RGB image to the stored square: the shorter side rescaled, the centre kept (§2).

As in 2012 (cuda-convnet2 `make-data`): area averaging to shrink, bicubic to enlarge, offset
`floor((length - size) / 2)`. Rows and columns are weighted by products with narrow bands of a
matrix. All weights are whole numbers, and the type of a product holds all of its sums exactly: the
bits are the same with every processor and every order of adding.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.data.resampling import Taps, area, bicubic

_MAX_BLOCK, _BAND = 8, 20  # outputs of one product, and pixels for them: few of them weigh nothing
_FLOAT32_WHOLE = 1 << 24  # whole numbers up to here
# Of bicubic weights, as parts of one, and of the levels between the two products.
_ROW_UNIT, _COLUMN_UNIT, _LEVEL_UNIT = 1 << 14, 1 << 11, 1 << 4


class _Axis(NamedTuple):
    """How outputs along one axis come from the pixels between two places, block by block."""

    used: slice
    # outputs, pixels counted from the first used one, weights of one product: of rows
    # [outputs, pixels], of columns [3 * pixels, 3 * outputs] with slices of colours
    blocks: list[tuple[slice, slice, np.ndarray]]


def fit_square(image: Image.Image | np.ndarray, size: int) -> np.ndarray:
    """Rescales the shorter side to `size` and keeps the central square, uint8 [size, size, 3]."""
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    new_height = max(size, round(height * size / shorter))
    new_width = max(size, round(width * size / shorter))
    top, left = (new_height - size) // 2, (new_width - size) // 2
    if shorter == size:
        return np.ascontiguousarray(pixels[top : top + size, left : left + size])
    down, across = (height, new_height, top, size), (width, new_width, left, size)
    return (_shrunk if shorter > size else _enlarged)(pixels, down, across)


def _shrunk(pixels: np.ndarray, down: Any, across: Any) -> np.ndarray:
    height, width = pixels.shape[:2]
    exact = np.float32 if 255 * height <= _FLOAT32_WHOLE else np.float64
    columns = _column_axis(across, area, np.float64)
    sums = _columns(_rows(pixels[:, columns.used], _row_axis(down, area, exact)), columns)
    sums /= height * width
    return _as_pixels(np.rint(sums, out=sums))


def _enlarged(pixels: np.ndarray, down: Any, across: Any) -> np.ndarray:
    columns = _column_axis(across, _bicubic_columns, np.float32)
    levels = _rows(pixels[:, columns.used], _row_axis(down, _bicubic_rows, np.float32))
    levels *= _LEVEL_UNIT / _ROW_UNIT
    levels = _columns(np.rint(levels, out=levels), columns)
    levels *= 1 / (_LEVEL_UNIT * _COLUMN_UNIT)
    return _as_pixels(np.clip(np.rint(levels, out=levels), 0, 255, out=levels))


def _rows(pixels: np.ndarray, axis: _Axis) -> np.ndarray:
    """Weights rows of uint8 [height, width, 3]: float [size, 3 * width]."""
    pixels = pixels[axis.used]
    kind = axis.blocks[0][2].dtype
    result = np.empty((axis.blocks[-1][0].stop, 3 * pixels.shape[1]), kind)
    for outputs, part, weights in axis.blocks:
        # Converted block by block, which stays in the processor's cache.
        values = pixels[part].astype(kind, order="C")
        np.matmul(weights, values.reshape(len(values), -1), out=result[outputs])
    return result


def _columns(rows: np.ndarray, axis: _Axis) -> np.ndarray:
    """Weights columns: float [size, 3 * size]."""
    kind = axis.blocks[0][2].dtype
    result = np.empty((len(rows), axis.blocks[-1][0].stop), kind)
    rows = rows.astype(kind, copy=False)
    for outputs, part, weights in axis.blocks:
        np.matmul(rows[:, part], weights, out=result[:, outputs])
    return result


def _as_pixels(levels: np.ndarray) -> np.ndarray:
    return levels.astype(np.uint8).reshape(len(levels), -1, 3)


def _bicubic_rows(length: int, new_length: int, outputs: np.ndarray) -> Taps:
    return bicubic(length, new_length, outputs, _ROW_UNIT)


def _bicubic_columns(length: int, new_length: int, outputs: np.ndarray) -> Taps:
    return bicubic(length, new_length, outputs, _COLUMN_UNIT)


@functools.lru_cache(maxsize=64)
def _row_axis(line: tuple[int, ...], method: Callable[..., Taps], kind: Any) -> _Axis:
    size = line[3]
    starts, weights = _bands(line, method, kind)
    used, parts = _parts(starts, weights.shape[2])
    outputs = _outputs(size, weights.shape[1])
    pairs = zip(outputs, parts, weights, strict=True)
    return _Axis(used, [(out, part, w[: out.stop - out.start]) for out, part, w in pairs])


@functools.lru_cache(maxsize=64)
def _column_axis(line: tuple[int, ...], method: Callable[..., Taps], kind: Any) -> _Axis:
    """The three colours of a pixel lie side by side, so the weights are spread over them."""
    starts, weights = _bands(line, method, kind)
    count, block, taps = weights.shape
    used, parts = _parts(starts, taps)
    spread = np.zeros((count, taps, 3, block, 3), kind)
    for colour in range(3):
        spread[:, :, colour, :, colour] = weights.transpose(0, 2, 1)
    triples = zip(_outputs(line[3], block), parts, spread, strict=True)
    return _Axis(used, [
        (_colours(out), _colours(part), w[..., : out.stop - out.start, :].reshape(3 * taps, -1))
        for out, part, w in triples
    ])  # fmt: skip


def _bands(
    line: tuple[int, ...], method: Callable[..., Taps], kind: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each block its first pixel, int [blocks], and weights [blocks, outputs, pixels].

    `line` is the length before and after, and the first and the number of outputs kept.
    """
    length, new_length, first, size = line
    block = max(1, min(_MAX_BLOCK, _BAND * new_length // length))
    count = -(-size // block)
    outputs = np.minimum(np.arange(count * block), size - 1)
    places, weights = method(length, new_length, first + outputs)
    places = places.reshape(count, block)
    taps = min(int((places[:, -1] - places[:, 0]).max()) + weights.shape[1], length)
    starts = np.minimum(places[:, 0], length - taps)
    inside = places[..., None] - starts[:, None, None] + np.arange(weights.shape[1])
    # Weights of pixels behind the last are zero; they get a place of their own.
    bands = np.zeros((count, block, taps + 1), kind)
    np.put_along_axis(bands, np.minimum(inside, taps), weights.reshape(count, block, -1), 2)
    return starts, bands[..., :taps]


def _parts(starts: np.ndarray, taps: int) -> tuple[slice, list[slice]]:
    begin, end = int(starts[0]), int(starts[-1]) + taps
    return slice(begin, end), [slice(start, start + taps) for start in (starts - begin).tolist()]


def _outputs(size: int, block: int) -> list[slice]:
    return [slice(begin, min(begin + block, size)) for begin in range(0, size, block)]


def _colours(part: slice) -> slice:
    return slice(3 * part.start, 3 * part.stop)
