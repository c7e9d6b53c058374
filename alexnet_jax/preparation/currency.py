"""Compares a prepared set with its source by contents: a touched or repacked file is no change."""

import contextlib
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from alexnet_jax.config import DataConfig
from alexnet_jax.data.versions import Version
from alexnet_jax.display import Count, Display
from alexnet_jax.errors import DataError, printable
from alexnet_jax.locations import readable
from alexnet_jax.preparation.source_files import SourceMissingError, list_files
from alexnet_jax.preparation.source_images import SourceImage, content_digest
from alexnet_jax.preparation.source_record import (
    UNREADABLE,
    RecordedImages,
    has_files,
    load_digest,
    load_record,
    save_record,
    touched,
)
from alexnet_jax.preparation.sources import list_images
from alexnet_jax.preparation.sources.listing import Listing

_MAX_CLASS_LINES = 6


class Comparison(NamedTuple):
    """The state of a source since its set was prepared."""

    # "gone": no source; "unknown": the set has no record of it
    state: Literal["current", "changed", "gone", "unknown"]
    text: str = ""
    listing: Listing | None = None  # of the source, if it has changed

    def message(self, data: DataConfig, folder: Path) -> str:
        source = readable(data.source)
        text = {
            "current": "",
            "changed": f"{source} has changed since {folder.name} was prepared: {self.text}",
            "gone": (
                f"{source} is not there ({self.text}): {folder.name} is used as it was prepared"
            ),
            "unknown": (
                f"{folder.name} is used as it is: it was prepared by an older version of this "
                f"program, and it is unknown whether {source} has changed since; to make sure, "
                f"remove {folder}, or choose another --data.name (of prepare: --name)"
            ),
        }[self.state]
        return printable(text)


def compare_source(
    version: Version, data: DataConfig, display: Display, work: Path | None = None
) -> Comparison:
    """`work` is the folder for files that have to be unpacked; None: a temporary one."""
    if not has_files(data):
        return Comparison("current")
    folder, prepared = version.folder, version.prepared
    try:
        now = list_files(Path(data.source), display=display)
        assert now is not None
        digest = load_digest(folder)
        if digest is None:
            return Comparison("unknown")
        if digest == now.digest:
            return Comparison("current")
        before, images = load_record(folder)
    except SourceMissingError as error:
        return Comparison("gone", str(error))
    except (OSError, KeyError, ValueError):
        return Comparison("unknown")
    class_ids = prepared["class_ids"]
    if images.labels.max(initial=0) >= len(class_ids):  # of another set
        return Comparison("unknown")
    with _scratch(folder, work) as scratch:
        listing = list_images(data, scratch)
        is_touched = touched(Path(data.source), before, now)
        counts = _count_differences(images, class_ids, listing, is_touched, data.name, display)
    lines = [*_image_lines(counts), *_class_lines(prepared, listing)]
    if lines:
        return Comparison("changed", ", ".join(lines), listing)
    with contextlib.suppress(OSError):  # a set that may not be written is only slower to check
        save_record(folder, now, images)
    return Comparison("current")


def quick_state(folder: Path, kind: str, source: str, max_seconds: float) -> str:
    """Returns in words whether a source's files have changed; empty: not known that soon."""
    if not has_files(DataConfig(source_kind=kind, source=source)):
        return ""
    digest, name = load_digest(folder), readable(source)
    if digest is None:
        return f"it is unknown whether {name} has changed since: an older version prepared it"
    try:
        now = list_files(Path(source), max_seconds)
    except SourceMissingError as error:
        return f"its source {name} is not there ({error})"
    except DataError as error:
        return str(error)
    if now is None or not digest:
        return ""
    same = now.digest == digest
    return f"{name} is " + ("as it was" if same else "changed; `prepare` or `train` compares it")


@contextlib.contextmanager
def _scratch(folder: Path, work: Path | None) -> Iterator[Path]:
    """Yields a folder for unpacked files: next to the set, where there is room for it."""
    if work is not None:
        yield work
        return
    parent = folder.parent if os.access(folder.parent, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=".compare-", dir=parent) as scratch:
        yield Path(scratch)


def _class_lines(prepared: dict[str, Any], listing: Listing) -> list[str]:
    old, new = dict.fromkeys(prepared["class_ids"]), dict.fromkeys(listing.class_ids)
    lines = [f"new class {name}" for name in new if name not in old]
    lines += [f"class {name} removed" for name in old if name not in new]
    if len(lines) > _MAX_CLASS_LINES:
        shown = _MAX_CLASS_LINES - 1
        lines = [*lines[:shown], f"{len(lines) - shown} classes more"]
    renamed = tuple(prepared["class_names"]) != listing.class_names or list(old) != list(new)
    return lines or ["other names of classes"] * renamed


def _image_lines(counts: Counter[str]) -> list[str]:
    lines = [f"{counts[what]:,} {what}" for what in ("added", "removed", "changed") if counts[what]]
    # With other images another share is set aside for validation, which is no news.
    if counts["moved"] and not lines:
        return [f"{counts['moved']:,} in another split"]
    return lines


def _count_differences(
    images: RecordedImages,
    class_ids: list[str],
    listing: Listing,
    is_touched: Callable[[SourceImage], bool],
    name: str,
    display: Display,
) -> Counter[str]:
    counts: Counter[str] = Counter()
    unmatched = defaultdict(list)  # the same name may be in several splits
    for index, key in enumerate(images.keys):
        unmatched[key].append(index)
    doubtful: list[tuple[SourceImage, int]] = []
    for split, listed in listing.splits.items():
        for image in listed:
            indices = unmatched[image.key]
            if not indices:
                counts["added"] += 1
                continue
            same_split = (i for i, index in enumerate(indices) if images.splits[index] == split)
            index = indices.pop(next(same_split, 0))
            counts["moved"] += images.splits[index] != split
            other_class = class_ids[int(images.labels[index])] != listing.class_ids[image.label]
            if other_class or images.sizes[index] != image.size:
                counts["changed"] += 1
            elif is_touched(image) or images.contents[index] == UNREADABLE:
                doubtful.append((image, index))
    counts["removed"] = sum(map(len, unmatched.values()))
    with contextlib.closing(Count(display, f"compare with {name}", len(doubtful))) as line:
        for done, (image, index) in enumerate(doubtful, 1):
            counts["changed"] += bool(content_digest(image) != images.contents[index])
            line.show(done, 0)
    return counts
