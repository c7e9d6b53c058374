"""What a prepared set remembers of its source: the files that there were, and the images in them.

`source.npz` in its folder has names, sizes and times of the files (`source_files`), and a digest of
the bytes of each image. While a set is being prepared, its work folder has the files alone.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.data.prepared import WORK, pack_strings, unpack_strings
from alexnet_jax.files import read_arrays, write_arrays
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.source_files import (
    NotThereError,
    SourceFiles,
    from_arrays,
    list_files,
    relative_name,
)
from alexnet_jax.preparation.sources.source import Record, content_digest
from alexnet_jax.preparation.storage import Shard, ShardResult

SOURCE = "source.npz"
UNREADABLE = 0
"""Stands for the bytes of an image that could not be read."""
_FILES = "source_files"  # in the work folder: as they were when its finished parts were made
_COMPARED = ("folder", "cifar10", "imagenet2012")


class Images(NamedTuple):
    """The images that a set was made of, bad ones included, in the order of their source.

    Attributes:
      keys: their names in the source.
      splits: the split of each.
      labels: int32 [n].
      sizes: int64 [n], bytes.
      contents: uint64 [n], from `content_digest`.
    """

    keys: list[str]
    splits: list[str]
    labels: np.ndarray
    sizes: np.ndarray
    contents: np.ndarray


def is_compared(data: DataConfig) -> bool:
    """Returns whether the source is one of files, which may change."""
    return data.source_kind in _COMPARED and bool(data.source)


def files_of(data: DataConfig) -> SourceFiles | None:
    """Returns the files of a source before its images are listed; None: it is not one of files."""
    with contextlib.suppress(NotThereError):  # which the listing of its images says
        return list_files(Path(data.source)) if is_compared(data) else None


def finished_parts(
    folder: Path, data: DataConfig, files: SourceFiles | None, shards: Sequence[Shard]
) -> dict[str, ShardResult]:
    """Returns the parts of an interrupted preparation that are finished and as the source is now.

    Args:
      folder: of the set.
      data: what is prepared.
      files: of its source, now.
      shards: all of them.
    """
    loaded = {shard.file: storage.load_result(folder, shard.file) for shard in shards}
    done = {file: result for file, result in loaded.items() if result is not None}
    if files is None:
        return done
    path = folder / WORK / _FILES
    then = SourceFiles([], files.sizes[:0], files.times[:0])
    with contextlib.suppress(OSError, ValueError, KeyError):
        then = from_arrays(read_arrays(path))
    is_touched = touched(Path(data.source), then, files)
    for shard in shards:
        result = done.get(shard.file)
        pairs = zip(shard.records, result.contents, strict=True) if result else ()
        if any(is_touched(record) and content_digest(record) != was for record, was in pairs):
            storage.forget_result(folder, shard.file)
            del done[shard.file]
    with storage.write_errors(folder):
        write_arrays(path, compressed=False, **files.arrays())
    return done


def remember(
    folder: Path,
    files: SourceFiles,
    rows: Sequence[tuple[str, Record]],
    shards: Sequence[Shard],
    results: dict[str, ShardResult],
) -> None:
    """Writes into a set's folder what it was made of.

    Args:
      folder: of the set.
      files: of the source, as they were before its images were listed.
      rows: split and record of each image, as they were listed: before copies were kept together.
      shards: all of them.
      results: of every shard.
    """
    contents = {
        _place(record): content
        for shard in shards
        for record, content in zip(shard.records, results[shard.file].contents, strict=True)
    }
    records = [record for _, record in rows]
    images = Images(
        [record.key for record in records],
        [split for split, _ in rows],
        np.array([record.label for record in records], np.int32),
        np.array([record.size for record in records], np.int64),
        np.array([contents[_place(record)] for record in records], np.uint64),
    )
    save(folder, files, images)


def _place(record: Record) -> Record:
    """Returns what tells an image of a source from any other, and can be a key."""
    return record._replace(pixels=None)


def save(folder: Path, files: SourceFiles, images: Images) -> None:
    """Writes what a set was made of into its folder.

    Args:
      folder: of the set.
      files: of its source.
      images: of its source.
    """
    names = sorted(set(images.splits))
    places = {name: place for place, name in enumerate(names)}
    # What may change without a trace in sizes and times is looked at again, every time.
    settled = files.certain and (images.contents != UNREADABLE).all()
    write_arrays(
        folder / SOURCE,
        compressed=True,
        digest=pack_strings([files.digest if settled else ""]),
        keys=pack_strings(images.keys),
        split_names=pack_strings(names),
        splits=np.array([places[name] for name in images.splits], np.uint8),
        labels=images.labels,
        sizes=images.sizes,
        contents=images.contents,
        **files.arrays(),
    )


def load(folder: Path) -> tuple[SourceFiles, Images]:
    """Returns the files and images that a set was made of.

    Raises:
      OSError, ValueError, KeyError: nothing says it, or what does is damaged.
    """
    arrays = read_arrays(folder / SOURCE)
    names = unpack_strings(arrays["split_names"])
    splits = np.array(names, object)[np.minimum(arrays["splits"], len(names) - 1)].tolist()
    columns = (arrays[name] for name in ("labels", "sizes", "contents"))
    images = Images(unpack_strings(arrays["keys"]), splits, *columns)
    if len({len(column) for column in images}) != 1 or images.labels.min(initial=0) < 0:
        raise ValueError("it has not as many names as digests, or labels that cannot be")
    return from_arrays(arrays), images


def load_digest(folder: Path) -> str | None:
    """Returns the digest of the files of a set's source; empty: look closer; None: not known."""
    try:
        return unpack_strings(read_arrays(folder / SOURCE, "digest")["digest"])[0]
    except (OSError, ValueError, KeyError, IndexError):
        return None


def touched(root: Path, then: SourceFiles, now: SourceFiles) -> Callable[[Record], bool]:
    """Returns what says of an image whether its file's size or time has changed.

    Args:
      root: the source.
      then: its files.
      now: the same later.
    """
    same = then.known.items() & now.known.items()
    names = {name for name, _ in same}
    known: dict[str, bool] = {}

    def look(record: Record) -> bool:
        if record.path not in known:
            # What was unpacked lies outside; an archive has then changed, no telling which.
            known[record.path] = relative_name(root, record.path) not in names
        return known[record.path]

    return look
