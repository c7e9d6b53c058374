"""Files that are written completely or not at all, even in a power cut."""

import contextlib
import math
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_STALE_SECONDS = 3600


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8; what that cannot hold (names of files that are none) is escaped."""
    _replace(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))


def write_bytes(path: Path, data: bytes) -> None:
    _replace(path, lambda file: file.write(data))


def write_arrays(path: Path, compressed: bool = False, **arrays: Any) -> None:
    save = np.savez_compressed if compressed else np.savez
    _replace(path, lambda file: save(file, **arrays))


def read_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Returns the arrays of an `.npz` file that `names` has (none: all); no pickle is ever read.

    Raises:
      OSError: the file is missing or cannot be read.
      ValueError: it is damaged.
    """
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                for member in arrays.zip.infolist():
                    _check_size(arrays.zip, member)
                found = {n: arrays[n] for n in arrays.files if not names or n in names}
        except OSError:
            raise
        except Exception as error:  # NumPy and `zipfile` find many words for damage
            text = " ".join(str(error).split())[:100] or type(error).__name__
            raise ValueError(text) from None
    if not all(isinstance(array, np.ndarray) for array in found.values()):
        raise ValueError("it holds something other than arrays")
    return found


def _check_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raises `ValueError` for an array that claims more than its file holds, before it is made."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, _, dtype = read[version[0]](file)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename} is shorter than it says")


def _replace(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Replaces a file: writes, syncs and renames a temporary file next to it; syncs the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for left in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink()
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not every system opens folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
