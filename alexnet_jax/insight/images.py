"""Images that a user hands over: files, folders, globs, bytes, Pillow images and arrays."""

import glob
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.config import AS_VIEWED, Appearance
from alexnet_jax.data.decode import (
    MAX_FILE_BYTES,
    SUFFIXES,
    BadImageError,
    appear,
    decode_rgb,
    is_image,
)
from alexnet_jax.data.square import fit_square
from alexnet_jax.data.system_files import system_file, system_folder
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.sources.tree import Entry
from alexnet_jax.preparation.sources.zips import list_zip

UserImage = str | os.PathLike | bytes | Entry | Image.Image | np.ndarray
UserImages = UserImage | Sequence[UserImage]


class Unreadable(NamedTuple):
    """An image that was left out: its place in the list, its name, and why."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    name: str
    reason: str


class NotTaken(NamedTuple):
    """What lies in a folder that was named, but is no image for the network, and why."""

    name: str
    reason: str


def expand_images(
    patterns: Iterable[str | os.PathLike], not_taken: list[NotTaken] | None = None
) -> list[Path]:
    """Returns the files that the patterns name, in order, each once.

    A file is taken whatever it is; a folder gives all files below it that are images by their
    name or by their content, sorted; anything else is a glob (`photos/*.jpg`, `**` for any depth).

    Args:
      patterns: files, folders, globs.
      not_taken: gets what else the folders hold: other files, hidden ones, linked folders, and
        folders that a storage system keeps there.

    Raises:
      InputError: a pattern names nothing, or a folder holds no image.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        files |= dict.fromkeys(_expand(os.fspath(pattern), [] if not_taken is None else not_taken))
    if not files:
        raise InputError("no images were named; give files, folders or globs")
    return list(files)


def _expand(pattern: str, not_taken: list[NotTaken]) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        found = _images_below(path, not_taken)
        if not found:
            others = f"; not taken: {len(not_taken)}, e.g. {not_taken[0].name}" if not_taken else ""
            raise InputError(f"folder {pattern} holds no image{others}")
        return found
    if path.exists():
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    found = [match for match in matches if not match.is_dir()]
    for folder in matches:
        if folder.is_dir() and "**" not in pattern:
            found += _images_below(folder, not_taken)
    if not found:
        raise InputError(f"{pattern} does not exist and matches no file")
    return found


def _images_below(folder: Path, not_taken: list[NotTaken]) -> list[Path]:
    def leave(path: str | os.PathLike, reason: str) -> None:
        not_taken.append(NotTaken(os.fspath(path), reason))

    found = []
    walk = os.walk(folder, onerror=lambda error: leave(error.filename, error.strerror or "error"))
    for root, folders, names in walk:
        for name in sorted(folders):
            place = os.path.join(root, name)
            if system_folder(name):
                hidden = name.startswith(".")
                leave(place, "a hidden folder" if hidden else "a folder of a storage system")
                folders.remove(name)
            elif os.path.islink(place):
                leave(place, "a link to a folder")
                folders.remove(name)
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if system_file(name):
                hidden = name.startswith(".")
                leave(path, "a hidden file" if hidden else "a file of the operating system")
            elif path.exists() and not path.is_file():
                leave(path, "no regular file")  # reading a pipe might never end
            elif name.lower().endswith(SUFFIXES) or is_image(path):
                found.append(path)
            else:
                leave(path, "no image")
    return found


def is_zip(path: str | os.PathLike) -> bool:
    """Returns whether a path is a file that begins as zips do."""
    if not os.path.isfile(path):  # reading a pipe would take from it
        return False
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False  # which is said where it is read


def images_in_zip(path: str, not_taken: list[NotTaken]) -> dict[str, Entry]:
    """Returns the files of a zip that are images by their names, by the zip's path and their own.

    Args:
      path: of the zip.
      not_taken: gets what else it holds.

    Raises:
      InputError: it is damaged, or holds no image.
    """
    try:
        tree = list_zip(Path(path), path)
    except DataError as error:
        raise InputError(str(error)) from None
    found = {}
    for entry in tree.entries:
        name = os.path.join(path, *entry.parts)
        if entry.name.lower().endswith(SUFFIXES):
            found[name] = entry
        else:
            not_taken.append(NotTaken(name, "no image by its name"))
    not_taken += [NotTaken(f"{n:,} in {path}", why) for why, n in tree.ignored.items()]
    if not found:
        inner = next((e.name for e in tree.entries if e.name.lower().endswith(".zip")), "")
        remedy = f"; unpack it and name the {inner} in it" if inner else ""
        raise InputError(f"zip {path} holds no image{remedy}")
    return found


def as_sequence(images: UserImages) -> Sequence[UserImage]:
    """Returns the images as a sequence; a single one becomes a list of one.

    Raises:
      InputError: an array that is not uint8 `[n, height, width, 3]`.
    """
    if isinstance(images, str | os.PathLike | bytes | Entry | Image.Image):
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


def read_image(image: UserImage, size: int, appearance: Appearance = AS_VIEWED) -> np.ndarray:
    """Returns one image as the network's data set would store it, uint8 `[size, size, 3]`.

    The shorter side is rescaled to `size` and the central square kept, as for training images; an
    array of exactly that size stays as it is.

    Args:
      image: path, bytes of an image file, file in a zip, Pillow image, or array.
      size: stored height and width, pixels.
      appearance: how files and Pillow images are read: turned as their EXIF says (phones), with
        their profile and on white.

    Raises:
      BadImageError: the file cannot be read or is no image.
      InputError: an array that is not uint8 `[height, width, 3]`, or an object of another type.
    """
    if isinstance(image, np.ndarray):
        _check_array(image)
        return fit_square(Image.fromarray(np.ascontiguousarray(image)), size)
    if isinstance(image, Image.Image):
        return fit_square(appear(image, appearance), size)
    if isinstance(image, Entry):
        image = _unpacked(image)
    if isinstance(image, str | os.PathLike):
        image = _read_bytes(image)
    if not isinstance(image, bytes):
        raise InputError(
            "images should be paths, bytes, Pillow images or uint8 arrays, not "
            f"{type(image).__name__}"
        )
    return fit_square(decode_rgb(image, appearance), size)


def name_of(image: UserImage, index: int) -> str:
    """Returns what messages call the image: its path, or its place in the list."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {index}"


def _read_bytes(path: str | os.PathLike) -> bytes:
    try:
        with open(path, "rb") as file:
            return within_limit(file)
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from None


def _unpacked(entry: Entry) -> bytes:
    try:
        return within_limit(io.BytesIO(entry.read(MAX_FILE_BYTES + 1)))
    except DataError as error:
        raise BadImageError(str(error)) from None


def within_limit(file: BinaryIO) -> bytes:
    """Returns what a file or pipe holds; raises `BadImageError` where that is no image's size."""
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise BadImageError(f"more than {MAX_FILE_BYTES // 2**20} MiB")
    return data


def _check_array(array: np.ndarray) -> None:
    if array.dtype != np.uint8:
        raise InputError(
            f"images in arrays should be uint8 in 0..255, not {array.dtype}; "
            "scale floats by 255 and convert them with astype('uint8')"
        )
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(f"an image should be [height, width, 3], not {list(array.shape)}")
