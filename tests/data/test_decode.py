"""Images of every kind become RGB squares; damaged ones are refused with a reason."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import IcoImagePlugin, Image, features

from alexnet_jax.appearance import AS_STORED, AS_VIEWED, Appearance
from alexnet_jax.data import decode
from alexnet_jax.data.colours import _ADOBE, _SRGB, matrix_profile
from alexnet_jax.data.decode import decode_jpeg, decode_pixels, decode_rgb, encode_jpeg
from alexnet_jax.data.square import fit_square
from alexnet_jax.errors import BadImageError


def picture(width=40, height=30, seed=0):
    """A smooth colour image, uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"),
        ("P", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("P", "GIF"), ("RGB", "BMP"), ("RGB", "WEBP"),
        ("RGB", "TIFF"), ("CMYK", "TIFF"), ("1", "TIFF"), ("P", "TIFF"),
    ],
)  # fmt: skip
def test_every_usual_kind_becomes_rgb(mode, kind):
    image = Image.fromarray(picture()).convert(mode)
    decoded = decode_rgb(encoded(image, kind))
    assert decoded.mode == "RGB"
    assert decoded.size == (40, 30)
    wanted = np.asarray(image.convert("RGB"), np.float64)
    assert np.abs(np.asarray(decoded) - wanted).mean() < 6  # lossy kinds differ a little


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "PPM"), ("L", "PPM"), ("1", "PPM"), ("RGB", "JPEG2000"), ("L", "JPEG2000"),
        ("RGB", "ICO"), ("RGB", "TGA"), ("L", "TGA"), ("P", "TGA"), ("RGB", "PCX"), ("P", "PCX"),
        ("RGB", "QOI"), ("RGB", "SGI"), ("L", "SGI"), ("RGB", "DIB"), ("LAB", "TIFF"),
        ("YCbCr", "TIFF"),
    ],
)  # fmt: skip
def test_rarer_kinds_become_rgb_without_loss(mode, kind):
    image = Image.fromarray(picture()).convert(mode)
    data = encoded(image, kind, **({"sizes": [(40, 30)]} if kind == "ICO" else {}))
    np.testing.assert_array_equal(decode_rgb(data), image.convert("RGB"))
    assert decode.header_size(io.BytesIO(data)) == (40, 30)


def test_a_sun_raster_is_read():
    header = struct.pack(">8I", 0x59A66A95, 40, 30, 24, 40 * 30 * 3, 1, 0, 0)
    data = header + picture()[..., ::-1].tobytes()
    np.testing.assert_array_equal(decode_rgb(data), picture())


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read():
    decoded = decode_rgb(encoded(Image.fromarray(picture()), "AVIF", quality=95))
    assert np.abs(np.asarray(decoded, float) - picture()).mean() < 6


def test_heic_is_read_or_named_with_what_reads_it(monkeypatch):
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
    monkeypatch.setattr(decode, "_formats", lambda: ("JPEG", "PNG"))
    with pytest.raises(BadImageError, match="a HEIC image; to read it: pip install pillow-heif"):
        decode_rgb(heic)
    monkeypatch.undo()
    pytest.importorskip("pillow_heif", reason="pillow-heif, which reads HEIC, is not installed")
    with pytest.raises(BadImageError):
        decode_rgb(heic)  # a header and nothing behind it
    decoded = decode_rgb(encoded(Image.fromarray(picture()), "HEIF", quality=95))
    assert np.abs(np.asarray(decoded, float) - picture()).mean() < 6


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1}])
def test_the_preview_in_a_raw_file_is_not_taken_for_the_photo(tags):
    with pytest.raises(BadImageError, match="a camera's raw file"):
        decode_rgb(encoded(Image.fromarray(picture()), "TIFF", tiffinfo=tags))


def test_of_a_scan_of_several_pages_the_first_is_taken():
    pages = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert decode_rgb(data).getpixel((0, 0)) == (255, 0, 0)


def test_bytes_after_the_image_are_ignored():
    assert decode_rgb(encoded(Image.fromarray(picture()), "JPEG") + b"junk").size == (40, 30)


@pytest.mark.parametrize("appearance", [AS_STORED, AS_VIEWED])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_pixels_are_those_of_the_image(mode, orientation, appearance):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(picture()).convert(mode)
    for options in ({}, {"progressive": True}, {"subsampling": "4:4:4"}):
        data = encoded(image, "JPEG", exif=exif, **options)
        wanted = np.asarray(decode_rgb(data, appearance))
        np.testing.assert_array_equal(decode_pixels(data, appearance), wanted)


@pytest.mark.parametrize("colours", ["stored", "shown"])
def test_pixels_have_the_colours_of_the_image(colours):
    for profile in (matrix_profile(_ADOBE, 563 / 256), matrix_profile(_SRGB, 2.2), b"none"):
        data = encoded(Image.fromarray(picture()), "JPEG", icc_profile=profile)
        appearance = Appearance("stored", colours)
        wanted = np.asarray(decode_rgb(data, appearance))
        np.testing.assert_array_equal(decode_pixels(data, appearance), wanted)


def test_pixels_of_a_jpeg_without_its_end_are_noted():
    data = encoded(Image.fromarray(picture(64, 64)), "JPEG")[:-2]
    notes = []
    np.testing.assert_array_equal(decode_pixels(data, notes=notes), decode_rgb(data))
    assert notes == [decode.NO_END]


def bad_files():
    jpeg = encoded(Image.fromarray(picture(200, 200)), "JPEG")
    header = bytearray(encoded(Image.new("L", (1, 1))))
    header[16:24] = (20_000).to_bytes(4, "big") * 2  # a PNG that says it is 20000x20000
    return {
        "empty": b"",
        "text": b"<html>404 not found</html>",
        "half": jpeg[: len(jpeg) // 2],
        "nearly whole": jpeg[: int(len(jpeg) * 0.95)],
        "header only": jpeg[:20],
        "bomb": bytes(header),
        "half a scan": encoded(Image.fromarray(picture()), "TIFF")[:2000],
        "PostScript": encoded(Image.fromarray(picture(32, 32)), "EPS"),
        "half a PPM": encoded(Image.fromarray(picture()), "PPM")[:2000],
    }


@pytest.mark.parametrize("name", bad_files())
def test_bad_files_are_refused_with_one_line(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadImageError) as caught:
            decode_rgb(bad_files()[name])
        with pytest.raises(BadImageError) as again:
            decode_pixels(bad_files()[name])
    assert str(caught.value) == str(again.value)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_pixels_than_the_cap_are_refused_before_decoding():
    with pytest.raises(BadImageError, match="9000x9000 is more than 64 million"):
        decode_rgb(encoded(Image.new("1", (9000, 9000))))


@pytest.mark.parametrize("form", ["png", "bmp"])
def test_an_icon_that_holds_another_size_than_it_says_is_not_decoded(form, monkeypatch):
    icon = encoded(Image.fromarray(picture(16, 16)), "ICO", sizes=[(16, 16)], bitmap_format=form)
    assert decode_rgb(icon).size == (16, 16)
    assert decode.header_size(io.BytesIO(icon)) == (16, 16)
    place = int.from_bytes(icon[18:22], "little") + (16 if form == "png" else 4)
    order = "big" if form == "png" else "little"
    bomb = icon[:place] + (9000).to_bytes(4, order) * 2 + icon[place + 8 :]
    monkeypatch.setattr(IcoImagePlugin.IcoFile, "frame", lambda *_: pytest.fail("it is decoded"))
    with pytest.raises(BadImageError, match="not a JPEG, PNG"):
        decode_rgb(bomb)
    assert decode.header_size(io.BytesIO(bomb)) == (16, 16)


@pytest.mark.parametrize("shape", [(30, 40), (61, 41), (33, 32), (32, 32), (200, 35), (250, 260)])
def test_shrinking_averages_exact_areas(shape):
    size = 32 if min(shape) >= 32 else 16
    pixels = picture(shape[1], shape[0]).astype(np.float64)
    new = [max(size, round(length * size / min(shape))) for length in shape]
    # The definition: repeat every pixel so often that windows cover whole repetitions.
    rows = np.repeat(pixels, new[0], axis=0).reshape(new[0], shape[0], shape[1], 3).mean(1)
    columns = np.repeat(rows, new[1], axis=1).reshape(new[0], new[1], shape[1], 3).mean(2)
    top, left = (new[0] - size) // 2, (new[1] - size) // 2
    wanted = columns[top : top + size, left : left + size]
    got = fit_square(Image.fromarray(pixels.astype(np.uint8)), size)
    assert got.shape == (size, size, 3)
    assert np.abs(got - wanted).max() <= 0.5 + 1e-6


def averaged(pixels, scale, first, count):
    """The averages of rows by a cumulative sum over all of them, as sets were made at first."""
    edges = (first + np.arange(count + 1)) * scale
    start = int(edges[0])
    pixels = pixels[start : int(np.ceil(edges[-1])) + 1]
    edges = np.minimum(edges - start, len(pixels))
    whole = np.minimum(edges.astype(int), len(pixels) - 1)
    total = np.concatenate([0 * pixels[:1].astype(float), np.cumsum(pixels, axis=0, dtype=float)])
    integral = total[whole] + (edges - whole)[:, None, None] * pixels[whole]
    return np.diff(integral, axis=0) / scale


@pytest.mark.parametrize("shape", [(65, 64), (100, 141), (333, 500), (375, 250), (64, 511)])
def test_shrinking_gives_the_bits_that_it_always_gave(shape):
    # Otherwise a set prepared again would have another fingerprint.
    pixels = np.random.default_rng(shape[0]).integers(0, 256, (*shape, 3), np.uint8)
    new = [max(64, round(length * 64 / min(shape))) for length in shape]
    first = [(length - 64) // 2 for length in new]
    rows = averaged(pixels, shape[0] / new[0], first[0], 64)
    wanted = averaged(rows.transpose(1, 0, 2), shape[1] / new[1], first[1], 64)
    got = fit_square(Image.fromarray(pixels), 64)
    np.testing.assert_array_equal(got, np.rint(wanted.transpose(1, 0, 2)).astype(np.uint8))


def test_the_right_size_is_left_alone():
    pixels = picture(32, 32)
    np.testing.assert_array_equal(fit_square(Image.fromarray(pixels), 32), pixels)


def test_extreme_shapes_fit():
    for shape in ((1, 1), (3, 5000), (5000, 3), (3000, 700)):
        image = Image.new("RGB", shape, (10, 200, 30))
        pixels = fit_square(image, 32)
        assert pixels.shape == (32, 32, 3)
        assert np.abs(pixels.astype(int) - [10, 200, 30]).max() <= 1


def test_stored_jpeg_is_close():
    pixels = picture(64, 64)
    assert np.abs(decode_jpeg(encode_jpeg(pixels, 95)).astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("shape", [(64, 64), (33, 50), (256, 256)])
def test_stored_jpegs_decode_to_the_bits_of_pillow(quality, shape):
    data = encode_jpeg(picture(shape[1], shape[0]), quality)
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(image)
    np.testing.assert_array_equal(decode_jpeg(data), wanted)
    out = np.zeros((*shape, 3), np.uint8)
    assert decode_jpeg(memoryview(data), out, backwards=True) is out
    np.testing.assert_array_equal(out[:, :, ::-1], wanted)


def test_a_stored_jpeg_must_be_whole_and_of_its_size():
    data = encode_jpeg(picture(64, 64), 90)
    for damaged in (data[: len(data) // 2], b"", b"no image"):
        with pytest.raises(ValueError):
            decode_jpeg(damaged, np.zeros((64, 64, 3), np.uint8))
    for shape in ((65, 64, 3), (64, 128, 3), (32, 32, 3), (48, 64, 3)):
        with pytest.raises(ValueError):
            decode_jpeg(data, np.zeros(shape, np.uint8))


def test_a_header_tells_the_size_even_after_a_long_profile():
    file = io.BytesIO()
    Image.new("RGB", (90, 70)).save(file, "JPEG", icc_profile=b"\0" * 70_000)
    assert decode.header_size(io.BytesIO(file.getvalue()[:100_000])) == (90, 70)
    assert decode.header_size(io.BytesIO(b"junk")) is None
    drawing = io.BytesIO()
    Image.new("RGB", (16, 16)).save(drawing, "EPS")
    assert decode.header_size(drawing) is None, "another program would have to run"


def test_of_a_targa_only_the_name_tells(tmp_path):
    (tmp_path / "a").write_bytes(encoded(Image.fromarray(picture()), "TGA"))
    assert not decode.is_image(tmp_path / "a")
    assert ".tga" in decode.SUFFIXES


def test_a_tiff_of_an_unknown_kind_is_named():
    data = encoded(Image.fromarray(picture()), "TIFF")
    entry = struct.pack("<HHIH", 262, 3, 1, 2)  # its pixels are RGB
    assert entry in data
    with pytest.raises(BadImageError, match="a TIFF with pixels of an unsupported kind"):
        decode_rgb(data.replace(entry, struct.pack("<HHIH", 262, 3, 1, 99)))
