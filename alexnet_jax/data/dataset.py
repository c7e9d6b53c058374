"""A prepared set, opened: random access to stored images, labels and names of every split.

Stored images are read from the mapped shards (`records.py`); decoded images of a split that is
small enough stay in memory.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.config import Appearance
from alexnet_jax.data import augment
from alexnet_jax.data.decode import decode_jpeg
from alexnet_jax.data.prepared import EXAMPLES, WORK, appearance_in, read_prepared, unpack_strings
from alexnet_jax.data.records import MappedImages, ParsedImages
from alexnet_jax.errors import DataError, InputError, did_you_mean
from alexnet_jax.files import read_arrays

_CHUNK = 64  # images per task of the thread pool


@dataclass(frozen=True)
class Dataset:
    """A prepared set.

    Attributes:
      path: its folder.
      class_names: names in the order of the labels.
      fingerprint: SHA-256 over names, labels and stored bytes of all examples.
      stored_size: height and width of the stored images, pixels.
      appearance: how photos were read before they were stored.
      splits: number of examples of each split.
      cache_bytes: a split that needs no more than this is kept decoded in memory.
    """

    path: Path
    class_names: tuple[str, ...]
    fingerprint: str
    stored_size: int
    appearance: Appearance
    splits: dict[str, int]
    cache_bytes: int
    _store: str = "jpeg"
    _open: dict[str, "Split"] = field(default_factory=dict, compare=False, repr=False)

    def split(self, name: str) -> "Split":
        """Returns the split `name`; the same object, hence the same cache, every time.

        Raises:
          InputError: there is no such split.
        """
        if name not in self.splits:
            raise InputError(
                f"the data set {self.path.name} has no split '{name}'; it has "
                f"{', '.join(self.splits)} (set data.train_split, data.validation_split)."
                f"{did_you_mean(name, self.splits)}"
            )
        if name not in self._open:
            self._open[name] = Split(
                self.path, name, self.splits[name], self.stored_size, self._store, self.cache_bytes
            )
        return self._open[name]


class Split:
    """One split of a prepared set; safe to use from several threads, and picklable.

    A copy in another process reads from the files and keeps no images in memory: with n loader
    processes there would be n caches.

    Attributes:
      path: folder of the set.
      name: name of the split.
      num_examples: number of examples.
      stored_size: height and width of the images, pixels.
    """

    def __init__(
        self, path: Path, name: str, num_examples: int, stored_size: int, store: str, cache: int
    ):
        self.path, self.name = path, name
        self.num_examples, self.stored_size = num_examples, stored_size
        self._store = store
        self._keep = num_examples * stored_size**2 * 3 <= cache
        self._reset()

    def _reset(self) -> None:
        self._cache: np.ndarray | None = None
        self._stored: MappedImages | ParsedImages | None = None
        self._index: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        own = ("path", "name", "num_examples", "stored_size", "_store")
        return {name: getattr(self, name) for name in own} | {"_keep": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._reset()

    def __len__(self) -> int:
        return self.num_examples

    def __repr__(self) -> str:
        return f"Split({self.path.name}, {self.name}, {self.num_examples} examples)"

    @property
    def labels(self) -> np.ndarray:
        """Class indices, int32 [num_examples]."""
        return self._column("labels")

    @property
    def keys(self) -> list[str]:
        """Names of the images in their source, in the order of the examples."""
        try:
            keys = unpack_strings(self._column("keys"))
        except UnicodeDecodeError:
            keys = []
        if len(keys) != self.num_examples:
            raise DataError(
                f"{self.path / EXAMPLES} is damaged (it has not {self.num_examples} names); remove "
                "the folder and prepare again"
            )
        return keys

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns stored images.

        Args:
          indices: [k] integers, 0 to num_examples - 1, in any order, repeats allowed.

        Returns:
          uint8 [k, s, s, 3], a new array.

        Raises:
          IndexError: an index is out of range.
          DataError: the files are damaged.
        """
        indices = self._checked(indices)
        if self._keep:
            return self._filled_cache()[indices]
        images = self._empty(len(indices))
        self._read_into(images, indices)
        return images

    def crops(
        self,
        indices: Sequence[int] | np.ndarray,
        offsets: np.ndarray,
        flips: np.ndarray,
        out: np.ndarray,
    ) -> None:
        """Writes crops of stored images, each copied once.

        Args:
          indices: [k] as for `images`.
          offsets: [k, 2] integers, top and left of each crop, pixels.
          flips: bool [k], whether to mirror the crop.
          out: uint8 [k, size, size, 3], overwritten.

        Raises:
          IndexError, DataError: as `images`.
        """
        indices = self._checked(indices)
        size = out.shape[1]
        corners, mirrored = offsets.tolist(), flips.tolist()
        if self._keep:
            cache = self._filled_cache()
            for row, index in enumerate(indices):
                top, left = corners[row]
                image = cache[index, top : top + size, left : left + size]
                augment.copy(image, mirrored[row], out[row])
            return
        scratch = self._empty(1)[0]
        with self._read_errors():
            stored = self._images()
            stored.announce(indices)
            for row, index in enumerate(indices.tolist()):
                top, left = corners[row]
                window = slice(top, top + size), slice(left, left + size)
                if self._store == "raw":
                    augment.copy(self._pixels(stored[index])[window], mirrored[row], out[row])
                elif mirrored[row]:  # all bytes of a row are turned round at once
                    decode_jpeg(stored[index], scratch, backwards=True)
                    augment.copy_reversed(scratch[window], out[row])
                else:
                    decode_jpeg(stored[index], scratch)
                    augment.copy(scratch[window], False, out[row])

    def stored_bytes(self, index: int) -> bytes | memoryview:
        """Returns an image as it is stored: a JPEG, or raw pixels.

        Raises:
          IndexError, DataError: as `images`.
        """
        (checked,) = self._checked([index]).tolist()
        with self._read_errors():
            return self._images()[checked]

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        indices = np.asarray(indices, np.int64).reshape(-1)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.num_examples:
            raise IndexError(f"{self!r} has no example {indices.min()} or {indices.max()}")
        return indices

    def _filled_cache(self) -> np.ndarray:
        with self._lock:
            if self._cache is None:
                cache = self._empty(self.num_examples)
                everything = np.arange(self.num_examples)
                parts = [slice(i, i + _CHUNK) for i in range(0, self.num_examples, _CHUNK)]
                with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
                    read = pool.map(
                        lambda part: self._read_into(cache[part], everything[part]), parts
                    )
                    list(read)  # raises what a thread raised
                cache.flags.writeable = False
                self._cache = cache
            return self._cache

    def _empty(self, count: int) -> np.ndarray:
        return np.empty((count, self.stored_size, self.stored_size, 3), np.uint8)

    def _read_into(self, images: np.ndarray, indices: np.ndarray) -> None:
        """Reads the examples `indices` into `images`, uint8 [k, s, s, 3]."""
        with self._read_errors():
            stored = self._images()
            stored.announce(indices)
            for row, index in enumerate(indices.tolist()):
                if self._store == "jpeg":
                    decode_jpeg(stored[index], images[row])
                else:
                    images[row] = self._pixels(stored[index])

    def _pixels(self, data: bytes | memoryview) -> np.ndarray:
        """Returns a raw image, uint8 [s, s, 3], a read-only view of `data`."""
        return np.frombuffer(data, np.uint8).reshape(self.stored_size, self.stored_size, 3)

    @contextlib.contextmanager
    def _read_errors(self) -> Iterator[None]:
        """Turns the many kinds of errors that damaged files raise into one line."""
        try:
            yield
        except Exception as error:
            raise DataError(
                f"{self!r} in {self.path} can not be read ({' '.join(str(error).split())[:200]}); "
                "remove the folder and prepare the set again"
            ) from error

    def _images(self) -> MappedImages | ParsedImages:
        """Returns the stored bytes of the images by index."""
        if self._stored is None:
            places = self._column("places", optional=True)
            prepared = read_prepared(self.path) or {}
            if len(places) == self.num_examples and places[:, 0].min(initial=0) >= 0:
                shards = prepared["splits"][self.name]["shards"]
                counted = [(file, count) for file, count, _ in shards]
                self._stored = MappedImages(self.path, counted, places)
            else:
                self._stored = ParsedImages(self.path, self.name)
        return self._stored

    def _column(self, name: str, optional: bool = False) -> np.ndarray:
        if name not in self._index:
            path = self.path / EXAMPLES
            try:
                arrays = read_arrays(path, f"{self.name}_{name}")
                if optional and not arrays:
                    return np.zeros(0)
                column = arrays[f"{self.name}_{name}"]
                kinds = {"labels": ("i", 1), "keys": ("u", 1), "places": ("i", 2)}
                if (column.dtype.kind, column.ndim) != kinds[name]:
                    raise ValueError(f"its {name} are {column.dtype} {list(column.shape)}")
                if name != "keys" and len(column) != self.num_examples:
                    raise ValueError(f"it has {len(column)} {name} for {self.num_examples} images")
                self._index[name] = column
            except (OSError, KeyError, ValueError) as error:
                raise DataError(
                    f"{path} is missing or damaged ({error}); remove the folder and prepare again"
                ) from None
        return self._index[name]


def open_dataset(folder: str | Path, cache_bytes: int = 2 * 1024**3) -> Dataset:
    """Opens the prepared set in `folder`; reads no image yet.

    Args:
      folder: of the set, as `prepare` returns it.
      cache_bytes: a split that needs no more than this is kept decoded in memory.

    Raises:
      DataError: no complete set there, or one of its files is missing or has another length.
    """
    path = Path(folder).absolute()
    prepared = read_prepared(path)
    if prepared is None:
        unfinished = (path / WORK).is_dir()
        raise DataError(
            f"{path} holds no prepared data set"
            + (
                "; its preparation was interrupted: run the same prepare command"
                if unfinished
                else ""
            )
        )
    for split in prepared["splits"].values():
        for file, _, num_bytes in split["shards"]:
            shard = path / file
            if not shard.is_file() or shard.stat().st_size != num_bytes:
                raise DataError(
                    f"{shard} is missing or has not {num_bytes} bytes; remove the folder "
                    "and prepare the set again"
                )
    return Dataset(
        path=path,
        class_names=tuple(prepared["class_names"]),
        fingerprint=prepared["fingerprint"],
        stored_size=prepared["options"]["stored_size"],
        appearance=appearance_in(prepared),
        splits={name: split["examples"] for name, split in prepared["splits"].items()},
        cache_bytes=cache_bytes,
        _store=prepared["options"]["store"],
    )


def describe(folder: str | Path) -> dict[str, Any]:
    """Returns what a person wants to know of a prepared set: counts, sizes, source, bad images."""
    dataset = open_dataset(folder)
    prepared = read_prepared(folder)
    assert prepared is not None
    return {
        "name": prepared["name"],
        "path": str(dataset.path),
        "classes": len(dataset.class_names),
        "class_names": list(dataset.class_names),
        "splits": {
            name: {
                "examples": split["examples"],
                "smallest_class": min(split["per_class"]),
                "largest_class": max(split["per_class"]),
                "bytes": split["bytes"],
            }
            for name, split in prepared["splits"].items()
        },
        "bytes": sum(split["bytes"] for split in prepared["splits"].values()),
        "bad_images": prepared["bad_images"],
        "fingerprint": dataset.fingerprint,
        **prepared["options"],
    }
