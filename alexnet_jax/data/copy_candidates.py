"""Pairs of pictures that may show one photo: a quick look that leaves few of all pairs.

A picture, squeezed to a square, becomes 44 cosine coefficients (the lowest frequencies but the
mean, each weighted by its frequency, so that the largest shapes do not decide alone). Mirroring
changes only their signs, and a quarter turn exchanges rows and columns as well. Each of 50 windows
of every picture is compared with every whole picture, in all eight orientations, by correlation;
windows 0 to 30 % smaller, in steps of 10 %, stand for what a crop may have left.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

_FREQUENCIES = 8
_MOST_FREQUENCY = 7
_ROWS = 64  # pictures asked at once
# Products of this many rows and columns stay in the cache and in one thread: OpenBLAS with threads
# of its own is hundreds of times slower where other programs use the processor, too.
_COLUMNS = 360
_LEAST = 0.5
_KEPT_WHOLE, _KEPT_WINDOWS = 4, 8

Window = tuple[float, float, float, float]
WHOLE: tuple[Window, ...] = ((0.0, 0.0, 1.0, 1.0),)


def _windows() -> tuple[Window, ...]:
    found = list(WHOLE)
    for less in (1, 2, 3):
        places = [(0.1 * first, 1 - 0.1 * (less - first)) for first in range(less + 1)]
        found += [(x, y, right, low) for x, right in places for y, low in places]
        found += [(x, 0.0, right, 1.0) for x, right in places]
        found += [(0.0, y, 1.0, low) for y, low in places]
    found += [(edge, edge, 1 - edge, 1 - edge) for edge in (0.05, 0.15)]
    return tuple(found)


WINDOWS = _windows()
"""Left, top, right, bottom of the windows, as shares of width and height; the whole first."""


class Candidates(NamedTuple):
    """Pairs that a closer look is worth.

    Attributes:
      pairs: int64 [k, 2]: a picture, and one that may be a copy of a window of it.
      maps: float32 [k, 2, 3]: takes (x, y, 1) of the second, from -1/2 to 1/2, to the place in the
        first, from 0 to 1.
    """

    pairs: np.ndarray
    maps: np.ndarray


def of_wholes(grey: np.ndarray) -> np.ndarray:
    """Returns float32 [n, 8, 8]: what `candidates` compares of whole pictures.

    Args:
      grey: uint8 [n, s, s]: pictures squeezed to squares.
    """
    parts = [_coefficients(grey[i : i + _ROWS], WHOLE[0]) for i in range(0, len(grey), _ROWS)]
    return np.concatenate(parts)


def candidates(
    grey: np.ndarray,
    known: np.ndarray,
    windows: tuple[Window, ...],
    asked: np.ndarray,
    threads: int,
) -> Candidates:
    """Returns the most alike pairs of each picture, in its whole and in its windows.

    Args:
      grey: uint8 [n, s, s]: pictures squeezed to squares.
      known: from `of_wholes`, of all of them.
      windows: what may have been left by a crop, `WHOLE` or `WINDOWS`.
      asked: int64 [m]: pictures whose like is looked for among all.
      threads: that work at once.
    """
    blocks = [_parts(known[i : i + _COLUMNS]) for i in range(0, len(known), _COLUMNS)]
    chunks = [asked[i : i + _ROWS] for i in range(0, len(asked), _ROWS)]
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda rows: _most_alike(grey, known, blocks, windows, rows), chunks))
    pairs = [part.pairs for part in found] or [np.zeros((0, 2), np.int64)]
    maps = [part.maps for part in found] or [np.zeros((0, 2, 3), np.float32)]
    return Candidates(np.concatenate(pairs), np.concatenate(maps))


_u = np.arange(_FREQUENCIES)
_SQUARED = _u[:, None] ** 2 + _u**2
_WEIGHTS = np.sqrt(_SQUARED) * (_SQUARED <= _MOST_FREQUENCY**2)
# The coefficients by the parity of their two frequencies: even even, odd odd, even odd, odd even.
_PARTS = [
    np.flatnonzero((_WEIGHTS > 0) & (_u[:, None] % 2 == vertical) & (_u % 2 == horizontal))
    for vertical, horizontal in ((0, 0), (1, 1), (0, 1), (1, 0))
]
# Their signs as they are, mirrored left to right, top to bottom, and both.
_SIGNS = np.stack(
    [np.outer(v, h).ravel() for v in ((-1.0) ** (0 * _u), (-1.0) ** _u)
     for h in ((-1.0) ** (0 * _u), (-1.0) ** _u)]
).astype(np.float32)  # fmt: skip


def _coefficients(grey: np.ndarray, window: Window) -> np.ndarray:
    """Returns float32 [n, 8, 8] of length 1, of a window of pictures; of flat ones zeros."""
    left, top, right, bottom = window
    size = grey.shape[1]
    values = _waves(top, bottom, size) @ grey.astype(np.float32) @ _waves(left, right, size).T
    values *= _WEIGHTS.astype(np.float32)
    lengths = np.sqrt((values**2).sum((1, 2), keepdims=True))
    return np.where(lengths > 0.5, values / np.maximum(lengths, 1e-9), 0)


def _waves(first: float, last: float, size: int) -> np.ndarray:
    """Returns float32 [8, size]: cosines between two places, averaged in the pixels; else 0."""
    fine = 8
    x = (np.arange(size * fine) + 0.5) / (size * fine)
    waves = np.cos(np.pi * _u[:, None] * (x - first) / (last - first))
    waves *= (x >= first) & (x <= last)
    return (waves.reshape(len(_u), size, fine).mean(2) / (last - first) / size).astype(np.float32)


def _parts(values: np.ndarray) -> list[np.ndarray]:
    flat = values.reshape(len(values), -1)
    return [np.ascontiguousarray(flat[:, part]) for part in _PARTS]


def _best_of_four(rows: list[np.ndarray], columns: list[np.ndarray]) -> np.ndarray:
    """Returns the largest correlation over the four mirrorings, [rows, columns].

    These are ee + oo ± (eo + oe) and ee - oo ± (eo - oe), of the products of the parts.
    """
    same, both, across, down = (row @ column.T for row, column in zip(rows, columns, strict=True))
    plain = same + both
    same -= both
    np.add(across, down, out=both)
    across -= down
    plain += np.abs(both, out=both)
    same += np.abs(across, out=across)
    return np.maximum(plain, same, out=plain)


def _most_alike(
    grey: np.ndarray,
    known: np.ndarray,
    blocks: list[list[np.ndarray]],
    windows: tuple[Window, ...],
    rows: np.ndarray,
) -> Candidates:
    asked = np.stack([_coefficients(grey[rows], window) for window in windows])
    best = np.full((2, len(rows), len(known)), -1, np.float32)
    for number, values in enumerate(asked):
        for turned in (values, values.transpose(0, 2, 1)):
            parts = _parts(turned)
            for index, block in enumerate(blocks):
                place = slice(index * _COLUMNS, index * _COLUMNS + len(block[0]))
                target = best[int(number > 0), :, place]
                np.maximum(target, _best_of_four(parts, block), out=target)
    best[:, np.arange(len(rows)), rows] = -1
    taken = []
    for values, count in zip(best, (_KEPT_WHOLE, _KEPT_WINDOWS), strict=True):
        count = min(count, len(known))
        top = np.argpartition(-values, count - 1, axis=1)[:, :count]
        row, column = np.nonzero(np.take_along_axis(values, top, 1) >= _LEAST)
        taken.append(np.stack([row, top[row, column]], 1))
    local = np.unique(np.concatenate(taken), axis=0)
    maps = _maps(asked, known, windows, local)
    return Candidates(np.stack([rows[local[:, 0]], local[:, 1]], 1), maps)


def _maps(
    asked: np.ndarray, known: np.ndarray, windows: tuple[Window, ...], local: np.ndarray
) -> np.ndarray:
    """Returns float32 [k, 2, 3] for the window and orientation in which each pair is most alike."""
    first, second = local.T
    other = known[second].reshape(len(local), _FREQUENCIES**2)
    scores = []
    for values in asked:
        for turned in (values, values.transpose(0, 2, 1)):
            scores.append((turned[first].reshape(other.shape) * other) @ _SIGNS.T)
    best = np.concatenate(scores, 1).argmax(1)  # window, turned, mirrored
    corners = np.array(windows, np.float32)[best // 8]
    sides = np.stack([1 - 2 * (best % 2), 1 - 2 * (best // 2 % 2)], 1).astype(np.float32)
    maps = np.zeros((len(local), 2, 3), np.float32)
    turned = best // 4 % 2 == 1
    lengths = corners[:, 2:] - corners[:, :2]
    straight, pairs = np.flatnonzero(~turned), np.flatnonzero(turned)
    for axis in (0, 1):
        maps[straight, axis, axis] = (sides * lengths)[straight, axis]
        maps[pairs, axis, 1 - axis] = sides[pairs, 1 - axis] * lengths[pairs, axis]
    maps[:, :, 2] = (corners[:, :2] + corners[:, 2:]) / 2
    return maps
