"""Stored images as TFDS reads them, each compared with the checksum of its preparation."""

import contextlib
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

_NAME = b"\n\x05image\x12"  # begins the map entry of the feature `image` in a `tf.train.Example`
_NUMBERS = 3  # lengths that follow: of the feature, of its list, of the image


class StoredImages:
    """Bytes of the images of one split by index: JPEGs or raw pixels; safe with several threads."""

    def __init__(
        self, folder: Path, split: str, checksums: np.ndarray | None, image_bytes: int | None = None
    ):
        """Opens the split; `checksums` are CRC-32, int [n], or None where the set has none.

        `image_bytes` is the length of every image; None: they differ.
        """
        import tensorflow_datasets as tfds
        from tensorflow_datasets.proto import tf_example_pb2

        builder: Any = tfds.builder_from_directory(os.fspath(folder))
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        self._source = builder.as_data_source(split, deserialize_method=raw).data_source
        # Parsed here in a tenth of the time that TFDS takes to decode all features.
        self._parse = tf_example_pb2.Example.FromString  # pyright: ignore
        self._checksums = checksums
        self._image_bytes, self._head = image_bytes, _head_bytes(image_bytes or 0)
        _allow_open_files(len(builder.info.splits[split].filenames))

    def __getitem__(self, index: int) -> bytes | memoryview:
        """Returns the bytes of an image; raises `ValueError` if they are not those written."""
        # One by one: TFDS reads a list of records in a pool of threads, which costs more.
        example = self._source[index]
        if self._checksums is None:
            return self._parsed(example)
        wanted = self._checksums[index]
        if self._image_bytes is None:
            image = _found(example)
        else:
            place = example.find(_NAME) + self._head
            image = memoryview(example)[place : place + self._image_bytes]
        if zlib.crc32(image) == wanted:
            return image
        image = self._parsed(example)  # its name stands in another feature, too
        if zlib.crc32(image) != wanted:
            raise ValueError(f"example {index} differs from what was written")
        return image

    def _parsed(self, example: bytes) -> bytes:
        return self._parse(example).features.feature["image"].bytes_list.value[0]


def _head_bytes(image_bytes: int) -> int:
    """Returns how many bytes lie before an image of that length, from its name on."""
    head, length = len(_NAME), image_bytes
    for _ in range(_NUMBERS):
        number = max(1, -(-length.bit_length() // 7))
        head += number + 1
        length += number + 1
    return head - 1


def _found(example: bytes) -> memoryview:
    """Returns what is probably the image in an example, without a copy.

    Parsing the message takes as long as reading it from the disk's cache.
    """
    place = example.find(_NAME) + len(_NAME)
    length = 0
    with contextlib.suppress(IndexError):
        for _ in range(_NUMBERS):
            length, shift = example[place] & 0x7F, 7
            while example[place] & 0x80:
                place += 1
                length |= (example[place] & 0x7F) << shift
                shift += 7
            place += 2  # behind the number and the tag that follows
    return memoryview(example)[place - 1 : place - 1 + length]


def _allow_open_files(count: int) -> None:
    """Raises the limit of open files where it is too low: a reader holds each shard open."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = soft + count
        if count > soft // 4 and soft != resource.RLIM_INFINITY:
            if hard != resource.RLIM_INFINITY:
                wanted = min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
