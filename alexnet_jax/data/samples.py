"""The pixels of an opened image file, with 8 bits a sample whatever the file has.

Where Pillow would keep the upper 8 of 16 bits of a colour, or take planes of 16 bits for planes of
8, it is told otherwise, or the samples are read here.
"""

import io
import re
import sys
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from alexnet_jax.data.depth import (
    made,
    precision,
    scaled,
    significant_bits,
    stated_by_png,
    to_eight_bits,
)
from alexnet_jax.errors import BadImageError

_CERTAINLY_16_BITS = 1 << 14  # a sample of at least this is none of 14 bits
_COLOURS_OF_16_BITS = re.compile(r"(RGB|RGBA|RGBX|RGBa|LA|R);16[BLN]")
_BITS_PER_SAMPLE, _PLANAR = 258, 284  # TIFF tags


def load(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Reads the pixels of an opened image, with 8 bits a sample whatever the file has.

    Args:
      image: opened from `data`, not loaded.
      data: the file's bytes.

    Returns:
      A loaded image of any mode but `F` and those of `I`.

    Raises:
      BadImageError: the range of the samples can not be known; see `depth.scaled`.
    """
    if image.format == "PPM" and image.tile[0].codec_name in ("ppm", "ppm_plain"):
        return _portable(image, data)
    _name_16_bit_planes(image)
    rawmode = _rawmode(image.tile[0]) if image.tile else ""
    image.load()
    key = image.info.get("transparency")
    if rawmode in ("L;2", "L;4") and isinstance(key, int):  # Pillow stretches all but the key
        image.info["transparency"] = key * (255 // ((1 << int(rawmode[2])) - 1))
    if _COLOURS_OF_16_BITS.fullmatch(rawmode):
        return _colours(image, data, rawmode)
    if image.format == "JPEG2000" and image.mode != "I;16" and precision(data) == 16:
        if 0 < _brightest(image) < _CERTAINLY_16_BITS >> 8:
            raise BadImageError("dark 16-bit colours in JPEG 2000, whose range is not known")
    return to_eight_bits(image, data)


def _colours(image: ImageFile.ImageFile, data: bytes, rawmode: str) -> Image.Image:
    """Returns an image of 16-bit colours, of which Pillow has read the upper bytes, in 8 bits."""
    keyed = "transparency" in image.info
    brightest = _brightest(image)
    if not keyed and (brightest >= _CERTAINLY_16_BITS >> 8):
        return image
    samples = _all_bytes(image, data)
    bands = {"LA": 1}.get(rawmode.partition(";")[0], 3)
    colours = samples[..., :bands]
    stated = 0.0
    if image.format == "PNG":
        stated = stated_by_png(colours, significant_bits(data))
    pixels = scaled(colours, stated)
    if keyed:
        alpha = np.where((samples == image.info["transparency"]).all(2), 0, 255)
        return made(np.dstack([pixels, alpha]).astype(np.uint8), image)
    if samples.shape[2] > bands:
        pixels = np.dstack([pixels, scaled(samples[..., bands])])
    return made(pixels, image)


def _name_16_bit_planes(image: ImageFile.ImageFile) -> None:
    """Corrects what Pillow takes a TIFF's uncompressed planes of 16 bits for: planes of 8."""
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_PLANAR) == 2 and tags.get(_BITS_PER_SAMPLE, (8,))[0] == 16:
        order = "L" if tags.prefix == b"II" else "B"
        image.tile = [
            _with_rawmode(tile, f"{_rawmode(tile)};16{order}") if len(_rawmode(tile)) == 1 else tile
            for tile in image.tile
        ]


def _all_bytes(image: ImageFile.ImageFile, data: bytes) -> np.ndarray:
    """Returns uint16 [h, w, channels]: Pillow reads lower bytes if told that they are the upper."""
    low = Image.open(io.BytesIO(data), formats=(str(image.format),))
    _name_16_bit_planes(low)
    try:
        if low.tile[0].codec_name == "libtiff" and getattr(low, "tag_v2", {}).get(_PLANAR) == 2:
            raise ValueError("Pillow chooses the layout of compressed planes by itself")
        low.tile = [_with_rawmode(tile, _swapped(_rawmode(tile))) for tile in low.tile]
        both = _rawmode(low.tile[0]) == "RGBA"
        low.load()
    except Exception:
        raise BadImageError("dark 16-bit colours, whose range is not known") from None
    if both:
        return np.ascontiguousarray(np.asarray(low)).view(">u2")
    return np.asarray(image).astype(np.uint16) << 8 | np.asarray(low)


def _swapped(rawmode: str) -> str:
    """Returns the layout in which the lower byte lies where the upper does in `rawmode`."""
    kind, order = rawmode.split(";16")
    if kind == "LA":
        return "RGBA"  # all four bytes at once
    if kind == "RGBa":
        raise ValueError("Pillow divides by alpha while it reads")
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    return f"{kind};16{'L' if order == 'B' else 'B'}"


def _with_rawmode(tile: Any, rawmode: str) -> Any:
    return tile._replace(args=(rawmode, *tile.args[1:]) if type(tile.args) is tuple else rawmode)


def _portable(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Returns a PBM, PGM or PPM that is text, or whose white is not 255, in 8 bits.

    Pillow reads them, too, number by number in half a minute, and of colours keeps 8 bits of 16.
    """
    tile: Any = image.tile[0]
    bands = len(image.getbands())
    count = image.width * image.height * bands
    white = 1 if image.mode == "1" else int(tile.args[-1])
    if tile.codec_name == "ppm":
        kind = np.dtype(">u2" if white > 255 else "u1")
        there = min(count, (len(data) - tile.offset) // kind.itemsize)
        samples = np.frombuffer(data, kind, there, tile.offset)
    else:
        samples = _numbers(re.sub(rb"#[^\r\n]*", b"", data[tile.offset :]), image.mode == "1")
    if len(samples) < count:
        raise BadImageError("image file is truncated")
    shape = (image.height, image.width, bands) if bands > 1 else (image.height, image.width)
    samples = samples[:count].reshape(shape)
    if white == 65535:
        return made(scaled(samples), image)
    return made(((samples.astype(np.uint32) * 255 + white // 2) // white).clip(0, 255), image)


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


def _rawmode(tile: Any) -> str:
    """Returns Pillow's name for the layout of the samples in the file."""
    args = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
    return args if isinstance(args, str) else ""


def _brightest(image: Image.Image) -> int:
    """Returns the largest sample of the colours, without alpha."""
    colours = image.convert("RGB") if image.mode in ("RGBA", "LA", "RGBX") else image
    return int(np.max(colours.getextrema()))
