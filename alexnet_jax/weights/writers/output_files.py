"""Files for other programs: written under temporary names, checked, and only then named."""

import contextlib
import glob
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.errors import InputError
from alexnet_jax.weights import Writer


class Exported(NamedTuple):
    """What was written; `path` is the file, or the folder of a SavedModel."""

    path: Path
    sidecar: Path
    bytes: int
    check: str
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        line = (
            f"wrote {self.path} ({self.bytes / 1e6:.1f} MB) and {self.sidecar.name}; {self.check}"
        )
        return "\n".join([line, *(f"note: {note}" for note in self.notes)])


def output_paths(output: str | Path, writer: Writer) -> tuple[Path, Path]:
    path = Path(output)
    if writer.endings and path.suffix not in writer.endings:
        raise InputError(f"--output {path} should end in {' or '.join(writer.endings)}")
    sidecar = path.with_name(f"{path.name}.json")
    if writer.sidecar_ending:
        sidecar = path.with_suffix(writer.sidecar_ending)
    _refuse_existing(path, sidecar)
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if parent.is_file():
        raise InputError(f"cannot write {path}: {parent} is a file; choose another --output")
    return path, sidecar


@contextlib.contextmanager
def named_when_done(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yields temporary paths; after an error nothing is left, so no file is unchecked."""
    temporary = tuple(path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths)
    for path in paths:
        _remove(*_leftovers(path))
    done: list[Path] = []
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _refuse_existing(*paths)  # once more: minutes may have passed
        for old, new in zip(temporary, paths, strict=True):
            os.replace(old, new)
            done.append(new)
    except OSError as error:
        _remove(*done)
        raise InputError(f"cannot write {paths[0]}: {error.strerror or error}") from None
    finally:
        _remove(*temporary)


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    folder = path.with_name(f"{path.name}.scratch")
    try:
        yield folder
    finally:
        _remove(folder)


def _refuse_existing(*paths: Path) -> None:
    for existing in paths:
        if existing.exists() or existing.is_symlink():  # a link to nowhere, too
            raise InputError(f"{existing} exists already; remove it or choose another --output")


def _leftovers(path: Path) -> list[Path]:
    left = []
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp*"):
        number = re.search(r"\.([0-9]+)\.tmp", temporary.name)
        with contextlib.suppress(PermissionError, OverflowError):  # it runs, as another user's
            try:
                os.kill(int(number[1]) if number else os.getpid(), 0)
            except ProcessLookupError:
                left.append(temporary)
    return left


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def size_in_bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
