"""The files below a folder; links are followed, and a circle of them is noticed."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.data.system_files import system_file, system_folder
from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.sources.tree import MAX_ENTRIES, Entry, Parts, Tree

_MAX_FOLDER_LINKS = 100_000
_CIRCLE = "links to a folder around them"


class _Place(NamedTuple):
    """A folder to look into: how it was reached, and the folders around it.

    `real` is where it really lies if a link led here; `around` are device and inode of the folders
    that it lies in.
    """

    path: str
    parts: Parts
    real: str
    around: frozenset[tuple[int, int]]


def walk_folder(root: Path) -> Tree:
    """Lists the files below a folder: those of each folder by name, then its folders by name.

    A link is followed wherever it leads, as its owner has laid it; one to a folder that it lies in
    is left out and counted.

    Raises:
      DataError: a folder cannot be read, or there is no end of links.
    """
    tree = Tree()
    folder_links = 0
    waiting = [_Place(os.fspath(root), (), "", frozenset())]
    while waiting:
        place = waiting.pop()
        try:
            around = place.around | {_identity(place.path)}
            with os.scandir(place.path) as found:
                items = sorted(found, key=lambda item: item.name)
        except OSError as error:
            raise DataError(f"cannot read {readable(place.path)}: {error.strerror}") from None
        inner = []
        for item in items:
            parts = (*place.parts, readable(item.name))
            status = _status(tree, item, parts)
            if status is None:
                continue
            link = item.is_symlink()
            real = _real(root, item.path) if link else place.real and f"{place.real}/{item.name}"
            if not stat.S_ISDIR(status.st_mode):
                tree.entries.append(Entry(parts, item.path, 0, status.st_size, 0, real))
            elif link and (status.st_dev, status.st_ino) in around:
                tree.ignored[_CIRCLE] += 1
            else:
                folder_links += link
                tree.folders.add(parts)
                inner.append(_Place(item.path, parts, real, around))
        waiting += reversed(inner)
        if folder_links > _MAX_FOLDER_LINKS or len(tree.entries) > MAX_ENTRIES:
            raise DataError(
                f"{root} has over {_MAX_FOLDER_LINKS:,} links to folders or over {MAX_ENTRIES:,} "
                "files; do its links lead to each other?"
            )
    return tree


def _status(tree: Tree, item: os.DirEntry, parts: Parts) -> os.stat_result | None:
    """Returns what a file or folder is, behind links; None: it is left out, and counted."""
    try:
        status = item.stat()
    except OSError as error:
        if not item.is_symlink():
            raise DataError(f"cannot read {readable(item.path)}: {error.strerror}") from None
        tree.broken[parts] = readable(os.readlink(item.path))
        return None
    folder = stat.S_ISDIR(status.st_mode)
    reason = system_folder(item.name) if folder else system_file(item.name)
    if not reason and not folder and not stat.S_ISREG(status.st_mode):
        reason = "special files"
    if reason:
        tree.ignored[reason] += 1
        return None
    return status


def _real(root: Path, path: str) -> str:
    """Returns the path behind a link; if it is below `root`, in the words of `root`."""
    real, around = os.path.realpath(path), os.path.realpath(root)
    return f"{root}{real[len(around) :]}" if real.startswith(f"{around}/") else real


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
