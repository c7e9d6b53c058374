"""Photos have the colours that a viewer shows: by their profile, and on white where transparent."""

import io
import itertools
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from alexnet_jax.appearance import AS_STORED, AS_VIEWED
from alexnet_jax.data import colours
from alexnet_jax.data.decode import decode_rgb

D65 = (0.3127, 0.329)
ADOBE = colours.matrix_profile((D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 563 / 256)
P3 = colours.matrix_profile((D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), 2.2)
PROPHOTO = colours.matrix_profile(
    ((0.3457, 0.3585), (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), 1.8
)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seen(data, appearance=AS_VIEWED):
    return np.asarray(decode_rgb(data, appearance), int)


def scene():
    """Smooth muted colours, uint8 [24, 32, 3], that every space has."""
    coarse = np.random.default_rng(1).integers(50, 200, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((32, 24), Image.Resampling.BICUBIC))


def in_space(profile):
    """The scene in the numbers of another space."""
    srgb, there = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.profileToProfile(
        Image.fromarray(scene()), srgb, there, ImageCms.Intent.RELATIVE_COLORIMETRIC
    )


def chunk(name, data):
    crc = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + crc


def with_chunk(png, name, data):
    """A PNG with one more chunk, right behind its header."""
    return png[:33] + chunk(name, data) + png[33:]


@pytest.mark.parametrize("profile", [ADOBE, P3, PROPHOTO], ids=["adobe", "p3", "prophoto"])
@pytest.mark.parametrize(
    ("kind", "settings", "error"),
    [("PNG", {}, 1), ("TIFF", {}, 1), ("WEBP", {"lossless": True}, 1),
     ("JPEG", {"quality": 98, "subsampling": 0}, 3)],
)  # fmt: skip
def test_a_profile_is_converted_or_left_aside(profile, kind, settings, error):
    image = in_space(profile)
    data = encoded(image, kind, icc_profile=profile, **settings)
    assert np.abs(seen(data) - scene()).mean() < error
    assert np.abs(seen(data, AS_STORED) - np.asarray(image, int)).mean() < error
    assert np.abs(seen(data, AS_STORED) - scene()).mean() > 3


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_has_profiles_too():
    data = encoded(in_space(ADOBE), "AVIF", quality=100, subsampling="4:4:4", icc_profile=ADOBE)
    assert np.abs(seen(data) - scene()).mean() < 2


def test_the_profile_of_srgb_changes_no_bit():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    data = encoded(Image.fromarray(pixels), icc_profile=srgb)
    np.testing.assert_array_equal(seen(data), pixels)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_profile_that_is_damaged_or_of_another_space_is_left_aside(mode):
    image = Image.fromarray(scene()).convert(mode)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    link = ADOBE[:12] + b"link" + ADOBE[16:]
    for profile in (b"junk", ADOBE[:150], ADOBE[:300], lab, link, *([] if mode == "RGB" else [P3])):
        plain, with_it = (encoded(image, "JPEG", icc_profile=p) for p in (None, profile))
        np.testing.assert_array_equal(seen(with_it), seen(plain))


def field(name, content):
    return name + bytes(4) + content


def profile_of(kind, tags):
    """An ICC profile, version 2; `kind` is its class, its space and that of its connection."""
    white = struct.pack(">3i", 63190, 65536, 54061)
    described = field(b"desc", struct.pack(">I", 1) + bytes(80))
    tags = {b"desc": described, b"wtpt": field(b"XYZ ", white), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">2I", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI", 128 + len(table) + len(body), 0x02100000) + kind + bytes(12)
    return (head + b"acsp" + bytes(28) + white).ljust(128, b"\0") + table + body


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_greys_have_profiles_too(gamma):
    curve = field(b"curv", struct.pack(">IH", 1, round(256 * gamma)))
    profile = profile_of(b"mntrGRAYXYZ ", {b"kTRC": curve})
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    light = (ramp / 255) ** gamma
    wanted = 255 * np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    for image in (Image.fromarray(ramp), Image.fromarray(ramp).convert("LA")):
        assert np.abs(seen(encoded(image, icc_profile=profile)) - wanted[..., None]).max() <= 1


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_inks_have_profiles_too(kind):
    # A press whose colours are all grey: lightness is what the inks leave of it.
    corners = itertools.product((0, 1), repeat=4)
    lightness = [round(255 * (1 - k) * (1 - (c + m + y) / 3)) for c, m, y, k in corners]
    grid = b"".join(bytes([light, 128, 128]) for light in lightness)  # CIE L*a*b*, 8 bits
    same = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    straight = bytes(range(256))
    table = bytes([4, 3, 2, 0]) + same + 4 * straight + grid + 3 * straight
    profile = profile_of(b"prtrCMYKLab ", {b"A2B0": field(b"mft1", table)})
    inks = np.array([(0, 0, 0, 0), (0, 0, 0, 128), (0, 0, 0, 255), (255, 0, 0, 0)], np.uint8)
    image = Image.fromarray(np.repeat(np.repeat(inks[None], 16, 0), 16, 1), "CMYK")
    settings = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    got = seen(encoded(image, kind, icc_profile=profile, **settings))[8, 8::16]
    assert np.abs(got - np.array([255, 118, 0, 162])[:, None]).max() <= 2
    plain = seen(encoded(image, kind, **settings))[8, 8::16]
    assert np.abs(plain[3] - (0, 255, 255)).max() <= 2, "without a profile, cyan is cyan"


def test_a_camera_set_to_adobe_rgb_says_so_in_its_exif_only():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535  # ColorSpace: uncalibrated
    exif.get_ifd(0x8769)[0xA005] = {1: "R03", 2: b"0100"}
    image = in_space(ADOBE)
    data = encoded(image, "JPEG", quality=98, subsampling=0, exif=exif)
    assert np.abs(seen(data) - scene()).mean() < 3
    assert np.abs(seen(data, AS_STORED) - np.asarray(image, int)).mean() < 3


def test_gamma_and_primaries_of_a_png_are_heeded_unless_it_says_srgb():
    linear = np.rint(255 * (scene() / 255.0) ** 2.2).astype(np.uint8)
    data = with_chunk(encoded(Image.fromarray(linear)), b"gAMA", struct.pack(">I", 100_000))
    assert np.abs(seen(data) - scene()).max() <= 6, "2.2 is near to sRGB's own curve"
    srgb = with_chunk(data, b"sRGB", b"\0")
    np.testing.assert_array_equal(seen(srgb), linear)
    points = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    data = with_chunk(encoded(in_space(ADOBE)), b"gAMA", struct.pack(">I", 45470))
    data = with_chunk(data, b"cHRM", struct.pack(">8I", *points))
    assert np.abs(seen(data) - scene()).mean() < 0.5
    for points in ([0] * 8, [31270, 32900] * 4, [2**32 - 1] * 8):
        odd = with_chunk(encoded(Image.fromarray(linear)), b"cHRM", struct.pack(">8I", *points))
        odd = with_chunk(odd, b"gAMA", struct.pack(">I", 100_000))
        np.testing.assert_array_equal(seen(odd), linear)


def test_one_conversion_serves_several_threads():
    data = encoded(in_space(P3), icc_profile=P3)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(seen, [data] * 16))
    for result in results:
        np.testing.assert_array_equal(result, results[0])


DISC = ((np.mgrid[:24, :32] - [[[12]], [[16]]]) ** 2).sum(0) < 60


def cut_out(hidden):
    """A red disc on nothing, RGBA; what hides under nothing differs."""
    pixels = np.dstack([np.broadcast_to(hidden, (24, 32, 3)), np.zeros((24, 32))]).astype(np.uint8)
    pixels[DISC] = (200, 60, 30, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {}), ("QOI", {}),
     ("JPEG2000", {}), ("TGA", {}), ("ICO", {"sizes": [(32, 24)]})],
)  # fmt: skip
def test_pictures_alike_to_the_eye_are_alike(kind, settings):
    wanted = np.where(DISC[..., None], (200, 60, 30), 255)
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3))
    for hidden in (0, 255, noise):
        data = encoded(cut_out(hidden), kind, **settings)
        np.testing.assert_array_equal(seen(data), wanted)
    np.testing.assert_array_equal(seen(data, AS_STORED)[~DISC], noise[~DISC])


def test_a_black_drawing_on_nothing_is_no_black_picture():
    wanted = np.where(DISC, 0, 255)
    alpha = (255 * DISC).astype(np.uint8)
    for bands in (1, 3):
        drawing = np.dstack([np.zeros((24, 32, bands), np.uint8), alpha])
        np.testing.assert_array_equal(seen(encoded(Image.fromarray(drawing)))[..., 0], wanted)


def test_half_transparent_is_half_white_after_its_profile():
    pixels = np.dstack([np.asarray(in_space(ADOBE)), np.full((24, 32), 128, np.uint8)])
    data = encoded(Image.fromarray(pixels), icc_profile=ADOBE)
    assert np.abs(seen(data) - (scene() * (128 / 255) + 255 * (127 / 255))).max() <= 2


def test_alpha_that_was_multiplied_in_is_divided_out():
    half = (scene() // 2).astype(np.uint8)
    alpha = np.full((24, 32), 128, np.uint8)
    separate, multiplied = (struct.pack("<HHIH", 338, 3, 1, kind) for kind in (2, 1))
    for colour in (half, half[..., :1]):
        data = encoded(Image.fromarray(np.dstack([colour, alpha])), "TIFF")
        assert separate in data
        got = seen(data.replace(separate, multiplied))
        assert np.abs(got - (colour + 127)).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_the_colour_of_a_palette_that_stands_for_nothing_is_white(kind):
    image = Image.fromarray(scene()).quantize(8)
    data = encoded(image, kind, transparency=3)
    wanted = np.asarray(image.convert("RGB")).copy()
    np.testing.assert_array_equal(seen(data, AS_STORED), wanted)
    wanted[np.asarray(image) == 3] = 255
    np.testing.assert_array_equal(seen(data), wanted)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_grey_that_stands_for_nothing_is_white(bits):
    greys = np.array([[0, 1, (1 << bits) - 1, 1]] * 2)
    rows = greys.astype(">u2") if bits == 16 else greys.astype(np.uint8)
    if bits < 8:
        rows = np.packbits(np.unpackbits(rows[..., None], axis=2)[..., -bits:].reshape(2, -1), 1)
    stream = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", 4, 2, bits, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"tRNS", b"\0\1") + chunk(b"IDAT", stream)
    data = b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")
    wanted = np.where(greys == 1, 255, greys * 255 // ((1 << bits) - 1))
    np.testing.assert_array_equal(seen(data)[..., 0], wanted)


def test_the_colour_that_stands_for_nothing_is_white():
    pixels = scene()
    key = tuple(map(int, pixels[5, 5]))
    wanted = np.where((pixels == key).all(2, keepdims=True), 255, pixels)
    np.testing.assert_array_equal(seen(encoded(Image.fromarray(pixels), transparency=key)), wanted)


def test_a_text_named_as_what_pillow_keeps_is_only_a_text():
    for image in (Image.fromarray(scene()), Image.fromarray(scene()[..., 0])):
        wanted = seen(encoded(image))
        for name in (b"transparency", b"icc_profile", b"gamma", b"chromaticity", b"exif"):
            data = with_chunk(encoded(image), b"tEXt", name + b"\0hello")
            np.testing.assert_array_equal(seen(data), wanted)


@pytest.mark.parametrize("kind", ["BMP", "TGA"])
def test_a_fourth_byte_that_is_only_padding_hides_nothing(kind):
    pixels = np.dstack([scene(), np.zeros((24, 32), np.uint8)])
    np.testing.assert_array_equal(seen(encoded(Image.fromarray(pixels), kind)), scene())
