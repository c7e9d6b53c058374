"""Images that a user hands over: files, folders, globs, Pillow images and arrays."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from alexnet_jax.data.decode import BadImageError, decode_rgb, fit_square, to_rgb
from alexnet_jax.errors import InputError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")

UserImage = str | os.PathLike | Image.Image | np.ndarray
UserImages = UserImage | Sequence[UserImage]


class Unreadable(NamedTuple):
    """An image that was left out: its place in the list, its name, and why."""

    index: int
    name: str
    reason: str


def expand_images(patterns: Iterable[str | os.PathLike]) -> list[Path]:
    """Returns the files that the patterns name, in order, each once.

    A file is taken whatever its name; a folder gives all image files below it, sorted, without
    hidden ones; anything else is a glob (`photos/*.jpg`, `**` for any depth).

    Raises:
      InputError: a pattern names nothing, or a folder holds no image.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        files |= dict.fromkeys(_expand(os.fspath(pattern)))
    if not files:
        raise InputError("no images were named; give files, folders or globs")
    return list(files)


def _expand(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        found = _images_below(path)
        if not found:
            raise InputError(
                f"folder {pattern} holds no image; looked for {', '.join(SUFFIXES)} files"
            )
        return found
    if path.exists():
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    found = [match for match in matches if match.is_file()]
    for folder in matches:
        found += _images_below(folder) if folder.is_dir() and "**" not in pattern else []
    if not found:
        raise InputError(f"{pattern} does not exist and matches no file")
    return found


def _images_below(folder: Path) -> list[Path]:
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(root, name)
            for name in sorted(names)
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return found


def as_sequence(images: UserImages) -> Sequence[UserImage]:
    """Returns the images as a sequence; one path or Pillow image becomes a list of one.

    Raises:
      InputError: an array that is not uint8 `[n, height, width, 3]`.
    """
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if isinstance(images, np.ndarray):
        if images.ndim != 4:
            raise InputError(
                f"an array of images should be [n, height, width, 3], not {list(images.shape)}"
                + ("; use array[None] for a single image" if images.ndim == 3 else "")
            )
        _check_array(images[0] if len(images) else np.empty((1, 1, 3), images.dtype))
        return list(images)
    return images


def read_image(image: UserImage, size: int) -> np.ndarray:
    """Returns one image as the network's data set would store it, uint8 `[size, size, 3]`.

    Files and Pillow images are turned upright as their EXIF orientation says (phones). Then the
    shorter side is rescaled to `size` and the central square kept, as for training images; an
    array of exactly that size stays as it is.

    Raises:
      BadImageError: the file cannot be read or is no image.
      InputError: an array that is not uint8 `[height, width, 3]`, or an object of another type.
    """
    if isinstance(image, np.ndarray):
        _check_array(image)
        return fit_square(Image.fromarray(np.ascontiguousarray(image)), size)
    if isinstance(image, Image.Image):
        picture = to_rgb(image)
    elif isinstance(image, str | os.PathLike):
        picture = decode_rgb(_read_bytes(image))
    else:
        raise InputError(
            f"images should be paths, Pillow images or uint8 arrays, not {type(image).__name__}"
        )
    return fit_square(ImageOps.exif_transpose(picture), size)


def name_of(image: UserImage, index: int) -> str:
    """Returns what messages call the image: its path, or its place in the list."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {index}"


def _read_bytes(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from None


def _check_array(array: np.ndarray) -> None:
    if array.dtype != np.uint8:
        raise InputError(
            f"images in arrays should be uint8 in 0..255, not {array.dtype}; "
            "scale floats by 255 and convert them with astype('uint8')"
        )
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(f"an image should be [height, width, 3], not {list(array.shape)}")
