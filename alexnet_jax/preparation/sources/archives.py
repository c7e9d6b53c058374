"""Lists the files of a folder, a tar or a tar.gz alike; nothing is unpacked but the gzip layer."""

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.errors import DataError, InputError
from alexnet_jax.locations import readable

MAX_ENTRIES = 30_000_000
_MAX_GZIP_RATIO = 100
_NOT_IMAGES = {"thumbs.db", "desktop.ini"}


class Entry(NamedTuple):
    """A regular file: its path inside the tree, and the file and bytes that hold it.

    What is no UTF-8 in a name stands escaped in `parts`, as names go into JSON, tables and pages;
    `path` is the system's own.
    """

    parts: tuple[str, ...]
    path: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.parts[-1]


@dataclass
class Tree:
    """Regular files of a folder or archive in sorted order, folders, and what was left out."""

    entries: list[Entry] = field(default_factory=list)
    folders: set[tuple[str, ...]] = field(default_factory=set)
    ignored: Counter[str] = field(default_factory=Counter)


def read_tree(path: Path, work: Path) -> Tree:
    """Lists a folder, a tar or a tar.gz.

    Links, hidden files and special files are left out and counted. The path itself may be a link.

    Args:
      path: folder or archive.
      work: where the tar inside a tar.gz is put, so that its files can be read in any order.

    Raises:
      InputError: nothing there, or a file that is no tar.
      DataError: the archive is damaged.
    """
    if not path.exists():
        raise InputError(f"the source {path} does not exist; name a folder or an archive")
    if path.is_dir():
        return walk_folder(path)
    return list_tar(plain_tar(path, work), str(path))


def walk_folder(root: Path) -> Tree:
    """Lists the regular files below a folder, sorted by name."""
    tree = Tree()

    def fail(error: OSError) -> None:
        raise DataError(f"cannot read {error.filename}: {error.strerror}")

    for place, folders, files in os.walk(root, onerror=fail):
        parts = _readable(Path(place).relative_to(root).parts)
        for name in list(folders):
            if os.path.islink(os.path.join(place, name)):
                tree.ignored["links"] += 1
                folders.remove(name)
            elif _is_hidden(name):
                tree.ignored["hidden files and folders"] += 1
                folders.remove(name)
            else:
                tree.folders.add((*parts, readable(name)))
        folders.sort()
        for name in sorted(files):
            path = os.path.join(place, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and _takes(tree, name):
                inside = (*parts, readable(name))
                tree.entries.append(Entry(inside, path, 0, status.st_size))
            elif not stat.S_ISREG(status.st_mode):
                tree.ignored["links" if stat.S_ISLNK(status.st_mode) else "special files"] += 1
    return tree


def list_tar(path: Path, shown: str) -> Tree:
    """Lists the regular files of an uncompressed tar with their places in it, sorted by name."""
    tree = Tree()
    seen: dict[tuple[str, ...], Entry] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                entry = _entry(tree, member, path)
                if entry:
                    seen[entry.parts] = entry  # as in unpacking, the last one of a name counts
                if len(seen) > MAX_ENTRIES:
                    raise DataError(f"{shown} has more than {MAX_ENTRIES:,} files")
                # tarfile would keep every header in memory
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue]
            end = tar.offset
        with open(path, "rb") as file:  # tarfile takes a damaged or missing header for the end
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("damaged or cut off in the middle")
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise DataError(f"{shown} can not be read as a tar: {error}") from None
    tree.entries = [seen[parts]._replace(parts=_readable(parts)) for parts in sorted(seen)]
    tree.folders = {_readable(parts) for parts in tree.folders}
    return tree


def plain_tar(path: Path, work: Path) -> Path:
    """Returns `path` if it is a plain tar; of a tar.gz the tar, decompressed once into `work`.

    Raises:
      InputError: the file is neither.
      DataError: the gzip layer is damaged, or the disk is full.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(tarfile.BLOCKSIZE)
        if head[:2] == b"\x1f\x8b":
            return _decompressed(path, work)
        if not tarfile.is_tarfile(path):
            raise InputError(f"{path} is neither a folder nor a tar or tar.gz archive")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return path


def _decompressed(path: Path, work: Path) -> Path:
    status = path.stat()
    name = f"{path} {status.st_size} {status.st_mtime_ns}"
    plain = work / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.tar"
    if plain.exists():
        return plain
    temporary = plain.with_suffix(".tmp")
    try:
        with gzip.open(path, "rb") as packed, open(temporary, "wb") as unpacked:
            limit = status.st_size * _MAX_GZIP_RATIO + 2**20
            while block := packed.read(2**20):
                unpacked.write(block)
                if unpacked.tell() > limit:
                    raise DataError(f"{path} unpacks to over {_MAX_GZIP_RATIO} times its size")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged: {error}") from None
    except OSError as error:
        free = shutil.disk_usage(work).free / 1e9
        raise DataError(
            f"cannot unpack {path} in {work}: {error.strerror or error} ({free:.1f} GB free)"
        ) from None
    if not tarfile.is_tarfile(temporary):
        temporary.unlink()
        raise InputError(f"{path} is a gzip file, but holds no tar")
    os.replace(temporary, plain)
    return plain


def _entry(tree: Tree, member: tarfile.TarInfo, path: Path) -> Entry | None:
    parts = tuple(part for part in member.name.split("/") if part not in ("", "."))
    if member.name.startswith("/") or ".." in parts:
        tree.ignored["absolute or upward paths"] += 1
    elif any(_is_hidden(part) for part in parts):
        tree.ignored["hidden files and folders"] += 1
    elif member.isdir():
        if parts:
            tree.folders.add(parts)
    elif member.issym() or member.islnk():
        tree.ignored["links"] += 1
    elif not member.isreg() or member.issparse():
        tree.ignored["special files"] += 1
    elif parts and _takes(tree, parts[-1]):
        tree.folders |= {parts[:depth] for depth in range(1, len(parts))}
        return Entry(parts, str(path), member.offset_data, member.size)
    return None


def _readable(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(readable(part) for part in parts)


def _takes(tree: Tree, name: str) -> bool:
    if _is_hidden(name):
        tree.ignored["hidden files and folders"] += 1
    elif name.lower() in _NOT_IMAGES:
        tree.ignored["files of the operating system"] += 1
    else:
        return True
    return False


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
