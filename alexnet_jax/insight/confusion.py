"""Reads a confusion matrix, int `[classes, classes]`: rows are true classes, columns answers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RIGHT_COLOUR, WRONG_COLOUR = (66, 120, 176), (205, 72, 48)


class ClassError(NamedTuple):
    """Errors of one class: `error` is a fraction, `mistaken_for` the commonest wrong answer."""

    name: str
    images: int
    wrong: int
    error: float
    mistaken_for: str


class Pair(NamedTuple):
    """`images` images of class `actual` were taken for `predicted`, a `share` of that class."""

    actual: str
    predicted: str
    images: int
    share: float


def class_errors(confusion: np.ndarray, names: Sequence[str]) -> list[ClassError]:
    """Returns the classes that have images, worst first, ties in class order."""
    rows = []
    for index, row in enumerate(confusion):
        count, right = int(row.sum()), int(row[index])
        if count:
            others = row.copy()
            others[index] = 0
            worst = names[int(others.argmax())] if others.any() else ""
            rows.append(ClassError(names[index], count, count - right, 1 - right / count, worst))
    return sorted(rows, key=lambda row: -row.error)


def confused_pairs(confusion: np.ndarray, names: Sequence[str], limit: int) -> list[Pair]:
    """Returns the `limit` largest entries off the diagonal, largest first, ties in class order."""
    counts = np.array(confusion, np.int64)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:limit]
    pairs = []
    for place in order:
        i, j = divmod(int(place), len(counts))
        images = int(counts[i, j])
        if images:
            pairs.append(Pair(names[i], names[j], images, images / int(confusion[i].sum())))
    return pairs


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Returns float64 `[c, c]`: each row divided by its sum; rows without images stay zero."""
    totals = confusion.sum(axis=1, keepdims=True)  # [classes, 1]
    return confusion / np.maximum(totals, 1)


def heat_map(confusion: np.ndarray, side: int = 240) -> np.ndarray:
    """Returns the matrix as uint8 RGBA `[h, w, 4]`: right answers blue, mistakes red.

    Alpha is the square root of the share of the true class, so that a tenth can be seen. More
    than `side` classes are reduced by block maxima: a mean would hide single confusions.
    """
    shares = row_shares(confusion)
    right = np.diag(np.diag(shares))
    wrong, right = (np.sqrt(_block_maxima(x, side)) for x in (shares - right, right))
    picture = np.zeros((*wrong.shape, 4), np.uint8)
    picture[..., :3] = np.where((right > 0)[..., None], RIGHT_COLOUR, WRONG_COLOUR)
    picture[..., 3] = np.rint(255 * np.clip(np.where(right > 0, right, wrong), 0, 1))
    magnify = max(1, 4 * side // len(picture))
    return picture.repeat(magnify, axis=0).repeat(magnify, axis=1)


def _block_maxima(values: np.ndarray, side: int) -> np.ndarray:
    block = -(-len(values) // side)
    padded = np.pad(values, (0, -len(values) % block))
    count = len(padded) // block
    return padded.reshape(count, block, count, block).max(axis=(1, 3))
