"""The stored square is exact: no order of adding and no processor changes a bit of it."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.data import square
from alexnet_jax.data.resampling import area, bicubic
from alexnet_jax.data.square import fit_square


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def matrix(taps, length):
    """The weights of all pixels, int64 [outputs, length]."""
    weights = np.zeros((len(taps.starts), length + taps.weights.shape[1]), np.int64)
    for row, start, values in zip(weights, taps.starts, taps.weights, strict=True):
        row[start : start + len(values)] = values
    assert not weights[:, length:].any()
    return weights[:, :length]


def middle(length, shorter, size):
    new = max(size, round(length * size / shorter))
    return new, (new - size) // 2 + np.arange(size)


SHAPES = [(33, 32), (47, 47), (90, 61), (61, 90), (64, 512), (300, 301), (700, 40), (40, 1300)]


@pytest.mark.parametrize("shape", SHAPES)
def test_shrinking_is_the_exact_average_rounded_once(shape):
    size, pixels = 32, noise(*shape)
    rows, columns = (
        matrix(area(length, *middle(length, min(shape), size)), length) for length in shape
    )
    assert (rows.sum(1) == shape[0]).all() and (columns.sum(1) == shape[1]).all()
    sums = np.einsum("ih,hwc,jw->ijc", rows, pixels.astype(np.int64), columns, optimize=True)
    number = shape[0] * shape[1]
    wanted = (2 * sums + number) // (2 * number)  # halves upwards
    halves = (2 * sums) % (2 * number) == number
    wanted -= halves & (wanted % 2 == 1)  # to the even number
    np.testing.assert_array_equal(fit_square(pixels, size), wanted)


def test_windows_of_an_average_are_fractions_of_pixels():
    starts, weights = area(5, 3, np.arange(3))
    assert [Fraction(int(w), 3) for w in weights[1]] == [Fraction(1, 3), 1, Fraction(1, 3)]
    assert starts.tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    "shape", [(31, 31), (20, 31), (17, 90), (90, 17), (3, 400), (1, 1), (2, 1)]
)
def test_enlarging_adds_whole_numbers(shape):
    size, pixels = 32, noise(*shape)
    rows, columns = (
        matrix(bicubic(length, *middle(length, min(shape), size), unit), length)
        for length, unit in zip(shape, (1 << 14, 1 << 11), strict=True)
    )
    levels = np.tensordot(rows, pixels.astype(np.int64), 1)
    levels = np.rint(levels / (1 << 10)).astype(np.int64)
    wanted = np.tensordot(levels, columns, (1, 1)).transpose(0, 2, 1)
    wanted = np.clip(np.rint(wanted / (1 << 15)), 0, 255)
    np.testing.assert_array_equal(fit_square(pixels, size), wanted)


@pytest.mark.parametrize("shape", [(31, 31), (224, 224), (200, 230), (255, 256)])
def test_enlarging_stays_within_a_level_of_pillow(shape):
    # Pillow limits the levels to 0..255 also between the rows and the columns.
    image = Image.fromarray(48 + noise(*shape) // 2)
    size = min(shape) + 32
    new = [max(size, round(length * size / min(shape))) for length in shape]
    top, left = ((length - size) // 2 for length in new)
    whole = image.resize(new[::-1], Image.Resampling.BICUBIC)
    wanted = np.asarray(whole, np.int64)[top : top + size, left : left + size]
    difference = np.abs(fit_square(image, size) - wanted)
    assert difference.max() <= 1
    assert difference.mean() < 0.3  # Pillow rounds twice


@pytest.mark.parametrize("shape", [(31, 40), (32, 40), (33, 40), (500, 333)])
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_flat_pictures_stay_flat(shape, level):
    assert (fit_square(np.full((*shape, 3), level, np.uint8), 32) == level).all()


def test_turned_views_are_fitted_like_their_copies():
    for pixels in (noise(90, 61), noise(20, 31)):
        turned = np.rot90(pixels)
        np.testing.assert_array_equal(fit_square(turned, 32), fit_square(turned.copy(), 32))


def test_a_side_too_long_for_float32_is_added_in_float64(monkeypatch):
    pixels = noise(90, 61)
    wanted = fit_square(pixels, 32)
    monkeypatch.setattr(square, "_FLOAT32_WHOLE", 0)
    np.testing.assert_array_equal(fit_square(pixels, 32), wanted)
