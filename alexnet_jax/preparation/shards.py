"""Writes one shard: decode, fit, encode, sum, digest; all of the file or none of it."""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.data.decode import NO_END, decode_jpeg, encode_jpeg
from alexnet_jax.data.prepared import WORK
from alexnet_jax.errors import BadImageError
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.examples import example
from alexnet_jax.preparation.source_images import (
    SourceImage,
    digest_of,
    read_content,
    square_of,
)
from alexnet_jax.preparation.statistics import PixelSums
from alexnet_jax.preparation.storage import Shard, ShardResult, Storage

MAX_BAD_IN_A_ROW = 20
_WRITER_OPTIONS = "group_size:1,uncompressed"  # TFDS's own grouping: random access is cheap


class ShardProgress:
    """Shows the numbers of good and bad images so far, after every image."""

    def __init__(self, show: Callable[[int, int], None]):
        self._show, self._good, self._bad = show, 0, 0

    def add(self, good: int, bad: int) -> None:
        self._good += good
        self._bad += bad
        self._show(self._good, self._bad)

    def stop(self) -> bool:
        return False


class _Part:
    def __init__(self, stored: Storage):
        self.labels: list[int] = []
        self.keys: list[str] = []
        self.checksums: list[int] = []
        self.bad: list[dict[str, str]] = []
        self.contents: list[int] = []
        self.notes: list[str] = []
        self.sums = PixelSums(stored.stored_size)
        self.digest = hashlib.sha256()

    def add(self, record: SourceImage, image: bytes) -> None:
        """The lengths in the digest keep its parts apart."""
        for part in (record.key.encode(), struct.pack("<q", record.label), image):
            self.digest.update(struct.pack("<q", len(part)))
            self.digest.update(part)
        self.labels.append(record.label)
        self.keys.append(record.key)
        self.checksums.append(zlib.crc32(image))


def write_shard(
    folder: Path, shard: Shard, stored: Storage, progress: ShardProgress
) -> ShardResult:
    """Writes shard and sidecar atomically; sums after JPEG compression, as training reads it."""
    from array_record.python.array_record_module import ArrayRecordWriter

    part = _Part(stored)
    temporary = folder / WORK / f"{shard.file}.{os.getpid()}.tmp"
    with storage.write_errors(folder):
        writer = ArrayRecordWriter(os.fspath(temporary), _WRITER_OPTIONS)
        stopped = _fill(writer, part, shard, stored, progress)
        writer.close()
        num_bytes = 0 if stopped else _finish(temporary, folder / shard.file, len(part.labels))
        temporary.unlink(missing_ok=True)
    result = ShardResult(
        shard.file, shard.split, np.array(part.labels, np.int32), part.keys,
        np.array(part.checksums, np.uint32), part.digest.hexdigest(), num_bytes, part.bad,
        part.sums.pixels, part.sums.products, np.array(part.contents, np.uint64), stopped,
        part.notes.count(NO_END),
    )  # fmt: skip
    if not stopped:
        storage.save_result(folder, result)
    return storage.without_sums(result)


def _fill(writer: Any, part: _Part, shard: Shard, stored: Storage, progress: ShardProgress) -> str:
    """Returns why it stopped early; empty: it did not."""
    in_a_row = 0
    for record in shard.images:
        if progress.stop():
            return "interrupted"
        try:
            pixels = _square(part, record, stored)
        except BadImageError as error:
            part.bad.append({"key": record.key, "split": shard.split, "reason": str(error)})
            progress.add(0, 1)
            in_a_row += 1
            if shard.bad_images == "error" or in_a_row == MAX_BAD_IN_A_ROW:
                return "bad"
            continue
        in_a_row = 0
        is_jpeg = stored.store == "jpeg"
        image = encode_jpeg(pixels, stored.jpeg_quality) if is_jpeg else pixels.tobytes()
        if shard.split == "train":
            part.sums.add(decode_jpeg(image) if is_jpeg else pixels)
        writer.write(example(image, record.label, record.key))
        part.add(record, image)
        progress.add(1, 0)
    return ""


def _square(part: _Part, record: SourceImage, stored: Storage) -> np.ndarray:
    part.contents.append(0)  # if it cannot be read
    content = read_content(record)
    part.contents[-1] = digest_of(record, content)
    return square_of(record, content, stored.stored_size, stored.appearance, part.notes)


def _finish(temporary: Path, final: Path, count: int) -> int:
    from array_record.python.array_record_module import ArrayRecordReader

    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    if count:  # an empty ArrayRecord has no readable footer
        reader = ArrayRecordReader(os.fspath(temporary))
        written = reader.num_records()
        reader.close()
        if written != count:
            raise OSError(f"{temporary.name} has {written} of {count} records")
    os.replace(temporary, final)
    return final.stat().st_size
