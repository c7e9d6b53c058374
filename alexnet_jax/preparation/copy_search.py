"""Photos of a source that are copies of each other, found before its split is drawn."""

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

from alexnet_jax.appearance import Appearance
from alexnet_jax.config import DataConfig
from alexnet_jax.data.copies import (
    COLOUR_SIZE,
    GREY_SIZE,
    MAX_IMAGES,
    MIN_SIDE,
    Copy,
    Thumbnails,
    find_copies,
    groups,
    thumbnail,
)
from alexnet_jax.data.decode import decode_rgb
from alexnet_jax.data.duplicates import COPIES, CopyRow, conflicts_line
from alexnet_jax.display import Count, Display
from alexnet_jax.errors import BadImageError, DataError
from alexnet_jax.files import write_text
from alexnet_jax.preparation.photo_folders.class_folders import listed
from alexnet_jax.preparation.source_images import SourceImage, read_encoded
from alexnet_jax.preparation.sources import source_kind
from alexnet_jax.preparation.sources.listing import Listing
from alexnet_jax.preparation.splitting import hold_out

_MIDDLE_BYTES = 4096  # in the middle of a file, by which most different ones are told apart
_CHUNK = 256


class Copies(NamedTuple):
    """The photos of a source that show one scene, and the pairs that were found."""

    # "photos": also mirrored, turned, cropped copies; "bytes": equal files; "no": not done
    searched: str
    images: list[tuple[str, SourceImage]]  # (split, image) of every photo, as the source was listed
    scenes: list[list[int]]  # indices of the images of one photo, two or more each
    links: list[Copy]


def search_copies(
    data: DataConfig, listing: Listing, appearance: Appearance, display: Display
) -> Copies:
    """Photos that cannot be read are no copies here; writing the shards names them."""
    splits = sorted(listing.splits, key=lambda split: (split != "train", split))
    images = [(split, image) for split in splits for image in listing.splits[split]]
    if data.copies == "ignore" or "copies" not in source_kind(data.source_kind).options:
        return Copies("no", images, [], [])
    photos = [image for _, image in images]
    links = [
        Copy(first, other, 1.0, *["the same file"] * 2) for first, other in _same_files(photos)
    ]
    searched = "photos" if len(photos) <= MAX_IMAGES else "bytes"
    if searched == "photos":
        repeated = {link.second for link in links}
        once = np.array([i for i in range(len(photos)) if i not in repeated], np.int64)
        with contextlib.closing(Count(display, "look at photos", len(once))) as line:
            pictures = _thumbnails([photos[i] for i in once], appearance, line.show)
        with contextlib.closing(Count(display, "compare photos", len(once))) as line:
            found = find_copies(pictures, lambda done: line.show(done, 0))
        links += [
            copy._replace(first=int(once[copy.first]), second=int(once[copy.second]))
            for copy in found
        ]
    else:
        display.say(
            f"{len(photos):,} photos are more than {MAX_IMAGES:,}: only copies with the same bytes "
            "are searched, no mirrored, turned or cropped ones",
        )
    scenes = groups(len(photos), [link[:2] for link in links])
    return Copies(searched, images, scenes, links)


def keep_together(data: DataConfig, listing: Listing, copies: Copies, display: Display) -> Listing:
    """Draws the held-out share again if it splits copies; `DataError` if none can be set aside."""
    if not listing.held_out or not copies.scenes:
        return listing
    places = [i for i, (split, _) in enumerate(copies.images) if split in ("train", "validation")]
    number = {place: index for index, place in enumerate(places)}
    together = [[number[i] for i in scene if i in number] for scene in copies.scenes]
    images = [copies.images[place][1] for place in places]
    train, validation = hold_out(images, data.validation_fraction, together)
    held = {image.label for image in validation}
    lacking = {image.label for image in listing.splits["validation"]} - held
    if lacking and not held:
        raise DataError(
            f"all photos of each class in {data.source} are like one photo, as those of a still "
            "camera, so none can be set aside that is not also in training; put others in a folder "
            "of their own (train/CLASS and val/CLASS), or do not search copies: --copies ignore "
            "(in train: --data.copies ignore)"
        )
    if lacking:
        names = listed(listing.class_ids[label] for label in sorted(lacking))
        display.warn(
            f"set aside   nothing of {names}: all photos of such a class are like one photo"
        )
    return replace(listing, splits={**listing.splits, "train": train, "validation": validation})


def write_copies(
    folder: Path,
    listing: Listing,
    copies: Copies,
    bad: Sequence[Mapping[str, str]],
    display: Display,
) -> dict[str, Any]:
    """Writes `copies.csv`, returns the counts; `bad` rows were left out of the stored set."""
    if copies.searched == "no":
        return {"searched": "no"}
    split_of = {
        (image.path, image.offset, image.key): split
        for split, images in listing.splits.items()
        for image in images
    }
    splits = [split_of[image.path, image.offset, image.key] for _, image in copies.images]
    keys = zip(splits, (image.key for _, image in copies.images), strict=True)
    left_out = {(row["split"], row["key"]) for row in bad}
    stored = [key not in left_out for key in keys]
    scenes = [scene for scene in copies.scenes if any(stored[i] for i in scene)]
    rows = list(_rows(copies, scenes, splits, listing.class_ids))
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(CopyRow._fields)
    table.writerows(rows)
    write_text(folder / COPIES, text.getvalue())
    photos = len(copies.images) - len(bad)
    count = photos - sum(len(scene) - 1 for scene in scenes)
    if count < photos:
        kept = "copies of one photo are kept on one side of the split; " * listing.held_out
        path = folder / COPIES
        display.say(f"{photos:,} photos show {count:,} scenes; {kept}listed in {path}")
        if line := conflicts_line(rows):
            display.say(line)
    return {"searched": copies.searched, "photos": photos, "scenes": count}


def _rows(
    copies: Copies,
    scenes: Sequence[Sequence[int]],
    splits: Sequence[str],
    class_ids: Sequence[str],
) -> Iterator[CopyRow]:
    """Yields a row for each photo of the scenes: the first, then each with its most similar one."""
    links: dict[int, list[Copy]] = defaultdict(list)
    for link in copies.links:
        links[link.first].append(link)
        links[link.second].append(link)
    for number, scene in enumerate(scenes, 1):
        for index in scene:
            best = max(links[index], key=lambda link: (min(link[:2]) < index, link.agreement))
            other, change = best.first, best.change
            if other == index:
                other, change = best.second, best.change_back
            image = copies.images[index][1]
            like = copies.images[other][1].key, change, f"{best.agreement:.3f}"
            yield CopyRow(
                number,
                splits[index],
                image.key,
                class_ids[image.label],
                *(("", "", "") if index == scene[0] else like),
            )


def _same_files(images: Sequence[SourceImage]) -> list[tuple[int, int]]:
    """Returns pairs of equal files: size, then a middle piece, tell most apart unread."""
    by_size: dict[Any, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_size[image.size].append(index)
    same = list(by_size.values())
    for max_middle_bytes in (_MIDDLE_BYTES, None):
        same = _split_by_digest(same, images, max_middle_bytes)
    return sorted((group[0], other) for group in same for other in group[1:])


def _split_by_digest(
    parts: list[list[int]], images: Sequence[SourceImage], max_middle_bytes: int | None
) -> list[list[int]]:
    def digest(index: int) -> bytes | None:
        try:
            data = read_encoded(images[index], max_middle_bytes)
        except BadImageError:
            return None
        return hashlib.blake2b(data, digest_size=16).digest()

    parts = [part for part in parts if len(part) > 1]
    indices = [index for part in parts for index in part]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        digests = dict(zip(indices, pool.map(digest, indices), strict=True))
    found = []
    for part in parts:
        by_digest: dict[bytes, list[int]] = defaultdict(list)
        for index in part:
            if (value := digests[index]) is not None:
                by_digest[value].append(index)
        found += [same for same in by_digest.values() if len(same) > 1]
    return found


def _thumbnails(
    images: Sequence[SourceImage], appearance: Appearance, show: Callable[[int, int], None]
) -> Thumbnails:
    count = len(images)
    found = Thumbnails(
        np.zeros((count, GREY_SIZE, GREY_SIZE), np.uint8),
        np.zeros((count, COLOUR_SIZE, COLOUR_SIZE, 3), np.uint8),
        np.zeros(count, bool),
    )

    def read(index: int) -> bool:
        try:
            image = decode_rgb(read_encoded(images[index]), appearance, min_side=2 * GREY_SIZE)
        except BadImageError:
            return False  # stays flat, and so is like no other
        found.grey[index], found.colour[index] = thumbnail(image)
        found.small[index] = min(image.size) < MIN_SIDE
        return True

    good = 0
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for first in range(0, count, _CHUNK):  # so that Ctrl-C waits for few
            good += sum(pool.map(read, range(first, min(first + _CHUNK, count))))
            show(good, min(first + _CHUNK, count) - good)
    return found
