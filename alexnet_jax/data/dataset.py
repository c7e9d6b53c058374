"""A prepared set, opened: random access to images, labels and names of every split."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.data.augment import copy_image, copy_reversed
from alexnet_jax.data.decode import decode_jpeg
from alexnet_jax.data.prepared import EXAMPLES, WORK, appearance_in, read_prepared, unpack_strings
from alexnet_jax.data.records import StoredImages
from alexnet_jax.errors import DataError, InputError, did_you_mean
from alexnet_jax.files import read_arrays

_CHUNK = 64  # images that a thread decodes at a time while the cache is filled


class Dataset:
    """A prepared set.

    Attributes:
      class_names: in the order of the labels.
      fingerprint: SHA-256 over names, labels and stored bytes of all examples.
      stored_size: height and width of the stored images, pixels.
      splits: number of examples of each split.
    """

    def __init__(self, path: Path, prepared: dict[str, Any], cache_bytes: int):
        self.path = path
        self.class_names: tuple[str, ...] = tuple(prepared["class_names"])
        self.fingerprint: str = prepared["fingerprint"]
        self.stored_size: int = prepared["options"]["stored_size"]
        self.appearance = appearance_in(prepared)
        self.splits = {name: split["examples"] for name, split in prepared["splits"].items()}
        size, store = self.stored_size, prepared["options"]["store"]
        self._opened = {
            name: Split(path, name, count, size, store, cached=count * size**2 * 3 <= cache_bytes)
            for name, count in self.splits.items()
        }

    def split(self, name: str) -> "Split":
        """Returns a split, always the same object; raises `InputError` if there is none."""
        if name not in self.splits:
            raise InputError(
                f"the data set {self.path.name} has no split '{name}'; it has "
                f"{', '.join(self.splits)} (set data.train_split, data.validation_split)."
                f"{did_you_mean(name, self.splits)}"
            )
        return self._opened[name]


class Split:
    """One split of a prepared set, for several threads; a pickled copy caches no images."""

    def __init__(
        self,
        path: Path,
        name: str,
        num_examples: int,
        stored_size: int,  # pixels
        store: str,  # "jpeg" or "raw"
        cached: bool = False,  # keep all decoded images in memory
    ):
        """Opens nothing yet."""
        self.path, self.name = path, name
        self.num_examples, self.stored_size = num_examples, stored_size
        self.store, self.cached = store, cached
        self._lock = threading.Lock()
        self._cache: np.ndarray | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Split, (self.path, self.name, self.num_examples, self.stored_size, self.store)

    def __len__(self) -> int:
        return self.num_examples

    def __repr__(self) -> str:
        return f"Split({self.path.name}, {self.name}, {self.num_examples} examples)"

    @property
    def labels(self) -> np.ndarray:
        """Class indices, int32 [num_examples]."""
        return self._labels

    @property
    def keys(self) -> list[str]:
        """Names of the images in their source."""
        with contextlib.suppress(UnicodeDecodeError):
            keys = unpack_strings(self._column("keys"))
            if len(keys) == self.num_examples:
                return keys
        raise DataError(
            f"{self.path / EXAMPLES} is damaged (it does not have {self.num_examples} names); "
            "remove the folder and prepare again"
        )

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns stored images `indices` [k], in any order, as a new array, uint8 [k, s, s, 3].

        Raises:
          IndexError: an index is out of range.
          DataError: the files are damaged.
        """
        indices = self._checked(indices)
        if self.cached:
            return self._decoded()[indices]
        images = self._empty(len(indices))
        self._read(indices, images)
        return images

    def crops(
        self,
        indices: Sequence[int] | np.ndarray,  # [k]
        offsets: np.ndarray,  # int [k, 2], top and left, pixels
        flips: np.ndarray,  # bool [k]
        out: np.ndarray,  # uint8 [k, size, size, 3]
    ) -> None:
        """Writes crops of stored images, each copied once; errors as of `images`."""
        indices = self._checked(indices).tolist()
        size = out.shape[1]
        windows = [
            (slice(top, top + size), slice(left, left + size)) for top, left in offsets.tolist()
        ]
        rows = zip(indices, windows, flips.tolist(), out, strict=True)
        if self.cached:
            images = self._decoded()
            for index, window, flip, crop in rows:
                copy_image(images[index][window], flip, crop)
            return
        scratch = self._empty(1)[0]  # [s, s, 3]
        with self._read_errors():
            for index, window, flip, crop in rows:
                image = self._stored[index]
                if self.store == "raw":
                    copy_image(self._pixels(image)[window], flip, crop)
                elif flip:
                    # A row of blue, green, red, read backwards, is mirrored and red, green, blue.
                    decode_jpeg(image, scratch, backwards=True)
                    copy_reversed(scratch[window], crop)
                else:
                    decode_jpeg(image, scratch)
                    crop[...] = scratch[window]

    def stored_bytes(self, index: int) -> bytes:
        """Returns an image as it is stored: a JPEG, or raw pixels; errors as of `images`."""
        (checked,) = self._checked([index]).tolist()
        with self._read_errors():
            return bytes(self._stored[checked])

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        indices = np.asarray(indices, np.int64).reshape(-1)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.num_examples:
            raise IndexError(f"{self!r} has no example {indices.min()} or {indices.max()}")
        return indices

    def _decoded(self) -> np.ndarray:
        """Returns all images, uint8 [num_examples, s, s, 3], decoded by the first call."""
        with self._lock:
            if self._cache is None:
                cache = self._empty(self.num_examples)

                def read(start: int) -> None:
                    part = cache[start : start + _CHUNK]
                    self._read(start + np.arange(len(part)), part)

                with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
                    list(pool.map(read, range(0, self.num_examples, _CHUNK)))  # raises errors
                cache.flags.writeable = False
                self._cache = cache
            return self._cache

    def _empty(self, count: int) -> np.ndarray:
        return np.empty((count, self.stored_size, self.stored_size, 3), np.uint8)

    def _read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Decodes stored images `indices` [k] into `out`, uint8 [k, s, s, 3]."""
        with self._read_errors():
            for index, image in zip(indices.tolist(), out, strict=True):
                if self.store == "jpeg":
                    decode_jpeg(self._stored[index], image)
                else:
                    image[...] = self._pixels(self._stored[index])

    def _pixels(self, data: bytes | memoryview) -> np.ndarray:
        """Returns a raw image, uint8 [s, s, 3], a read-only view of `data`."""
        if len(data) != 3 * self.stored_size**2:
            raise ValueError(f"{len(data)} bytes for {self.stored_size}x{self.stored_size} pixels")
        return np.ndarray((self.stored_size, self.stored_size, 3), np.uint8, data)

    @contextlib.contextmanager
    def _read_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise DataError(
                f"{self!r} in {self.path} cannot be read ({' '.join(str(error).split())[:200]}); "
                "remove the folder and prepare the set again"
            ) from error

    @functools.cached_property
    def _labels(self) -> np.ndarray:
        return self._column("labels", (self.num_examples,))

    @functools.cached_property
    def _stored(self) -> StoredImages:
        checksums = self._column("checksums", (self.num_examples,), optional=True)
        if checksums is None:  # an older set; its third column is the CRC-32
            places = self._column("places", (self.num_examples, 3), optional=True)
            checksums = None if places is None else places[:, 2]
        image_bytes = 3 * self.stored_size**2 if self.store == "raw" else None
        return StoredImages(self.path, self.name, checksums, image_bytes)

    def _column(
        self, name: str, shape: tuple[int, ...] | None = None, optional: bool = False
    ) -> Any:
        """Returns an array of integers from `examples.npz`; None if it is optional and missing."""
        path = self.path / EXAMPLES
        try:
            arrays = read_arrays(path, f"{self.name}_{name}")
            if optional and not arrays:
                return None
            column = arrays[f"{self.name}_{name}"]
            if column.dtype.kind not in "iu" or column.shape != (shape or column.shape):
                raise ValueError(
                    f"its {name} are {column.dtype} {list(column.shape)} "
                    f"for {self.num_examples} images"
                )
            return column
        except (OSError, KeyError, ValueError) as error:
            raise DataError(
                f"{path} is missing or damaged ({error}); remove the folder and prepare again"
            ) from None


def open_dataset(folder: str | Path, cache_bytes: int = 2 * 1024**3) -> Dataset:
    """Opens a prepared set; keeps a split that needs no more than `cache_bytes` decoded in memory.

    Raises:
      DataError: no complete set there, or one of its files is missing or has another length.
    """
    path = Path(folder).absolute()
    prepared = read_prepared(path)
    if prepared is None:
        hint = ""
        if (path / WORK).is_dir():
            hint = "; its preparation was interrupted: run the same prepare command"
        raise DataError(f"{path} holds no prepared data set{hint}")
    for split in prepared["splits"].values():
        for file, _, num_bytes in split["shards"]:
            shard = path / file
            if not shard.is_file() or shard.stat().st_size != num_bytes:
                raise DataError(
                    f"{shard} is missing or does not have {num_bytes} bytes; remove the folder "
                    "and prepare the set again"
                )
    return Dataset(path, prepared, cache_bytes)
