"""Photos of a source that are copies of each other, before its split is drawn."""

import contextlib
import csv
import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.config import Appearance, DataConfig
from alexnet_jax.data.copies import (
    COLOURS,
    LEAST_SIDE,
    MOST_IMAGES,
    SIDE,
    Copy,
    Thumbnails,
    find_copies,
    groups,
    thumbnail,
)
from alexnet_jax.data.decode import BadImageError, decode_rgb
from alexnet_jax.data.duplicates import COPIES, CopyRow, conflicts_line
from alexnet_jax.errors import DataError
from alexnet_jax.files import write_text
from alexnet_jax.preparation.progress import ProgressLine, say
from alexnet_jax.preparation.sources.layouts import listed
from alexnet_jax.preparation.sources.source import Record, Source, read_encoded
from alexnet_jax.preparation.splitting import hold_out

_PIECE = 4096  # bytes in the middle of a file by which most different ones are told apart
_CHUNK = 256


class Copies(NamedTuple):
    """What was found in a source.

    Attributes:
      searched: `photos`: mirrored, turned and cropped copies, too; `bytes`: equal files only;
        `no`: nothing was looked for.
      records: split and record of every photo, as the source was listed.
      scenes: indices of the records that show one photo, two or more each.
      links: pairs of records that were found to be copies.
    """

    searched: str
    records: list[tuple[str, Record]]
    scenes: list[list[int]]
    links: list[Copy]


def look_for_copies(
    data: DataConfig, source: Source, appearance: Appearance, progress: bool
) -> Copies:
    """Finds the photos of a source that show one scene.

    Photos that cannot be read are nobody's copy here; writing the shards will name them.

    Args:
      data: what is prepared.
      source: its images.
      appearance: how photos are read.
      progress: print lines for the user.
    """
    splits = sorted(source.splits, key=lambda split: (split != "train", split))
    records = [(split, record) for split in splits for record in source.splits[split]]
    if data.copies == "ignore" or data.source_kind not in ("folder", "tfds"):
        return Copies("no", records, [], [])
    photos = [record for _, record in records]
    links = [
        Copy(first, other, 1.0, *["the same file"] * 2) for first, other in _same_files(photos)
    ]
    searched = "photos" if len(photos) <= MOST_IMAGES else "bytes"
    if searched == "photos":
        repeated = {link.second for link in links}
        once = np.array([i for i in range(len(photos)) if i not in repeated], np.int64)
        with contextlib.closing(ProgressLine("look at photos", len(once), progress)) as line:
            pictures = _thumbnails([photos[i] for i in once], appearance, line.show)
        with contextlib.closing(ProgressLine("compare photos", len(once), progress)) as line:
            found = find_copies(pictures, lambda done: line.show(done, 0))
        links += [
            copy._replace(first=int(once[copy.first]), second=int(once[copy.second]))
            for copy in found
        ]
    else:
        say(
            f"{len(photos):,} photos are more than {MOST_IMAGES:,}: of copies only those of the "
            "same bytes are looked for, no mirrored, turned or cropped ones",
            progress,
        )
    scenes = groups(len(photos), [link[:2] for link in links])
    return Copies(searched, records, scenes, links)


def keep_together(data: DataConfig, source: Source, copies: Copies) -> Source:
    """Draws the held-out share anew where copies of one photo lie on both of its sides.

    A split that the source brings along stays as it is.

    Args:
      data: what is prepared.
      source: its images.
      copies: that were found among them.

    Raises:
      DataError: no share can be set aside, as all photos of each class are copies of one.
    """
    if not source.held_out or not copies.scenes:
        return source
    places = [i for i, (split, _) in enumerate(copies.records) if split in ("train", "validation")]
    number = {place: index for index, place in enumerate(places)}
    together = [[number[i] for i in scene if i in number] for scene in copies.scenes]
    records = [copies.records[place][1] for place in places]
    train, validation = hold_out(records, data.validation_fraction, together)
    left = {record.label for record in validation}
    lacking = {record.label for record in source.splits["validation"]} - left
    if lacking and not left:
        raise DataError(
            f"all photos of each class in {data.source} are like one photo, as those of a still "
            "camera, so none can be set aside that is not in training, too; lay others in a folder "
            "of their own (train/CLASS and val/CLASS), or do not look for copies: --copies ignore "
            "(in train: --data.copies ignore)"
        )
    if lacking:
        names = listed(source.class_ids[label] for label in sorted(lacking))
        say(f"set aside   nothing of {names}: all photos of such a class are like one photo")
    return replace(source, splits={**source.splits, "train": train, "validation": validation})


def write_copies(
    folder: Path, source: Source, copies: Copies, bad: Sequence[Mapping[str, str]], progress: bool
) -> dict[str, Any]:
    """Lists the copies in `copies.csv` and says how many there are; returns it as counts.

    Args:
      folder: of the set.
      source: its images, split as they are stored.
      copies: of the source.
      bad: split and key of the images that were left out; equal files are bad together.
      progress: print lines for the user.
    """
    if copies.searched == "no":
        return {"searched": "no"}
    split_of = {
        (record.path, record.offset, record.key): split
        for split, part in source.splits.items()
        for record in part
    }
    by_photo: dict[int, list[Copy]] = defaultdict(list)
    for link in copies.links:
        by_photo[link.first].append(link)
        by_photo[link.second].append(link)
    left_out = {(row["split"], row["key"]) for row in bad}
    shown = [
        scene
        for scene in copies.scenes
        if not left_out
        or not all(
            (split_of[r.path, r.offset, r.key], r.key) in left_out
            for _, r in (copies.records[i] for i in scene)
        )
    ]
    rows = [
        row
        for number, scene in enumerate(shown)
        for row in _rows(copies, scene, number, by_photo, split_of, source.class_ids)
    ]
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(CopyRow._fields)
    table.writerows(rows)
    write_text(folder / COPIES, text.getvalue())
    photos = len(copies.records) - len(bad)
    scenes = photos - sum(len(scene) - 1 for scene in shown)
    counts = {"searched": copies.searched, "photos": photos, "scenes": scenes}
    if scenes < photos:
        kept = "copies of one photo are kept on one side of the split; " * source.held_out
        place = folder / COPIES
        say(f"{photos:,} photos show {scenes:,} scenes; {kept}listed in {place}", progress)
        if line := conflicts_line(rows):
            say(line, progress)
    return counts


def _rows(
    copies: Copies,
    scene: Sequence[int],
    number: int,
    by_photo: Mapping[int, Sequence[Copy]],
    split_of: dict[tuple[str, int, str], str],
    class_ids: Sequence[str],
) -> Iterator[CopyRow]:
    """Yields a row for each photo of a scene: the first, then each with what it is most like."""
    for index in scene:
        best = max(by_photo[index], key=lambda link: (min(link[:2]) < index, link.agreement))
        other, change = best.first, best.change
        if other == index:
            other, change = best.second, best.back
        record = copies.records[index][1]
        first = index == scene[0]
        yield CopyRow(
            number + 1,
            split_of[record.path, record.offset, record.key],
            record.key,
            class_ids[record.label],
            "" if first else copies.records[other][1].key,
            "" if first else change,
            "" if first else f"{best.agreement:.3f}",
        )


def _same_files(records: Sequence[Record]) -> list[tuple[int, int]]:
    """Returns pairs of records with the same bytes: the first such, and another.

    Most are told apart by their size, or by a piece in their middle; only then all is read.
    """
    by_size: dict[Any, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        by_size[record.size].append(index)
    alike = _split_by(by_size.values(), lambda index: _digest(records[index], _PIECE))
    alike = _split_by(alike, lambda index: _digest(records[index], None))
    return sorted((same[0], other) for same in alike for other in same[1:])


def _split_by(parts: Any, value: Callable[[int], bytes | None]) -> list[list[int]]:
    """Splits lists of two or more by a value; None belongs to no list."""
    indices = [index for part in parts if len(part) > 1 for index in part]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        values = dict(zip(indices, pool.map(value, indices), strict=True))
    found = []
    for part in parts:
        by_value: dict[bytes, list[int]] = defaultdict(list)
        for index in part if len(part) > 1 else ():
            answer = values[index]
            if answer is not None:
                by_value[answer].append(index)
        found += [same for same in by_value.values() if len(same) > 1]
    return found


def _digest(record: Record, piece: int | None) -> bytes | None:
    try:
        return hashlib.blake2b(read_encoded(record, piece), digest_size=16).digest()
    except BadImageError:
        return None


def _thumbnails(
    records: Sequence[Record], appearance: Appearance, show: Callable[[int, int], None]
) -> Thumbnails:
    count = len(records)
    found = Thumbnails(
        np.zeros((count, SIDE, SIDE), np.uint8),
        np.zeros((count, COLOURS, COLOURS, 3), np.uint8),
        np.zeros(count, bool),
    )

    def read(index: int) -> bool:
        try:
            image = decode_rgb(read_encoded(records[index]), appearance, least_side=2 * SIDE)
        except BadImageError:
            return False  # stays flat, and so is like no other
        found.grey[index], found.colour[index] = thumbnail(image)
        found.small[index] = min(image.size) < LEAST_SIDE
        return True

    good = 0
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for first in range(0, count, _CHUNK):  # so that Ctrl-C waits for few
            good += sum(pool.map(read, range(first, min(first + _CHUNK, count))))
            show(good, min(first + _CHUNK, count) - good)
    return found
