"""Samples of more than 8 bits, brought to 8 by what the file says or by what its range shows.

X-rays, microscopes and scanners put 10, 12 or 14 bits into a container of 16 or 32, or write
fractions, and seldom say so; Pillow would clip them at 255 or keep the upper byte, which is black.
"""

from typing import Any

import numpy as np
from PIL import Image

from alexnet_jax.errors import BadImageError

_DEPTHS = (8, 10, 12, 14, 16)
_HOT_PIXELS = 10_000
_PHOTOMETRIC, _BITS_PER_SAMPLE = 262, 258  # TIFF tags
_LARGEST_SAMPLE = (281, 341)  # MaxSampleValue, SMaxSampleValue
_J2K_START = b"\xff\x4f\xff\x51"  # SOC and SIZ


def to_eight_bits(image: Image.Image, data: bytes = b"") -> Image.Image:
    """Brings a loaded image of deep greys to 8 bits; any other is returned as it is.

    Args:
      image: loaded, of any mode.
      data: the file it comes from, as far as known.

    Raises:
      BadImageError: as `scaled`.
    """
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    samples = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    grey = scaled(samples, _stated(image, tags, samples, data))
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds up to 8 bits only
        grey = 255 - grey
    key = image.info.get("transparency")
    if isinstance(key, int):
        return made(np.stack([grey, np.where(samples == key, 0, 255)], 2).astype(np.uint8), image)
    return made(grey, image)


def scaled(samples: np.ndarray, stated: float = 0) -> np.ndarray:
    """Brings samples to 0..255.

    White is the largest number of 8, 10, 12, 14 or 16 bits, the fewest that hold the largest sample
    there is (and that the file says there may be); fractions from 0 to 1 have white at 1. Of whole
    numbers one in ten thousand does not count if the rest is below a sixteenth of it: sensors have
    hot pixels, which become white. The miss:
    a picture of 16 bits without a sample above a quarter of white, in a file that does not say so,
    is taken for one of fewer bits and becomes 4, 16, 64 or 256 times as bright.

    Args:
      samples: whole or floating-point numbers.
      stated: the largest sample that the file says it may have; 0: it does not say.

    Returns:
      uint8 of the same shape.

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
        largest = max(_without_hot_pixels(samples), float(stated))
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


def _without_hot_pixels(samples: np.ndarray) -> float:
    """Returns the largest whole sample, or of all but one in ten thousand, see `scaled`."""
    largest, hot = float(samples.max()), samples.size // _HOT_PIXELS
    if not hot or largest >= 1 << 16:
        return largest
    rest = float(np.partition(samples, -1 - hot, axis=None)[-1 - hot])
    return rest if 16 * rest < largest + 16 else largest


def _stated(image: Image.Image, tags: Any, samples: np.ndarray, data: bytes) -> float:
    """Returns the largest sample that a file of deep greys says it may have; 0: it does not."""
    if image.format == "JPEG2000":  # Pillow has shifted the samples up to 16 bits
        return 65535 if precision(data) < 16 else 0
    if image.format == "PNG":
        return stated_by_png(samples, significant_bits(data))
    numbers = [tags.get(tag, 0) for tag in _LARGEST_SAMPLE]
    numbers = [max(n, default=0) if isinstance(n, tuple) else n for n in numbers]
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    numbers += [(1 << bits) - 1] if bits < 16 else []
    # Writers may put anything there; what the container can not hold says nothing.
    return max((float(n) for n in numbers if isinstance(n, int | float) and n < 65536), default=0)


def stated_by_png(samples: np.ndarray, bits: int) -> float:
    """Returns what the chunk `sBIT` means for samples of 16 bits.

    By the standard such samples are stretched to 16 bits; many writers leave them as they are.
    """
    if not 0 < bits < 16:
        return 0
    white = (1 << bits) - 1
    stretched = np.rint(samples * np.float32(white / 65535))
    stretched = np.rint(stretched * np.float32(65535 / white))
    shifted = samples & ((1 << 16 - bits) - 1)
    if (np.abs(stretched - samples) <= 1).all() or not shifted.any():
        return 65535
    return white


def significant_bits(data: bytes) -> int:
    """Returns the largest number in a PNG's chunk `sBIT` that is of a colour; 0 without one."""
    place = data.find(b"sBIT", 0, data.find(b"IDAT") + 4)
    if place < 4:
        return 0
    colours = 3 if data[place - 1] >= 3 else 1  # by the chunk's length, which precedes its name
    return max(data[place + 4 : place + 4 + colours], default=0)


def precision(data: bytes) -> int:
    """Returns the bits of a JPEG 2000's first component by its codestream's header."""
    place = data.find(_J2K_START) + 42
    return (data[place] & 0x7F) + 1 if 42 <= place < len(data) else 16


def made(pixels: np.ndarray, image: Image.Image) -> Image.Image:
    """Returns pixels as an image that keeps what the file says of its colours and its turn."""
    made = Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8, copy=False)))
    made.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return made
