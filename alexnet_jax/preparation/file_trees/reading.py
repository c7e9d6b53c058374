"""Lists folders, tars and zips, and the archives inside them."""

import tarfile
from pathlib import Path

from alexnet_jax.errors import InputError
from alexnet_jax.preparation.file_trees.local_folder import walk_folder
from alexnet_jax.preparation.file_trees.tar import list_tar
from alexnet_jax.preparation.file_trees.tree import Entry, Parts, Tree
from alexnet_jax.preparation.file_trees.unpacking import (
    decompressed_tar,
    is_compressed,
    standalone_file,
)
from alexnet_jax.preparation.file_trees.zip import list_zip

_ENDINGS = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz",
    ".tar.zst", ".tzst", ".7z", ".rar",  # refused by name when they are opened
)  # fmt: skip
_UNSUPPORTED = {
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
}


def read_tree(path: Path, work: Path) -> Tree:
    """Lists a folder, tar (plain, gzip, bzip2, xz) or zip; hidden and system files are left out.

    A compressed tar is unpacked into `work`, so that its files can be read in any order.
    """
    if not path.exists():
        raise InputError(f"the source {path} does not exist; name a folder or an archive")
    return walk_folder(path) if path.is_dir() else _read_archive(path, work, str(path))


def stem_of(name: str) -> str:
    """Returns an archive's name without its ending; empty: no archive."""
    endings = [ending for ending in _ENDINGS if name.lower().endswith(ending)]
    return name[: -max(map(len, endings))] if endings else ""


def open_archives(tree: Tree, archives: list[Entry], work: Path) -> Tree:
    opened = {entry.parts for entry in archives}
    entries = [entry for entry in tree.entries if entry.parts not in opened]
    result = Tree(entries, set(tree.folders), tree.left_out.copy(), dict(tree.broken_links))
    for entry in archives:
        top: Parts = (*entry.parts[:-1], stem_of(entry.name))
        shown = f"{entry.name} in {entry.path}" if entry.offset else entry.path
        inner = _read_archive(standalone_file(entry, work), work, shown)
        result.entries += [e._replace(parts=top + e.parts) for e in inner.entries]
        result.folders |= {top, *(top + parts for parts in inner.folders)}
        result.left_out.update(inner.left_out)
        result.broken_links |= {top + link: to for link, to in inner.broken_links.items()}
    return result


def _read_archive(path: Path, work: Path, shown: str) -> Tree:
    try:
        with open(path, "rb") as file:
            head = file.read(tarfile.BLOCKSIZE)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return list_zip(path, shown)
        if is_compressed(head):
            return list_tar(decompressed_tar(path, work), shown)
        if tarfile.is_tarfile(path):
            return list_tar(path, shown)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    kind = next((kind for magic, kind in _UNSUPPORTED.items() if head.startswith(magic)), "")
    if kind:
        raise InputError(f"{shown} is {kind}, which is not supported; unpack it, name its folder")
    raise InputError(
        f"{shown} is neither a folder nor a tar (plain, .gz, .bz2, .xz) or zip archive"
    )
