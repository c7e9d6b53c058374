"""Image bytes straight from mapped shards, with neither a reader's copies nor a parser's.

ArrayRecord files are Riegeli files: a record lies in one piece, save that every 64 KiB of the file
begin with a block header of 24 bytes. `prepare` writes records uncompressed and notes where in its
shard each image begins, how long it is, and its CRC-32, which every read compares. Sets that have
no such notes (older ones) are read through TFDS.
"""

import contextlib
import mmap
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

WRITER_OPTIONS = "group_size:1,uncompressed"  # TFDS's own grouping: random access is cheap
_BLOCK = 1 << 16
_HEADER = 24
_PREFIX = 64  # bytes of an image by which it is looked for
_BEFORE = 4096  # at most so much stands between two images, keys apart

Bytes = bytes | memoryview


class Stored(NamedTuple):
    """What is remembered of an image while its shard is written, to find it there."""

    key: str
    size: int
    check: int
    prefix: bytes


def remember(key: str, image: bytes) -> Stored:
    """Returns what `find_places` must know of the stored bytes of an image."""
    return Stored(key, len(image), zlib.crc32(image), image[:_PREFIX])


def find_places(path: Path, images: Sequence[Stored]) -> np.ndarray:
    """Finds the images in a finished shard.

    Args:
      path: of the shard.
      images: its images in the order of writing.

    Returns:
      int64 [n, 3]: offset in the file in bytes, length in bytes, CRC-32. The offset is -1 from
      the first image that could not be found, as in a format that is not expected here.
    """
    places = np.array([(-1, image.size, image.check) for image in images], np.int64).reshape(-1, 3)
    if not images:
        return places
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as shard:
        with memoryview(shard) as view:
            offset = _HEADER
            for place, image in zip(places, images, strict=True):
                offset = _find(view, offset, image)
                if offset < 0:
                    break
                place[0] = offset
                offset = _after(offset, image.size)
    return places


def _find(view: memoryview, start: int, image: Stored) -> int:
    """Returns the offset of the image, at or after `start`; -1 if it is not there."""
    longest = _BEFORE + 2 * len(image.key.encode()) + len(image.prefix)
    window = b"".join(_pieces(view, start, longest))
    found = window.find(image.prefix)
    while found >= 0:
        offset = _after(start, found)
        if _check(_pieces(view, offset, image.size)) == image.check:
            return offset
        found = window.find(image.prefix, found + 1)
    return -1


def _after(offset: int, count: int) -> int:
    """Returns the offset of the byte `count` bytes after that at `offset`, headers not counted."""
    block, place = divmod(offset, _BLOCK)
    block, place = divmod(block * (_BLOCK - _HEADER) + place - _HEADER + count, _BLOCK - _HEADER)
    return block * _BLOCK + _HEADER + place


def _pieces(view: memoryview, offset: int, size: int) -> list[memoryview]:
    """Returns the `size` bytes at `offset`, cut where block headers lie between them."""
    pieces = []
    while size > 0 and offset < len(view):
        length = min(size, _BLOCK - offset % _BLOCK)
        pieces.append(view[offset : offset + length])
        size -= length
        offset += length + _HEADER
    return pieces


def _check(pieces: Sequence[Bytes]) -> int:
    check = 0
    for piece in pieces:
        check = zlib.crc32(piece, check)
    return check


class MappedImages:
    """The stored bytes of the images of one split, by index; safe to use from several threads."""

    def __init__(self, folder: Path, shards: Sequence[tuple[str, int]], places: np.ndarray):
        """Opens nothing yet.

        Args:
          folder: of the set.
          shards: name and number of images of each file, in their order.
          places: int64 [n, 3] of all of them, from `find_places`; no offset is -1.
        """
        self._paths = [folder / name for name, _ in shards]
        self._shard = np.repeat(range(len(shards)), [count for _, count in shards]).tolist()
        self._places = places
        self._maps: list[mmap.mmap | None] = [None] * len(shards)
        _allow_open_files(len(shards))

    def __getitem__(self, index: int) -> Bytes:
        """Returns the bytes of an image: part of the mapping, or a copy where that has a cut.

        Raises:
          ValueError: the bytes are not those that were written.
        """
        offset, size, check = self._places[index].tolist()
        pieces = _pieces(memoryview(self._map(self._shard[index])), offset, size)
        # First the checks: they wait for the disk without holding Python's lock.
        if _check(pieces) != check:
            raise ValueError(f"example {index} differs from what was written")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def announce(self, indices: np.ndarray) -> None:
        """Has the system read these images ahead, all at once where the disk can.

        It costs 1 to 2 us per image that is in memory already; with a cold disk, small images come
        four times as fast as one after another.
        """
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        for index in indices.tolist():
            offset, size, _ = self._places[index].tolist()
            begin = offset // mmap.PAGESIZE * mmap.PAGESIZE
            length = _after(offset, size) - begin
            self._map(self._shard[index]).madvise(mmap.MADV_WILLNEED, begin, length)

    def _map(self, shard: int) -> mmap.mmap:
        mapped = self._maps[shard]
        if mapped is None:  # of two threads that come at once, the mapping of one is dropped
            with open(self._paths[shard], "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._maps[shard] = mapped
        return mapped


class ParsedImages:
    """The same through TFDS's reader and a parser, for sets without places."""

    def __init__(self, folder: Path, split: str):
        """Opens the split."""
        import tensorflow_datasets as tfds
        from tensorflow_datasets.proto import tf_example_pb2

        builder: Any = tfds.builder_from_directory(os.fspath(folder))
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        self._source = builder.as_data_source(split, deserialize_method=raw)
        # Parsing the protocol buffer here takes 14 us, TFDS's own decoding of it up to 100.
        self._parse = tf_example_pb2.Example.FromString  # pyright: ignore

    def announce(self, indices: np.ndarray) -> None:
        """Does nothing: the reader reads when it is asked."""

    def __getitem__(self, index: int) -> Bytes:
        """Returns the bytes of an image."""
        # One by one: reading a list of records goes through a thread pool, at thrice the cost.
        example = self._parse(self._source[index])
        return example.features.feature["image"].bytes_list.value[0]


def _allow_open_files(count: int) -> None:
    """Raises the limit of open files where it is too low: a mapping holds its file open."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # elsewhere the limit is no matter
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = soft + count
        if count > soft // 4 and soft != resource.RLIM_INFINITY:
            if hard != resource.RLIM_INFINITY:
                wanted = min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
