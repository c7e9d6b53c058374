"""Finds the pictures of a set that show one photo: mirrored, turned, cropped, stored otherwise.

The method, in three steps:

1. Every picture is squeezed to a square of 64 x 64 grey levels and 16 x 16 colours.
2. `copy_candidates` names the pictures that are most like it, or like a window of it, in any of the
   eight orientations.
3. `copy_alignment` lays the two over each other. They show one photo where their detail correlates
   by 0.85 or more, colours agree (unless one is grey), and the map between them is a turn or
   mirroring with a change of size.

Pictures with little detail (a drawing, a digit, a disc on one colour) look alike without being
copies: they have to agree almost exactly, uncropped. So have pictures smaller than `MIN_SIDE`,
of which most things look alike. Flat ones are left out.

What it misses: crops by more than a third of a side, and some of those by 30 %; photos turned by 10
degrees or more, or with much painted over; cropped drawings and cropped small pictures; photos of
which two different windows overlap by less than about 0.7. What it joins without being a copy:
photos of one scene in a series, from one place. How often: `experiments/copies`.
"""

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.data.copy_alignment import Aligned, align
from alexnet_jax.data.copy_candidates import WHOLE, WINDOWS, candidates, of_wholes
from alexnet_jax.data.copy_textures import texture_candidates

MAX_IMAGES = 60_000
"""Of more pictures only those of the same bytes are found."""
MIN_SIDE = 48
GREY_SIZE, COLOUR_SIZE = 64, 16
_DETAIL = 0.85
_CHROMA, _GREY_BELOW = 0.8, 4.0
_TEXTURE, _ALL_TEXTURE, _PLAIN_CHROMA, _PLAIN_CAST = 0.6, 0.95, 0.95, 8.0
_REPEATED, _PATTERN_DETAIL, _PATTERN_DIFFERENCE = 0.75, 0.95, 5.0
_SAME_DETAIL, _SAME_GREY, _SAME_CHROMA, _SAME_DIFFERENCE = 0.9, 0.985, 0.97, 3.0
_CHUNK = 1024


class Thumbnails(NamedTuple):
    """Pictures as they are compared.

    Attributes:
      grey: uint8 [n, 64, 64].
      colour: uint8 [n, 16, 16, 3].
      small: bool [n]: the shorter side was less than `MIN_SIDE`.
    """

    grey: np.ndarray
    colour: np.ndarray
    small: np.ndarray


class Copy(NamedTuple):
    """Two pictures of one photo.

    Attributes:
      first, second: their indices, ascending.
      agreement: correlation of their detail.
      change: what makes the second of the first.
      change_back: what makes the first of the second.
    """

    first: int
    second: int
    agreement: float
    change: str
    change_back: str


def thumbnail(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Returns an RGB picture squeezed to a square: uint8 [64, 64] grey, [16, 16, 3] colours."""
    square = image.resize(
        (GREY_SIZE, GREY_SIZE), Image.Resampling.HAMMING
    )  # BOX is not the same mirrored
    part = GREY_SIZE // COLOUR_SIZE
    colour = (
        np.asarray(square, np.float32).reshape(COLOUR_SIZE, part, COLOUR_SIZE, part, 3).mean((1, 3))
    )
    return np.asarray(square.convert("L")), np.rint(colour).astype(np.uint8)


def find_copies(
    pictures: Thumbnails, show: Callable[[int], None] = lambda done: None, asked: int = 0
) -> list[Copy]:
    """Returns the pairs of pictures that show one photo, see the module's text.

    Args:
      pictures: to be compared, not more than `MAX_IMAGES`.
      show: called now and then with how many have been compared with all.
      asked: index from which on pictures are of interest: of small ones, which are compared
        uncropped, those before need not be compared with each other.
    """
    windows = WINDOWS if 2 * pictures.small.sum() < len(pictures.small) else WHOLE
    threads = min(os.cpu_count() or 1, 8)
    known = of_wholes(pictures.grey) if len(pictures.grey) else np.zeros((0, 8, 8), np.float32)
    found: dict[tuple[int, int], Copy] = {}
    for first in range(asked if windows is WHOLE else 0, len(pictures.grey), _CHUNK):
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


def _accepted(aligned: Aligned, small: np.ndarray) -> list[Copy]:
    linear = aligned.maps[:, :, :2]
    sizes = np.linalg.svd(linear, compute_uv=False) if len(linear) else np.ones((0, 2))
    large, little = sizes.T
    plausible = (large < 1.15) & (little > 0.5) & (large < 1.7 * little) & (aligned.area > 0.65)
    uncoloured = aligned.colourful < _GREY_BELOW
    grey = uncoloured.any(1)
    # stripes lie over other stripes: of a pattern both colours have to be the same
    pattern = aligned.repeated >= _REPEATED
    fits = ~pattern | (aligned.difference <= _PATTERN_DIFFERENCE)
    photo = aligned.detail >= np.where(pattern, _PATTERN_DETAIL, _DETAIL)
    plain = aligned.texture < _ALL_TEXTURE
    photo &= pattern | grey | (aligned.chroma >= np.where(plain, _PLAIN_CHROMA, _CHROMA))
    photo &= ~plain | grey | (aligned.cast <= _PLAIN_CAST)
    photo &= (aligned.texture >= _TEXTURE) & ~small[aligned.pairs].any(1)
    # a drawing: almost every grey level and colour the same, and nothing moved, cut off or added
    same = (aligned.detail >= _SAME_DETAIL) & (aligned.grey >= _SAME_GREY)
    same &= (grey | (aligned.chroma >= _SAME_CHROMA)) & (aligned.difference <= _SAME_DIFFERENCE)
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
        forth = Copy(first, second, agreement, *words)
        copies.append(forth if first < second else Copy(second, first, agreement, *words[::-1]))
    return copies


def _change(linear: np.ndarray, greyed: bool) -> str:
    """Says what makes the second picture of the first, by the map from it, float64 [2, 2]."""
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
