"""What is done with a set that is prepared already, and which lines are printed."""

from collections.abc import Sequence
from pathlib import Path

from alexnet_jax.appearance import Appearance
from alexnet_jax.config import DataConfig
from alexnet_jax.data.prepared import appearance_in
from alexnet_jax.data.versions import Version, unfinished, version_in
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.currency import Comparison, compare_source
from alexnet_jax.preparation.set_options import appearance_of, check_same


def compare_version(
    version: Version, data: DataConfig, display: Display, work: Path | None = None
) -> Comparison:
    try:
        return compare_source(version, data, display, work)
    except (InputError, DataError) as error:
        raise type(error)(
            f"{error}; to use {version.folder.name} as it was prepared, name it alone (--data.name "
            f"{version.folder.name}), without a source"
        ) from None


def check_newest(version: Version, data: DataConfig) -> None:
    number = version_in(version.prepared)
    if number != version.number:
        name = version.prepared["name"]
        raise InputError(
            f"{data.source} has changed since {data.name} was prepared, and {data.name} is version "
            f"{number} of {name}; give --data.name {name} (of prepare: --name) for the new contents"
            ", or no source, to take it as it is"
        )


def use_version(version: Version, data: DataConfig, compared: Comparison, display: Display) -> Path:
    if text := compared.message(data, version.folder):
        display.warn(text)
    first = version.folder.with_name(data.name)
    begun = None if data.source else unfinished(first, version.number)
    if begun:
        display.warn(
            f"{version.folder.name} is used; {begun} holds newer contents, but their preparation "
            "was interrupted; the same command with their source continues it"
        )
    _print_appearance(version, data, display)
    return version.folder


def version_of_run(
    found: Sequence[Version], data: DataConfig, fingerprint: str, display: Display
) -> Path:
    """Returns the version that a run began with; if it is gone, the newest."""
    newest = found[-1]
    own = next((v for v in found[::-1] if v.prepared["fingerprint"] == fingerprint), newest)
    check_same(own, data)
    if own is not newest:
        display.warn(
            f"this run continues with {own.folder.name}, with which it began; {newest.folder.name} "
            "holds newer contents, which a run in a new --workdir uses"
        )
    elif own.prepared["fingerprint"] == fingerprint:
        goes_on = f"; this run continues with {own.folder.name}, with which it began"
        try:
            compared = compare_source(own, data, display)
        except (InputError, DataError) as error:
            display.warn(f"{error}{goes_on}")
            compared = Comparison("current")
        if text := compared.message(data, own.folder):
            new = f"{goes_on}; one in a new --workdir takes the new contents"
            display.warn(text + new * (compared.state == "changed"))
    _print_appearance(own, data, display)
    return own.folder


def _print_appearance(version: Version, data: DataConfig, display: Display) -> None:
    pairs = zip(
        Appearance._fields, appearance_in(version.prepared), appearance_of(data), strict=True
    )
    different = [(name, have, usual) for name, have, usual in pairs if have != usual]
    if data.source and different:
        have = " and ".join(f"{name} '{have}'" for name, have, _ in different)
        usual = " and ".join(f"'{usual}'" for _, _, usual in different)
        display.say(
            f"the images of {data.name} were prepared with {have}, and its networks are shown "
            f"photos that way; for {usual} choose another --data.name or remove {version.folder}",
        )
