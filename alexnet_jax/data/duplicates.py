"""Images that stand in two splits: the test is then easier than it says."""

from typing import NamedTuple

import numpy as np

from alexnet_jax.data.dataset import Split

MOST_IMAGES = 60_000
"""Sets with more are not searched, nor those whose images are smaller than `LEAST_SIZE` pixels."""
LEAST_SIZE = 24
_SIDE = 32
_ALIKE = 0.985  # photos that have nothing to do with each other seldom reach 0.8
_FLAT = 2.0  # grey levels; a deviation that says nothing
_CHUNK = 256


class Pair(NamedTuple):
    """A test image, the training image that is most like it, and the correlation of the two."""

    test: str
    training: str
    correlation: float


def near_duplicates(train: Split, test: Split) -> list[Pair] | None:
    """Returns the test images that look like a training image; None: it was not looked.

    Two images look alike where their grey levels, averaged in 32 x 32 cells, correlate by 0.985 or
    more: copies of another size, compression or brightness, not other photos of the same thing.
    Flat images are left out.

    Args:
      train: split of the training images.
      test: of the others.

    Raises:
      DataError: the files are damaged.
    """
    if len(train) + len(test) > MOST_IMAGES or train.stored_size < LEAST_SIZE:
        return None
    known, asked = _profiles(train), _profiles(test)
    pairs = []
    for first in range(0, len(asked), _CHUNK):
        correlations = asked[first : first + _CHUNK] @ known.T
        nearest = correlations.argmax(1)
        for row in np.flatnonzero(correlations.max(1) >= _ALIKE):
            index = int(nearest[row])
            pairs.append((first + int(row), index, float(correlations[row, index])))
    keys, names = (test.keys, train.keys) if pairs else ([], [])
    return [Pair(keys[index], names[other], round(value, 4)) for index, other, value in pairs]


def _profiles(split: Split) -> np.ndarray:
    """Returns float32 [n, cells]: grey levels of mean 0 and length 1, or zeros where it is flat."""
    parts = []
    for first in range(0, len(split), _CHUNK):
        images = split.images(np.arange(first, min(first + _CHUNK, len(split))))
        cells = _averaged(images @ np.array([0.299, 0.587, 0.114], np.float32))
        cells -= cells.mean(1, keepdims=True)
        lengths = np.linalg.norm(cells, axis=1, keepdims=True)
        flat = lengths < _FLAT * cells.shape[1] ** 0.5
        parts.append(np.where(flat, 0, cells / np.maximum(lengths, 1e-9)))
    return np.concatenate(parts)


def _averaged(grey: np.ndarray) -> np.ndarray:
    """Returns the means of float32 images [n, s, s] in at most 32 x 32 cells, [n, cells]."""
    size = grey.shape[1]
    count = min(_SIDE, size)
    edges = np.arange(count) * size // count
    widths = np.diff([*edges, size]).astype(np.float32)
    rows = np.add.reduceat(grey, edges, axis=1) / widths[:, None]
    cells = np.add.reduceat(rows, edges, axis=2) / widths
    return cells.reshape(len(grey), -1)
