"""One image: bytes to RGB pixels, the fit to the stored square, and back to bytes.

The stored image is the paper's (§2): the shorter side is rescaled to the stored size and the
central square is kept. As in 2012 (cuda-convnet2 `make-data`): area averaging to shrink, bicubic
to enlarge, offset `floor((length - size) / 2)`. The ILSVRC images were read without their EXIF
orientation; the photos that people bring are turned upright by it.
"""

import functools
import io
import os
import warnings
from typing import IO, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image, features

from alexnet_jax.config import Orientation

MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 256 * 1024**2
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
# The kinds of ISO media files that hold a picture, by the brand after `ftyp`.
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_ORIENTATION = 0x0112  # EXIF and TIFF tags
_DNG_VERSION, _NEW_SUBFILE_TYPE = 50706, 254
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXACT_AREA_UP_TO = 8.0


class BadImageError(Exception):
    """An image that can not be used; the message is the reason, a few words long."""


def decode_rgb(data: bytes, orientation: Orientation = "stored") -> Image.Image:
    """Decodes an image file of any usual kind to RGB.

    Grey, palette, CMYK, transparent and 16-bit images are converted; of an animation or a document
    of several pages the first is taken. The header is read first, so that a crafted file can not
    ask for memory.

    Args:
      data: the file's bytes: JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, and HEIC where the package
        `pillow-heif` is installed. The content decides the format, not the name.
      orientation: whether to turn the picture as its EXIF orientation says. TIFF and HEIC files
        are turned by their own readers, always.

    Returns:
      A loaded Pillow image of mode RGB.

    Raises:
      BadImageError: no such image, truncated, damaged, or over `MAX_PIXELS`.
    """
    if not data:
        raise BadImageError("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF is no reason to distrust the pixels
        try:
            image = Image.open(io.BytesIO(data), formats=_formats())
        except Image.UnidentifiedImageError:
            raise BadImageError(_unknown(data)) from None
        except Image.DecompressionBombError:
            raise BadImageError(f"more than {MAX_PIXELS // 10**6} million pixels") from None
        except Exception as error:  # Pillow's plug-ins raise anything on hostile headers
            raise BadImageError(_reason(error)) from None
        if image.width * image.height > MAX_PIXELS:
            raise BadImageError(
                f"{image.width}x{image.height} is more than {MAX_PIXELS // 10**6} million pixels"
            )
        try:
            _check_tiff(image)
            image.load()
            return to_rgb(upright(image) if orientation == "upright" else image)
        except BadImageError:
            raise
        except Exception as error:
            raise BadImageError(_reason(error)) from None


def is_image(path: str | os.PathLike) -> bool:
    """Says whether a file begins as an image that `decode_rgb` knows; it may yet be damaged."""
    return header_size(path) is not None


def header_size(file: str | os.PathLike | IO[bytes]) -> tuple[int, int] | None:
    """Returns width and height by an image's header; None: `decode_rgb` knows no such image.

    One that is too large to be opened has (0, 0).

    Args:
      file: an image file, or at least its beginning.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=_formats()) as image:
                return image.size
        except Image.DecompressionBombError:
            return 0, 0
        except Exception:  # as above
            return None


def upright(image: Image.Image) -> Image.Image:
    """Turns an image as its EXIF orientation says; one without is returned as it is."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF is no reason to distrust the pixels
        return image
    return image if turn is None else image.transpose(turn)


def fit_square(image: Image.Image, size: int) -> np.ndarray:
    """Rescales the shorter side to `size` and keeps the central square.

    Args:
      image: RGB image.
      size: height and width of the result, pixels.

    Returns:
      uint8 [size, size, 3].
    """
    width, height = image.size
    shorter = min(width, height)
    new_width = max(size, round(width * size / shorter))
    new_height = max(size, round(height * size / shorter))
    left, top = (new_width - size) // 2, (new_height - size) // 2
    if shorter == size:
        return np.asarray(image.crop((left, top, left + size, top + size)))
    across, down = width / new_width, height / new_height  # source pixels per stored pixel
    if 1 < shorter / size <= _EXACT_AREA_UP_TO:
        vertical = _windows(height, down, top, size)
        horizontal = _windows(width, across, left, size)
        pixels = np.asarray(image)[vertical.part, horizontal.part]
        rows = _average(pixels, down, vertical)
        columns = _average(np.ascontiguousarray(rows.transpose(1, 0, 2)), across, horizontal)
        return np.rint(columns.transpose(1, 0, 2)).astype(np.uint8)
    # Beyond that factor Pillow's box filter, which takes or leaves whole pixels, is as good.
    method = Image.Resampling.BOX if shorter > size else Image.Resampling.BICUBIC
    box = (left * across, top * down, (left + size) * across, (top + size) * down)
    box = (box[0], box[1], min(box[2], width), min(box[3], height))
    return np.asarray(image.resize((size, size), method, box=box))


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Encodes uint8 [h, w, 3] pixels as JPEG (4:2:0, as OpenCV's default was in 2012)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def decode_jpeg(
    data: bytes | memoryview, out: np.ndarray | None = None, *, backwards: bool = False
) -> np.ndarray:
    """Decodes a JPEG that `encode_jpeg` wrote.

    By libjpeg-turbo with its exact inverse transform and smooth chroma, as Pillow does and to the
    same bits, without the copies to and from Pillow's own image: 1.3 times as fast.

    Args:
      data: the JPEG.
      out: uint8 [h, w, 3] to decode into; None: a new array.
      backwards: with the channels in the order blue, green, red.

    Returns:
      uint8 [h, w, 3], `out` if it was given.

    Raises:
      ValueError: damaged, or of another size than `out`.
    """
    colours = "BGR" if backwards else "RGB"
    if out is None:
        return simplejpeg.decode_jpeg(data, colours)
    image = simplejpeg.decode_jpeg(data, colours, buffer=out)
    if image.shape != out.shape:
        raise ValueError(f"an image of {image.shape}, not {out.shape}")
    return out


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a loaded image of any mode to RGB; one that is RGB already is returned as it is.

    Raises:
      BadImageError: the pixels are floating-point numbers.
    """
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise BadImageError("floating-point pixels, whose range is not known")
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip at 255
        grey = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


class _Windows(NamedTuple):
    """Windows that follow one another over a line of pixels, fractions of pixels included.

    Attributes:
      part: the pixels that they touch.
      whole: int64 [count + 1], the pixel of `part` in which each edge lies.
      fraction: float64 [count + 1], how far into that pixel.
    """

    part: slice
    whole: np.ndarray
    fraction: np.ndarray


def _windows(length: int, scale: float, first: int, count: int) -> _Windows:
    """Returns windows [(first + i) * scale, (first + i + 1) * scale), i < count, of a line.

    Args:
      length: pixels of the line.
      scale: pixels per window, at least 1.
      first: index of the first window wanted.
      count: how many windows are wanted.
    """
    edges = (first + np.arange(count + 1)) * scale
    part = slice(int(edges[0]), min(int(np.ceil(edges[-1])) + 1, length))
    edges = np.minimum(edges - part.start, part.stop - part.start)
    whole = np.minimum(edges.astype(np.int64), part.stop - part.start - 1)
    return _Windows(part, whole, edges - whole)


def _average(pixels: np.ndarray, scale: float, windows: _Windows) -> np.ndarray:
    """Averages the rows of `pixels` over windows of `scale` rows.

    A window's sum is the difference of two integrals; the integral up to a fractional row is the
    sum of the rows before it plus that fraction of the row. One row at a time, as that stays in
    the processor's cache: a cumulative sum over the whole photo takes ten times as long.

    Args:
      pixels: [rows, columns, 3], uint8 or float64.
      scale: rows per window, at least 1.
      windows: where they lie.

    Returns:
      float64 [count, columns, 3].
    """
    whole, fraction = windows.whole.tolist(), windows.fraction.tolist()
    total = np.zeros(pixels.shape[1:])
    before = total + fraction[0] * pixels[whole[0]]
    averages = np.empty((len(whole) - 1, *pixels.shape[1:]))
    for i in range(len(averages)):
        rows = pixels[whole[i] : whole[i + 1]]
        if rows.dtype == np.uint8:  # whole numbers, exact in any order; at most 2**8 rows
            total += np.add.reduce(rows, axis=0, dtype=np.uint16)
        else:
            for row in rows:
                total += row
        integral = total + fraction[i + 1] * pixels[whole[i + 1]]
        np.subtract(integral, before, out=averages[i])
        before = integral
    averages /= scale
    return averages


@functools.cache
def _formats() -> tuple[str, ...]:
    """Returns Pillow's names of the formats that can be read here."""
    names = _FORMATS
    if features.check("avif"):
        names += ("AVIF",)
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports] - optional
    except ImportError:
        return names
    pillow_heif.register_heif_opener()
    return (*names, "HEIF")


def _unknown(data: bytes) -> str:
    """Says what to do about bytes that no reader knows."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in _HEIC_BRANDS and "HEIF" not in _formats():
        return "a HEIC image; to read it: pip install pillow-heif"
    if brand in _AVIF_BRANDS and "AVIF" not in _formats():
        return "an AVIF image; to read it: pip install --upgrade pillow"
    return "not a JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF or HEIC image"


def _check_tiff(image: Image.Image) -> None:
    """Refuses the preview with which a camera's raw file (DNG, NEF, ARW) begins as a TIFF."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise BadImageError("a camera's raw file; develop it to JPEG or TIFF first")


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words[:200]
