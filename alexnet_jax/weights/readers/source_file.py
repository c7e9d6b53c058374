"""A file from outside, mapped into memory: only what is looked at is read."""

import hashlib
import mmap
from pathlib import Path
from typing import Any, NamedTuple

from alexnet_jax.errors import InputError

MAX_BYTES = 2 * 1024**3
"""The largest file of 2012, 110 million weights with their velocities, has 0.9 GB."""


class _MappedFile(mmap.mmap):
    def seekable(self) -> bool:  # zipfile needs it, and mmap has it from Python 3.13 only
        return True


class SourceFile(NamedTuple):
    """A file to import from; `data` is the mapped `stream` as bytes."""

    path: Path
    stream: Any
    data: memoryview

    @property
    def name(self) -> str:
        return self.path.name

    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def sha1(self) -> str:
        """Caffe's model zoo names its files by it."""
        return hashlib.sha1(self.data, usedforsecurity=False).hexdigest()


def open_source(path: str | Path) -> SourceFile:
    """Raises `InputError` unless it is a file of 1 to `MAX_BYTES` bytes."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    if path.exists() and not path.is_file():  # opening a pipe may wait for ever
        raise InputError(f"{path} is a pipe or a device; save its contents as a file first")
    try:
        with open(path, "rb") as file:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise InputError(
                    f"{path} has {size:,} bytes, but AlexNet's weights have at most {MAX_BYTES:,}"
                )
            if size == 0:
                raise InputError(f"{path} is empty; get the file again")
            mapped = _MappedFile(file.fileno(), 0, access=mmap.ACCESS_READ)
            return SourceFile(path, mapped, memoryview(mapped))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}") from None
