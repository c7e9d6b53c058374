"""Lists zips without unpacking them: each member is stored as it is, or deflated by itself."""

import contextlib
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.file_trees.member_bytes import read_member
from alexnet_jax.preparation.file_trees.tree import ArchiveMember, Tree, archive_tree

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, …, lengths of the name and the extra field
_ENCRYPTED, _UTF8 = 1, 0x800  # flag bits
_DOS_SYSTEMS = (0, 10, 11)  # which write no file mode
_MAX_TARGET_BYTES = 4096  # of a link


def list_zip(path: Path, shown: str) -> Tree:
    try:
        return archive_tree(_members(path), str(path), shown)
    except (zipfile.BadZipFile, struct.error, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{shown} cannot be read: {error}") from None


def _members(path: Path) -> Iterator[ArchiveMember]:
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        end = archive.start_dir
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        offsets = {}
        for info, after in zip(infos, [*(i.header_offset for i in infos[1:]), end], strict=True):
            if not info.filename.endswith("/"):  # `is_dir` fails on an empty name
                offsets[id(info)] = _offset(file, info, after)
        for info in archive.infolist():  # in the directory's order: the last of a name counts
            yield _member(path, info, offsets.get(id(info), 0))


def _offset(file: BinaryIO, info: zipfile.ZipInfo, after: int) -> int:
    if info.flag_bits & _ENCRYPTED:
        raise zipfile.BadZipFile(f"{info.filename} is encrypted; unpack it with its password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(
            f"{info.filename} is compressed by method {info.compress_type}, not 0 or 8; unpack the "
            "zip yourself"
        )
    file.seek(info.header_offset)
    head = file.read(_LOCAL_HEADER.size)
    if len(head) < _LOCAL_HEADER.size or not head.startswith(b"PK\x03\x04"):
        raise zipfile.BadZipFile(f"{info.filename} has no header where the zip says")
    _, name, extra = _LOCAL_HEADER.unpack(head)
    begin = info.header_offset + _LOCAL_HEADER.size + name + extra
    if begin + info.compress_size > after:
        raise zipfile.BadZipFile(f"{info.filename} reaches into what follows it")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename} has two sizes")
    return begin


def _member(path: Path, info: zipfile.ZipInfo, begin: int) -> ArchiveMember:
    name, mode = _name(info), info.external_attr >> 16
    packed = info.compress_size if info.compress_type == zipfile.ZIP_DEFLATED else 0
    kind = stat.S_IFMT(mode) if info.create_system not in _DOS_SYSTEMS else 0
    if name.endswith("/") or kind == stat.S_IFDIR:
        return ArchiveMember(name, "folder")
    if kind == stat.S_IFLNK:
        target = read_member(str(path), begin, info.file_size, packed, _MAX_TARGET_BYTES)
        return ArchiveMember(name, "link", target=target.decode("utf-8", "surrogateescape"))
    if kind not in (0, stat.S_IFREG):
        return ArchiveMember(name, "special")
    return ArchiveMember(name, "file", begin, info.file_size, packed)


def _name(info: zipfile.ZipInfo) -> str:
    """Without its flag a name is code page 437, but macOS writes UTF-8, old Windows backslashes."""
    name = info.filename
    if not info.flag_bits & _UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/") if info.create_system in _DOS_SYSTEMS else name
