"""The versions of a prepared set: what its source held at one time and at another.

The first lies in `<data_dir>/<name>/`, later ones beside it in `<name>.2/`, `<name>.3/`, and so on.
None is ever replaced, as runs go on with the version that they began with.
"""

import contextlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from alexnet_jax.data.prepared import PREPARED, WORK, read_prepared

PLAN = "plan.json"
"""In the work folder of a set that is being prepared: of what."""


class Version(NamedTuple):
    """A complete version of a set: its number from 1, its folder, and its `prepared.json`."""

    number: int
    folder: Path
    prepared: dict[str, Any]


def versions(folder: Path) -> list[Version]:
    """Returns the complete versions of a set, the newest last.

    Args:
      folder: of the first, `<data_dir>/<name>`; it need not exist.

    Raises:
      DataError: the description of one is damaged.
    """
    found = []
    for number in _numbers(folder):
        place = folder_of(folder, number)
        prepared = read_prepared(place)
        # Somebody may have named another set `photos.2`.
        if prepared and number in (1, version_in(prepared)):
            found.append(Version(number, place, prepared))
    return found


def version_in(prepared: dict[str, Any]) -> int:
    """Returns which version of its set a `prepared.json` describes."""
    return prepared.get("set_version", 1)


def folder_of(folder: Path, number: int) -> Path:
    """Returns where the version `number` of the set lies whose first is in `folder`."""
    return folder if number == 1 else folder.with_name(f"{folder.name}.{number}")


def number_of(folder: Path, name: str) -> int:
    """Returns the number of the version of the set `name` in `folder`; undoes `folder_of`."""
    return 1 if folder.name == name else int(folder.name.removeprefix(f"{name}."))


def next_number(folder: Path, newest: int) -> int:
    """Returns the number of the version after `newest`, which may have been begun; 0: none yet."""
    number = newest + 1
    while number > 1 and not _is_free(folder, number):
        number += 1
    return number


def unfinished(folder: Path, newest: int) -> Path | None:
    """Returns the folder of a version after `newest` that was begun and not finished."""
    place = folder_of(folder, next_number(folder, newest))
    return place if (place / WORK / PLAN).is_file() else None


def _numbers(folder: Path) -> list[int]:
    pattern = re.compile(rf"{re.escape(folder.name)}\.([1-9][0-9]*)")
    places = folder.parent.iterdir() if folder.parent.is_dir() else ()
    matches = [pattern.fullmatch(place.name) for place in places]
    return [1, *sorted(number for match in matches if match and (number := int(match[1])) > 1)]


def _is_free(folder: Path, number: int) -> bool:
    """Returns whether nothing is there, or what was begun of this very version."""
    place = folder_of(folder, number)
    if (place / PREPARED).exists() or (place.exists() and not place.is_dir()):
        return False
    plan = place / WORK / PLAN
    if plan.is_file():
        with contextlib.suppress(OSError, ValueError):
            return json.loads(plan.read_text("utf-8")).get("set") == [folder.name, number]
        return False
    return not place.exists() or {path.name for path in place.iterdir()} <= {WORK}
