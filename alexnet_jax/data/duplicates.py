"""Images that stand in two splits: the test is then easier than it says."""

from typing import NamedTuple

import numpy as np

from alexnet_jax.data.dataset import Split

MOST_IMAGES = 100_000
"""Sets with more are not searched, nor those whose images are smaller than `LEAST_SIZE` pixels."""
LEAST_SIZE = 24
_SIDE = 16
_BITS = _SIDE * _SIDE
_NEAR = 28  # of 256 bits; photos that have nothing to do with each other differ in about 128
_FLAT = 2.0  # grey levels: differences of neighbouring cells that say nothing
_CHUNK = 256


class Pair(NamedTuple):
    """A test image, the training image that is nearest to it, and in how many bits they differ."""

    test: str
    training: str
    differing_bits: int


def near_duplicates(train: Split, test: Split) -> list[Pair] | None:
    """Returns the test images that look like a training image; None: it was not looked.

    Two images look alike where at most 28 of the 256 signs agree not, by which the grey levels of a
    17 x 16 reduction rise or fall from left to right (a difference hash): copies of another size or
    compression, not other photos of the same thing. Flat images are left out.

    Args:
      train: split of the training images.
      test: of the others.

    Raises:
      DataError: the files are damaged.
    """
    if len(train) + len(test) > MOST_IMAGES or train.stored_size < LEAST_SIZE:
        return None
    (rows, known), (others, told) = _hashes(train), _hashes(test)
    pairs = []
    for first in range(0, len(told), _CHUNK):
        part = others[told[first : first + _CHUNK]]
        differing = np.bitwise_count(part[:, None, :] ^ rows[known][None, :, :]).sum(-1)
        if not differing.size:
            continue
        nearest = differing.argmin(1)
        for row in np.flatnonzero(differing[np.arange(len(part)), nearest] <= _NEAR):
            index, other = int(told[first + row]), int(known[nearest[row]])
            pairs.append((index, other, int(differing[row, nearest[row]])))
    if not pairs:
        return []
    keys, names = test.keys, train.keys
    return [Pair(keys[index], names[other], bits) for index, other, bits in pairs]


def _hashes(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint64 [n, 4], a hash of each image, and the indices of those that are not flat."""
    bits = np.zeros((len(split), _BITS), bool)
    told = np.zeros(len(split), bool)
    for first in range(0, len(split), _CHUNK):
        part = np.arange(first, min(first + _CHUNK, len(split)))
        rises = np.diff(_reduced(split.images(part)), axis=2)
        bits[part] = (rises > 0).reshape(len(part), -1)
        told[part] = np.abs(rises).mean((1, 2)) > _FLAT
    return np.packbits(bits, axis=1).view(np.uint64), np.flatnonzero(told)


def _reduced(images: np.ndarray) -> np.ndarray:
    """Returns the grey levels of uint8 images [n, s, s, 3] in cells, float32 [n, 16, 17]."""
    size = images.shape[1]

    def averaged(values: np.ndarray, cells: int, axis: int) -> np.ndarray:
        edges = np.arange(cells) * size // cells
        widths = np.diff([*edges, size]).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = cells
        return np.add.reduceat(values, edges, axis=axis) / widths.reshape(shape)

    grey = images @ np.array([0.299, 0.587, 0.114], np.float32)
    return averaged(averaged(grey, _SIDE, 1), _SIDE + 1, 2)
