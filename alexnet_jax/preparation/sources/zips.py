"""Lists zips without unpacking them: each member is stored as it is, or deflated by itself."""

import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.sources.places import read_place
from alexnet_jax.preparation.sources.tree import Member, Tree, tree_of

_LOCAL = struct.Struct("<4s22xHH")  # signature, …, lengths of the name and of the extra field
_ENCRYPTED = 1
_UTF8 = 0x800
_DOS = (0, 10, 11)  # systems that write attributes of no mode
_MAX_TARGET = 4096  # bytes of a link's target


def list_zip(path: Path, shown: str) -> Tree:
    """Lists the regular files of a zip with their places in it, sorted by name.

    Raises:
      DataError: it is damaged, or members are encrypted or compressed as images never are.
    """
    try:
        return tree_of(_members(path), str(path), shown)
    except (zipfile.BadZipFile, struct.error, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{shown} can not be read: {error}") from None


def _members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        end = archive.start_dir
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        places = {}
        for info, after in zip(infos, [*(i.header_offset for i in infos[1:]), end], strict=True):
            if not info.filename.endswith("/"):  # `is_dir` fails on an empty name
                places[id(info)] = _place(file, info, after)
        for info in archive.infolist():  # in the directory's order: the last of a name counts
            yield _member(path, info, places.get(id(info), 0))


def _place(file: BinaryIO, info: zipfile.ZipInfo, after: int) -> int:
    """Returns where the bytes of a member begin; they have to end before the next one's header."""
    if info.flag_bits & _ENCRYPTED:
        raise zipfile.BadZipFile(f"{info.filename} is encrypted; unpack it with its password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        kind = f"is compressed by method {info.compress_type}"
        raise zipfile.BadZipFile(f"{info.filename} {kind}, not 0 or 8; unpack the zip yourself")
    file.seek(info.header_offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        raise zipfile.BadZipFile(f"{info.filename} has no header where the zip says")
    _, name, extra = _LOCAL.unpack(head)
    begin = info.header_offset + _LOCAL.size + name + extra
    if begin + info.compress_size > after:
        raise zipfile.BadZipFile(f"{info.filename} reaches into what follows it")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename} has two sizes")
    return begin


def _member(path: Path, info: zipfile.ZipInfo, begin: int) -> Member:
    name, mode = _name(info), info.external_attr >> 16
    packed = info.compress_size if info.compress_type == zipfile.ZIP_DEFLATED else 0
    kind = stat.S_IFMT(mode) if info.create_system not in _DOS else 0
    if name.endswith("/") or kind == stat.S_IFDIR:
        return Member(name, "folder")
    if kind == stat.S_IFLNK:
        target = read_place(str(path), begin, info.file_size, packed, _MAX_TARGET)
        return Member(name, "link", target=target.decode("utf-8", "surrogateescape"))
    if kind not in (0, stat.S_IFREG):
        return Member(name, "special")
    return Member(name, "file", begin, info.file_size, packed)


def _name(info: zipfile.ZipInfo) -> str:
    """Returns a member's name as whoever packed it meant it.

    Names without the mark for UTF-8 are code page 437 by the standard; macOS writes UTF-8 there.
    Old Windows programs write backslashes.
    """
    name = info.filename
    if not info.flag_bits & _UTF8:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return name.replace("\\", "/") if info.create_system in _DOS else name
