"""Which way up photos are read."""

import io

import numpy as np
import pytest
from appearances import ORIENTATIONS, STORED, photo, picture
from PIL import Image

from alexnet_jax.appearance import AS_VIEWED
from alexnet_jax.data.decode import decode_rgb


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
