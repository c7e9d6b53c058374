"""`source.npz` in a prepared set: the files of its source, and a digest of each image's bytes."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.data.prepared import WORK, pack_strings, unpack_strings
from alexnet_jax.display import Display
from alexnet_jax.files import read_arrays, write_arrays
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.source_files import (
    SourceFiles,
    SourceMissingError,
    list_files,
    relative_name,
)
from alexnet_jax.preparation.source_images import SourceImage, content_digest
from alexnet_jax.preparation.sources import source_kind
from alexnet_jax.preparation.storage import Shard, ShardResult

SOURCE = "source.npz"
UNREADABLE = 0
"""Digest of an image that could not be read."""
_FILES = "source_files"  # in the work folder: as they were when its finished parts were made


class RecordedImages(NamedTuple):
    """The images that a set was made of, bad ones included, in the order of their source."""

    keys: list[str]
    splits: list[str]
    labels: np.ndarray  # int32 [n]
    sizes: np.ndarray  # int64 [n], bytes
    contents: np.ndarray  # uint64 [n], from `content_digest`


def has_files(data: DataConfig) -> bool:
    return bool(data.source) and source_kind(data.source_kind).location == "path"


def files_of(data: DataConfig, display: Display) -> SourceFiles | None:
    """Returns the files of a source before its images are listed; None: it has none."""
    with contextlib.suppress(SourceMissingError):  # listing the images will report it
        return list_files(Path(data.source), display=display) if has_files(data) else None


def finished_parts(
    folder: Path, data: DataConfig, files: SourceFiles | None, shards: Sequence[Shard]
) -> dict[str, ShardResult]:
    """Returns the finished parts of a preparation whose images have not changed."""
    loaded = {shard.file: storage.load_result(folder, shard.file) for shard in shards}
    done = {file: result for file, result in loaded.items() if result is not None}
    if files is None:
        return done
    path = folder / WORK / _FILES
    before = SourceFiles([], files.sizes[:0], files.times[:0])
    with contextlib.suppress(OSError, ValueError, KeyError):
        before = SourceFiles.from_arrays(read_arrays(path))
    is_touched = touched(Path(data.source), before, files)
    for shard in shards:
        result = done.get(shard.file)
        pairs = zip(shard.images, result.contents, strict=True) if result else ()
        if any(is_touched(image) and content_digest(image) != digest for image, digest in pairs):
            storage.forget_result(folder, shard.file)
            del done[shard.file]
    with storage.write_errors(folder):
        write_arrays(path, compressed=False, **files.arrays())
    return done


def record_source(
    folder: Path,
    files: SourceFiles,
    listed: Sequence[tuple[str, SourceImage]],
    shards: Sequence[Shard],
    results: dict[str, ShardResult],
) -> None:
    """`listed` are the images before copies were kept together."""

    def identity(image: SourceImage) -> SourceImage:
        return image._replace(pixels=None)  # hashable, and no other image has it

    contents = {
        identity(image): content
        for shard in shards
        for image, content in zip(shard.images, results[shard.file].contents, strict=True)
    }
    images = [image for _, image in listed]
    recorded = RecordedImages(
        [image.key for image in images],
        [split for split, _ in listed],
        np.array([image.label for image in images], np.int32),
        np.array([image.size for image in images], np.int64),
        np.array([contents[identity(image)] for image in images], np.uint64),
    )
    save_record(folder, files, recorded)


def save_record(folder: Path, files: SourceFiles, images: RecordedImages) -> None:
    names = sorted(set(images.splits))
    numbers = {name: number for number, name in enumerate(names)}
    # An empty digest: the images must be compared again, as a change may not show in the files.
    settled = files.certain and (images.contents != UNREADABLE).all()
    write_arrays(
        folder / SOURCE,
        compressed=True,
        digest=pack_strings([files.digest if settled else ""]),
        keys=pack_strings(images.keys),
        split_names=pack_strings(names),
        splits=np.array([numbers[name] for name in images.splits], np.uint8),
        labels=images.labels,
        sizes=images.sizes,
        contents=images.contents,
        **files.arrays(),
    )


def load_record(folder: Path) -> tuple[SourceFiles, RecordedImages]:
    """Raises `OSError`, `ValueError` or `KeyError` if there is no readable record."""
    arrays = read_arrays(folder / SOURCE)
    names = unpack_strings(arrays["split_names"])
    splits = np.array(names, object)[np.minimum(arrays["splits"], len(names) - 1)].tolist()
    columns = (arrays[name] for name in ("labels", "sizes", "contents"))
    images = RecordedImages(unpack_strings(arrays["keys"]), splits, *columns)
    if len({len(column) for column in images}) != 1 or images.labels.min(initial=0) < 0:
        raise ValueError("it does not have as many names as digests, or impossible labels")
    return SourceFiles.from_arrays(arrays), images


def load_digest(folder: Path) -> str | None:
    """Returns the digest of the source's files; empty: compare images; None: no record."""
    try:
        return unpack_strings(read_arrays(folder / SOURCE, "digest")["digest"])[0]
    except (OSError, ValueError, KeyError, IndexError):
        return None


def touched(root: Path, before: SourceFiles, now: SourceFiles) -> Callable[[SourceImage], bool]:
    unchanged = {name for name, _ in before.known.items() & now.known.items()}
    known: dict[str, bool] = {}

    def is_touched(image: SourceImage) -> bool:
        if image.path not in known:
            # An unpacked file is outside the source; its archive has changed, in unknown places.
            known[image.path] = relative_name(root, image.path) not in unchanged
        return known[image.path]

    return is_touched
