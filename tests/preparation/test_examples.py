"""Examples are written as TFDS reads them, and the sums of their pixels are exact."""

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from alexnet_jax.preparation.examples import example
from alexnet_jax.preparation.source_images import SourceImage, content_digest
from alexnet_jax.preparation.statistics import PixelSums


@pytest.mark.parametrize("label", [0, 127, 128, 999, 70_000])
@pytest.mark.parametrize("size", [0, 1, 120, 130, 17_000])
def test_an_example_is_read_back(label, size):
    image, key = bytes(range(256)) * 70, "Ordner/Ä ö.jpg"
    parse = tf_example_pb2.Example.FromString  # pyright: ignore
    message = parse(example(image[:size], label, key))
    features = message.features.feature
    assert features["image"].bytes_list.value[:] == [image[:size]]
    assert features["label"].int64_list.value[:] == [label]
    assert features["key"].bytes_list.value[:] == [key.encode()]
    assert len(features) == 3


@pytest.mark.parametrize("size", [1, 7, 8, 27, 64, 100])
def test_sums_of_pixels_are_exact(size):
    draw = np.random.default_rng(size)
    images = draw.integers(0, 256, (3, size, size, 3), np.uint8)
    images[1] = 0  # the largest products
    images[2] = 255
    sums = PixelSums(size)
    for image in images:
        sums.add(image)
    colours = images.reshape(-1, 3).astype(np.int64)
    np.testing.assert_array_equal(sums.products, colours.T @ colours)
    np.testing.assert_array_equal(sums.pixels, images.sum(0, dtype=np.int64))


def test_the_digest_of_a_source_is_that_of_older_versions(tmp_path):
    # Otherwise all sets that are prepared would count as changed.
    (tmp_path / "photo").write_bytes(b"photo")
    image = SourceImage("photo", 0, str(tmp_path / "photo"), size=5)
    assert content_digest(image) == 8894716921509477751
