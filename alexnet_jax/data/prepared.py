"""The files of a prepared set, and how their description and statistics are read.

A set is the folder `<data_dir>/<name>/` (later versions of it: `versions.py`) with these files:

- `<tfds name>-<split>.array_record-00000-of-00018`: examples of image, label, key
- `dataset_info.json`, `features.json`, `label.labels.txt`: TFDS's description
- `statistics.npz`, `examples.npz` (labels, keys, checksums), `bad_images.jsonl`
- `source.npz`: names, sizes and times of the source's files (`preparation/currency.py`)
- `prepared.json`: written last; where it is, the set is complete
- `work/`: sidecars of finished shards, only while the set is being prepared
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.appearance import AS_STORED, AS_VIEWED, Appearance
from alexnet_jax.errors import DataError
from alexnet_jax.files import read_arrays
from alexnet_jax.source_kinds import SOURCE_KINDS

PREPARED = "prepared.json"
EXAMPLES = "examples.npz"
BAD_IMAGES = "bad_images.jsonl"
STATISTICS = "statistics.npz"
WORK = "work"
FORMAT_VERSION = 1


class Statistics(NamedTuple):
    """Of the stored training images, in 0..255 units; s is the stored size.

    `colour_std` are roots of the eigenvalues of the RGB values' covariance, ascending as in 2012;
    `colour_vectors` their directions, of unit length, the largest component positive.
    """

    mean_image: np.ndarray  # float32 [s, s, 3]
    channel_mean: np.ndarray  # float32 [3]: red, green, blue
    channel_std: np.ndarray  # float32 [3]
    colour_std: np.ndarray  # float32 [3]
    colour_vectors: np.ndarray  # float32 [3, 3], directions as columns


def read_prepared(folder: str | Path) -> dict[str, Any] | None:
    """Reads `prepared.json`; None: no complete set; `DataError`: damaged, or of another version."""
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
    try:
        _check(prepared)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({str(error)[:100]}); remove the folder and prepare again"
        ) from None
    return prepared


def _check(prepared: dict[str, Any]) -> None:
    """Raises `ValueError`, `KeyError` or `TypeError` for an impossible description."""
    options, names = prepared["options"], prepared["class_names"]
    whole = isinstance(prepared["name"], str) and prepared["name"] == Path(prepared["name"]).name
    whole &= options["store"] in ("jpeg", "raw") and isinstance(options["source_kind"], str)
    whole &= isinstance(prepared["fingerprint"], str) and 0 < _count(options["stored_size"]) < 2**15
    if not whole or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ValueError("its options or names are not what `prepare` writes")
    if not isinstance(prepared["class_ids"], list) or len(prepared["class_ids"]) != len(names):
        raise ValueError(f"it does not have an id for each of {len(names)} classes")
    for name, split in prepared["splits"].items():
        counts = [_count(count) for _, count, _ in split["shards"]]
        plain = all(file == Path(file).name and _count(size) for file, _, size in split["shards"])
        if not plain or sum(counts) != _count(split["examples"]):
            raise ValueError(f"the shards of '{name}' are not what `prepare` writes")


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is no number of things")
    return value


def appearance_in(prepared: dict[str, Any]) -> Appearance:
    """Returns how the images of a prepared set were read.

    The oldest sets do not say it: they read image files as stored. Sets without image files had no
    choice; their networks see photos as a viewer shows them.
    """
    options = prepared["options"]
    kind = SOURCE_KINDS.get(options["source_kind"])
    default = AS_STORED if kind and kind.has_files else AS_VIEWED
    return Appearance(*(options.get(name, getattr(default, name)) for name in default._fields))


def load_statistics(folder: str | Path) -> Statistics:
    """Reads the statistics of a prepared set; raises `DataError` if they are missing or damaged."""
    path = Path(folder) / STATISTICS
    try:
        arrays = read_arrays(path)
        return Statistics(*(arrays[name] for name in Statistics._fields))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} is missing or damaged ({error}); remove the folder and prepare the set again"
        ) from None


def pack_strings(strings: list[str]) -> np.ndarray:
    """Returns strings as one uint8 array, a 0 after each: compact, and read without pickle."""
    return np.frombuffer("".join(f"{s}\0" for s in strings).encode(), np.uint8)


def unpack_strings(packed: np.ndarray) -> list[str]:
    return packed.tobytes().decode().split("\0")[:-1]
