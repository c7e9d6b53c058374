"""A look at a source before anything is decoded: how many photos of what, and how large."""

import io
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.data.prepared import read_prepared
from alexnet_jax.preparation.options import resolve
from alexnet_jax.preparation.sources import list_images
from alexnet_jax.preparation.sources.source import Record

_HEADERS = 1000
_HEADER_BYTES = 64 * 1024
_NAMED = 12


class Survey(NamedTuple):
    """What a source holds.

    Attributes:
      class_names: in the order of the labels.
      counts: images of each class, by split.
      stored_size: of a set that is prepared already, pixels; 0: it is still to be prepared.
      shorter_sides: of up to a thousand images as they come, pixels, ascending; empty: not known.
      strange: of as many, those whose header is that of no image.
    """

    class_names: tuple[str, ...]
    counts: Mapping[str, Sequence[int]]
    stored_size: int = 0
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
        """Returns what a person wants to know before training."""
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
        if self.strange:
            lines.append(
                f"doubtful    {self.strange} of {self.strange + len(self.shorter_sides)} files "
                "looked at begin as no image"
            )
        return lines

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


def survey(data: DataConfig, data_dir: str | Path) -> Survey | None:
    """Looks at the source of a data set, or at the set that was prepared; None: there is neither.

    Args:
      data: the set.
      data_dir: folder of the prepared sets.

    Raises:
      InputError, DataError: as `prepare`, of the same source.
    """
    if not data.source:
        folder = Path(data_dir).expanduser() / resolve(data).name
        prepared = read_prepared(folder)
        if prepared is None:
            return None
        counts = {name: split["per_class"] for name, split in prepared["splits"].items()}
        names, options = tuple(prepared["class_names"]), prepared["options"]
        return Survey(names, counts, options["stored_size"])
    with tempfile.TemporaryDirectory() as work:
        source = list_images(resolve(data), Path(work))
        counts = {split: _per_class(records, len(source.class_names))
                  for split, records in source.splits.items()}  # fmt: skip
        records = [record for records in source.splits.values() for record in records]
        sides = [_shorter_side(record) for record in records[:: -(-len(records) // _HEADERS)]]
    known = sorted(side for side in sides if side)
    return Survey(source.class_names, counts, 0, tuple(known), sides.count(0))


def _per_class(records: Sequence[Record], classes: int) -> list[int]:
    counts = Counter(record.label for record in records)
    return [counts[label] for label in range(classes)]


def _shorter_side(record: Record) -> int:
    """Returns the shorter side by the image's header; 0: it is none that is known."""
    from PIL import Image

    try:
        with open(record.path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file.seek(record.offset)
            head: Any = file
            if record.offset:
                head = io.BytesIO(file.read(min(record.size, _HEADER_BYTES)))
            with Image.open(head) as image:
                return min(image.size)
    except Exception:  # Pillow's plug-ins raise anything on hostile headers
        return 0
