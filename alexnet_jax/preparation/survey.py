"""A look at a source before anything is decoded: how many photos of what, and how large."""

import contextlib
import dataclasses
import io
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.data.decode import header_size
from alexnet_jax.data.versions import Version, versions
from alexnet_jax.errors import printable
from alexnet_jax.preparation.existing import compared_source
from alexnet_jax.preparation.options import resolve
from alexnet_jax.preparation.sources import list_images
from alexnet_jax.preparation.sources.places import read_place
from alexnet_jax.preparation.sources.source import Record
from alexnet_jax.preparation.storage import write_errors

_HEADERS = 1000
_HEADER = 2 * 1024**2  # bytes of a file in a tar; colour profiles and previews come first
_NAMED = 12


class Survey(NamedTuple):
    """What a source holds.

    Attributes:
      class_names: in the order of the labels.
      counts: images of each class, by split.
      stored: how a set that is prepared already lies on disk, as its next version will; None: it
        is still to be prepared.
      shorter_sides: of up to a thousand images as they come, pixels, ascending; empty: not known.
      strange: of as many, those whose header is that of no image.
    """

    class_names: tuple[str, ...]
    counts: Mapping[str, Sequence[int]]
    stored: DataConfig | None = None
    shorter_sides: tuple[int, ...] = ()
    strange: int = 0

    @property
    def train_images(self) -> int:
        """Number of training images."""
        return sum(self.counts["train"])

    @property
    def imbalance(self) -> float:
        """Images of the largest class for one of the smallest, in training."""
        return max(self.counts["train"]) / max(1, min(self.counts["train"]))

    def lines(self) -> list[str]:
        """Returns what a person wants to know before training, as a terminal can show it."""
        return [printable(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        sizes = ", ".join(f"{sum(self.counts[split]):,} {split}" for split in self._splits())
        lines = [f"photos      {sizes}; {len(self.class_names)} classes: {self._classes()}"]
        if self.imbalance >= 1.5:
            most = int(np.argmax(self.counts["train"]))
            counts = self.counts[self._splits()[-1]]
            lines.append(
                f"balance     the largest class has {self.imbalance:.1f} times the photos of the "
                f"smallest; who always says '{self.class_names[most]}' errs in "
                f"{100 * (1 - counts[most] / max(1, sum(counts))):.0f} %"
            )
        if self.shorter_sides:
            low, middle, high = np.percentile(self.shorter_sides, [0, 50, 100]).astype(int)
            lines.append(f"sizes       shorter sides {low} to {high} pixels, median {middle}")
        return lines

    def doubts(self) -> list[str]:
        """Returns what may be wrong."""
        if not self.strange:
            return []
        looked = self.strange + len(self.shorter_sides)
        return [f"doubtful    {self.strange} of {looked} files looked at begin as no known image"]

    def _splits(self) -> list[str]:
        """Returns the names of the splits, that of the training first."""
        return sorted(self.counts, key=lambda split: (split != "train", split))

    def _classes(self) -> str:
        counts = self.counts["train"]
        if len(counts) <= _NAMED:
            return ", ".join(f"{n} {c:,}" for n, c in zip(self.class_names, counts, strict=True))
        low, high = int(np.argmin(counts)), int(np.argmax(counts))
        return (
            f"{counts[low]:,} ({self.class_names[low]}) to {counts[high]:,} "
            f"({self.class_names[high]}) each"
        )


def survey(data: DataConfig, likely: DataConfig, data_dir: str | Path) -> Survey | None:
    """Looks at a set that was prepared, or else at its source; None: there is neither.

    Where the source has changed since, it is the source that counts.

    Args:
      data: the set as it was asked for.
      likely: as it will be, unless there are many photos; a set may have been prepared so.
      data_dir: folder of the prepared sets; a compressed source is unpacked there for the while.

    Raises:
      InputError, DataError: as `prepare`, of the same source.
    """
    data_dir = Path(data_dir).expanduser()
    newest = _newest(data, likely, data_dir)
    if not data.source:
        return newest and _of_set(newest, data)
    with write_errors(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(prefix=".survey-", dir=data_dir)
    with work as folder:
        source = None
        if newest:
            compared = compared_source(newest, resolve(data), False, Path(folder))
            source = compared.source
            if source is None:
                return _of_set(newest, data)
        source = source or list_images(resolve(data), Path(folder))
        counts = {split: _per_class(records, len(source.class_names))
                  for split, records in source.splits.items()}  # fmt: skip
        records = [record for records in source.splits.values() for record in records]
        files = [record for record in records if record.form == "file"]
        sides = [_shorter_side(record) for record in files[:: -(-len(files) // _HEADERS) or 1]]
    known = sorted(side for side in sides if side)
    stored = _stored(newest, data) if newest else None
    return Survey(source.class_names, counts, stored, tuple(known), sides.count(0))


def _newest(data: DataConfig, likely: DataConfig, data_dir: Path) -> Version | None:
    """Returns the newest version of the set that is asked for, or of that which is likely."""
    named = [part for part in (data, likely) if part.name or part is likely or not part.source]
    found = (versions(data_dir / resolve(part).name) for part in named)
    return next((versions[-1] for versions in found if versions), None)


def _of_set(version: Version, data: DataConfig) -> Survey:
    prepared = version.prepared
    counts = {name: split["per_class"] for name, split in prepared["splits"].items()}
    return Survey(tuple(prepared["class_names"]), counts, _stored(version, data))


def _stored(version: Version, data: DataConfig) -> DataConfig:
    options = version.prepared["options"]
    return dataclasses.replace(data, stored_size=options["stored_size"], store=options["store"])


def _per_class(records: Sequence[Record], classes: int) -> list[int]:
    counts = Counter(record.label for record in records)
    return [counts[label] for label in range(classes)]


def _shorter_side(record: Record) -> int:
    """Returns the shorter side by the image's header; 0: it is none that is known."""
    with contextlib.suppress(OSError, ValueError):
        if record.offset:
            place = record.path, record.offset, record.size, record.packed
            size = header_size(io.BytesIO(read_place(*place, most=_HEADER)))
        else:
            with open(record.path, "rb") as file:
                size = header_size(file)
        return min(size) if size else 0
    return 0
