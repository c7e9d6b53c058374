"""What cannot be read in place is unpacked once, into the work folder of the preparation."""

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
from alexnet_jax.preparation.file_trees.member_bytes import member_blocks
from alexnet_jax.preparation.file_trees.tree import Entry

MAX_RATIO = 100
"""An archive that unpacks to more than that many times its size is refused as a bomb."""
_COMPRESSIONS: dict[bytes, tuple[str, Callable[..., Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
}


def is_compressed(head: bytes) -> bool:
    return head.startswith(tuple(_COMPRESSIONS))


def decompressed_tar(path: Path, work: Path) -> Path:
    unpacked = _path_in_work(path, work, ".tar")
    if unpacked.exists():
        return unpacked
    with open(path, "rb") as file:
        head = file.read(8)
    kind, opened = next(v for magic, v in _COMPRESSIONS.items() if head.startswith(magic))
    try:
        with opened(path, "rb") as compressed:
            _write(iter(lambda: compressed.read(2**20), b""), unpacked, path)
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path} is damaged: {error}") from None
    if not tarfile.is_tarfile(unpacked):
        unpacked.unlink()
        raise InputError(f"{path} is a {kind} file, but holds no tar")
    return unpacked


def standalone_file(entry: Entry, work: Path) -> Path:
    path = Path(entry.path)
    if not entry.offset:
        return path
    unpacked = _path_in_work(path, work, f"-{entry.offset}.inner", "/".join(entry.parts))
    if not unpacked.exists():
        if entry.packed and entry.size > entry.packed * MAX_RATIO + 2**20:
            raise DataError(f"{entry.name} in {path} unpacks to over {MAX_RATIO} times its size")
        blocks = member_blocks(entry.path, entry.offset, entry.size, entry.packed)
        try:
            _write(blocks, unpacked, path)
        except ValueError as error:
            raise DataError(f"cannot unpack {entry.name} of {path}: {error}") from None
    return unpacked


def _path_in_work(archive: Path, work: Path, ending: str, member: str = "") -> Path:
    """A changed archive gets another place."""
    status = archive.stat()
    name = f"{archive} {status.st_size} {status.st_mtime_ns} {member}"
    digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()
    return work / f"{digest[:16]}{ending}"


def _write(blocks: Iterator[bytes], unpacked: Path, archive: Path) -> None:
    """Writes all or nothing; the file gets the times of the archive."""
    status = archive.stat()
    temporary = unpacked.with_suffix(".tmp")
    limit = status.st_size * MAX_RATIO + 2**20
    try:
        with open(temporary, "wb") as file:
            for block in blocks:
                file.write(block)
                if file.tell() > limit:
                    raise DataError(f"{archive} unpacks to over {MAX_RATIO} times its size")
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(temporary, unpacked)
    except OSError as error:
        if error.errno is None:  # what gzip and bzip2 find in a damaged file
            raise DataError(f"{archive} is damaged: {error}") from None
        free = shutil.disk_usage(unpacked.parent).free / 1e9
        raise DataError(
            f"cannot unpack {archive} in {unpacked.parent}: {error.strerror or error} "
            f"({free:.1f} GB free)"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
