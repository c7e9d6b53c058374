"""What a source holds, before anything is decoded: how many photos of what, and how large."""

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
from alexnet_jax.display import Display
from alexnet_jax.errors import printable
from alexnet_jax.preparation.existing import compare_version
from alexnet_jax.preparation.file_trees.member_bytes import read_member
from alexnet_jax.preparation.set_options import resolve_options
from alexnet_jax.preparation.source_images import SourceImage
from alexnet_jax.preparation.sources import list_images
from alexnet_jax.preparation.sources.listing import Listing
from alexnet_jax.preparation.storage import write_errors

_MAX_HEADERS = 1000  # images whose headers are read
_HEADER_BYTES = 2 * 1024**2  # of a file in an archive; colour profiles and previews come first
_MAX_NAMED_CLASSES = 12
_IMBALANCED = 1.5


class Survey(NamedTuple):
    """How many photos of what a source holds, and how large they are."""

    class_names: tuple[str, ...]
    counts: Mapping[str, Sequence[int]]  # images of each class, by split
    stored: DataConfig | None = None  # how a prepared set is stored; None: it is not prepared
    # of up to a thousand images, pixels, ascending; empty: not known
    shorter_sides: tuple[int, ...] = ()
    unknown_headers: int = 0  # of these images, those whose header is that of no image

    @property
    def train_images(self) -> int:
        return sum(self.counts["train"])

    @property
    def imbalance(self) -> float:
        """Training images of the largest class for one of the smallest."""
        return max(self.counts["train"]) / max(1, min(self.counts["train"]))

    def lines(self) -> list[str]:
        return [printable(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        splits = sorted(self.counts, key=lambda split: (split != "train", split))
        sizes = ", ".join(f"{sum(self.counts[split]):,} {split}" for split in splits)
        lines = [f"photos      {sizes}; {len(self.class_names)} classes: {self._classes()}"]
        if self.imbalance >= _IMBALANCED:
            largest = int(np.argmax(self.counts["train"]))
            counts = self.counts[splits[-1]]
            lines.append(
                f"balance     the largest class has {self.imbalance:.1f} times the photos of the "
                f"smallest; who always says '{self.class_names[largest]}' errs in "
                f"{100 * (1 - counts[largest] / max(1, sum(counts))):.0f} %"
            )
        if self.shorter_sides:
            low, middle, high = np.percentile(self.shorter_sides, [0, 50, 100]).astype(int)
            lines.append(f"sizes       shorter sides {low} to {high} pixels, median {middle}")
        return lines

    def doubts(self) -> list[str]:
        if not self.unknown_headers:
            return []
        unknown, read = self.unknown_headers, self.unknown_headers + len(self.shorter_sides)
        return [f"doubtful    {unknown} of {read} files looked at do not begin like an image"]

    def _classes(self) -> str:
        counts = self.counts["train"]
        if len(counts) <= _MAX_NAMED_CLASSES:
            return ", ".join(f"{n} {c:,}" for n, c in zip(self.class_names, counts, strict=True))
        low, high = int(np.argmin(counts)), int(np.argmax(counts))
        return (
            f"{counts[low]:,} ({self.class_names[low]}) to {counts[high]:,} "
            f"({self.class_names[high]}) each"
        )


def survey(data: DataConfig, likely: DataConfig, data_dir: str | Path) -> Survey | None:
    """`likely` is `data` as it will probably be completed; None: neither source nor set."""
    data_dir = Path(data_dir).expanduser()
    newest = _newest(data, likely, data_dir)
    if not data.source:
        return newest and _of_set(newest, data)
    with write_errors(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(prefix=".survey-", dir=data_dir)
    with work as folder:
        resolved = resolve_options(data)
        if newest is None:
            return _of_listing(list_images(resolved, Path(folder)))
        listing = compare_version(newest, resolved, Display(quiet=True), Path(folder)).listing
        if listing is None:
            return _of_set(newest, data)
        return _of_listing(listing)._replace(stored=_storage(newest, data))


def _newest(data: DataConfig, likely: DataConfig, data_dir: Path) -> Version | None:
    named = [part for part in (data, likely) if part.name or part is likely or not part.source]
    found = (versions(data_dir / resolve_options(part).name) for part in named)
    return next((versions[-1] for versions in found if versions), None)


def _of_set(version: Version, data: DataConfig) -> Survey:
    prepared = version.prepared
    counts = {name: split["per_class"] for name, split in prepared["splits"].items()}
    return Survey(tuple(prepared["class_names"]), counts, _storage(version, data))


def _storage(version: Version, data: DataConfig) -> DataConfig:
    options = version.prepared["options"]
    return dataclasses.replace(data, stored_size=options["stored_size"], store=options["store"])


def _of_listing(listing: Listing) -> Survey:
    counts = {}
    for split, images in listing.splits.items():
        by_label = Counter(image.label for image in images)
        counts[split] = [by_label[label] for label in range(len(listing.class_names))]
    images = [image for images in listing.splits.values() for image in images]
    files = [image for image in images if image.form == "file"]
    sides = [_shorter_side(image) for image in files[:: -(-len(files) // _MAX_HEADERS) or 1]]
    known = tuple(sorted(side for side in sides if side))
    return Survey(listing.class_names, counts, None, known, sides.count(0))


def _shorter_side(image: SourceImage) -> int:
    """By the image's header, pixels; 0: it has none that is known."""
    with contextlib.suppress(OSError, ValueError):
        if image.offset:
            place = image.path, image.offset, image.size, image.packed
            size = header_size(io.BytesIO(read_member(*place, _HEADER_BYTES)))
        else:
            with open(image.path, "rb") as file:
                size = header_size(file)
        return min(size) if size else 0
    return 0
