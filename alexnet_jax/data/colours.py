"""Colours as a viewer shows them: the embedded profile to sRGB, transparent parts on white.

Little CMS converts by the relative colorimetric intent with black point compensation, as photo
editors do.
"""

import functools
import io
import struct
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from alexnet_jax.appearance import Colours

_MAX_PROFILE_BYTES = 4 * 1024**2  # those of printers have one or two million
_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")  # other profiles belong to no picture
_MAX_INVISIBLE = 2  # of 255; a profile so near to sRGB is taken for it
_PADDED = ("BMP", "DIB", "TGA")  # formats whose fourth byte is often only padding
_SRGB = ((0.3127, 0.329), (0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
"""x and y of white, red, green, blue."""
_ADOBE = ((0.3127, 0.329), (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def to_rgb(image: Image.Image, colours: Colours) -> Image.Image:
    """Converts a loaded image of at most 8 bits a sample to RGB.

    With `stored` colours the numbers of the file stay, without its profile and its alpha, as 2012
    read ImageNet.
    """
    if image.mode in ("P", "PA"):
        transparent = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if transparent else "RGB")
    elif image.mode == "La":  # multiplied by alpha
        image = image.convert("LA")
    key = _colour_key(image)
    if "transparency" in image.info:  # Pillow would convert it too, or fail
        image = image.copy()
        del image.info["transparency"]
    if colours == "stored":
        return _in_rgb(image)
    picture, alpha = _separate(image, key)
    picture = _to_srgb(picture, image)
    if alpha is None:
        return picture
    paper = Image.new("RGB", image.size, "white")
    paper.paste(picture, mask=alpha)
    return paper


def _separate(image: Image.Image, key: Any) -> tuple[Image.Image, Image.Image | None]:
    """Returns the colours (`RGB`, `L` or `CMYK`) and the alpha; None: all is opaque."""
    alpha = None
    if image.mode in ("RGBA", "LA", "RGBa"):
        full = image.convert("RGBA") if image.mode == "RGBa" else image
        alpha = full.getchannel("A")
        image = full.getchannel("L") if image.mode == "LA" else full.convert("RGB")
        padding = alpha.getextrema() == (0, 0) and full.format in _PADDED
        if padding or alpha.getextrema() == (255, 255):
            alpha = None
    elif key is not None:
        opaque = np.asarray(image.convert("L") if image.mode == "1" else image) != key
        opaque = opaque.any(2) if opaque.ndim == 3 else opaque  # [h, w]
        alpha = Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8))
    if image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image, alpha


def _colour_key(image: Image.Image) -> Any:
    """Returns the colour that marks transparent pixels, in 0..255; None: there is none."""
    key = image.info.get("transparency")
    if image.mode in ("1", "L") and isinstance(key, int):
        return key
    if image.mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
        return np.array(key)
    return None


def _to_srgb(picture: Image.Image, image: Image.Image) -> Image.Image:
    if not image.info.get("icc_profile"):
        picture = _in_rgb(picture)
    transform = _conversion(image, picture.mode)
    return _in_rgb(picture) if transform is None else transform.apply(picture)


def changed(image: Image.Image) -> bool:
    """Returns whether an opened image without alpha, `RGB` or `L`, has colours to convert."""
    mode = image.mode if image.info.get("icc_profile") else "RGB"
    return _conversion(image, mode) is not None


def _conversion(image: Image.Image, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns how colours of that mode become sRGB; None: they are."""
    profile = image.info.get("icc_profile") or _profile_without_icc(image)
    usable = isinstance(profile, bytes) and len(profile) <= _MAX_PROFILE_BYTES
    transform = _transform(profile) if usable else None
    return transform if transform is not None and transform.input_mode == mode else None


def _in_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """Returns the conversion to sRGB; None: it changes nothing, or the profile is of no use."""
    mode = _MODES.get(bytes(profile[16:20]))
    if mode is None or profile[12:16] not in _CLASSES:
        return None
    # Its table for greys is too coarse in the dark of a linear profile.
    extra = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION | extra,
        )
        if mode != "RGB":
            return transform
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3)  # 9 ** 3 colours
        shown = np.asarray(transform.apply(Image.fromarray(cube)), int)
    except Exception:  # Little CMS and Pillow raise several kinds
        return None
    return None if np.abs(shown - cube).max() <= _MAX_INVISIBLE else transform


def _profile_without_icc(image: Image.Image) -> bytes | None:
    """Returns a profile for a PNG's `gAMA` and `cHRM`, or for a camera's EXIF; None: neither.

    A camera that is set to Adobe RGB embeds no profile; its EXIF names the interoperability rule
    `R03` (DCF 2.0). The chunk `cICP` and the colour numbers of AVIF are not read.
    """
    info = image.info
    exif, gamma = info.get("exif"), info.get("gamma")
    if isinstance(exif, bytes) and b"R03\0" in exif:
        exif = image.getexif()
        if exif.get_ifd(0xA005).get(1) == "R03":
            return matrix_profile(_ADOBE, 563 / 256)
    if not isinstance(gamma, float) or "srgb" in info:  # a text may have that key, too
        return None
    primaries = info.get("chromaticity", sum(_SRGB, ()))
    usual = 0.45 <= gamma <= 0.46 and np.allclose(primaries, sum(_SRGB, ()), atol=0.01)
    if usual or not 0.1 <= gamma <= 5:
        return None
    try:
        return matrix_profile(tuple(zip(primaries[::2], primaries[1::2], strict=True)), 1 / gamma)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError, struct.error):
        return None  # no colours


@functools.lru_cache(maxsize=16)
def matrix_profile(points: tuple[tuple[float, float], ...], gamma: float) -> bytes:
    """Returns an ICC profile (version 2) for CIE x and y of white, red, green, blue and a power.

    Raises:
      ValueError, LinAlgError, struct.error: no colour space has such points.
    """
    if not all(0 < y <= 1 and 0 <= x <= 1 for x, y in points):
        raise ValueError("no colours")
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in points)  # XYZ
    columns = np.stack(primaries, 1)  # [XYZ, red green blue]
    columns = columns * np.linalg.solve(columns, white)
    scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    columns = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ columns

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * float(v)) for v in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(256 * gamma))
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 1) + bytes(80), b"wtpt": xyz(_D50)}
    for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
        tags |= {name + b"XYZ": xyz(column), name + b"TRC": curve}
    table, body = b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">2I", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4xI", 132 + len(table) + len(body), 0x02100000) + b"mntrRGB XYZ "
    header += bytes(12) + b"acsp" + bytes(28) + xyz(_D50)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
