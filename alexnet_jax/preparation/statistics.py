"""Mean image, channel statistics and colour PCA of the training images, summed in `prepare`.

The sums are integers, hence exact: they do not depend on the number of workers or the order.
Source: paper §2 (mean activity) and §4.1 (PCA of the RGB values of all training pixels).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from alexnet_jax.data.prepared import STATISTICS, Statistics
from alexnet_jax.errors import DataError
from alexnet_jax.files import write_arrays


class Sums:
    """Running sums over images: their number, pixels [s, s, 3], and RGB products [3, 3]."""

    def __init__(self, size: int):
        self.count = 0
        # 2**32 / 255 is 16.8 million images: enough for one shard.
        self.pixels = np.zeros((size, size, 3), np.uint32)
        self.products = np.zeros((3, 3), np.int64)

    def add(self, pixels: np.ndarray) -> None:
        """Adds one image, uint8 [s, s, 3]."""
        self.count += 1
        self.pixels += pixels
        # int64 products do not go through a threaded BLAS, which would fight the other workers.
        colours = np.ascontiguousarray(pixels.reshape(-1, 3).T, dtype=np.int64)
        self.products += colours @ colours.T


def reduce(parts: Iterable[tuple[int, np.ndarray, np.ndarray]], size: int) -> Statistics:
    """Combines the sums of all shards.

    Args:
      parts: per shard: number of images, pixel sums [s, s, 3], RGB products [3, 3] (integers).
      size: s.

    Returns:
      The statistics; float64 inside.

    Raises:
      DataError: no image at all.
    """
    count = 0
    total = np.zeros((size, size, 3), np.uint64)
    products = np.zeros((3, 3), np.int64)
    for images, pixels, product in parts:
        count += images
        total += pixels
        products += product
    if not count:
        raise DataError("the training split has no readable image")
    mean_image = total / np.float64(count)
    mean = mean_image.mean(axis=(0, 1))
    covariance = products / np.float64(count * size * size) - np.outer(mean, mean)
    variances, vectors = np.linalg.eigh(covariance)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    vectors = vectors * np.where(largest < 0, -1.0, 1.0)
    return Statistics(
        *(
            array.astype(np.float32)
            for array in (
                mean_image,
                mean,
                np.sqrt(covariance.diagonal().clip(0)),
                np.sqrt(variances.clip(0)),
                vectors,
            )
        )
    )


def save_statistics(folder: Path, statistics: Statistics) -> None:
    """Writes `statistics.npz` into the folder of a prepared set."""
    write_arrays(folder / STATISTICS, **statistics._asdict())
