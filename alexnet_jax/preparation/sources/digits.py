"""The embedded set: scikit-learn's handwritten digits, 1,797 real images of 8x8 pixels.

The test half of *Optical Recognition of Handwritten Digits* (E. Alpaydin, C. Kaynak, 1998).
"""

from pathlib import Path

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.preparation.source_images import SourceImage
from alexnet_jax.preparation.sources.listing import SMALL_IMAGES, Listing, SourceKind
from alexnet_jax.preparation.splitting import hold_out

TEST_FRACTION = 0.2


def _list_images(data: DataConfig, work: Path) -> Listing:
    """Lists 1,438 digits for training and 359 for testing, the same share of every class."""
    del data, work
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    digits = []
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        grey = np.rint(image.reshape(8, 8) * (255 / 16)).astype(np.uint8)  # stored as 0..16
        pixels = np.repeat(grey[:, :, None], 3, axis=2)  # [8, 8, 3]
        digits.append(SourceImage(f"{label}/{index:04d}", int(label), form="pixels", pixels=pixels))
    train, test = hold_out(digits, TEST_FRACTION)
    names = tuple("0123456789")
    return Listing(names, names, {"train": train, "test": test})


SOURCE = SourceKind(
    _list_images,
    how_to_get="nothing",
    location="none",
    defaults=SMALL_IMAGES,
    fixed={"source": "", "store": "raw"},
    set_name=lambda data, _: f"digits-{data.stored_size}",
)
