"""The fit of an RGB image to the stored square: the shorter side rescaled, the centre kept (§2).

As in 2012 (cuda-convnet2 `make-data`): area averaging to shrink, bicubic to enlarge, offset
`floor((length - size) / 2)`.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

_MAX_EXACT_FACTOR = 8.0


def fit_square(image: Image.Image, size: int) -> np.ndarray:
    """Rescales the shorter side to `size` and keeps the central square, uint8 [size, size, 3]."""
    width, height = image.size
    shorter = min(width, height)
    new_width = max(size, round(width * size / shorter))
    new_height = max(size, round(height * size / shorter))
    left, top = (new_width - size) // 2, (new_height - size) // 2
    if shorter == size:
        return np.asarray(image.crop((left, top, left + size, top + size)))
    across, down = width / new_width, height / new_height  # source pixels per stored pixel
    if 1 < shorter / size <= _MAX_EXACT_FACTOR:
        vertical = _windows(height, down, top, size)
        horizontal = _windows(width, across, left, size)
        pixels = np.asarray(image)[vertical.part, horizontal.part]
        rows = _average(pixels, down, vertical)  # [size, width, 3]
        columns = _average(np.ascontiguousarray(rows.transpose(1, 0, 2)), across, horizontal)
        return np.rint(columns.transpose(1, 0, 2)).astype(np.uint8)
    # Beyond that factor Pillow's box filter, which takes or leaves whole pixels, is as good.
    method = Image.Resampling.BOX if shorter > size else Image.Resampling.BICUBIC
    box = (left * across, top * down, (left + size) * across, (top + size) * down)
    box = (box[0], box[1], min(box[2], width), min(box[3], height))
    return np.asarray(image.resize((size, size), method, box=box))


class _Windows(NamedTuple):
    """Adjoining windows of equal length over a line of pixels, in fractions of pixels."""

    part: slice  # the pixels that they touch
    whole: np.ndarray  # int64 [count + 1], the pixel of `part` that holds each edge
    fraction: np.ndarray  # float64 [count + 1], how far into that pixel


def _windows(length: int, scale: float, first: int, count: int) -> _Windows:
    """Returns windows [(first + i) * scale, (first + i + 1) * scale), i < count, for scale >= 1."""
    edges = (first + np.arange(count + 1)) * scale
    part = slice(int(edges[0]), min(int(np.ceil(edges[-1])) + 1, length))
    edges = np.minimum(edges - part.start, part.stop - part.start)
    whole = np.minimum(edges.astype(np.int64), part.stop - part.start - 1)
    return _Windows(part, whole, edges - whole)


def _average(pixels: np.ndarray, scale: float, windows: _Windows) -> np.ndarray:
    """Averages rows, [rows, columns, 3], over windows of `scale` rows: float64 [count, columns, 3].

    A window's sum is the difference of two integrals; the integral up to a fractional row is the
    sum of the rows before it plus that fraction of the row. One row at a time stays in the
    processor's cache: a cumulative sum over the whole photo takes ten times as long.
    """
    whole, fraction = windows.whole.tolist(), windows.fraction.tolist()
    total = np.zeros(pixels.shape[1:])  # [columns, 3]
    before = total + fraction[0] * pixels[whole[0]]
    averages = np.empty((len(whole) - 1, *pixels.shape[1:]))
    for i in range(len(averages)):
        rows = pixels[whole[i] : whole[i + 1]]
        if rows.dtype == np.uint8:  # whole numbers, exact in any order; at most 2**8 rows
            total += np.add.reduce(rows, axis=0, dtype=np.uint16)
        else:
            for row in rows:
                total += row
        integral = total + fraction[i + 1] * pixels[whole[i + 1]]
        np.subtract(integral, before, out=averages[i])
        before = integral
    averages /= scale
    return averages
