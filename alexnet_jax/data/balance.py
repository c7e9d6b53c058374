"""A training split whose smaller classes are visited more often."""

from typing import Any

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.data.dataset import Dataset, Split
from alexnet_jax.data.stream import TrainingSource

MAX_VISITS = 10


def training_split(data: DataConfig, dataset: Dataset) -> TrainingSource:
    split = dataset.split(data.train_split)
    return Balanced(split) if data.balance else split


class Balanced:
    """A split in which an image of class c has `round(largest class / size of c)` entries, 1 to 10.

    Different changes are drawn for each entry.
    """

    def __init__(self, split: Split):
        self._split = split
        labels = np.asarray(split.labels)
        sizes = np.maximum(np.bincount(labels), 1)  # [classes]
        visits = np.clip(np.rint(sizes.max() / sizes), 1, MAX_VISITS).astype(np.int64)
        # Index in the split of each entry, [num_examples].
        self._indices = np.repeat(np.arange(len(labels)), visits[labels])
        self.num_examples = len(self._indices)
        self.labels = labels[self._indices]
        self.stored_size = split.stored_size

    def images(self, indices: Any) -> np.ndarray:
        return self._split.images(self._indices[indices])

    def crops(self, indices: Any, offsets: np.ndarray, flips: np.ndarray, out: np.ndarray) -> None:
        self._split.crops(self._indices[indices], offsets, flips, out)
