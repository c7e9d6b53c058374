"""Pictures with flat areas, drawn here, and photos of a folder."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

MEAN = np.array([123, 117, 104], np.float32)
_SUFFIXES = (".jpg", ".jpeg", ".png")
_SEEDS = 4


def drawn(size: int) -> Iterator[np.ndarray]:
    """Yields float32 `[size, size, 3]`, minus a mean; of each kind one per seed."""
    for seed in range(_SEEDS):
        rng = np.random.default_rng(seed)
        for picture in (_object_on_white, _scene, _lines, _photo_on_colour, _gradient):
            yield np.round(picture(size, rng)).astype(np.float32) - MEAN


def _places(size):
    """Returns rows and columns, 0 to 1."""
    return np.mgrid[:size, :size] / size


def _flat(size, colour):
    return np.tile(np.asarray(colour, np.float64), (size, size, 1))


def _object_on_white(size, rng):
    y, x = _places(size)
    picture = _flat(size, (255, 255, 255))
    row, column = rng.uniform(0.4, 0.6, 2)
    picture[(x - column) ** 2 + (y - row) ** 2 < 0.05] = rng.uniform(0, 255, 3)
    return picture


def _scene(size, rng):
    """A house on a lawn below a blue sky."""
    y, x = _places(size)
    picture = _flat(size, rng.uniform((90, 150, 220), (140, 200, 255)))
    picture[y > rng.uniform(0.65, 0.75)] = (60, 140, 50)
    picture[(abs(x - rng.uniform(0.3, 0.7)) < 0.12) & (abs(y - 0.6) < 0.15)] = (150, 80, 40)
    return picture


def _lines(size, rng):
    y, x = _places(size)
    picture = _flat(size, (255, 255, 255))
    for angle, distance in zip(rng.uniform(0, np.pi, 6), rng.uniform(0.1, 0.6, 6), strict=True):
        picture[abs(x * np.cos(angle) + y * np.sin(angle) - distance) < 0.006] = 0
    return picture


def _photo_on_colour(size, rng):
    """Noise, as a photo that was cut out."""
    picture = _flat(size, rng.uniform(0, 255, 3))
    edge = size // 4
    picture[edge:-edge, edge:-edge] = rng.uniform(0, 255, (size - 2 * edge, size - 2 * edge, 3))
    return picture


def _gradient(size, rng):
    """A sky whose colour changes from row to row."""
    top, bottom = rng.uniform(60, 255, (2, 1, 1, 3))
    return bottom + (top - bottom) * np.linspace(0, 1, size)[:, None, None] + np.zeros((1, size, 1))


def photos(folder: Path, count: int, size: int) -> Iterator[np.ndarray]:
    """Yields `count` photos of all in the folder and those below, evenly, as `drawn`."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    for path in paths[:: max(1, len(paths) // count)][:count]:
        with Image.open(path) as image:
            pixels = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
        yield np.asarray(pixels, np.float32) - MEAN
