"""The images that a command names: files, folders, zips, globs and standard input."""

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.data.decode import SUFFIXES, is_image
from alexnet_jax.data.system_files import system_file, system_folder
from alexnet_jax.errors import BadImageError, DataError, InputError
from alexnet_jax.insight.images import Unreadable, read_limited
from alexnet_jax.locations import readable
from alexnet_jax.preparation.file_trees.tree import Entry
from alexnet_jax.preparation.file_trees.zip import list_zip

STANDARD_INPUT = "-"


class NotTaken(NamedTuple):
    """A file or folder next to the images that is not an image, and why."""

    name: str
    reason: str


class ImageList(NamedTuple):
    """The images that a command names, each once, in the order named; `missing` are messages."""

    names: list[str]
    images: list[Path | Entry | bytes]
    missing: list[str]
    not_taken: list[NotTaken]

    def by_name(self, unreadable: list[Unreadable]) -> tuple[list[str], list[Unreadable]]:
        """Returns the names of the readable images, and the unreadable ones with their names."""
        left_out = {bad.index for bad in unreadable}
        names = [name for index, name in enumerate(self.names) if index not in left_out]
        return names, [bad._replace(name=self.names[bad.index]) for bad in unreadable]


def find_images(patterns: Iterable[str | os.PathLike]) -> ImageList:
    """Returns the images of files, folders, zips, globs and `-` (standard input).

    A file is taken whatever it is; of a folder what is an image by name or content, at any depth,
    sorted; of a zip by name. Raises `InputError` if no pattern names an image.
    """
    images: dict[Path | str, Path | Entry | bytes] = {}
    missing: list[str] = []
    not_taken: list[NotTaken] = []
    for pattern in (os.fspath(pattern) for pattern in patterns):
        if pattern == STANDARD_INPUT:
            if pattern not in images:
                images[pattern] = _read_standard_input()
            continue
        try:
            if _is_zip(pattern):
                images |= _images_in_zip(pattern, not_taken)
            else:
                images |= {path: path for path in _matches(pattern, not_taken)}
        except InputError as error:
            missing.append(str(error))
    if not images:
        raise InputError("; ".join(missing) or "no images were named; give files, folders or globs")
    return ImageList([readable(name) for name in images], list(images.values()), missing, not_taken)


def _matches(pattern: str, not_taken: list[NotTaken]) -> list[Path]:
    """Raises `InputError` where a pattern names no file."""
    path = Path(pattern)
    if path.is_dir():
        beside: list[NotTaken] = []
        found = _images_below(path, beside)
        not_taken += beside
        if not found:
            others = f"; not used: {len(beside)}, e.g. {beside[0].name}" if beside else ""
            raise InputError(f"folder {pattern} holds no image{others}")
        return found
    if path.exists():
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    found = [match for match in matches if not match.is_dir()]
    if "**" not in pattern:
        for folder in matches:
            found += _images_below(folder, not_taken) if folder.is_dir() else []
    if not found:
        raise InputError(f"{pattern} does not exist and matches no file")
    return found


def _images_below(folder: Path, not_taken: list[NotTaken]) -> list[Path]:
    def leave_out(path: str | os.PathLike, reason: str) -> None:
        not_taken.append(NotTaken(os.fspath(path), reason))

    def report_error(error: OSError) -> None:
        leave_out(error.filename, error.strerror or "error")

    found = []
    for root, folders, names in os.walk(folder, onerror=report_error):
        for name in sorted(folders):
            reason = _folder_problem(root, name)
            if reason:
                leave_out(os.path.join(root, name), reason)
                folders.remove(name)
        folders.sort()  # the order in which `os.walk` goes on
        for name in sorted(names):
            path = Path(root, name)
            reason = _file_problem(path)
            if reason:
                leave_out(path, reason)
            else:
                found.append(path)
    return found


def _folder_problem(root: str, name: str) -> str:
    if system_folder(name):
        return "a hidden folder" if name.startswith(".") else "a folder of a storage system"
    return "a link to a folder" if os.path.islink(os.path.join(root, name)) else ""


def _file_problem(path: Path) -> str:
    if system_file(path.name):
        hidden = path.name.startswith(".")
        return "a hidden file" if hidden else "a file of the operating system"
    if path.exists() and not path.is_file():
        return "no regular file"  # reading a pipe might never end
    return "" if path.name.lower().endswith(SUFFIXES) or is_image(path) else "no image"


def _is_zip(path: str) -> bool:
    if not os.path.isfile(path):  # reading from a pipe would change it
        return False
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False  # the error is reported where the file is read


def _images_in_zip(path: str, not_taken: list[NotTaken]) -> dict[str, Entry]:
    """Returns the images of a zip, by the zip's path and their own."""
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
    not_taken += [NotTaken(f"{n:,} in {path}", why) for why, n in tree.left_out.items()]
    if not found:
        inner = next((e.name for e in tree.entries if e.name.lower().endswith(".zip")), "")
        remedy = f"; unpack it and name the {inner} in it" if inner else ""
        raise InputError(f"zip {path} holds no image{remedy}")
    return found


def _read_standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("- is standard input: pipe an image into it, as in `… predict - < photo`")
    try:
        return read_limited(sys.stdin.buffer)
    except (BadImageError, OSError) as error:
        raise InputError(f"standard input cannot be read: {error}") from None
