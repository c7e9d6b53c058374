"""Which way up photos are read and stored."""

import io

import numpy as np
import pytest
from appearances import CASES, ORIENTATIONS, SIZE, STORED, photo, picture
from PIL import Image

from alexnet_jax.config import AS_VIEWED, DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.decode import decode_rgb
from alexnet_jax.display import Display
from alexnet_jax.preparation.prepare import prepare


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(("kind", "settings"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_decoding_turns_a_photo_as_its_exif_says_or_leaves_it(kind, settings, orientation):
    data = photo(orientation, kind, **settings)
    np.testing.assert_array_equal(decode_rgb(data, AS_VIEWED), picture())
    np.testing.assert_array_equal(decode_rgb(data), STORED[orientation](picture()))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_photos_of_other_kinds_are_upright_too(orientation):
    tiff = decode_rgb(photo(orientation, "TIFF"), AS_VIEWED)
    np.testing.assert_array_equal(tiff, picture())
    jpeg = np.asarray(decode_rgb(photo(orientation, "JPEG", quality=98), AS_VIEWED), int)
    errors = [np.abs(stored(jpeg) - picture()).mean() for stored in STORED.values()]
    assert np.argmin(errors) == 0, "nearer to the picture than to any turn of it"


def test_an_orientation_that_is_none_changes_nothing():
    for orientation in (0, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        Image.fromarray(picture()).save(buffer, "PNG", exif=exif)
        np.testing.assert_array_equal(decode_rgb(buffer.getvalue(), AS_VIEWED), picture())
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    np.testing.assert_array_equal(decode_rgb(buffer.getvalue(), AS_VIEWED), picture())


def test_photos_of_a_folder_are_stored_upright(tmp_path):
    photos = str(CASES["orientation"].folder(tmp_path / "photos"))
    data = DataConfig("", "folder", photos, SIZE, "raw", validation_fraction=0.0)
    dataset = open_dataset(prepare(data, tmp_path / "data", display=Display(quiet=True)))
    images = dataset.split("train").images(range(16))
    np.testing.assert_array_equal(images, np.broadcast_to(picture(), images.shape))
    assert dataset.appearance.orientation == "upright"
