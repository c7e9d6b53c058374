"""A training split whose smaller classes are visited more often."""

from typing import Any

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.data.dataset import Dataset, Split
from alexnet_jax.data.stream import TrainingSplit

MOST_VISITS = 10


def training_split(data: DataConfig, dataset: Dataset) -> TrainingSplit:
    """Returns the split that is trained on, with classes balanced where that is configured."""
    split = dataset.split(data.train_split)
    return Balanced(split) if data.balance else split


class Balanced:
    """A view of a split in which an image of a small class stands several times.

    An image of class c stands `round(largest / size of c)` times, at least once and at most ten
    times. Each of its places counts as an image of its own: the changes that are drawn for it
    differ.

    Attributes:
      num_examples: number of places.
      labels: class of each, int32 [num_examples].
      stored_size: height and width of the images, pixels.
    """

    def __init__(self, split: Split):
        """Views `split`."""
        self._split = split
        labels = np.asarray(split.labels)
        sizes = np.maximum(np.bincount(labels), 1)
        visits = np.clip(np.rint(sizes.max() / sizes), 1, MOST_VISITS).astype(np.int64)
        self._places = np.repeat(np.arange(len(labels)), visits[labels])
        self.num_examples = len(self._places)
        self.labels = labels[self._places]
        self.stored_size = split.stored_size

    def images(self, indices: Any) -> np.ndarray:
        """Returns stored images, uint8 `[k, stored_size, stored_size, 3]`, as `Split.images`.

        Args:
          indices: int `[k]`, of the places.
        """
        return self._split.images(self._places[indices])

    def crops(self, indices: Any, offsets: np.ndarray, flips: np.ndarray, out: np.ndarray) -> None:
        """Writes crops of stored images, as `Split.crops`.

        Args:
          indices: int `[n]`, of the places.
          offsets: int `[n, 2]`, row and column of each crop.
          flips: bool `[n]`, which are mirrored.
          out: uint8 `[n, size, size, 3]` to write.
        """
        self._split.crops(self._places[indices], offsets, flips, out)
