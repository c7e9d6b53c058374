"""Pairs of pictures that may show one photo: a quick comparison that keeps few of all pairs.

A picture, squeezed to a square, becomes 44 cosine coefficients, weighted by frequency so that the
largest shapes do not decide alone. Mirroring changes only their signs, and a quarter turn exchanges
rows and columns. Each of 50 windows of every picture, 0 to 30 % smaller, is correlated with every
whole picture. Stripes, cloth and grass are alike in these coefficients: such textures, if their
dark and light colours agree, are cross-correlated at every place.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.data.copy_alignment import two_tones

_FREQUENCIES = 8
_MAX_FREQUENCY = 7
_ROWS = 64  # pictures at once
# Products of this many rows and columns stay in the cache and in one thread: OpenBLAS with threads
# of its own is hundreds of times slower where other programs use the processor, too.
_COLUMNS = 360
_MIN_CORRELATION = 0.5
_KEPT_WHOLE, _KEPT_WINDOWS = 4, 8

_LOW_CELLS = 8  # across; a fine picture has little variance in them
_MAX_LOW_SHARE = 0.15  # of the variance in these cells
_MIN_DEVIATION = 4.0  # grey levels
_MAX_NEAREST = 6
_MAX_DISTANCE = 12.0  # grey levels between their colours
_SCALES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
_TEXTURE_ROWS = 512  # pictures at once

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
    """Pairs that may be copies: the second of a window of the first.

    A map takes (x, y, 1) of the second, from -1/2 to 1/2, to the place in the first, from 0 to 1.
    """

    pairs: np.ndarray  # int64 [k, 2]
    maps: np.ndarray  # float32 [k, 2, 3]


def whole_coefficients(grey: np.ndarray) -> np.ndarray:
    """Returns float32 [n, 8, 8], the coefficients of whole pictures, uint8 [n, s, s]."""
    parts = [_coefficients(grey[i : i + _ROWS], WHOLE[0]) for i in range(0, len(grey), _ROWS)]
    return np.concatenate(parts)


def candidates(
    grey: np.ndarray,  # uint8 [n, s, s]: pictures squeezed to squares
    known: np.ndarray,  # float32 [n, 8, 8], from `whole_coefficients`
    windows: tuple[Window, ...],
    queries: np.ndarray,  # int64 [m]: pictures that are compared with all
    threads: int,
) -> Candidates:
    """Returns the most similar pictures of each query, by the whole picture and by its windows."""
    blocks = [_parts(known[i : i + _COLUMNS]) for i in range(0, len(known), _COLUMNS)]
    chunks = [queries[i : i + _ROWS] for i in range(0, len(queries), _ROWS)]
    with ThreadPoolExecutor(threads) as pool:
        found = list(
            pool.map(lambda rows: _most_similar(grey, known, blocks, windows, rows), chunks)
        )
    pairs = [part.pairs for part in found] or [np.zeros((0, 2), np.int64)]
    maps = [part.maps for part in found] or [np.zeros((0, 2, 3), np.float32)]
    return Candidates(np.concatenate(pairs), np.concatenate(maps))


_u = np.arange(_FREQUENCIES)
_SQUARED = _u[:, None] ** 2 + _u**2
_WEIGHTS = np.sqrt(_SQUARED) * (_SQUARED <= _MAX_FREQUENCY**2)
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
    """Returns float32 [n, 8, 8] of length 1, of a window of pictures; zeros for flat ones."""
    left, top, right, bottom = window
    size = grey.shape[1]
    # [8, s] @ [n, s, s] @ [s, 8]
    values = _waves(top, bottom, size) @ grey.astype(np.float32) @ _waves(left, right, size).T
    values *= _WEIGHTS.astype(np.float32)
    lengths = np.sqrt((values**2).sum((1, 2), keepdims=True))
    return np.where(lengths > 0.5, values / np.maximum(lengths, 1e-9), 0)


def _waves(first: float, last: float, size: int) -> np.ndarray:
    """Returns float32 [8, size]: cosines from `first` to `last`, pixel averages; 0 elsewhere."""
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


def _most_similar(
    grey: np.ndarray,
    known: np.ndarray,
    blocks: list[list[np.ndarray]],
    windows: tuple[Window, ...],
    rows: np.ndarray,
) -> Candidates:
    queries = np.stack([_coefficients(grey[rows], window) for window in windows])  # [w, r, 8, 8]
    best = np.full((2, len(rows), len(known)), -1, np.float32)  # of the whole, of the windows
    for number, values in enumerate(queries):
        for turned in (values, values.transpose(0, 2, 1)):
            parts = _parts(turned)
            for index, block in enumerate(blocks):
                place = slice(index * _COLUMNS, index * _COLUMNS + len(block[0]))
                target = best[int(number > 0), :, place]
                np.maximum(target, _best_of_four(parts, block), out=target)
    best[:, np.arange(len(rows)), rows] = -1  # no picture is a copy of itself
    taken = []
    for values, count in zip(best, (_KEPT_WHOLE, _KEPT_WINDOWS), strict=True):
        count = min(count, len(known))
        top = np.argpartition(-values, count - 1, axis=1)[:, :count]
        row, column = np.nonzero(np.take_along_axis(values, top, 1) >= _MIN_CORRELATION)
        taken.append(np.stack([row, top[row, column]], 1))
    local = np.unique(np.concatenate(taken), axis=0)
    maps = _maps(queries, known, windows, local)
    return Candidates(np.stack([rows[local[:, 0]], local[:, 1]], 1), maps)


def _maps(
    queries: np.ndarray, known: np.ndarray, windows: tuple[Window, ...], local: np.ndarray
) -> np.ndarray:
    """Returns float32 [k, 2, 3] for the window and orientation in which each pair is most alike."""
    first, second = local.T
    other = known[second].reshape(len(local), _FREQUENCIES**2)
    scores = []
    for values in queries:
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


def _is_fine(grey: np.ndarray) -> np.ndarray:
    """Returns whether the variance of pictures, uint8 [n, s, s], is in fine texture, bool [n]."""
    size = grey.shape[1] // _LOW_CELLS
    found = [np.zeros(0, bool)]
    for first in range(0, len(grey), _TEXTURE_ROWS):
        part = grey[first : first + _TEXTURE_ROWS].astype(np.float32)
        cells = part.reshape(len(part), _LOW_CELLS, size, _LOW_CELLS, size).mean((2, 4))
        whole, low = part.var((1, 2)), cells.var((1, 2))
        found.append((whole > _MIN_DEVIATION**2) & (low < _MAX_LOW_SHARE * whole))
    return np.concatenate(found)


def texture_candidates(grey: np.ndarray, colour: np.ndarray, queries: np.ndarray) -> Candidates:
    """Returns finely textured pairs: uint8 [n, s, s] and [n, c, c, 3]; queries are int64 [m]."""
    fine = np.flatnonzero(_is_fine(grey))
    levels = grey[fine].reshape(len(fine), grey.shape[1] ** 2).astype(np.float32)
    tones = two_tones(colour[fine], levels).reshape(len(fine), 6)  # dark and light RGB
    pairs, maps = [np.zeros((0, 2), np.int64)], [np.zeros((0, 2, 3), np.float32)]
    for row in np.flatnonzero(np.isin(fine, queries)):
        apart = np.sqrt(((tones - tones[row]) ** 2).mean(1))
        apart[row] = np.inf
        near = np.argsort(apart, kind="stable")[:_MAX_NEAREST]
        near = near[apart[near] <= _MAX_DISTANCE]
        if len(near):
            pairs.append(np.stack([np.full(len(near), fine[row]), fine[near]], 1))
            maps.append(_best_places(grey[fine[row]], grey[fine[near]]))
    return Candidates(np.concatenate(pairs), np.concatenate(maps))


def _best_places(picture: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the maps, float32 [k, 2, 3], of others, uint8 [k, s, s], to their best fit."""
    size = len(picture)
    spectrum = np.fft.rfft2(picture - picture.mean())
    best = np.full(len(others), -np.inf)
    maps = np.zeros((len(others), 2, 3), np.float32)
    for scale in _SCALES:
        length = round(scale * size)
        small = np.stack([_resized(other, length) for other in others])
        small -= small.mean((1, 2), keepdims=True)
        small /= np.maximum(small.std((1, 2), keepdims=True), 1e-3) * length**2
        for turned, across, down in itertools.product((False, True), (1, -1), (1, -1)):
            laid = (small.transpose(0, 2, 1) if turned else small)[:, ::down, ::across]
            product = spectrum * np.conj(np.fft.rfft2(laid, (size, size)))
            room = size - length + 1
            fit = np.fft.irfft2(product, (size, size))[:, :room, :room]  # by place
            flat = fit.reshape(len(others), -1)
            place, value = flat.argmax(1), flat.max(1)
            better = value > best
            best[better] = value[better]
            top, left = place // room, place % room
            linear = np.diag([across * length / size, down * length / size])
            maps[better, :, :2] = linear @ [[0, 1], [1, 0]] if turned else linear
            middle = (np.stack([left, top], 1) + length / 2) / size
            maps[better, :, 2] = middle[better]
    return maps


def _resized(picture: np.ndarray, length: int) -> np.ndarray:
    image = Image.fromarray(picture.astype(np.float32))
    return np.asarray(image.resize((length, length), Image.Resampling.BILINEAR))
