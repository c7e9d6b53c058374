"""Written while a set is prepared: shards, their sidecars, and TFDS's metadata."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_jax.config import AS_STORED, Appearance
from alexnet_jax.data.prepared import WORK, pack_strings, unpack_strings
from alexnet_jax.errors import DataError
from alexnet_jax.files import read_arrays, write_arrays, write_text
from alexnet_jax.preparation.sources.source import Record


class Storage(NamedTuple):
    """How images are stored: size, encoding, names of the classes, and how image files are read."""

    stored_size: int
    store: Literal["jpeg", "raw"]
    jpeg_quality: int
    class_names: tuple[str, ...]
    appearance: Appearance = AS_STORED


class Shard(NamedTuple):
    """One file to write: its name, split, and the records in the order of writing."""

    file: str
    split: str
    records: list[Record]
    bad_images: Literal["error", "skip"]


class ShardResult(NamedTuple):
    """What is known of a written shard.

    `contents`, uint64, has a digest of the bytes of each of its records, bad ones included;
    `stopped` says why it was not finished, if so; `without_end` counts JPEGs without end marker.
    """

    file: str
    split: str
    labels: np.ndarray
    keys: list[str]
    checksums: np.ndarray
    digest: str
    num_bytes: int
    bad: list[dict[str, str]]
    pixels: np.ndarray
    products: np.ndarray
    contents: np.ndarray
    stopped: str = ""
    without_end: int = 0


def tfds_name(name: str) -> str:
    """Returns `name` as TFDS allows it: letters, digits and underscores, a letter first."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    return plain if plain[:1].isalpha() else f"set_{plain}"


def shard_file(name: str, split: str, index: int, count: int) -> str:
    """Returns the file name of a shard in TFDS's convention.

    Args:
      name: of the set.
      split: name of the split.
      index: of the shard, from 0.
      count: of shards in the split.
    """
    return f"{tfds_name(name)}-{split}.array_record-{index:05d}-of-{count:05d}"


def features(storage: Storage) -> Any:
    """Returns the TFDS features of a prepared set: image, label, key."""
    import tensorflow_datasets as tfds

    shape = (storage.stored_size, storage.stored_size, 3)
    image = (
        tfds.features.Image(shape=shape, encoding_format="jpeg")
        if storage.store == "jpeg"
        # Otherwise a tf.train.Example would hold one 64-bit integer per byte.
        else tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes")
    )
    label = tfds.features.ClassLabel(names=list(storage.class_names))
    return tfds.features.FeaturesDict({"image": image, "label": label, "key": tfds.features.Text()})


@contextlib.contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turns what a full or broken disk raises into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise write_error(folder, error) from error


def write_error(folder: Path, error: Exception) -> DataError:
    """Returns the error for a failed write, with the free space in it."""
    parent = next(p for p in (folder, *folder.parents) if p.is_dir())
    free = shutil.disk_usage(parent).free / 1e9
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    if isinstance(error, FileExistsError | NotADirectoryError):
        return DataError(f"{folder} is or lies in a file; choose another --data-dir")
    return DataError(
        f"cannot write in {folder}: {reason} ({free:.1f} GB free); free space there or choose "
        "another --data-dir; finished parts are kept"
    )


def _sidecar(folder: Path, file: str) -> Path:
    return folder / WORK / f"{file}.npz"


def save_result(folder: Path, result: ShardResult) -> None:
    """Writes the sidecar of a finished shard, which makes it count as finished."""
    names = ("split", "digest", "num_bytes", "without_end")
    text = {name: getattr(result, name) for name in names}
    with write_errors(folder):
        write_arrays(
            _sidecar(folder, result.file),
            text=pack_strings([json.dumps(text), json.dumps(result.bad)]),
            labels=result.labels,
            keys=pack_strings(result.keys),
            checksums=result.checksums,
            pixels=result.pixels,
            products=result.products,
            contents=result.contents,
        )


def load_result(folder: Path, file: str) -> ShardResult | None:
    """Reads the sidecar of a finished shard; None if the shard must be written (again).

    That is also so where images were bad: they may have been mended since.
    """
    try:
        arrays = read_arrays(_sidecar(folder, file))
        about, bad = (json.loads(text) for text in unpack_strings(arrays["text"]))
        result = ShardResult(
            file, about["split"], arrays["labels"], unpack_strings(arrays["keys"]),
            arrays["checksums"], about["digest"], about["num_bytes"], bad, arrays["pixels"],
            arrays["products"], arrays["contents"], without_end=about.get("without_end", 0),
        )  # fmt: skip
        whole = (folder / file).stat().st_size == result.num_bytes and not result.bad
        return without_sums(result) if whole else None
    except (OSError, ValueError, KeyError):
        return None


def forget_result(folder: Path, file: str) -> None:
    """Removes the sidecar of a shard, which must be written again."""
    _sidecar(folder, file).unlink(missing_ok=True)


def without_sums(result: ShardResult) -> ShardResult:
    """Returns the result without its sums, which are large and wait in the sidecar."""
    nothing = np.zeros(0, np.int64)
    return result._replace(pixels=nothing, products=nothing)


def load_sums(folder: Path, file: str) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns number of images, pixel sums and RGB products of a finished shard."""
    arrays = read_arrays(_sidecar(folder, file))
    return len(arrays["labels"]), arrays["pixels"], arrays["products"]


def write_tfds_metadata(
    folder: Path, storage: Storage, shards: Mapping[str, list[ShardResult]], description: str
) -> None:
    """Writes the JSON files with which `tfds.builder_from_directory` reads the set.

    Args:
      folder: of the set.
      storage: how images are stored.
      shards: results by split, in the order of the files.
      description: a sentence about the set.
    """
    import tensorflow_datasets as tfds

    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(result.labels) for result in results],
            num_bytes=sum(result.num_bytes for result in results),
        )
        for split, results in shards.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=os.fspath(folder),
        features=features(storage),
        split_infos=infos,
        check_data=False,  # that check needs TensorFlow; `open_dataset` makes its own
        description=description,
        supervised_keys=("image", "label"),
    )


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, whole or not at all.

    What UTF-8 cannot hold (a source whose path is none) becomes JSON's own escapes.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
