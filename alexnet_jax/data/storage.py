"""The files of a prepared set: ArrayRecord shards that TFDS reads, sidecars and metadata.

<data_dir>/<name>/
<tfds name>-<split>.array_record-00000-of-00018   examples: image, label, key
dataset_info.json, features.json, label.labels.txt    what TFDS wants; written without TensorFlow
statistics.npz, examples.npz, bad_images.jsonl
prepared.json                                     written last: the set is complete
work/                                             only while it is being prepared
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_jax.data.decode import BadImageError, encode_jpeg
from alexnet_jax.data.source import Record, read_square
from alexnet_jax.data.statistics import Sums
from alexnet_jax.errors import DataError

PREPARED = "prepared.json"
EXAMPLES = "examples.npz"
BAD_IMAGES = "bad_images.jsonl"
WORK = "work"
FORMAT_VERSION = 1
MAX_BAD_IN_A_ROW = 20


class Storage(NamedTuple):
    """How images are stored: height and width, encoding, and the names of the classes."""

    stored_size: int
    store: Literal["jpeg", "raw"]
    jpeg_quality: int
    class_names: tuple[str, ...]


class Shard(NamedTuple):
    """One file to write: its name, split, and the records in the order of writing."""

    file: str
    split: str
    records: list[Record]
    bad_images: Literal["error", "skip"]


class ShardResult(NamedTuple):
    """What is known of a written shard; `stopped` says why it was not finished, if so."""

    file: str
    split: str
    labels: np.ndarray
    keys: list[str]
    digest: str
    num_bytes: int
    bad: list[dict[str, str]]
    pixels: np.ndarray
    products: np.ndarray
    stopped: str = ""


def tfds_name(name: str) -> str:
    """Returns `name` as TFDS allows it: letters, digits and underscores, a letter first."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    return plain if plain[:1].isalpha() else f"set_{plain}"


def shard_file(name: str, split: str, index: int, count: int) -> str:
    """Returns the file name of a shard in TFDS's convention."""
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


def write_shard(folder: Path, shard: Shard, storage: Storage, progress: "Progress") -> ShardResult:
    """Decodes the records of a shard, writes its file and its sidecar, both atomically.

    Bad images are left out and listed. Statistics are summed over what was stored, after JPEG
    compression, because that is what training will read.

    Raises:
      DataError: the file can not be written.
    """
    result = _write_records(folder, shard, storage, progress)
    if not result.stopped:
        _save_result(folder, result)
    return result


class Progress:
    """Where a worker reports its images and asks whether to go on."""

    def add(self, good: int, bad: int) -> None:
        """Counts images."""

    def stop(self) -> bool:
        """Says whether the preparation was interrupted."""
        return False


def _write_records(folder: Path, shard: Shard, storage: Storage, progress: Progress) -> ShardResult:
    from array_record.python.array_record_module import ArrayRecordWriter

    serializer = _features(storage)
    sums, digest = Sums(storage.stored_size), hashlib.sha256()
    labels: list[int] = []
    keys: list[str] = []
    bad: list[dict[str, str]] = []
    in_a_row, stopped = 0, ""
    temporary = folder / WORK / f"{shard.file}.{os.getpid()}.tmp"
    with _write_errors(folder):
        writer = ArrayRecordWriter(os.fspath(temporary), "group_size:1")
        for record in shard.records:
            if progress.stop():
                stopped = "interrupted"
                break
            try:
                pixels = read_square(record, storage.stored_size)
                in_a_row = 0
            except BadImageError as error:
                bad.append({"key": record.key, "split": shard.split, "reason": str(error)})
                in_a_row += 1
                progress.add(0, 1)
                if shard.bad_images == "error" or in_a_row == MAX_BAD_IN_A_ROW:
                    stopped = "bad"
                    break
                continue
            image, pixels = _stored(pixels, storage)
            if shard.split == "train":
                sums.add(pixels)
            for part in (record.key.encode(), struct.pack("<q", record.label), bytes(image)):
                digest.update(struct.pack("<q", len(part)) + part)
            example = {"image": image, "label": record.label, "key": record.key}
            writer.write(serializer.serialize_example(example))
            labels.append(record.label)
            keys.append(record.key)
            progress.add(1, 0)
        writer.close()
        num_bytes = 0 if stopped else _finish(temporary, folder / shard.file, len(labels))
    temporary.unlink(missing_ok=True)
    return ShardResult(
        shard.file, shard.split, np.array(labels, np.int32), keys, digest.hexdigest(), num_bytes,
        bad, sums.pixels, sums.products, stopped,
    )  # fmt: skip


_features = functools.lru_cache(maxsize=2)(features)


def _stored(pixels: np.ndarray, storage: Storage) -> tuple[Any, np.ndarray]:
    """Returns what is written for an image, and the pixels that reading it back will give."""
    from alexnet_jax.data.decode import decode_jpeg

    if storage.store == "raw":
        return np.ascontiguousarray(pixels), pixels
    data = encode_jpeg(pixels, storage.jpeg_quality)
    return data, decode_jpeg(data)


def _finish(temporary: Path, final: Path, count: int) -> int:
    """Checks that the file is whole, makes it durable, gives it its name; returns its bytes."""
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


@contextlib.contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Turns what a full or broken disk raises into one line."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise write_error(folder, error) from error


def write_error(folder: Path, error: Exception) -> DataError:
    """Returns the error for a failed write, with the free space in it."""
    import shutil

    parent = next(p for p in (folder, *folder.parents) if p.is_dir())
    free = shutil.disk_usage(parent).free / 1e9
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return DataError(
        f"cannot write in {folder}: {reason} ({free:.1f} GB free); free space there or choose "
        "another --data-dir; finished parts are kept"
    )


def _sidecar(folder: Path, file: str) -> Path:
    return folder / WORK / f"{file}.npz"


def _save_result(folder: Path, result: ShardResult) -> None:
    path = _sidecar(folder, result.file)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    text = {"split": result.split, "digest": result.digest, "num_bytes": result.num_bytes}
    with _write_errors(folder):
        with open(temporary, "wb") as file:
            np.savez(
                file,
                text=pack_strings([json.dumps(text), json.dumps(result.bad)]),
                labels=result.labels,
                keys=pack_strings(result.keys),
                pixels=result.pixels,
                products=result.products,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


def load_result(folder: Path, file: str) -> ShardResult | None:
    """Reads the sidecar of a finished shard; None if the shard must be written (again)."""
    try:
        with np.load(_sidecar(folder, file), allow_pickle=False) as arrays:
            about, bad = (json.loads(text) for text in unpack_strings(arrays["text"]))
            result = ShardResult(
                file, about["split"], arrays["labels"], unpack_strings(arrays["keys"]),
                about["digest"], about["num_bytes"], bad, arrays["pixels"], arrays["products"],
            )  # fmt: skip
        return result if (folder / file).stat().st_size == result.num_bytes else None
    except (OSError, ValueError, KeyError, EOFError):
        return None


def pack_strings(strings: list[str]) -> np.ndarray:
    """Returns strings as one uint8 array, 0 after each: compact, and no pickle to read it."""
    return np.frombuffer("".join(f"{s}\0" for s in strings).encode(), np.uint8)


def unpack_strings(packed: np.ndarray) -> list[str]:
    """Undoes `pack_strings`."""
    return packed.tobytes().decode().split("\0")[:-1]


def write_tfds_metadata(
    folder: Path, storage: Storage, shards: Mapping[str, list[ShardResult]], description: str
) -> None:
    """Writes the JSON files with which `tfds.builder_from_directory` reads the set."""
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
    """Writes indented JSON atomically."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(temporary, path)


def read_prepared(folder: str | Path) -> dict[str, Any] | None:
    """Reads `prepared.json`; None where the folder holds no complete set.

    Raises:
      DataError: the file is damaged or of another version of this program.
    """
    path = Path(folder) / PREPARED
    try:
        prepared = json.loads(path.read_text("utf-8"))
        version = prepared["format_version"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is damaged ({error}); remove the folder and prepare again"
        ) from None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path} has format {version}, this program reads {FORMAT_VERSION}; prepare again "
            "under another --name"
        )
    return prepared
