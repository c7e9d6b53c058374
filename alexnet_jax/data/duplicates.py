"""Images that are in two splits, which makes the test easier, or in two classes."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.data.copies import MAX_IMAGES, MIN_SIDE, Thumbnails, find_copies, thumbnail
from alexnet_jax.data.dataset import Split

COPIES = "copies.csv"
"""In the folder of a prepared set: the photos of its source that show one scene."""
_CHUNK = 256


class DuplicatePair(NamedTuple):
    """A test image, the most similar training image, and the correlation of their detail."""

    test: str
    training: str
    agreement: float


class CopyRow(NamedTuple):
    """A row of `copies.csv`; photos with the same number of a scene show the same."""

    scene: int
    split: str
    photo: str
    class_id: str
    like: str  # the photo by which it was found; empty: the first of a scene
    change: str  # what turns `like` into this photo, or this photo into `like`
    agreement: str  # correlation of their detail


def read_copies(folder: Path) -> list[CopyRow] | None:
    """Reads the `copies.csv` of a prepared set; None: it has none that can be read."""
    try:
        rows = list(csv.reader(io.StringIO((folder / COPIES).read_text("utf-8"))))[1:]
        return [CopyRow(int(row[0]), *row[1:]) for row in rows]
    except (OSError, ValueError, TypeError, IndexError):
        return None


def across_splits(rows: Sequence[CopyRow], train: str, test: str) -> list[DuplicatePair]:
    """Returns the photos of split `test` whose scene is in `train`, too; none if they are one."""
    pairs = []
    for scene in _by_scene(rows).values() if test != train else ():
        known = [row for row in scene if row.split == train]
        for row in scene:
            if not known or row.split != test:
                continue
            direct = [o for o in known if row.photo == o.like or o.photo == row.like]
            other = (direct or known)[0]
            agreement = row.agreement if other.photo == row.like else other.agreement
            agreement = float(agreement or row.agreement or 1)
            pairs.append(DuplicatePair(row.photo, other.photo, agreement))
    return pairs


def conflicts_line(rows: Sequence[CopyRow]) -> str:
    """Returns how many photos are in two classes, with an example; empty: none are."""
    scenes = _by_scene(rows).values()
    mixed = [scene for scene in scenes if len({row.class_id for row in scene}) > 1]
    if not mixed:
        return ""
    first = mixed[0][0]
    other = next(row for row in mixed[0] if row.class_id != first.class_id)
    number = "1 photo is" if len(mixed) == 1 else f"{len(mixed):,} photos are"
    return (
        f"{number} in two classes, as {first.photo} and {other.photo}; a network cannot get both "
        "right: remove the wrong ones"
    )


def _by_scene(rows: Sequence[CopyRow]) -> dict[int, list[CopyRow]]:
    scenes: dict[int, list[CopyRow]] = defaultdict(list)
    for row in rows:
        scenes[row.scene].append(row)
    return scenes


def near_duplicates(train: Split, test: Split) -> list[DuplicatePair] | None:
    """Returns the test images that show the same as a training image; None: not searched.

    For sets without a `copies.csv`, of at most `MAX_IMAGES` images stored with 24 pixels or more.
    """
    if len(train) + len(test) > MAX_IMAGES or train.stored_size < MIN_SIDE // 2:
        return None
    parts = [_thumbnails(split) for split in (train, test)]
    pictures = Thumbnails(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    best: dict[int, tuple[float, int]] = {}
    for known, asked, agreement, *_ in find_copies(pictures, first_query=len(train)):
        if known < len(train) <= asked:
            best[asked] = max(best.get(asked, (0.0, 0)), (agreement, known))
    names, known_names = (test.keys, train.keys) if best else ([], [])
    return [
        DuplicatePair(names[asked - len(train)], known_names[known], agreement)
        for asked, (agreement, known) in sorted(best.items())
    ]


def _thumbnails(split: Split) -> Thumbnails:
    grey, colour = [], []
    for first in range(0, len(split), _CHUNK):
        for pixels in split.images(np.arange(first, min(first + _CHUNK, len(split)))):
            one = thumbnail(Image.fromarray(pixels))
            grey.append(one[0])
            colour.append(one[1])
    small = np.full(len(grey), split.stored_size < MIN_SIDE)
    return Thumbnails(np.stack(grey), np.stack(colour), small)
