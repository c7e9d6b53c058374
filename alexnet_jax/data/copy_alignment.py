"""Whether two pictures show one photo: they are laid over each other, then compared.

The second picture's place in the first is improved by Gauss-Newton steps (B. Lucas, T. Kanade,
1981) over all affine maps, with brightness and contrast free. Then their *detail* is compared: the
difference to a blurred picture, divided by its local strength, so that edges everywhere count.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

CELLS = 32
"""Cells across in the finest comparison."""
_CHUNK = 128
_STEPS = 5
_TEXTURED = 1.0  # grey levels; drawings have none but at their edges
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_MIN_ROUGH_CORRELATION = 0.8  # on 16 x 16 cells, to be compared on 32 x 32
_MIN_ROUGH_AREA = 0.6


class Alignments(NamedTuple):
    """Pairs laid over each other, and how alike they are then; arrays are [k] where not said."""

    pairs: np.ndarray  # int64 [k, 2]
    maps: np.ndarray  # float32 [k, 2, 3], as of the candidates, improved
    area: np.ndarray  # share of the second picture that is inside the first
    grey: np.ndarray  # correlation of the grey levels
    detail: np.ndarray  # correlation of the detail
    repeated: np.ndarray  # the second's detail with itself, moved 3 to 12 cells: 1 for stripes
    texture: np.ndarray  # share of cells with detail, of the picture that has less
    difference: np.ndarray  # of light and of dark colours, root mean square, grey levels
    cast: np.ndarray  # the same, after the best change of brightness and contrast
    chroma: np.ndarray  # correlation of the colours' differences from grey
    colourful: np.ndarray  # [k, 2], root mean square of these in each, grey levels


def align(
    grey: np.ndarray,  # uint8 [n, 64, 64]
    colour: np.ndarray,  # uint8 [n, 16, 16, 3]
    pairs: np.ndarray,  # int64 [k, 2]
    maps: np.ndarray,  # float32 [k, 2, 3]: where to begin
    threads: int,
    textures: bool = False,  # begin with 32 x 32 cells, as 16 x 16 would show nothing
) -> list[Alignments]:
    """Lays the pictures of each pair over each other; leaves out what is clearly not alike."""

    def align_chunk(first: int) -> Alignments | None:
        part = slice(first, first + _CHUNK)
        names, places = np.unique(pairs[part], return_inverse=True)
        places, begin = places.reshape(-1, 2), maps[part]
        fine = _blurred(grey[names].astype(np.float32))
        if not textures:
            places, begin = _roughly(fine, places, begin)
        if not len(places):
            return None
        found = _closely(fine, colour[names], places, begin)
        return found._replace(pairs=names[found.pairs])

    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(align_chunk, range(0, len(pairs), _CHUNK))
        return [part for part in parts if part is not None]


def _roughly(
    fine: np.ndarray, pairs: np.ndarray, maps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs that are alike on 16 x 16 cells, and their improved maps."""
    coarse = _blurred(_halved(fine))
    target = _halved(coarse)  # what `_sample_map` returns for `coarse` where nothing is moved
    maps = _improve(coarse, target, pairs, maps)
    seen, inside = _sample_map(coarse, pairs[:, 0], maps, target.shape[1])
    correlation = _correlation(seen, target[pairs[:, 1]].reshape(len(pairs), -1), inside)
    kept = (correlation > _MIN_ROUGH_CORRELATION) & (inside.mean(1) > _MIN_ROUGH_AREA)
    return pairs[kept], maps[kept]


def _closely(
    fine: np.ndarray, colour: np.ndarray, pairs: np.ndarray, maps: np.ndarray
) -> Alignments:
    target = _halved(fine)
    maps = _improve(fine, target, pairs, maps)
    seen, inside = _sample_map(fine, pairs[:, 0], maps, CELLS)
    there = target[pairs[:, 1]].reshape(len(pairs), -1)
    (here, rough), (other, other_rough) = _detail(seen), _detail(there)
    inner = _eroded(inside)
    chroma, colourful = _colours(colour, pairs, maps)
    one, two = two_tones(colour[pairs[:, 0]], seen), two_tones(colour[pairs[:, 1]], there)
    difference = np.sqrt(((one - two) ** 2).mean((1, 2)))
    tones = (values.reshape(len(pairs), 6) for values in (one, two))
    one, two = (values - values.mean(1, keepdims=True) for values in tones)
    contrast = (one * two).sum(1) / ((one**2).sum(1) + 1e-3)
    cast = np.sqrt(((two - contrast[:, None] * one) ** 2).mean(1))
    return Alignments(
        pairs, maps, inside.mean(1), _correlation(seen, there, inside),
        _correlation(here, other, inner), _repeated(other), np.minimum(rough, other_rough),
        difference, cast, chroma, colourful,
    )  # fmt: skip


def _improve(
    images: np.ndarray, targets: np.ndarray, pairs: np.ndarray, maps: np.ndarray
) -> np.ndarray:
    """Returns maps under which `images[first]` looks more like `targets[second]`."""
    step = 1 / images.shape[1]
    x, y = _grid(targets.shape[1])
    wanted = targets[pairs[:, 1]].reshape(len(pairs), -1, 1)
    numbers = pairs[:, 0]
    for _ in range(_STEPS):
        across, down, inside = _places(maps, x, y)
        seen = _sample(images, numbers, across, down)
        to_right, to_left = (_sample(images, numbers, across + s, down) for s in (step, -step))
        lower, upper = (_sample(images, numbers, across, down + s) for s in (step, -step))
        slope_x, slope_y = (to_right - to_left) / (2 * step), (lower - upper) / (2 * step)
        # The first picture's change with each of the map's six numbers, brightness and contrast.
        terms = np.stack(
            [slope_x * x, slope_x * y, slope_x, slope_y * x, slope_y * y, slope_y, seen,
             np.ones_like(seen)], 2
        )  # fmt: skip
        weighted = (terms * inside[:, :, None]).transpose(0, 2, 1)
        matrix = (weighted @ terms).astype(np.float64)
        diagonal = np.einsum("kii->ki", matrix)
        matrix += np.eye(8) * (1e-3 * diagonal[:, None, :] + 1e-3)  # damping, for flat parts
        solution = np.linalg.solve(
            matrix, (weighted @ (wanted - seen[..., None])).astype(np.float64)
        )[:, :, 0]
        contrast = np.maximum(np.abs(1 + solution[:, 6]), 0.2)
        change = solution[:, :6].reshape(-1, 2, 3) / contrast[:, None, None]
        maps = (maps + np.clip(change, -0.1, 0.1)).astype(np.float32)
    return maps


def _grid(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns x and y of the cells' centres, from -1/2 to 1/2, float32 [count * count] each."""
    middles = ((np.arange(count) + 0.5) / count - 0.5).astype(np.float32)
    return np.tile(middles, count), np.repeat(middles, count)


def _places(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns where maps take points: x and y, [k, points], and whether that is inside."""
    across, down = (
        maps[:, axis, :1] * x + maps[:, axis, 1:2] * y + maps[:, axis, 2:] for axis in (0, 1)
    )
    return across, down, (across > 0) & (across < 1) & (down > 0) & (down < 1)


def _sample(
    images: np.ndarray, numbers: np.ndarray, across: np.ndarray, down: np.ndarray
) -> np.ndarray:
    """Returns values between pixels, [k, points] or [k, points, channels], of images[numbers]."""
    size = images.shape[1]
    x, y = (np.clip(place * size - 0.5, 0, size - 1.001) for place in (across, down))
    left, top = x.astype(np.int32), y.astype(np.int32)
    right_share, low_share = x - left, y - top
    pixels = images.reshape(len(images) * size**2, *images.shape[3:])
    place = (numbers[:, None] * size + top) * size + left
    if images.ndim == 4:
        right_share, low_share = right_share[..., None], low_share[..., None]
    upper = pixels[place] * (1 - right_share) + pixels[place + 1] * right_share
    lower = pixels[place + size] * (1 - right_share) + pixels[place + size + 1] * right_share
    return upper * (1 - low_share) + lower * low_share


def _sample_map(
    images: np.ndarray, numbers: np.ndarray, maps: np.ndarray, cells: int
) -> tuple[np.ndarray, np.ndarray]:
    across, down, inside = _places(maps, *_grid(cells))
    return _sample(images, numbers, across, down), inside


def _correlation(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns the correlation of each row where it is inside, [k]; 0 for flat rows."""
    count = np.maximum(inside.sum(1, keepdims=True), 1)
    one, other = (
        (values - (values * inside).sum(1, keepdims=True) / count) * inside
        for values in (one, other)
    )
    return (one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1) + 1e-6)


def _detail(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the detail, [k, cells], and the share of the cells that are textured, [k].

    Two grey levels of noise are added to the local strength.
    """
    images = values.reshape(-1, CELLS, CELLS)
    left = images - _blurred(_blurred(images))
    strength = np.sqrt(_blurred(_blurred(left**2)))
    return (left / (strength + 2)).reshape(len(values), -1), (strength > _TEXTURED).mean((1, 2))


def _repeated(detail: np.ndarray) -> np.ndarray:
    padded = np.zeros((len(detail), 2 * CELLS, 2 * CELLS), np.float32)
    padded[:, :CELLS, :CELLS] = detail.reshape(-1, CELLS, CELLS)
    power = np.abs(np.fft.rfft2(padded)) ** 2
    moved = np.fft.irfft2(power, padded.shape[1:])  # autocorrelation, [k, 64, 64]
    shift = np.abs(np.fft.fftfreq(2 * CELLS, 1 / (2 * CELLS)))
    overlap = np.outer(CELLS - shift, CELLS - shift) / CELLS**2
    far = np.hypot(shift[:, None], shift)
    among = (far >= 3) & (far <= 12)
    values = moved[:, among] / overlap[among]
    return values.max(1) / np.maximum(moved[:, 0, 0], 1e-6)


def _eroded(inside: np.ndarray) -> np.ndarray:
    """Keeps the cells that have all neighbours inside, bool [k, cells]."""
    images = np.pad(inside.reshape(-1, CELLS, CELLS), ((0, 0), (1, 1), (1, 1)))
    shifts = [images[:, a : a + CELLS, b : b + CELLS] for a in (0, 1, 2) for b in (0, 1, 2)]
    return np.logical_and.reduce(shifts).reshape(len(inside), -1)


def _colours(
    colour: np.ndarray, pairs: np.ndarray, maps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `chroma` and `colourful` of `Alignments`, in 8 x 8 cells."""
    images = colour.astype(np.float32)
    seen, inside = _sample_map(images, pairs[:, 0], maps, 8)
    there = images.reshape(-1, 8, 2, 8, 2, 3).mean((2, 4))[pairs[:, 1]].reshape(len(pairs), 64, 3)
    one, other = (
        (values - (values @ _GREY)[..., None]) * inside[..., None] for values in (seen, there)
    )
    count = np.maximum(inside.sum(1), 1)
    squares = [(values**2).sum((1, 2)) for values in (one, other)]
    correlation = (one * other).sum((1, 2)) / np.sqrt(squares[0] * squares[1] + 1e-3)
    return correlation, np.sqrt(np.stack(squares, 1) / count[:, None])


def two_tones(colour: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Returns the dark and the light colour of a two-coloured pattern, [k, 2, 3].

    They follow from the regression of `colour`, uint8 [k, c, c, 3], on `grey`, [k, cells], which is
    finer than the pattern.
    """
    pixels = colour.reshape(len(colour), colour.shape[1] ** 2, 3).astype(np.float32)
    levels = pixels @ _GREY
    mean, level = pixels.mean(1, keepdims=True), levels.mean(1, keepdims=True)
    apart = (levels - level)[..., None]
    slope = ((pixels - mean) * apart).sum(1) / ((apart**2).sum(1) + 1e-3)
    tones = grey.mean(1)[:, None] + grey.std(1)[:, None] * np.array([-1, 1], np.float32)
    return mean + (tones - level)[..., None] * slope[:, None]


def _halved(images: np.ndarray) -> np.ndarray:
    count, size = images.shape[:2]
    return images.reshape(count, size // 2, 2, size // 2, 2).mean((2, 4))


def _blurred(images: np.ndarray) -> np.ndarray:
    """Returns images [n, s, s] blurred by 1 2 1 both ways."""
    wide = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    wide = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    return (wide[:, :, :-2] + 2 * wide[:, :, 1:-1] + wide[:, :, 2:]) / 4
