"""A file from outside: mapped into memory, not read; its digests; its size within reason."""

import hashlib
import io
import mmap
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from alexnet_jax.errors import InputError

LARGEST_BYTES = 2 * 1024**3
"""The largest file of 2012, 110 million weights with their velocities, has 0.9 GB."""


class SourceFile(NamedTuple):
    """A file to import from.

    Attributes:
      path: where it is.
      data: its bytes, mapped: only what is looked at takes memory.
    """

    path: Path
    data: memoryview

    @property
    def name(self) -> str:
        """Name without folder, for messages."""
        return self.path.name

    def sha256(self) -> str:
        """Returns the SHA-256 in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def sha1(self) -> str:
        """Returns the SHA-1, by which Caffe's model zoo names its files."""
        return hashlib.sha1(self.data, usedforsecurity=False).hexdigest()

    def stream(self) -> BinaryIO:
        """Returns a file over the mapped bytes, so that nothing is read that is not asked for."""
        return io.BufferedReader(_View(self.data))


def open_source(path: str | Path) -> SourceFile:
    """Maps a file.

    Raises:
      InputError: it is missing, empty, no file, or larger than `LARGEST_BYTES`.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file that is meant")
    if path.exists() and not path.is_file():  # to open a pipe may wait for ever
        raise InputError(f"{path} is a pipe or a device; save it as a file, and name that")
    try:
        with open(path, "rb") as file:
            size = path.stat().st_size
            if size > LARGEST_BYTES:
                raise InputError(
                    f"{path} has {size:,} bytes; AlexNet's weights have at most {LARGEST_BYTES:,}"
                )
            if size == 0:
                raise InputError(f"{path} is empty; get the file again")
            return SourceFile(
                path, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            )
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}") from None


class _View(io.RawIOBase):
    def __init__(self, data: memoryview):
        self._data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, len(self._data))[whence]
        if at < 0:
            raise ValueError("a place before the beginning")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def check_finite(arrays: dict[str, np.ndarray], what: str) -> None:
    """Raises `InputError` for the first array that holds NaN or infinity, or no number at all."""
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise InputError(f"{what}: '{name}' has type {array.dtype}, not a floating-point one")
        if not np.isfinite(array).all():
            raise InputError(
                f"{what}: '{name}' has values that are not finite; the training diverged or the "
                "file is damaged: get another"
            )
