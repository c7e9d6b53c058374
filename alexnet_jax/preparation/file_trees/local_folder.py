"""The files below a folder; links are followed, and a circle of them is noticed."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.data.system_files import system_file, system_folder
from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.file_trees.tree import MAX_ENTRIES, Entry, Parts, Tree

_MAX_FOLDER_LINKS = 100_000


class _Visit(NamedTuple):
    """A folder to list; `around` are device and inode of the folders around it."""

    path: str
    parts: Parts
    link_target: str
    around: frozenset[tuple[int, int]]


def walk_folder(root: Path) -> Tree:
    """Lists files, then folders, by name; a link to a folder around it is left out and counted."""
    tree = Tree()
    folder_links = 0
    waiting = [_Visit(os.fspath(root), (), "", frozenset())]
    while waiting:
        visit = waiting.pop()
        try:
            around = visit.around | {_identity(os.stat(visit.path))}
            with os.scandir(visit.path) as found:
                items = sorted(found, key=lambda item: item.name)
        except OSError as error:
            raise DataError(f"cannot read {readable(visit.path)}: {error.strerror}") from None
        inner = []
        for item in items:
            parts = (*visit.parts, readable(item.name))
            status = _status(tree, item, parts)
            if status is None:
                continue
            link = item.is_symlink()
            target = visit.link_target and f"{visit.link_target}/{item.name}"
            if link:
                target = _real_path(root, item.path)
            if not stat.S_ISDIR(status.st_mode):
                tree.entries.append(Entry(parts, item.path, 0, status.st_size, 0, target))
            elif link and _identity(status) in around:
                tree.left_out["links to a folder around them"] += 1
            else:
                folder_links += link
                tree.folders.add(parts)
                inner.append(_Visit(item.path, parts, target, around))
        waiting += reversed(inner)
        if folder_links > _MAX_FOLDER_LINKS or len(tree.entries) > MAX_ENTRIES:
            raise DataError(
                f"{root} has over {_MAX_FOLDER_LINKS:,} links to folders or over {MAX_ENTRIES:,} "
                "files; check whether its links lead to each other"
            )
    return tree


def _status(tree: Tree, item: os.DirEntry, parts: Parts) -> os.stat_result | None:
    """None: left out and counted."""
    try:
        status = item.stat()
    except OSError as error:
        if not item.is_symlink():
            raise DataError(f"cannot read {readable(item.path)}: {error.strerror}") from None
        tree.broken_links[parts] = readable(os.readlink(item.path))
        return None
    folder = stat.S_ISDIR(status.st_mode)
    reason = system_folder(item.name) if folder else system_file(item.name)
    if not reason and not folder and not stat.S_ISREG(status.st_mode):
        reason = "special files"
    if reason:
        tree.left_out[reason] += 1
        return None
    return status


def _real_path(root: Path, path: str) -> str:
    """Returns the path behind a link; one below `root` begins with `root` as it was given."""
    real, real_root = os.path.realpath(path), os.path.realpath(root)
    return f"{root}{real[len(real_root) :]}" if real.startswith(f"{real_root}/") else real


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
