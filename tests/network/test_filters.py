"""Filter pictures: the layout of the paper's Figure 3 and one scale for the whole layer."""

from pathlib import Path

import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.network.filters import (
    colour_shares,
    filter_picture,
    scale_filters,
    tile_filters,
    tower_pictures,
)

REFERENCE = Path(__file__).parents[3] / "shared/data/alexnet_reference/conv1_filters.npz"


def numbered_kernel(height=11, width=11, filters=96):
    """A kernel whose filter number i has the constant weight i."""
    return np.broadcast_to(np.arange(filters, dtype=np.float32), (height, width, 3, filters))


def test_two_towers_of_48_are_three_rows_of_sixteen_each():
    pictures = tower_pictures(numbered_kernel(), groups=2)
    assert [p.shape for p in pictures] == [(37, 193, 3), (37, 193, 3)]
    # The filter in row 1, column 2 of the second tower is number 48 + 16 + 2.
    place = pictures[1][13:24, 25:36]
    assert np.unique(place).tolist() == [round(255 * 66 / 95)]


def test_gaps_are_black_and_one_pixel_wide():
    picture = tile_filters(np.full((32, 5, 5, 3), 200, np.uint8))
    assert picture.shape == (13, 97, 3)
    assert not picture[::6].any() and not picture[:, ::6].any()
    inside = np.delete(np.delete(picture, np.s_[::6], axis=0), np.s_[::6], axis=1)
    assert inside.shape == (10, 80, 3) and (inside == 200).all()


def test_the_scale_is_common_to_all_towers():
    kernel = np.full((3, 3, 3, 4), 0.25, np.float32)
    kernel[0, 0, 0, 0], kernel[2, 1, 2, 3] = -1.0, 1.0
    filters = scale_filters(kernel)
    assert filters[0, 0, 0, 0] == 0 and filters[3, 2, 1, 2] == 255
    assert (filters[1:3] == round(255 * 1.25 / 2)).all()


def test_magnifying_repeats_pixels():
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 20)).astype(np.float32)
    (small,), (large,) = tower_pictures(kernel, 1), tower_pictures(kernel, 1, magnify=4)
    assert large.shape == (4 * small.shape[0], 4 * small.shape[1], 3)
    for row in range(4):
        np.testing.assert_array_equal(large[row::4, row::4], small)
    # Twenty filters are a full row and a row of four; the rest of that row is black.
    assert small.shape[:2] == (13, 97) and not small[7:, 25:].any()


def test_few_filters_make_one_short_row():
    assert tower_pictures(numbered_kernel(filters=8), groups=2)[0].shape == (13, 49, 3)


def test_towers_are_separated_in_the_single_picture():
    picture = filter_picture(numbered_kernel(), groups=2, magnify=2)
    assert picture.shape == (2 * 37 * 2 + 11, 386, 3)
    assert (picture[74:85] == 255).all()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_kernel_is_grey(value):
    assert (scale_filters(np.full((3, 3, 3, 2), value)) == 128).all()


def test_weights_that_are_not_finite_do_not_spoil_the_others():
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[..., 0], kernel[..., 1], kernel[..., 2] = np.nan, 2.0, 1.0
    assert scale_filters(kernel)[:, 0, 0, 0].tolist() == [0, 255, 0]


def test_colour_share_of_grey_and_of_pure_colour():
    kernel = np.ones((3, 3, 3, 4), np.float32)
    kernel[:, :, 0, 2:], kernel[:, :, 1, 2:], kernel[:, :, 2, 2:] = 1.0, -1.0, 0.0
    assert colour_shares(kernel, 2) == pytest.approx([0.0, 1.0])
    assert colour_shares(np.zeros((3, 3, 3, 2)), 1) == [0.0]


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (27, 8)])
def test_kernels_that_are_no_pictures_are_refused(shape):
    with pytest.raises(InputError, match="kernel"):
        scale_filters(np.zeros(shape, np.float32))


def test_filters_must_divide_into_the_towers():
    with pytest.raises(InputError, match="5 filters cannot be split into 2 towers"):
        tower_pictures(numbered_kernel(filters=5), groups=2)


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs ../shared/data/alexnet_reference")
def test_the_trained_reference_has_one_colour_and_one_grey_tower():
    with np.load(REFERENCE) as arrays:
        kernel = arrays["bvlc_kernel"][:, :, ::-1]
    colour, grey = colour_shares(kernel, 2)
    assert colour == pytest.approx(0.786, abs=1e-3) and grey == pytest.approx(0.088, abs=1e-3)
    first, second = tower_pictures(kernel, 2)
    assert first.max() == 255 and 0 in second[1:12, 1:12] or second.max() == 255
    # Filter 48 (first of tower 2) is a grey grating: its channels rise and fall together.
    patch = second[1:12, 1:12].reshape(-1, 3).astype(float)
    assert np.corrcoef(patch.T).min() > 0.95
