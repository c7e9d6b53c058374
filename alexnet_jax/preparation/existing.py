"""What is done with a set that is prepared already, and what its user is told."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet_jax.config import Appearance, DataConfig
from alexnet_jax.data.prepared import appearance_in
from alexnet_jax.data.versions import Version, unfinished, version_in
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.currency import Comparison, compare
from alexnet_jax.preparation.options import appearance_of, check_same
from alexnet_jax.preparation.progress import say


def compare_newest(version: Version, data: DataConfig, progress: bool) -> Comparison:
    """Compares a version with what is asked for; raises as `compared_source`, or for other options.

    Args:
      version: the newest.
      data: what is asked for.
      progress: print lines for the user when much has to be read.
    """
    check_same(version.folder, version.prepared, data)
    return compared_source(version, data, progress)


def compared_source(
    version: Version, data: DataConfig, progress: bool, work: Path | None = None
) -> Comparison:
    """Compares the source of a version with what it was made of, as `compare` does.

    Args:
      version: the newest.
      data: what is asked for.
      progress: print lines for the user when much has to be read.
      work: as of `compare`.

    Raises:
      InputError, DataError: nothing can be prepared from the source; the message has the way out.
    """
    try:
        return compare(version.folder, version.prepared, data, work, progress)
    except (InputError, DataError) as error:
        raise type(error)(
            f"{error}; to use {version.folder.name} as it was prepared, name it alone (--data.name "
            f"{version.folder.name}), without a source"
        ) from None


def check_no_version(version: Version, data: DataConfig) -> None:
    """Raises `InputError` where new contents are to follow a later version, named by itself."""
    number = version_in(version.prepared)
    if number != version.number:
        name = version.prepared["name"]
        raise InputError(
            f"{data.source} has changed since {data.name} was prepared, and {data.name} is version "
            f"{number} of {name}; give --data.name {name} (of prepare: --name) for the new contents"
            ", or no source, to take it as it is"
        )


def used(version: Version, data: DataConfig, compared: Comparison, progress: bool) -> Path:
    """Returns the folder of the newest version, and says what a user should know of it.

    Args:
      version: the newest.
      data: what is asked for.
      compared: its source, which has not changed.
      progress: print lines for the user; what may be wrong is said in any case.
    """
    if text := compared.told(data, version.folder):
        say(text)
    first = version.folder.with_name(data.name)
    begun = None if data.source else unfinished(first, version.number)
    if begun:
        say(
            f"{version.folder.name} is used; {begun} holds newer contents whose preparation was "
            "interrupted: the same command with their source goes on with it"
        )
    tell_appearance(data, version.prepared, version.folder, progress)
    return version.folder


def version_of_a_run(
    found: Sequence[Version], data: DataConfig, fingerprint: str, progress: bool
) -> Path:
    """Returns the folder of the version that a run began with, and tells of newer contents.

    Where there is none, it is the newest: the run then says that it began with another.

    Args:
      found: all versions, the newest last; at least one.
      data: what is asked for.
      fingerprint: of the set that the run began with.
      progress: print lines for the user; what has changed is said in any case.
    """
    newest = found[-1]
    mine = next((v for v in found[::-1] if v.prepared["fingerprint"] == fingerprint), newest)
    check_same(mine.folder, mine.prepared, data)
    if mine is not newest:
        say(
            f"this run goes on with {mine.folder.name}, with which it began; {newest.folder.name} "
            f"holds newer contents, which a run in a new --workdir takes"
        )
    elif mine.prepared["fingerprint"] == fingerprint:
        goes_on = f"; this run goes on with {mine.folder.name}, with which it began"
        try:
            found_now = compare(mine.folder, mine.prepared, data, progress=progress)
        except (InputError, DataError) as error:
            say(f"{error}{goes_on}")
            found_now = Comparison("current")
        if text := found_now.told(data, mine.folder):
            new = f"{goes_on}; one in a new --workdir takes the new contents"
            say(text + new * (found_now.state == "changed"))
    tell_appearance(data, mine.prepared, mine.folder, progress)
    return mine.folder


def tell_appearance(
    data: DataConfig, prepared: dict[str, Any], folder: Path, progress: bool
) -> None:
    """Says so where the images of a set were read otherwise than they would be now.

    Args:
      data: what is asked for.
      prepared: `prepared.json` of the set.
      folder: of the set.
      progress: print it.
    """
    pairs = zip(Appearance._fields, appearance_in(prepared), appearance_of(data), strict=True)
    different = [(name, have, usual) for name, have, usual in pairs if have != usual]
    if data.source and different:
        have = " and ".join(f"{name} '{have}'" for name, have, _ in different)
        usual = " and ".join(f"'{usual}'" for _, _, usual in different)
        say(
            f"the images of {data.name} were prepared with {have}, and its networks are shown "
            f"photos that way; for {usual} choose another --data.name or remove {folder}",
            progress,
        )
