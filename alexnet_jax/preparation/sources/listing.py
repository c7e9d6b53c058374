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
from alexnet_jax.preparation.images import SourceImage
from alexnet_jax.preparation.splitting import hold_out


@dataclass(frozen=True)
class Listing:
    """All images of a source.

    Attributes:
      class_names: readable names in the order of the labels, each once.
      class_ids: folder names or WordNet ids in the same order.
      splits: images by split name (`train`, `validation`, `test`), in the source's order.
      left_out: why entries of the source were not taken for images, and how many.
      understood: how the source was read, one line for each decision.
      held_out: the source has no validation split; a share of `train` was set aside for it.
    """

    class_names: tuple[str, ...]
    class_ids: tuple[str, ...]
    splits: dict[str, list[SourceImage]]
    left_out: Mapping[str, int] = field(default_factory=dict)
    understood: tuple[str, ...] = ()
    held_out: bool = False

    def summary(self) -> list[str]:
        """Returns lines for the user: how the source was understood, and what was left out."""
        lines = [f"understood  {line}" for line in self.understood]
        lines += [f"left out    {count:,} {why}" for why, count in self.left_out.items()]
        return [printable(line) for line in lines]


@dataclass(frozen=True)
class SourceKind:
    """A kind of source that `prepare` reads.

    To add one: a line in `source_kinds.py`, and a module of that name in this package which
    defines `SOURCE`.

    Attributes:
      list_images: lists the images of `data.source`; its second argument is a folder for files
        that have to be unpacked.
      how_to_get: what the user must fetch, for the message where a set is missing.
      location: what `data.source` is: `none`; the `path` of files, which may change later; or the
        `name` (or absolute folder) of a catalogue's set, which never changes.
      defaults: fields of `DataConfig` that have another default for this kind.
      fixed: fields of `DataConfig` that cannot be chosen.
      options: fields of `DataConfig` that decide what a set holds, beside those of every kind.
      appearance: how image files are read unless the user chooses.
      set_name: name of a set that has none; its second argument says how the storage differs from
        the defaults. None: made from the name of the source.
    """

    list_images: Callable[[DataConfig, Path], Listing]
    how_to_get: str
    location: Literal["none", "path", "name"] = "path"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    appearance: Appearance = AS_VIEWED
    set_name: Callable[[DataConfig, str], str] | None = None


SMALL_IMAGES = {"stored_size": 32, "store": "raw", "validation_split": "test"}
"""Defaults of the published sets of small images, which have a test split."""


def with_validation(
    data: DataConfig, splits: dict[str, list[SourceImage]]
) -> tuple[dict[str, list[SourceImage]], bool]:
    """Sets a share of every class aside where there is only a training split; returns whether."""
    if list(splits) != ["train"] or data.validation_fraction == 0:
        return splits, False
    train, validation = hold_out(splits["train"], data.validation_fraction)
    return {"train": train, "validation": validation}, True


def slug(source: str) -> str:
    """Returns the last part of a source's name as it may stand in the name of a set."""
    base = re.sub(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", "", Path(source).name)
    return re.sub(r"[^A-Za-z0-9]+", "-", base).strip("-").lower() or "images"


def unique_names(names: list[str], ids: list[str]) -> tuple[str, ...]:
    """Returns `names` with the id added where two classes share a name (there are two cranes)."""
    counts = Counter(names)
    return tuple(
        name if name and counts[name] == 1 else f"{name} ({id_})".strip()
        for name, id_ in zip(names, ids, strict=True)
    )
