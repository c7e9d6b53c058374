"""The versions of a prepared set: one for each state of its source.

The first is in `<data_dir>/<name>/`, later ones are next to it in `<name>.2/`, `<name>.3/`, and so
on. None is ever replaced, because runs go on with the version that they began with.
"""

import contextlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from alexnet_jax.data.prepared import PREPARED, WORK, read_prepared

PLAN = "plan.json"
"""In the work folder of a set that is being prepared: what it is made of."""


class Version(NamedTuple):
    """A complete version of a set: its number from 1, its folder, and its `prepared.json`."""

    number: int
    folder: Path
    prepared: dict[str, Any]


def versions(folder: Path) -> list[Version]:
    """Returns the complete versions, the newest last; raises `DataError` if one is damaged."""
    found = []
    for number in _numbers(folder):
        path = folder_of(folder, number)
        prepared = read_prepared(path)
        # Another set may have the name `photos.2`.
        if prepared and number in (1, version_in(prepared)):
            found.append(Version(number, path, prepared))
    return found


def version_in(prepared: dict[str, Any]) -> int:
    return prepared.get("set_version", 1)


def folder_of(folder: Path, number: int) -> Path:
    return folder if number == 1 else folder.with_name(f"{folder.name}.{number}")


def number_of(folder: Path, name: str) -> int:
    """Undoes `folder_of`."""
    return 1 if folder.name == name else int(folder.name.removeprefix(f"{name}."))


def next_number(folder: Path, newest: int) -> int:
    """Returns the number of the version after `newest` (0: none yet); it may have been begun."""
    number = newest + 1
    while number > 1 and not _is_free(folder, number):
        number += 1
    return number


def unfinished(folder: Path, newest: int) -> Path | None:
    """Returns the folder of a version after `newest` that was begun and not finished."""
    path = folder_of(folder, next_number(folder, newest))
    return path if (path / WORK / PLAN).is_file() else None


def _numbers(folder: Path) -> list[int]:
    pattern = re.compile(rf"{re.escape(folder.name)}\.([1-9][0-9]*)")
    paths = folder.parent.iterdir() if folder.parent.is_dir() else ()
    matches = [pattern.fullmatch(path.name) for path in paths]
    return [1, *sorted(number for match in matches if match and (number := int(match[1])) > 1)]


def _is_free(folder: Path, number: int) -> bool:
    """Returns whether the folder is unused, or holds the beginning of this same version."""
    path = folder_of(folder, number)
    if (path / PREPARED).exists() or (path.exists() and not path.is_dir()):
        return False
    plan = path / WORK / PLAN
    if plan.is_file():
        with contextlib.suppress(OSError, ValueError):
            return json.loads(plan.read_text("utf-8")).get("set") == [folder.name, number]
        return False
    return not path.exists() or {entry.name for entry in path.iterdir()} <= {WORK}
