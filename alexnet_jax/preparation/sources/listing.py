"""What a kind of source gives to `prepare`: its properties, and the list of its images."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from alexnet_jax.appearance import AS_VIEWED, Appearance
from alexnet_jax.config import DataConfig
from alexnet_jax.errors import printable
from alexnet_jax.preparation.source_images import SourceImage
from alexnet_jax.preparation.splitting import hold_out


@dataclass(frozen=True)
class Listing:
    """All images of a source, in its order."""

    class_names: tuple[str, ...]  # readable, in the order of the labels, each once
    class_ids: tuple[str, ...]  # folder names or WordNet ids in the same order
    splits: dict[str, list[SourceImage]]  # by `train`, `validation`, `test`
    # number of entries by why they were not taken for images
    left_out: Mapping[str, int] = field(default_factory=dict)
    understood: tuple[str, ...] = ()  # how the source was read, one line for each decision
    held_out: bool = False  # a share of `train` became the validation split

    def summary(self) -> list[str]:
        lines = [f"understood  {line}" for line in self.understood]
        lines += [f"left out    {count:,} {why}" for why, count in self.left_out.items()]
        return [printable(line) for line in lines]


@dataclass(frozen=True)
class SourceKind:
    """A kind of source. To add one: a line in `source_kinds.py`, and a module with `SOURCE`."""

    # its second argument is a folder for files that have to be unpacked
    list_images: Callable[[DataConfig, Path], Listing]
    how_to_get: str  # what the user must fetch, for the message where a set is missing
    # a "path" of files may change later; a catalogue's "name" never does
    location: Literal["none", "path", "name"] = "path"
    # fields of `DataConfig` with another default for this kind
    defaults: Mapping[str, Any] = field(default_factory=dict)
    # fields of `DataConfig` that cannot be chosen
    fixed: Mapping[str, Any] = field(default_factory=dict)
    # fields of `DataConfig` that decide what a set holds, in addition to those of every kind
    options: tuple[str, ...] = ()
    appearance: Appearance = AS_VIEWED  # how image files are read unless the user chooses
    # of a set without a name and how its storage differs; None: from the source's name
    set_name: Callable[[DataConfig, str], str] | None = None


SMALL_IMAGES = {"stored_size": 32, "store": "raw", "validation_split": "test"}
"""Defaults of the published sets of small images, which have a test split."""


def with_validation(
    data: DataConfig, splits: dict[str, list[SourceImage]]
) -> tuple[dict[str, list[SourceImage]], bool]:
    """Sets a share of every class aside if there is only a training split; returns whether."""
    if list(splits) != ["train"] or data.validation_fraction == 0:
        return splits, False
    train, validation = hold_out(splits["train"], data.validation_fraction)
    return {"train": train, "validation": validation}, True


def slug(source: str) -> str:
    base = re.sub(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", "", Path(source).name)
    return re.sub(r"[^A-Za-z0-9]+", "-", base).strip("-").lower() or "images"


def unique_names(names: list[str], ids: list[str]) -> tuple[str, ...]:
    """Adds the id if two classes share a name (there are two cranes)."""
    counts = Counter(names)
    return tuple(
        name if name and counts[name] == 1 else f"{name} ({id_})".strip()
        for name, id_ in zip(names, ids, strict=True)
    )
