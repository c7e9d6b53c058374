"""Samples of more than 8 bits become 8 by what the file says or by what its range shows."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.data.decode import decode_rgb
from alexnet_jax.data.depth import scaled
from alexnet_jax.errors import BadImageError

ACROSS = (np.arange(64) / 63 * 0.9 + np.arange(48)[:, None] / 47 * 0.1).clip(0, 1)
EIGHT = np.floor(255 * ACROSS).astype(int)
DEPTHS = [8, 10, 12, 14, 16]


def ramp(bits, kind: Any = np.uint16):
    """The ramp in so many bits, [48, 64]."""
    return np.floor(((1 << bits) - 1) * ACROSS).astype(kind)


def encoded(pixels, kind="TIFF", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name, data):
    crc = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + crc


def png(pixels, significant_bits=0):
    """A PNG of 16 bits; [h, w] is grey, [h, w, 2 to 4] grey with alpha, RGB, RGBA."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    says = chunk(b"sBIT", bytes([significant_bits] * channels)) if significant_bits else b""
    stream = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels))
    chunks = chunk(b"IHDR", header) + says + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff(pixels, photometric, planar=1, order="<", extra=None, sample_format=1):
    """An uncompressed TIFF of any samples, in planes or pixel by pixel."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    planes = channels if planar == 2 else 1
    rows = np.moveaxis(pixels, 2, 0) if planar == 2 else pixels
    body = rows.astype(pixels.dtype.newbyteorder(order)).tobytes()
    size = len(body) // planes
    tags = [
        (256, "I", [width]), (257, "I", [height]), (258, "H", [8 * pixels.itemsize] * channels),
        (259, "H", [1]), (262, "H", [photometric]),
        (273, "I", [8 + i * size for i in range(planes)]), (277, "H", [channels]),
        (278, "I", [height]), (279, "I", [size] * planes),
        (284, "H", [planar]), *([(338, "H", [extra])] if extra is not None else []),
        (339, "H", [sample_format] * channels),
    ]  # fmt: skip
    behind, directory = b"", struct.pack(order + "H", len(tags))
    for tag, form, values in tags:
        packed = struct.pack(f"{order}{len(values)}{form}", *values)
        if len(packed) > 4:
            place = struct.pack(order + "I", 8 + len(body) + len(behind))
            behind += packed + bytes(len(packed) % 2)
            packed = place
        kind = {"H": 3, "I": 4}[form]
        directory += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    start = struct.pack(order + "I", 8 + len(body) + len(behind))
    return mark + start + body + behind + directory + bytes(4)


def pnm(mark, white, samples, kind=">u2"):
    size = f"{samples.shape[1]} {samples.shape[0]}".encode()
    return b"%s\n# made by hand\n%s\n%d\n" % (mark, size, white) + samples.astype(kind).tobytes()


def assert_is_the_ramp(data, error=1):
    pixels = np.asarray(decode_rgb(data), int)
    assert np.abs(pixels - EIGHT[..., None]).max() <= error


@pytest.mark.parametrize("bits", DEPTHS)
def test_a_ramp_of_any_depth_in_a_container_of_16_or_32_is_the_ramp(bits):
    grey, white = ramp(bits), (1 << bits) - 1
    opaque = np.full_like(grey, 65535)
    assert_is_the_ramp(png(grey))
    assert_is_the_ramp(png(np.dstack([grey] * 3)))
    assert_is_the_ramp(png(np.dstack([grey, opaque])))
    assert_is_the_ramp(png(np.dstack([grey, grey, grey, opaque])))
    assert_is_the_ramp(encoded(grey))
    assert_is_the_ramp(encoded(grey, compression="tiff_lzw"))
    assert_is_the_ramp(encoded(grey.astype(np.int32)))
    assert_is_the_ramp(encoded(grey.astype(np.float32)))
    assert_is_the_ramp(encoded(grey, "PPM"))
    for order in "<>":
        assert_is_the_ramp(tiff(grey, 1, order=order))
        for planar in (1, 2):
            assert_is_the_ramp(tiff(np.dstack([grey] * 3), 2, planar, order))
            four = np.dstack([grey, grey, grey, opaque])
            assert_is_the_ramp(tiff(four, 2, planar, order, extra=2))
    assert_is_the_ramp(tiff((white - grey).astype(np.uint16), 0))  # white is zero


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_png_says_its_depth_whether_it_is_stretched_or_not(bits):
    white = (1 << bits) - 1
    grey = ramp(bits).astype(int)
    assert_is_the_ramp(png(grey, bits))
    assert_is_the_ramp(png(grey * 65535 // white, bits))
    assert_is_the_ramp(png(grey << 16 - bits, bits))
    dark = grey // 20  # both ways; without the chunk it would be taken for fewer bits
    for samples in (dark, dark * 65535 // white):
        pixels = np.asarray(decode_rgb(png(samples, bits)), int)
        assert np.abs(pixels[..., 0] - EIGHT // 20).max() <= 1


def test_a_tiff_says_its_largest_sample():
    for tag in (281, 341):  # MaxSampleValue, SMaxSampleValue
        pixels = np.asarray(decode_rgb(encoded(ramp(12) // 20, tiffinfo={tag: 4095})), int)
        assert np.abs(pixels[..., 0] - EIGHT // 20).max() <= 1


@pytest.mark.parametrize("white", [1, 15, 200, 255, 1000, 1023, 4095, 65535])
def test_a_pgm_or_ppm_has_the_white_that_it_says(white):
    samples = np.rint(ACROSS * white)
    wanted = np.rint(samples * 255 / white)[..., None]
    three = np.dstack([samples] * 3)
    kind = ">u2" if white > 255 else "u1"
    text = b"\n".join(b"%d # a" % sample for sample in three.ravel().astype(int))
    for data in (
        pnm(b"P5", white, samples, kind),
        pnm(b"P6", white, three, kind),
        pnm(b"P3", white, samples[:, :0], kind).replace(b"0 48", b"64 48") + text,
    ):
        assert np.abs(np.asarray(decode_rgb(data), int) - wanted).max() <= 1
        with pytest.raises(BadImageError):
            decode_rgb(data[: len(data) // 2])


def test_a_bitmap_that_is_text_needs_no_blanks():
    bits = np.arange(35).reshape(5, 7) % 3 == 0
    rows = ("".join("1" if bit else "0" for bit in row) for row in bits)
    for text in ("\n".join(rows), " ".join("1" if bit else "0" for bit in bits.ravel())):
        pixels = np.asarray(decode_rgb(b"P1 7 5\n# a\n" + text.encode()))
        np.testing.assert_array_equal(pixels[..., 0], np.where(bits, 0, 255))
    with pytest.raises(BadImageError, match="text among the pixels"):
        decode_rgb(b"P1 7 5\n" + b"012" * 12)


def test_fractions_are_those_of_white():
    assert_is_the_ramp(encoded(ACROSS.astype(np.float32)))
    assert_is_the_ramp(tiff((1 - ACROSS).astype(np.float32), 0, sample_format=3))
    assert_is_the_ramp(encoded((255 * ACROSS).astype(np.float32)))
    upside_down = ACROSS[::-1].astype("<f4").tobytes()
    assert_is_the_ramp(b"Pf\n64 48\n-1.0\n" + upside_down)


def test_jpeg_2000_keeps_its_contrast():
    for bits in (12, 16):
        assert_is_the_ramp(encoded(ramp(bits), "JPEG2000"))


def test_a_dark_picture_that_does_not_say_its_depth_becomes_lighter():
    # The stated miss of the rule: see `scaled`.
    np.testing.assert_array_equal(scaled(np.array([0, 100, 255], np.uint16)), [0, 100, 255])
    np.testing.assert_array_equal(scaled(np.array([0, 100, 255], np.uint16), 65535), [0, 0, 0])


def bad_ranges():
    ct = ramp(12, np.int32) - 1000
    nan = ACROSS.astype(np.float32)
    nan[3, 3] = np.nan
    multiplied = np.dstack([ramp(12)] * 3 + [np.full((48, 64), 65535, np.uint16)])
    return {
        "negative pixels": (encoded(ct), r"negative pixels \(down to -1000\)"),
        "negative fractions": (encoded(ACROSS.astype(np.float32) - 0.5), "negative pixels"),
        "signed": (tiff(ct.astype(np.int16), 1, sample_format=2), "negative pixels"),
        "no numbers": (encoded(nan), "infinite or no numbers"),
        "overshooting": (encoded(1.5 * ACROSS.astype(np.float32)), "fractions up to 1.5"),
        "24 bits": (encoded(ramp(24, np.int32)), "whose range is not known"),
        "multiplied by alpha": (tiff(multiplied, 2, extra=1), "dark 16-bit colours"),
        "no white": (pnm(b"P5", 70000, ramp(8)), "maxval must be"),
        "words": (b"P2 2 2 255 1 2 three 4", "text among the pixels|truncated"),
    }


@pytest.mark.parametrize("name", bad_ranges())
def test_a_range_that_is_not_known_is_refused_by_name(name):
    data, reason = bad_ranges()[name]
    with pytest.raises(BadImageError, match=reason):
        decode_rgb(data)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_a_hot_pixel_is_white_and_leaves_the_rest_as_it_is(bits):
    samples = np.tile(ramp(bits), (4, 4))  # 192 x 256
    hot = samples.copy()
    hot[7, 9] = 65535
    expected = scaled(samples)
    expected[7, 9] = 255
    np.testing.assert_array_equal(scaled(hot), expected)
    few = np.zeros_like(samples)
    few[::19, ::19] = samples[::19, ::19]  # a field of stars is no hot pixel
    np.testing.assert_array_equal(scaled(few), np.where(few, scaled(samples), 0))
