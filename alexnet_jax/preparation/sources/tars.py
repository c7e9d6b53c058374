"""Lists tars without unpacking them; of a compressed one only the compression is taken off."""

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.sources.tree import Member, Tree, tree_of

MAX_RATIO = 100
"""An archive that unpacks to more than that many times its size is taken for a bomb."""
_COMPRESSIONS: dict[bytes, tuple[str, Callable[..., Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
}


def list_tar(path: Path, shown: str) -> Tree:
    """Lists the regular files of an uncompressed tar with their places in it, sorted by name.

    A hard link is the file that it links to; so is a symbolic one as long as it stays inside.

    Raises:
      DataError: it is damaged.
    """
    try:
        return tree_of(_members(path), str(path), shown)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise DataError(f"{shown} can not be read as a tar: {error}") from None


def _members(path: Path) -> Iterator[Member]:
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.isdir():
                yield Member(member.name, "folder")
            elif member.issym():
                yield Member(member.name, "link", target=member.linkname)
            elif member.islnk():
                yield Member(member.name, "hard link", target=member.linkname)
            elif not member.isreg() or member.issparse():
                yield Member(member.name, "special")
            else:
                yield Member(member.name, "file", member.offset_data, member.size)
            # tarfile would keep every header in memory
            tar.members = []  # pyright: ignore[reportAttributeAccessIssue]
        end = tar.offset
    with open(path, "rb") as file:  # tarfile takes a damaged or missing header for the end
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("damaged or cut off in the middle")


def is_compressed(head: bytes) -> bool:
    """Returns whether a file that begins so is compressed as tars are."""
    return head.startswith(tuple(_COMPRESSIONS))


def decompressed(path: Path, work: Path) -> Path:
    """Returns the tar inside a tar.gz, tar.bz2 or tar.xz, which is written once into `work`.

    Raises:
      InputError: there is no tar in it.
      DataError: it is damaged, unpacks to too much, or the disk is full.
    """
    plain = place_in_work(path, work, ".tar")
    if plain.exists():
        return plain
    with open(path, "rb") as file:
        head = file.read(8)
    kind, opened = next(v for magic, v in _COMPRESSIONS.items() if head.startswith(magic))
    try:
        with opened(path, "rb") as packed:
            write_in_work(iter(lambda: packed.read(2**20), b""), plain, path)
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path} is damaged: {error}") from None
    if not tarfile.is_tarfile(plain):
        plain.unlink()
        raise InputError(f"{path} is a {kind} file, but holds no tar")
    return plain


def place_in_work(path: Path, work: Path, ending: str, inside: str = "") -> Path:
    """Returns where that lies which is unpacked of an archive; another version of it has another.

    Args:
      path: the archive.
      work: folder for what is unpacked.
      ending: of the name.
      inside: which file of the archive; empty: all of it.
    """
    status = path.stat()
    name = f"{path} {status.st_size} {status.st_mtime_ns} {inside}".encode(
        errors="backslashreplace"
    )
    return work / f"{hashlib.sha256(name).hexdigest()[:16]}{ending}"


def write_in_work(blocks: Iterator[bytes], plain: Path, path: Path) -> None:
    """Writes what an archive unpacks to, whole or not at all, and gives it the archive's time.

    Args:
      blocks: the bytes.
      plain: file to write.
      path: the archive.

    Raises:
      DataError: it is more than `MAX_RATIO` times as large, cannot be read, or the disk is full.
    """
    status = path.stat()
    temporary = plain.with_suffix(".tmp")
    limit = status.st_size * MAX_RATIO + 2**20
    try:
        with open(temporary, "wb") as unpacked:
            for block in blocks:
                unpacked.write(block)
                if unpacked.tell() > limit:
                    raise DataError(f"{path} unpacks to over {MAX_RATIO} times its size")
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(temporary, plain)
    except OSError as error:
        if error.errno is None:  # what gzip and bzip2 find in a damaged file
            raise DataError(f"{path} is damaged: {error}") from None
        free = shutil.disk_usage(plain.parent).free / 1e9
        raise DataError(
            f"cannot unpack {path} in {plain.parent}: {error.strerror or error} "
            f"({free:.1f} GB free)"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
