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

from alexnet_jax.appearance import AS_STORED, Appearance
from alexnet_jax.data.prepared import WORK, pack_strings, unpack_strings
from alexnet_jax.errors import DataError
from alexnet_jax.files import read_arrays, write_arrays, write_text
from alexnet_jax.preparation.source_images import SourceImage

BadImages = Literal["error", "skip"]
"""Stop at the first bad image, or leave bad images out and list them."""


class Storage(NamedTuple):
    """How images are stored: size, encoding, names of the classes, and how image files are read."""

    stored_size: int
    store: Literal["jpeg", "raw"]
    jpeg_quality: int
    class_names: tuple[str, ...]
    appearance: Appearance = AS_STORED


class Shard(NamedTuple):
    """One file to write: its name, its split, and its images in the order of writing."""

    file: str
    split: str
    images: list[SourceImage]
    bad_images: BadImages


class ShardResult(NamedTuple):
    """What is known of a written shard."""

    file: str
    split: str
    labels: np.ndarray  # int32 [n]
    keys: list[str]
    checksums: np.ndarray  # uint32 [n], CRC-32 of each stored image
    digest: str  # of keys, labels and stored images
    num_bytes: int
    bad: list[dict[str, str]]  # rows of `bad_images.jsonl`
    pixels: np.ndarray  # with `products` as of `PixelSums`; empty once in the sidecar
    products: np.ndarray
    contents: np.ndarray  # uint64 digest of the source's bytes of each image, also of bad ones
    stopped: str = ""  # why it was not finished; empty: it was
    without_end: int = 0  # number of JPEGs without end marker


def shard_file(name: str, split: str, index: int, count: int) -> str:
    """Follows TFDS's convention."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    plain = plain if plain[:1].isalpha() else f"set_{plain}"
    return f"{plain}-{split}.array_record-{index:05d}-of-{count:05d}"


def features(storage: Storage) -> Any:
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
    """Turns the errors of a full or broken disk into one line, with the free space in it."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        text = f"{folder} is a file or is inside a file; choose another --data-dir"
        raise DataError(text) from error
    except (OSError, RuntimeError) as error:
        parent = next(p for p in (folder, *folder.parents) if p.is_dir())
        free = shutil.disk_usage(parent).free / 1e9
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise DataError(
            f"cannot write in {folder}: {reason} ({free:.1f} GB free); free space there or choose "
            "another --data-dir; finished parts are kept"
        ) from error


def _sidecar(folder: Path, file: str) -> Path:
    return folder / WORK / f"{file}.npz"


def save_result(folder: Path, result: ShardResult) -> None:
    """The sidecar makes a shard count as finished."""
    names = ("split", "digest", "num_bytes", "without_end")
    facts = {name: getattr(result, name) for name in names}
    with write_errors(folder):
        write_arrays(
            _sidecar(folder, result.file),
            text=pack_strings([json.dumps(facts), json.dumps(result.bad)]),
            labels=result.labels,
            keys=pack_strings(result.keys),
            checksums=result.checksums,
            pixels=result.pixels,
            products=result.products,
            contents=result.contents,
        )


def load_result(folder: Path, file: str) -> ShardResult | None:
    """None: write the shard (again), also if it has bad images, which may be repaired now."""
    try:
        arrays = read_arrays(_sidecar(folder, file))
        facts, bad = (json.loads(text) for text in unpack_strings(arrays["text"]))
        if bad or (folder / file).stat().st_size != facts["num_bytes"]:
            return None
        result = ShardResult(
            file, facts["split"], arrays["labels"], unpack_strings(arrays["keys"]),
            arrays["checksums"], facts["digest"], facts["num_bytes"], bad, arrays["pixels"],
            arrays["products"], arrays["contents"], without_end=facts.get("without_end", 0),
        )  # fmt: skip
        return without_sums(result)
    except (OSError, ValueError, KeyError):
        return None


def forget_result(folder: Path, file: str) -> None:
    _sidecar(folder, file).unlink(missing_ok=True)


def without_sums(result: ShardResult) -> ShardResult:
    """Drops the sums, which are large and are kept in the sidecar."""
    nothing = np.zeros(0, np.int64)
    return result._replace(pixels=nothing, products=nothing)


def load_sums(folder: Path, file: str) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns number of images, pixel sums [s, s, 3] and RGB products [3, 3]."""
    arrays = read_arrays(_sidecar(folder, file))
    return len(arrays["labels"]), arrays["pixels"], arrays["products"]


def write_tfds_metadata(
    folder: Path, storage: Storage, results: Mapping[str, list[ShardResult]], description: str
) -> None:
    """Writes the JSON files with which `tfds.builder_from_directory` reads the set."""
    import tensorflow_datasets as tfds

    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(result.labels) for result in parts],
            num_bytes=sum(result.num_bytes for result in parts),
        )
        for split, parts in results.items()
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
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
