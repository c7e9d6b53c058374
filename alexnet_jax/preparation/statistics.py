"""Mean image, channel statistics and colour PCA of the training images.

The sums are integers, so exact: they do not depend on the number of workers or the order.
Source: paper §2 (mean activity) and §4.1 (PCA of the RGB values of all training pixels).
"""

from collections.abc import Iterable

import numpy as np

from alexnet_jax.data.prepared import Statistics
from alexnet_jax.errors import DataError

_CENTRE = 128
# Products of so many centred values add up to 2**24 at most: exact in float32, in any order.
_ROWS = 1024
_GROUP = 4  # pixels side by side: a product of 12 columns takes a third of the time of one of 3


class PixelSums:
    """Running sums over images: their number, and pixels [s, s, 3]."""

    def __init__(self, size: int):
        self.count = 0
        # 2**32 / 255 is 16.8 million images: enough for one shard.
        self.pixels = np.zeros((size, size, 3), np.uint32)
        self._group = _GROUP if size * size % _GROUP == 0 else 1
        self._centred = np.zeros((3 * self._group, 3 * self._group), np.int64)
        groups = size * size // self._group
        self._values = np.zeros((-(-groups // _ROWS), _ROWS, 3 * self._group), np.float32)

    @property
    def products(self) -> np.ndarray:
        """RGB products over all pixels, int64 [3, 3]."""
        groups = self._centred.reshape(self._group, 3, self._group, 3)
        centred = np.trace(groups, axis1=0, axis2=2)  # of pixels with themselves
        colours = self.pixels.sum((0, 1), dtype=np.int64)  # [3]
        count = self.count * self.pixels.shape[0] * self.pixels.shape[1]
        return centred + _CENTRE * (colours[:, None] + colours) - _CENTRE**2 * count

    def add(self, pixels: np.ndarray) -> None:
        """Adds one image, uint8 [s, s, 3]."""
        self.count += 1
        self.pixels += pixels
        values = self._values.reshape(-1)[: pixels.size]  # zeros follow
        np.subtract(pixels.reshape(-1), np.float32(_CENTRE), out=values)
        products = np.matmul(self._values.transpose(0, 2, 1), self._values)
        self._centred += products.sum(0, dtype=np.int64)


def reduce(parts: Iterable[tuple[int, np.ndarray, np.ndarray]], size: int) -> Statistics:
    """Combines the shards' integer sums (number, [s, s, 3], [3, 3]) in float64; `size` is s."""
    count = 0
    total = np.zeros((size, size, 3), np.uint64)
    products = np.zeros((3, 3), np.int64)
    for images, pixels, product in parts:
        count += images
        total += pixels
        products += product
    if not count:
        raise DataError("the training split has no readable image")
    mean_image = total / np.float64(count)  # [s, s, 3]
    mean = mean_image.mean(axis=(0, 1))  # [3]
    covariance = products / np.float64(count * size * size) - np.outer(mean, mean)  # [3, 3]
    variances, vectors = np.linalg.eigh(covariance)  # ascending [3]; columns of [3, 3]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    vectors = vectors * np.where(largest < 0, -1.0, 1.0)
    deviations = np.sqrt(covariance.diagonal().clip(0))
    arrays = mean_image, mean, deviations, np.sqrt(variances.clip(0)), vectors
    return Statistics(*(array.astype(np.float32) for array in arrays))
