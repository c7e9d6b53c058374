"""The bytes of a file, or of a member of a tar or zip, read without unpacking the archive."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK_BYTES = 2**18


def read_member(path: str, offset: int, size: int, packed: int, max_bytes: int) -> bytes:
    """Returns at most the first `max_bytes` of a file or of a member of an archive.

    Args:
      offset: in bytes; 0: `path` is the file itself, whatever `size` says.
      packed: bytes of its deflate stream; 0: it is not compressed.

    Raises:
      OSError: it cannot be read.
      ValueError: it is damaged, cut off, or of another size than the archive says.
    """
    if not offset:
        with open(path, "rb") as file:
            return file.read(max_bytes)
    data = bytearray()
    for block in member_blocks(path, offset, size, packed):
        data += block
        if len(data) > max_bytes:
            break
    return bytes(data[:max_bytes])


def member_blocks(path: str, offset: int, size: int, packed: int) -> Iterator[bytes]:
    """Yields blocks of at most 256 KiB; arguments as of `read_member`."""
    total = 0
    with open(path, "rb") as file:
        file.seek(offset)
        for block in _inflated(file, packed) if packed else _plain(file, size):
            total += len(block)
            if total > size:
                raise ValueError(f"it unpacks to more than the {size} bytes that the archive says")
            yield block
    if total < size:
        raise ValueError("the archive ends inside this file")


def _plain(file: BinaryIO, left: int) -> Iterator[bytes]:
    while block := file.read(min(left, _BLOCK_BYTES)):
        left -= len(block)
        yield block


def _inflated(file: BinaryIO, packed: int) -> Iterator[bytes]:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)  # a raw deflate stream
    try:
        for block in _plain(file, packed):
            while block:
                yield stream.decompress(block, _BLOCK_BYTES)
                block = stream.unconsumed_tail
        yield stream.flush()
    except zlib.error as error:
        raise ValueError(f"it is damaged: {error}") from None
