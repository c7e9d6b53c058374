"""JPEGs that lack their end marker are read if every pixel is there."""

import io
import re
import struct

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.data.decode import NO_END, decode_rgb
from alexnet_jax.errors import BadImageError

FORMS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 1},
    "progressive restarts": {"progressive": True, "restart_marker_rows": 1},
}


def jpeg(mode="RGB", **settings):
    """A noisy photo, so that no part of its scan is like another."""
    pixels = np.random.default_rng(2).normal(128, 50, (50, 70, 3)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", quality=80, **settings)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("form", FORMS)
def test_a_jpeg_without_its_end_is_the_same_picture_and_is_counted(form, mode):
    whole = jpeg(mode, **FORMS[form])
    for data in (whole[:-2], whole[:-1], whole[:-2] + bytes(512)):
        notes = []
        np.testing.assert_array_equal(decode_rgb(data, notes=notes), decode_rgb(whole))
        assert notes == [NO_END]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("form", FORMS)
def test_a_scan_that_lacks_a_few_bytes_is_truncated(form, mode):
    whole = jpeg(mode, **FORMS[form])
    for lost in (*range(1, 9), 100, 400):
        for filled in (b"", bytes(2000)):
            with pytest.raises(BadImageError, match="image file is truncated"):
                decode_rgb(whole[: -2 - lost] + filled)


def test_a_progressive_jpeg_that_ends_between_two_scans_is_truncated():
    whole = jpeg(progressive=True)
    scans = [found.start() for found in re.finditer(rb"\xff\xda", whole)]
    tables = [found.start() for found in re.finditer(rb"\xff\xc4", whole)]
    assert len(scans) > 4
    for place in (*scans[1:], *(place for place in tables if place > scans[0])):
        with pytest.raises(BadImageError, match="image file is truncated"):
            decode_rgb(whole[:place])


def test_a_thumbnail_has_an_end_of_its_own():
    whole = jpeg()
    thumbnail = b"Exif\0\0" + jpeg("L")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = whole[:2] + segment + whole[2:]
    for form, wanted in ((data[:-2], [NO_END]), (data, []), (data + b"a camera's trailer", [])):
        notes = []
        np.testing.assert_array_equal(decode_rgb(form, notes=notes), decode_rgb(whole))
        assert notes == wanted


def test_other_bytes_instead_of_the_end_are_no_whole_scan():
    with pytest.raises(BadImageError, match="image file is truncated"):
        decode_rgb(jpeg()[:-2] + b"another file's bytes")
