"""Finds the pictures of a set that show one photo: mirrored, turned, cropped, stored otherwise.

1. Every picture is squeezed to a square of 64 x 64 grey levels and 16 x 16 colours.
2. `copy_candidates` finds pictures that are similar to it or to a window of it.
3. `copy_alignment` lays the two over each other. They show one photo where their detail correlates
   by 0.85 or more, colours agree (unless one is grey), and the map between them is a turn or
   mirroring with a change of size.

Pictures with little detail (a drawing, a digit), and those smaller than `MIN_SIDE`, must agree
almost exactly, uncropped. Flat pictures are left out. Not found: crops by more than about 30 % of a
side, photos turned by 10 degrees or more, two windows of a photo that overlap by less than about
0.7. Found, but no copies: photos of a series from one place. How often: `experiments/copies`.
"""

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.data.copy_alignment import Alignments, align
from alexnet_jax.data.copy_candidates import (
    WHOLE,
    WINDOWS,
    candidates,
    texture_candidates,
    whole_coefficients,
)

MAX_IMAGES = 60_000
"""Of more pictures, only copies with the same bytes are found."""
MIN_SIDE = 48
GREY_SIZE, COLOUR_SIZE = 64, 16
# Limits on the measures of `Alignments`: of photos,
_MIN_DETAIL, _MIN_CHROMA, _MIN_TEXTURE = 0.85, 0.8, 0.6
_MAX_GREY_COLOURFUL = 4.0  # below it a picture is without colour
# of photos with plain parts (less texture than this share),
_PLAIN_BELOW, _PLAIN_MIN_CHROMA, _PLAIN_MAX_CAST = 0.95, 0.95, 8.0
# of patterns such as stripes (more repeated than this),
_PATTERN_ABOVE, _PATTERN_MIN_DETAIL, _PATTERN_MAX_DIFFERENCE = 0.75, 0.95, 5.0
# and of drawings, which must be almost the same.
_SAME_MIN_DETAIL, _SAME_MIN_GREY, _SAME_MIN_CHROMA, _SAME_MAX_DIFFERENCE = 0.9, 0.985, 0.97, 3.0
_CHUNK = 1024


class Thumbnails(NamedTuple):
    """Pictures as they are compared."""

    grey: np.ndarray  # uint8 [n, 64, 64]
    colour: np.ndarray  # uint8 [n, 16, 16, 3]
    small: np.ndarray  # bool [n]: the shorter side was less than `MIN_SIDE`


class Copy(NamedTuple):
    """Two pictures of one photo: first < second, and what turns one into the other."""

    first: int
    second: int
    agreement: float
    change: str
    change_back: str


def thumbnail(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Returns an RGB picture squeezed to a square: uint8 [64, 64] grey, [16, 16, 3] colours."""
    # Pillow's BOX is not the same mirrored.
    square = image.resize((GREY_SIZE, GREY_SIZE), Image.Resampling.HAMMING)
    part = GREY_SIZE // COLOUR_SIZE
    cells = np.asarray(square, np.float32).reshape(COLOUR_SIZE, part, COLOUR_SIZE, part, 3)
    return np.asarray(square.convert("L")), np.rint(cells.mean((1, 3))).astype(np.uint8)


def find_copies(
    pictures: Thumbnails, show: Callable[[int], None] = lambda done: None, first_query: int = 0
) -> list[Copy]:
    """Returns the pairs of at most `MAX_IMAGES` pictures that show one photo.

    `show` gets how many are done. Small pictures before `first_query` are not compared with each
    other.
    """
    windows = WINDOWS if 2 * pictures.small.sum() < len(pictures.small) else WHOLE
    threads = min(os.cpu_count() or 1, 8)
    known = np.zeros((0, 8, 8), np.float32)
    if len(pictures.grey):
        known = whole_coefficients(pictures.grey)
    found: dict[tuple[int, int], Copy] = {}
    for first in range(first_query if windows is WHOLE else 0, len(pictures.grey), _CHUNK):
        part = np.arange(first, min(first + _CHUNK, len(pictures.grey)))
        parts = align(
            *pictures[:2], *candidates(pictures.grey, known, windows, part, threads), threads
        )
        if windows is WINDOWS:
            likely = texture_candidates(pictures.grey, pictures.colour, part)
            parts += align(*pictures[:2], *likely, threads, textures=True)
        for aligned in parts:
            for copy in _accepted(aligned, pictures.small):
                place = copy.first, copy.second
                if place not in found or found[place].agreement < copy.agreement:
                    found[place] = copy
        show(int(part[-1]) + 1)
    return [found[place] for place in sorted(found)]


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Returns the indices below `count` that pairs connect, two or more each, ascending."""
    parents = list(range(count))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    members: dict[int, list[int]] = {}
    for index in range(count):
        members.setdefault(root(index), []).append(index)
    return [group for group in members.values() if len(group) > 1]


def _accepted(aligned: Alignments, small: np.ndarray) -> list[Copy]:
    linear = aligned.maps[:, :, :2]
    sizes = np.linalg.svd(linear, compute_uv=False) if len(linear) else np.ones((0, 2))
    large, little = sizes.T  # stretch along two axes, [k] each
    plausible = (large < 1.15) & (little > 0.5) & (large < 1.7 * little) & (aligned.area > 0.65)
    uncoloured = aligned.colourful < _MAX_GREY_COLOURFUL  # [k, 2]
    grey = uncoloured.any(1)
    # stripes match other stripes: of a pattern both colours must be the same
    pattern = aligned.repeated >= _PATTERN_ABOVE
    fits = ~pattern | (aligned.difference <= _PATTERN_MAX_DIFFERENCE)
    photo = aligned.detail >= np.where(pattern, _PATTERN_MIN_DETAIL, _MIN_DETAIL)
    plain = aligned.texture < _PLAIN_BELOW
    photo &= pattern | grey | (aligned.chroma >= np.where(plain, _PLAIN_MIN_CHROMA, _MIN_CHROMA))
    photo &= ~plain | grey | (aligned.cast <= _PLAIN_MAX_CAST)
    photo &= (aligned.texture >= _MIN_TEXTURE) & ~small[aligned.pairs].any(1)
    # a drawing: almost every grey level and colour the same, and nothing moved, cut off or added
    same = (aligned.detail >= _SAME_MIN_DETAIL) & (aligned.grey >= _SAME_MIN_GREY)
    same &= (grey | (aligned.chroma >= _SAME_MIN_CHROMA)) & (
        aligned.difference <= _SAME_MAX_DIFFERENCE
    )
    same &= (large < 1.015) & (little > 0.985) & (aligned.area > 0.98)
    rows = np.flatnonzero(plausible & fits & (photo | same))
    copies = []
    for row in rows:
        linear = aligned.maps[row, :, :2].astype(np.float64)
        first_grey, second_grey = uncoloured[row].tolist()
        words = (
            _change(linear, second_grey and not first_grey),
            _change(np.linalg.inv(linear), first_grey and not second_grey),
        )
        first, second = aligned.pairs[row].tolist()
        agreement = round(float(aligned.detail[row]), 3)
        if first > second:
            first, second, words = second, first, words[::-1]
        copies.append(Copy(first, second, agreement, *words))
    return copies


def _change(linear: np.ndarray, greyed: bool) -> str:
    """Returns in words what the linear map, float64 [2, 2], does to a picture."""
    words = []
    if np.linalg.det(linear) < 0:
        words.append("mirrored")
        linear = linear @ np.diag([-1.0, 1.0])
    degrees = np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
    if abs(degrees) >= 2:
        words.append(f"turned by {round(degrees) % 360} degrees")
    area = abs(np.linalg.det(linear))
    if area < 0.95:
        words.append(f"cropped to {100 * area:.0f} % of the area")
    elif area > 1.05:
        words.append(f"with {100 * area:.0f} % of the area")
    if greyed:
        words.append("without colour")
    return ", ".join(words) or "the same picture"
