"""The bytes of a prepared set are pinned: whoever changes them does so on purpose."""

import numpy as np
from PIL import Image

from alexnet_jax.config import DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.preparation.prepare import prepare

# Of an enlarged, a shrunk, and an unchanged picture of each class, without JPEG, whose bits belong
# to libjpeg. It changed when enlarging stopped to round between rows and columns.
FINGERPRINT = "3df941fbbd92c6c4c04ab7f6e627143ac2ce81a2d69be41854d933b2fb8b5020"
SIZES = ((20, 17), (45, 61), (32, 40))


def test_a_set_prepared_again_has_the_fingerprint_that_it_had(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for index, shape in enumerate(SIZES * 2):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            draw = np.random.default_rng([label, index])
            pixels = draw.integers(0, 256, (*shape, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    data = DataConfig("pinned", "folder", str(tmp_path / "photos"), 32, "raw")
    assert open_dataset(prepare(data, tmp_path / "data")).fingerprint == FINGERPRINT
