"""Folders, tars and zips as one tree of files, with the archives that lie in them."""

import tarfile
from pathlib import Path

from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.sources.places import blocks_at
from alexnet_jax.preparation.sources.tars import (
    MAX_RATIO,
    decompressed,
    is_compressed,
    list_tar,
    place_in_work,
    write_in_work,
)
from alexnet_jax.preparation.sources.tree import Entry, Parts, Tree
from alexnet_jax.preparation.sources.walk import walk_folder
from alexnet_jax.preparation.sources.zips import list_zip

_ENDINGS = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz",
    ".tar.zst", ".tzst", ".7z", ".rar",  # named for what they are when they are opened
)  # fmt: skip
_UNREAD = {
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
}


def read_tree(path: Path, work: Path) -> Tree:
    """Lists a folder, a tar (plain, gzip, bzip2, xz) or a zip.

    Hidden files, files of the system and special files are left out and counted. The path itself
    may be a link.

    Args:
      path: folder or archive.
      work: where the tar inside a compressed one is put, so that its files can be read in any
        order.

    Raises:
      InputError: nothing there, or a file that is no archive.
      DataError: the archive is damaged.
    """
    if not path.exists():
        raise InputError(f"the source {path} does not exist; name a folder or an archive")
    if path.is_dir():
        return walk_folder(path)
    return _read_archive(path, work, str(path))


def stem_of(name: str) -> str:
    """Returns the name of an archive without its ending; empty: it has none of an archive."""
    if not name.lower().endswith(_ENDINGS):
        return ""
    ending = max((e for e in _ENDINGS if name.lower().endswith(e)), key=len)
    return name[: -len(ending)]


def open_archives(tree: Tree, archives: list[Entry], work: Path) -> Tree:
    """Returns the tree with the files of archives in it, each as a folder of the archive's name.

    Args:
      tree: that holds them.
      archives: entries of it whose names have an archive's ending.
      work: where those that lie in an archive themselves, or are compressed, are unpacked.

    Raises:
      InputError, DataError: as `read_tree`.
    """
    opened = {entry.parts for entry in archives}
    entries = [entry for entry in tree.entries if entry.parts not in opened]
    result = Tree(entries, set(tree.folders), tree.ignored.copy(), dict(tree.broken))
    for entry in archives:
        top: Parts = (*entry.parts[:-1], stem_of(entry.name))
        shown = f"{entry.name} in {entry.path}" if entry.offset else entry.path
        inner = _read_archive(_alone(entry, work), work, shown)
        result.entries += [e._replace(parts=top + e.parts) for e in inner.entries]
        result.folders |= {top, *(top + parts for parts in inner.folders)}
        result.ignored.update(inner.ignored)
        result.broken |= {top + parts: target for parts, target in inner.broken.items()}
    return result


def _read_archive(path: Path, work: Path, shown: str) -> Tree:
    try:
        with open(path, "rb") as file:
            head = file.read(tarfile.BLOCKSIZE)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return list_zip(path, shown)
        if is_compressed(head):
            return list_tar(decompressed(path, work), shown)
        if tarfile.is_tarfile(path):
            return list_tar(path, shown)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    kind = next((kind for magic, kind in _UNREAD.items() if head.startswith(magic)), "")
    if kind:
        raise InputError(f"{shown} is {kind}, which is not read here; unpack it, name its folder")
    raise InputError(
        f"{shown} is neither a folder nor a tar (plain, .gz, .bz2, .xz) or zip archive"
    )


def _alone(entry: Entry, work: Path) -> Path:
    """Returns a file of its own with the bytes of an entry, written once where it lies packed."""
    path = Path(entry.path)
    if not entry.offset:
        return path
    alone = place_in_work(path, work, f"-{entry.offset}.inner", "/".join(entry.parts))
    if not alone.exists():
        if entry.packed and entry.size > entry.packed * MAX_RATIO + 2**20:
            raise DataError(f"{entry.name} in {path} unpacks to over {MAX_RATIO} times its size")
        blocks = blocks_at(entry.path, entry.offset, entry.size, entry.packed)
        try:
            write_in_work(blocks, alone, path)
        except ValueError as error:
            raise DataError(f"cannot unpack {entry.name} of {path}: {error}") from None
    return alone
