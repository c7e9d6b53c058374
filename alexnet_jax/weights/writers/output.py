"""Files for other programs: written under passing names, checked, and only then given their own."""

import contextlib
import glob
import importlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from alexnet_jax.errors import InputError


class Exported(NamedTuple):
    """What was written.

    Attributes:
      path: the file, or the folder of a SavedModel.
      sidecar: JSON beside it that says how to use it.
      bytes: size.
      check: what was compared, and the difference.
      notes: what the user should know besides; empty for nothing.
    """

    path: Path
    sidecar: Path
    bytes: int
    check: str
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Returns a line for the user, and one for each note."""
        line = (
            f"wrote {self.path} ({self.bytes / 1e6:.1f} MB) and {self.sidecar.name}; {self.check}"
        )
        return "\n".join([line, *(f"note: {note}" for note in self.notes)])


def names(output: str | Path, *endings: str) -> tuple[Path, Path]:
    """Returns the path to write and that of its sidecar, `<path>.json`.

    Args:
      output: what the user typed.
      endings: those that it may have; none: a folder, with any name.

    Raises:
      InputError: another ending, one of the two exists, or a file is where a folder should be.
    """
    path = Path(output)
    if endings and path.suffix not in endings:
        raise InputError(f"--output {path} should end in {' or '.join(endings)}")
    sidecar = path.with_name(f"{path.name}.json")
    refuse_existing(path, sidecar)
    if (above := next(folder for folder in path.absolute().parents if folder.exists())).is_file():
        raise InputError(f"cannot write {path}: {above} is a file; choose another --output")
    return path, sidecar


def refuse_existing(*paths: Path) -> None:
    """Raises `InputError` where something has one of the names, be it a link to nowhere."""
    for existing in paths:
        if existing.exists() or existing.is_symlink():
            raise InputError(f"{existing} exists already; remove it or choose another --output")


@contextlib.contextmanager
def fresh(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yields passing names beside `paths`, which get these names when the block ends well.

    After an error nothing is left of any of them, so that no file exists that was not checked.

    Raises:
      InputError: they cannot be written.
    """
    temporary = tuple(path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths)
    _remove(*(left for path in paths for left in _left_by_killed(path)))
    done: list[Path] = []
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        refuse_existing(*paths)  # once more: minutes may have passed
        for old, new in zip(temporary, paths, strict=True):
            os.replace(old, new)
            done.append(new)
    except OSError as error:
        _remove(*done)
        raise InputError(f"cannot write {paths[0]}: {error.strerror or error}") from None
    finally:
        _remove(*temporary)


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Yields a passing name beside `path` for something that is not kept."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    finally:
        _remove(temporary)


def _left_by_killed(path: Path) -> list[Path]:
    """Returns what processes that no longer run have left half written beside `path`."""
    left = []
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        number = temporary.name.split(".")[-2]
        with contextlib.suppress(PermissionError, OverflowError):  # it runs, as another user's
            try:
                os.kill(int(number) if number.isdigit() else os.getpid(), 0)
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


def size_of(path: Path) -> int:
    """Returns the bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a sidecar for people and programs."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def need(package: str, what: str, extra: str = "export") -> ModuleType:
    """Imports a package that only some exports need.

    Args:
      package: its name, to Python and to pip.
      what: what needs it.
      extra: of this project, that installs it with all that goes with it.

    Raises:
      InputError: it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"{what} needs {package} ({error}); type: pip install {package}, "
            f'or pip install -e ".[{extra}]" where this project lies'
        ) from None
