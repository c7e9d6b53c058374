"""The files of a source by name, size and time, which show whether it may have changed."""

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from alexnet_jax.data.prepared import pack_strings, unpack_strings
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.photo_folders.label_tables import tables_above

_CLOCK_TICK_SECONDS = 3  # FAT counts time in steps of two
_CLOCK_SKEW_SECONDS = 600  # between this machine and one that keeps the files
_SLOW_SECONDS = 2
_UNCERTAIN = -1


class SourceMissingError(Exception):
    """The source as a whole is missing, unplugged or unreachable; the text says why."""


@dataclass(frozen=True)
class SourceFiles:
    """Files below a source, sorted by name."""

    # relative to the source; one empty name if it is a file; a table above has `../`
    names: list[str]
    sizes: np.ndarray  # int64 [n], bytes
    # int64 [n], last changes, ns; -1: so recent that a later one may get the same time
    times: np.ndarray

    @property
    def certain(self) -> bool:
        """Whether a later change of any file shows in its size or time."""
        return not (self.times == _UNCERTAIN).any()

    @property
    def digest(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for part in (pack_strings(self.names), self.sizes, self.times):
            digest.update(part.tobytes())
        return digest.hexdigest()

    @cached_property
    def known(self) -> dict[str, tuple[int, int]]:
        """(size, time) by name, of the files whose times are certain."""
        triples = zip(self.names, self.sizes.tolist(), self.times.tolist(), strict=True)
        return {name: (size, ns) for name, size, ns in triples if ns != _UNCERTAIN}

    def arrays(self) -> dict[str, np.ndarray]:
        names = pack_strings(self.names)
        return {"file_names": names, "file_sizes": self.sizes, "file_times": self.times}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "SourceFiles":
        names = unpack_strings(arrays["file_names"])
        sizes, times = arrays["file_sizes"], arrays["file_times"]
        if not len(names) == len(sizes) == len(times):
            raise ValueError("it does not have as many names as sizes and times")
        return cls(names, sizes, times)


def list_files(
    root: Path, max_seconds: float | None = None, display: Display | None = None
) -> SourceFiles | None:
    """Lists the files of a source, and tables above it; None after `max_seconds`.

    Raises:
      SourceMissingError: there is nothing, or an empty folder, as where a disk is not mounted.
      DataError: a folder inside cannot be read.
    """
    begin, rows, printed = time.time_ns(), [], False
    for row in _files(root):
        rows.append(row)
        if len(rows) % 1024:
            continue
        seconds = (time.time_ns() - begin) / 1e9
        if max_seconds is not None and seconds > max_seconds:
            return None
        if display is not None and seconds > _SLOW_SECONDS and not printed:
            display.warn(f"looking at the files of {readable(root)}: {len(rows):,} so far")
            printed = True
    if not rows:
        raise SourceMissingError("empty")
    for table in tables_above(root):
        with contextlib.suppress(OSError):
            rows.append((table.parts[0], table.size, os.stat(table.path).st_mtime_ns))
    rows.sort()
    sizes = np.array([size for _, size, _ in rows], np.int64)
    times = np.array([ns for _, _, ns in rows], np.int64)
    first, last = begin - _CLOCK_TICK_SECONDS * 10**9, begin + _CLOCK_SKEW_SECONDS * 10**9
    times[(times > first) & (times < last)] = _UNCERTAIN
    return SourceFiles([name for name, _, _ in rows], sizes, times)


def relative_name(root: Path, path: str) -> str:
    return _text(os.path.relpath(path, root)) if path != os.fspath(root) else ""


def _files(root: Path) -> Iterator[tuple[str, int, int]]:
    """Yields name, size in bytes and time in ns of each file below `root`, in no order."""
    try:
        status = os.stat(root)
        if not stat.S_ISDIR(status.st_mode):
            yield "", status.st_size, status.st_mtime_ns
            return
        os.scandir(root).close()
    except OSError as error:
        raise SourceMissingError(error.strerror or str(error)) from None
    seen = {(status.st_dev, status.st_ino)}  # folders that links lead to: each once, no circles
    folders = [("", os.fspath(root))]
    while folders:
        prefix, folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name[0] == ".":
                        continue
                    name = f"{prefix}{_text(entry.name)}"
                    if not _is_folder(entry):
                        status = _status(entry)
                        if status:
                            yield name, status.st_size, status.st_mtime_ns
                    elif not entry.is_symlink() or _is_new(entry, seen):
                        folders.append((f"{name}/", entry.path))
        except FileNotFoundError:  # it was removed after its name was read
            continue
        except OSError as error:
            raise DataError(
                f"cannot read {readable(error.filename or folder)}: {error.strerror}; make it "
                "readable"
            ) from None


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, or into a folder that may not be read
        return False


def _status(entry: os.DirEntry) -> os.stat_result | None:
    """Follows links, except one that leads nowhere; None: it was just removed."""
    for follow in (True, False):
        try:
            return entry.stat(follow_symlinks=follow)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EACCES):
                raise
    return None


def _is_new(entry: os.DirEntry, seen: set[tuple[int, int]]) -> bool:
    status = _status(entry)
    identity = (status.st_dev, status.st_ino) if status else None
    if identity is None or identity in seen:
        return False
    seen.add(identity)
    return True


def _text(name: str) -> str:
    return name if name.isascii() else readable(name)
