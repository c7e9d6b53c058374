"""The bytes of a file that lies alone, in a tar, or in a zip, read without unpacking the whole."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK = 2**18


def read_place(path: str, offset: int, size: int, packed: int, most: int) -> bytes:
    """Returns the file that lies at a place.

    Args:
      path: the file, or the archive around it.
      offset: where it begins; 0: `path` is the file itself, whatever `size` says.
      size: its bytes.
      packed: the bytes it takes as a deflate stream; 0: it lies there as it is.
      most: no more than that many of its first bytes are returned, and not many more inflated.

    Raises:
      OSError: it cannot be read.
      ValueError: it is damaged, cut off, or of another size than the archive says.
    """
    if not offset:
        with open(path, "rb") as file:
            return file.read(most)
    data = bytearray()
    for block in blocks_at(path, offset, size, packed):
        data += block
        if len(data) > most:
            break
    return bytes(data[:most])


def blocks_at(path: str, offset: int, size: int, packed: int) -> Iterator[bytes]:
    """Yields the file that lies at a place of an archive in blocks of at most 256 KiB.

    Args:
      path: the archive.
      offset: where the file begins in it.
      size: its bytes.
      packed: the bytes it takes there as a deflate stream; 0: it lies there as it is.

    Raises:
      OSError, ValueError: as `read_place`.
    """
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
    while block := file.read(min(left, _BLOCK)):
        left -= len(block)
        yield block


def _inflated(file: BinaryIO, packed: int) -> Iterator[bytes]:
    """Yields the raw deflate stream of `packed` bytes that begins here."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for block in _plain(file, packed):
            while block:
                yield stream.decompress(block, _BLOCK)
                block = stream.unconsumed_tail
        yield stream.flush()
    except zlib.error as error:
        raise ValueError(f"it is damaged: {error}") from None
