"""The files below a folder; links are followed, and a circle of them is noticed."""

import os
import stat
from pathlib import Path

from alexnet_jax.data.system_files import system_file, system_folder
from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.sources.tree import MAX_ENTRIES, Entry, Parts, Tree

_MAX_FOLDER_LINKS = 100_000
_CIRCLE = "links to a folder around them"


def walk_folder(root: Path) -> Tree:
    """Lists the files below a folder: those of each folder by name, then its folders by name.

    A link is followed wherever it leads, as its owner has laid it; all files are named by
    their real paths. A link to a folder that it lies in is left out and counted.

    Raises:
      DataError: a folder cannot be read, or there is no end of links.
    """
    tree = Tree()
    folder_links = 0
    waiting: list[tuple[str, Parts, frozenset[tuple[int, int]], bool]]
    waiting = [(os.path.realpath(root), (), frozenset(), False)]
    while waiting:
        place, parts, around, linked = waiting.pop()
        try:
            status = os.stat(place)
            around |= {(status.st_dev, status.st_ino)}
            with os.scandir(place) as found:
                items = sorted(found, key=lambda item: item.name)
        except OSError as error:
            raise DataError(f"cannot read {place}: {error.strerror}") from None
        inner = []
        for item in items:
            entry = _look(tree, item, (*parts, readable(item.name)), linked)
            if isinstance(entry, Entry):
                tree.entries.append(entry)
            elif entry:
                folder_links += item.is_symlink()
                inner.append((item, entry))
        for item, real in reversed(inner):
            there = (*parts, readable(item.name))
            if item.is_symlink() and _identity(real) in around:
                tree.ignored[_CIRCLE] += 1
            else:
                tree.folders.add(there)
                waiting.append((real, there, around, linked or item.is_symlink()))
        if folder_links > _MAX_FOLDER_LINKS or len(tree.entries) > MAX_ENTRIES:
            raise DataError(
                f"{root} has over {_MAX_FOLDER_LINKS:,} links to folders or over {MAX_ENTRIES:,} "
                "files; do its links lead to each other?"
            )
    return tree


def _look(tree: Tree, item: os.DirEntry, parts: Parts, linked: bool) -> Entry | str | None:
    """Returns a file, or the real path of a folder, or None for what is left out and counted."""
    try:
        status = item.stat()
        link = item.is_symlink()
    except OSError as error:
        if not item.is_symlink():
            raise DataError(f"cannot read {item.path}: {error.strerror}") from None
        tree.broken[parts] = readable(os.readlink(item.path))
        return None
    folder = stat.S_ISDIR(status.st_mode)
    reason = system_folder(item.name) if folder else system_file(item.name)
    if reason:
        tree.ignored[reason] += 1
    elif folder:
        return os.path.realpath(item.path) if link else item.path
    elif stat.S_ISREG(status.st_mode):
        path = os.path.realpath(item.path) if link else item.path
        return Entry(parts, path, 0, status.st_size, 0, linked or link)
    else:
        tree.ignored["special files"] += 1
    return None


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
