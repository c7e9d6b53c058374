"""One image: bytes to RGB pixels, and back to bytes."""

import contextlib
import functools
import io
import os
import warnings
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
import simplejpeg
from PIL import Image, ImageFile, features

from alexnet_jax.appearance import AS_STORED, Appearance
from alexnet_jax.data import colours, depth, jpeg_end
from alexnet_jax.errors import BadImageError

MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 256 * 1024**2
# Pillow reads more; these are what people have, and run or fetch nothing (as EPS and WMF do).
_FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "DIB", "PCX", "QOI", "SGI",
    "SUN",
)  # fmt: skip
_UNMARKED = ("TGA",)  # has no signature, so other files may be taken for one
_JPEGS = ("JPEG", "MPO")
_ICON, _ICON_START = "ICO", b"\0\0\1\0"
_MAX_ICON_SIDE = 1024  # pixels across or down
SUFFIXES = (
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".ico", ".j2c", ".j2k", ".jfif",
    ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pcx", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".qoi", ".ras", ".sgi", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Endings of the names of image files."""
# The kinds of ISO media files that hold a picture, by the brand after `ftyp`.
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_ORIENTATION = 0x0112  # EXIF and TIFF tags
NO_END = "no end marker"
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
_ARRAY_TURNS: dict[Image.Transpose, Callable[[np.ndarray], np.ndarray]] = {
    Image.Transpose.FLIP_LEFT_RIGHT: lambda pixels: pixels[:, ::-1],
    Image.Transpose.ROTATE_180: lambda pixels: pixels[::-1, ::-1],
    Image.Transpose.FLIP_TOP_BOTTOM: lambda pixels: pixels[::-1],
    Image.Transpose.TRANSPOSE: lambda pixels: pixels.transpose(1, 0, 2),
    Image.Transpose.ROTATE_270: lambda pixels: pixels[::-1].transpose(1, 0, 2),
    Image.Transpose.TRANSVERSE: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    Image.Transpose.ROTATE_90: lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}


def decode_rgb(
    data: bytes,
    appearance: Appearance = AS_STORED,
    notes: list[str] | None = None,  # gets `NO_END` for a JPEG that lacks only its end marker
    min_side: int | None = None,  # allows smaller pictures, no side below this, where faster
) -> Image.Image:
    """Decodes an image file of any usual kind, by its content, to a loaded image of mode RGB.

    Of an animation or a document of several pages the first is taken. The header is read first, so
    that a crafted file cannot ask for memory. TIFF and HEIC files are always turned upright.

    Raises:
      BadImageError: no such image, truncated, damaged, or over `MAX_PIXELS`.
    """
    with _checked(data, notes) as (image, data):
        if min_side:
            image.draft(None, (min_side, min_side))
        return appear(depth.load_pixels(image, data), appearance)


def decode_pixels(
    data: bytes, appearance: Appearance = AS_STORED, notes: list[str] | None = None
) -> np.ndarray:
    """Decodes to the pixels of `decode_rgb`, uint8 [h, w, 3], ordinary JPEGs without Pillow.

    That saves a copy of the pixels in four bytes each, and a second one in three.

    Raises:
      BadImageError: as `decode_rgb`.
    """
    with _checked(data, notes) as (image, data):
        pixels = _ordinary_jpeg(image, data, appearance)
        if pixels is None:
            pixels = np.asarray(appear(depth.load_pixels(image, data), appearance))
        return pixels


@contextlib.contextmanager
def _checked(data: bytes, notes: list[str] | None) -> Iterator[tuple[ImageFile.ImageFile, bytes]]:
    """Yields an opened image and its bytes, with the end of a JPEG that lacks it."""
    if not data:
        raise BadImageError("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF is no reason to distrust the pixels
        image = _opened(data)
        try:
            _check_tiff(image)
            if image.format in _JPEGS and jpeg_end.lacks_end(data):
                data = jpeg_end.completed(data)
                image = _opened(data)
                if notes is not None:
                    notes.append(NO_END)
            yield image, data
        except BadImageError:
            raise
        except Exception as error:
            raise BadImageError(_reason(error)) from None


def _ordinary_jpeg(
    image: ImageFile.ImageFile, data: bytes, appearance: Appearance
) -> np.ndarray | None:
    """Returns the pixels of a JPEG that is seen as it is stored; None: it is none, or damaged."""
    if image.format not in _JPEGS or image.mode not in ("RGB", "L"):
        return None
    if appearance.colours != "stored" and colours.changed(image):
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB")
    except ValueError:  # Pillow says why, or reads it nevertheless
        return None
    turn = _turn(image) if appearance.orientation == "upright" else None
    return pixels if turn is None else _ARRAY_TURNS[turn](pixels)


def _opened(data: bytes) -> ImageFile.ImageFile:
    formats = (*_formats(), *_UNMARKED)
    if data.startswith(_ICON_START) and _longest_side_in_icon(data) <= _MAX_ICON_SIDE:
        formats = (_ICON,)  # Pillow decodes it at once
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
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
    return image


def _longest_side_in_icon(data: bytes) -> int:
    longest = 0
    for entry in range(6, 6 + 16 * int.from_bytes(data[4:6], "little"), 16):
        place = int.from_bytes(data[entry + 12 : entry + 16], "little")
        order, at = ("big", 16) if data[place : place + 4] == b"\x89PNG" else ("little", 4)
        for start in (place + at, place + at + 4):
            side = int.from_bytes(data[start : start + 4], order, signed=True)
            longest = max(longest, abs(side))
    return longest


def appear(image: Image.Image, appearance: Appearance) -> Image.Image:
    """Converts a loaded image to RGB, turned and coloured; errors as of `depth.scaled`."""
    turn = _turn(image) if appearance.orientation == "upright" else None
    rgb = colours.to_rgb(depth.to_eight_bits(image), appearance.colours)
    return rgb if turn is None else rgb.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Returns how EXIF turns an image upright; None: it is upright."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF is no reason to distrust the pixels
        return None


def is_image(path: str | os.PathLike) -> bool:
    """Returns whether a file begins as an image that `decode_rgb` knows, or is named as a TGA."""
    return _size(path, _formats()) is not None


def header_size(file: str | os.PathLike | IO[bytes]) -> tuple[int, int] | None:
    """Returns width and height, (0, 0) if too large to be opened; None: the format is unknown."""
    return _size(file, (*_formats(), *_UNMARKED))


def _size(file: str | os.PathLike | IO[bytes], formats: tuple[str, ...]) -> tuple[int, int] | None:
    if isinstance(file, str | os.PathLike):
        try:
            with open(file, "rb") as opened:
                return _size(opened, formats)
        except OSError:
            return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            start = file.read(8)
            if start.startswith(_ICON_START):
                return start[6] or 256, start[7] or 256
            file.seek(0)
            return Image.open(file, formats=formats).size
        except Image.DecompressionBombError:
            return 0, 0
        except Exception:  # as above
            return None


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Encodes uint8 [h, w, 3] pixels as JPEG (4:2:0, as OpenCV's default was in 2012)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def decode_jpeg(
    data: bytes | memoryview, out: np.ndarray | None = None, *, backwards: bool = False
) -> np.ndarray:
    """Decodes a JPEG of `encode_jpeg`, uint8 [h, w, 3]; a damaged one is a `ValueError`.

    So is one of another size than `out`. libjpeg-turbo gives the same bits as Pillow, 1.3 times as
    fast. `backwards`: blue, green, red.
    """
    colours = "BGR" if backwards else "RGB"
    if out is None:
        return simplejpeg.decode_jpeg(data, colours)
    image = simplejpeg.decode_jpeg(data, colours, buffer=out)
    if image.shape != out.shape:
        raise ValueError(f"an image of {image.shape}, not {out.shape}")
    return out


@functools.cache
def _formats() -> tuple[str, ...]:
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
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in _HEIC_BRANDS and "HEIF" not in _formats():
        return "a HEIC image; to read it: pip install pillow-heif"
    if brand in _AVIF_BRANDS and "AVIF" not in _formats():
        return "an AVIF image; to read it: pip install --upgrade pillow"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "a TIFF with pixels of an unsupported kind; save it with 8 bits a colour"
    return (
        "not a JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, HEIC, PPM, JPEG 2000, ICO, TGA, PCX, QOI, "
        "SGI or Sun image"
    )


def _check_tiff(image: Image.Image) -> None:
    """Refuses the preview with which a camera's raw file (DNG, NEF, ARW) begins as a TIFF."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise BadImageError("a camera's raw file; develop it to JPEG or TIFF first")


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words[:200]
