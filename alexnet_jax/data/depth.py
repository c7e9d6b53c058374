"""Pixels with 8 bits a sample, whatever the file has: by what it says, or by the range it shows.

X-rays, microscopes and scanners put 10 to 14 bits into 16 or 32, or write fractions, and seldom say
so; Pillow would clip them at 255 or keep the upper byte, which is black.
"""

import io
import re
import sys
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from alexnet_jax.errors import BadImageError

_DEPTHS = (8, 10, 12, 14, 16)
_HOT_PIXELS = 10_000
_SURELY_16_BITS = 1 << 14  # a larger sample does not fit into 14 bits
_COLOURS_OF_16_BITS = re.compile(r"(RGB|RGBA|RGBX|RGBa|LA|R);16[BLN]")
_PHOTOMETRIC, _BITS_PER_SAMPLE, _PLANAR = 262, 258, 284  # TIFF tags
_MAX_SAMPLE = (281, 341)  # MaxSampleValue, SMaxSampleValue
_J2K_START = b"\xff\x4f\xff\x51"  # SOC and SIZ


def load_pixels(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Loads an opened image of the file `data`, with 8 bits a sample.

    Raises:
      BadImageError: the file is truncated, or it has more bits and their range is not known.
    """
    if image.format == "PPM" and image.tile[0].codec_name in ("ppm", "ppm_plain"):
        return _portable(image, data)
    _name_16_bit_planes(image)
    layout = _layout(image.tile[0]) if image.tile else ""
    image.load()
    key = image.info.get("transparency")
    if layout in ("L;2", "L;4") and isinstance(key, int):  # Pillow stretches all but the key
        image.info["transparency"] = key * (255 // ((1 << int(layout[2])) - 1))
    if _COLOURS_OF_16_BITS.fullmatch(layout):
        return _colours(image, data, layout)
    if image.format == "JPEG2000" and image.mode != "I;16" and _jpeg2000_bits(data) == 16:
        if 0 < _brightest(image) < _SURELY_16_BITS >> 8:
            raise BadImageError("dark 16-bit colours in JPEG 2000, whose range is not known")
    return to_eight_bits(image, data)


def to_eight_bits(image: Image.Image, data: bytes = b"") -> Image.Image:
    """Brings deep greys of a loaded image to 8 bits, others stay; errors as of `scaled`."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    samples = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    grey = scaled(samples, _stated(image, tags, samples, data))
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow knows that up to 8 bits only
        grey = 255 - grey
    key = image.info.get("transparency")
    if isinstance(key, int):
        return _image(np.stack([grey, np.where(samples == key, 0, 255)], 2), image)
    return _image(grey, image)


def scaled(samples: np.ndarray, stated: float = 0) -> np.ndarray:
    """Brings samples to 0..255, uint8 of the same shape.

    White is the largest number of 8, 10, 12, 14 or 16 bits, the fewest that hold the largest sample
    there is and the largest `stated` (0: not stated); fractions have white at 1. Of whole numbers,
    one in ten thousand does not count if the rest is below a sixteenth of it: sensors have hot
    pixels. Known error: a picture of 16 bits without a sample above a quarter of white, in a file
    that does not state its range, becomes 4, 16, 64 or 256 times as bright.

    Raises:
      BadImageError: samples that are negative, above 16 bits, no numbers, or fractions above 1 that
        are not of the kind 0..255.
    """
    floating = samples.dtype.kind == "f"
    if floating and not np.isfinite(samples).all():
        raise BadImageError("pixels that are infinite or no numbers")
    if samples.min() < 0:
        raise BadImageError(
            f"negative pixels (down to {samples.min():g}), whose range is not known; "
            "save it with 8 bits as it should look"
        )
    largest = max(float(samples.max()), float(stated))
    if floating and largest <= 1:
        return np.rint(255 * samples).astype(np.uint8)
    if not floating and samples.max() >= 256:
        largest = max(_max_without_hot_pixels(samples), float(stated))
    fractions = floating and largest < 16 and bool((samples % 1).any())
    bits = next((bits for bits in _DEPTHS if largest < 1 << bits), 0)
    if fractions or not bits:
        kind = "fractions" if fractions else "pixels"
        raise BadImageError(
            f"{kind} up to {largest:g}, whose range is not known; save it with 8 or 16 bits"
        )
    if floating:
        return (samples / (1 << bits - 8)).astype(np.uint8)
    return np.minimum(samples >> bits - 8, 255).astype(np.uint8)


def _max_without_hot_pixels(samples: np.ndarray) -> float:
    largest, hot = float(samples.max()), samples.size // _HOT_PIXELS
    if not hot or largest >= 1 << 16:
        return largest
    rest = float(np.partition(samples, -1 - hot, axis=None)[-1 - hot])
    return rest if 16 * rest < largest + 16 else largest


def _stated(image: Image.Image, tags: Any, samples: np.ndarray, data: bytes) -> float:
    """Returns the largest sample that a file says it may have; 0: it does not."""
    if image.format == "JPEG2000":  # Pillow has shifted the samples up to 16 bits
        return 65535 if _jpeg2000_bits(data) < 16 else 0
    if image.format == "PNG":
        return _stated_by_png(samples, _significant_bits(data))
    numbers = [tags.get(tag, 0) for tag in _MAX_SAMPLE]
    numbers = [max(n, default=0) if isinstance(n, tuple) else n for n in numbers]
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    numbers += [(1 << bits) - 1] if bits < 16 else []
    # Writers may put anything there; a number that the container cannot hold says nothing.
    return max((float(n) for n in numbers if isinstance(n, int | float) and n < 65536), default=0)


def _stated_by_png(samples: np.ndarray, bits: int) -> float:
    """Returns the largest sample of 16 bits by the chunk `sBIT`; 0: it does not say.

    By the standard such samples are stretched to 16 bits; many writers leave them as they are.
    """
    if not 0 < bits < 16:
        return 0
    white = (1 << bits) - 1
    stretched = np.rint(samples * np.float32(white / 65535))
    stretched = np.rint(stretched * np.float32(65535 / white))
    low_bits = samples & ((1 << 16 - bits) - 1)  # all zero if the samples were shifted up
    if (np.abs(stretched - samples) <= 1).all() or not low_bits.any():
        return 65535
    return white


def _significant_bits(data: bytes) -> int:
    """Returns the largest number of a colour in a PNG's chunk `sBIT`; 0 without that chunk."""
    place = data.find(b"sBIT", 0, data.find(b"IDAT") + 4)
    if place < 4:
        return 0
    colours = 3 if data[place - 1] >= 3 else 1  # by the chunk's length, which precedes its name
    return max(data[place + 4 : place + 4 + colours], default=0)


def _jpeg2000_bits(data: bytes) -> int:
    place = data.find(_J2K_START) + 42
    return (data[place] & 0x7F) + 1 if 42 <= place < len(data) else 16


def _image(pixels: np.ndarray, source: Image.Image) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8, copy=False)))
    image.info = {name: value for name, value in source.info.items() if name != "transparency"}
    return image


def _colours(image: ImageFile.ImageFile, data: bytes, layout: str) -> Image.Image:
    """Returns 16-bit colours, of which Pillow has read the upper bytes, in 8 bits."""
    keyed = "transparency" in image.info
    if not keyed and _brightest(image) >= _SURELY_16_BITS >> 8:
        return image
    samples = _both_bytes(image, data)  # [h, w, channels]
    bands = {"LA": 1}.get(layout.partition(";")[0], 3)
    colours = samples[..., :bands]
    stated = 0.0
    if image.format == "PNG":
        stated = _stated_by_png(colours, _significant_bits(data))
    pixels = scaled(colours, stated)
    if keyed:
        alpha = np.where((samples == image.info["transparency"]).all(2), 0, 255)
        return _image(np.dstack([pixels, alpha]), image)
    if samples.shape[2] > bands:
        pixels = np.dstack([pixels, scaled(samples[..., bands])])
    return _image(pixels, image)


def _name_16_bit_planes(image: ImageFile.ImageFile) -> None:
    """Corrects Pillow, which takes a TIFF's uncompressed planes of 16 bits for planes of 8."""
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_PLANAR) == 2 and tags.get(_BITS_PER_SAMPLE, (8,))[0] == 16:
        order = "L" if tags.prefix == b"II" else "B"
        image.tile = [
            _with_layout(tile, f"{_layout(tile)};16{order}") if len(_layout(tile)) == 1 else tile
            for tile in image.tile
        ]


def _both_bytes(image: ImageFile.ImageFile, data: bytes) -> np.ndarray:
    """Returns uint16 [h, w, channels]: Pillow reads lower bytes if their layout is exchanged."""
    low = Image.open(io.BytesIO(data), formats=(str(image.format),))
    _name_16_bit_planes(low)
    try:
        if low.tile[0].codec_name == "libtiff" and getattr(low, "tag_v2", {}).get(_PLANAR) == 2:
            raise ValueError("Pillow chooses the layout of compressed planes by itself")
        low.tile = [_with_layout(tile, _bytes_exchanged(_layout(tile))) for tile in low.tile]
        all_bytes = _layout(low.tile[0]) == "RGBA"
        low.load()
    except Exception:
        raise BadImageError("dark 16-bit colours, whose range is not known") from None
    if all_bytes:
        return np.ascontiguousarray(np.asarray(low)).view(">u2")
    return np.asarray(image).astype(np.uint16) << 8 | np.asarray(low)


def _bytes_exchanged(layout: str) -> str:
    """Exchanges the lower and the upper byte of a layout."""
    kind, order = layout.split(";16")
    if kind == "LA":
        return "RGBA"  # all four bytes at once
    if kind == "RGBa":
        raise ValueError("Pillow divides by alpha while it reads")
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    return f"{kind};16{'L' if order == 'B' else 'B'}"


def _layout(tile: Any) -> str:
    """Returns Pillow's raw mode: the layout of the samples in the file."""
    args = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
    return args if isinstance(args, str) else ""


def _with_layout(tile: Any, layout: str) -> Any:
    return tile._replace(args=(layout, *tile.args[1:]) if type(tile.args) is tuple else layout)


def _portable(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Returns a PBM, PGM or PPM that is text, or whose white is not 255, in 8 bits.

    Pillow takes half a minute for the text, and keeps 8 bits of colours of 16.
    """
    tile: Any = image.tile[0]
    bands = len(image.getbands())
    count = image.width * image.height * bands
    white = 1 if image.mode == "1" else int(tile.args[-1])
    if tile.codec_name == "ppm":
        kind = np.dtype(">u2" if white > 255 else "u1")
        available = min(count, (len(data) - tile.offset) // kind.itemsize)
        samples = np.frombuffer(data, kind, available, tile.offset)
    else:
        samples = _numbers(re.sub(rb"#[^\r\n]*", b"", data[tile.offset :]), image.mode == "1")
    if len(samples) < count:
        raise BadImageError("image file is truncated")
    shape = (image.height, image.width, bands) if bands > 1 else (image.height, image.width)
    samples = samples[:count].reshape(shape)
    if white == 65535:
        return _image(scaled(samples), image)
    return _image(((samples.astype(np.uint32) * 255 + white // 2) // white).clip(0, 255), image)


def _numbers(text: bytes, bits: bool) -> np.ndarray:
    """Returns the numbers in a text; `bits` need no blanks between them, and 1 is black."""
    try:
        if not bits:
            return np.fromstring(text, np.int64, sep=" ")
        digits = np.frombuffer(text.translate(None, b" \t\r\n\v\f"), np.uint8)
        if ((digits == ord("0")) | (digits == ord("1"))).all():
            return ord("1") - digits
    except ValueError:
        pass
    raise BadImageError("text among the pixels")


def _brightest(image: Image.Image) -> int:
    """Returns the largest sample of the colours, without alpha."""
    colours = image.convert("RGB") if image.mode in ("RGBA", "LA", "RGBX") else image
    return int(np.max(colours.getextrema()))
