"""The embedded set: scikit-learn's handwritten digits, 1,797 real images of 8x8 pixels.

They are the test half of the UCI set *Optical Recognition of Handwritten Digits* (E. Alpaydin,
C. Kaynak, 1998). No network is needed.
"""

from pathlib import Path

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.preparation.sources.source import Record, Source
from alexnet_jax.preparation.splitting import hold_out

TEST_FRACTION = 0.2


def list_images(data: DataConfig, work: Path) -> Source:
    """Lists the digits: 1,438 for training and 359 for testing, the same share of every class."""
    del data, work
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    records = []
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        grey = np.rint(image.reshape(8, 8) * (255 / 16)).astype(np.uint8)  # stored as 0..16
        pixels = np.repeat(grey[:, :, None], 3, axis=2)
        records.append(Record(f"{label}/{index:04d}", int(label), form="pixels", pixels=pixels))
    train, test = hold_out(records, TEST_FRACTION)
    names = tuple(str(digit) for digit in range(10))
    return Source(names, names, {"train": train, "test": test})
