"""Stored images as TFDS reads them, each compared with the checksum of its preparation."""

import contextlib
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np


class StoredImages:
    """Bytes of the images of one split by index: JPEGs or raw pixels; safe with several threads."""

    def __init__(self, folder: Path, split: str, checksums: np.ndarray | None):
        """Opens the split; `checksums` are CRC-32, int [n], or None where the set has none."""
        import tensorflow_datasets as tfds
        from tensorflow_datasets.proto import tf_example_pb2

        builder: Any = tfds.builder_from_directory(os.fspath(folder))
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        self._source = builder.as_data_source(split, deserialize_method=raw)
        # Parsed here in a tenth of the time that TFDS takes to decode all features.
        self._parse = tf_example_pb2.Example.FromString  # pyright: ignore
        self._checksums = checksums
        _allow_open_files(len(builder.info.splits[split].filenames))

    def __getitem__(self, index: int) -> bytes:
        """Returns the bytes of an image; raises `ValueError` if they are not those written."""
        # One by one: TFDS reads a list of records in a pool of threads, which costs more.
        example = self._parse(self._source[index])
        image = example.features.feature["image"].bytes_list.value[0]
        if self._checksums is not None and zlib.crc32(image) != self._checksums[index]:
            raise ValueError(f"example {index} differs from what was written")
        return image


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
