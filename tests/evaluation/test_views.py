"""The windows of the ten-view test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.evaluation.views import (
    averaged_views,
    centre_offset,
    centre_view,
    choose_views,
    cut_views,
)
from alexnet_jax.presets import PRESETS
from alexnet_jax.resolution import Facts, resolve


def coordinates(size):
    """One image whose pixels hold their own (y, x)."""
    y, x = np.mgrid[:size, :size]
    return jnp.asarray(np.stack([y, x], axis=-1)[None].astype(np.uint8))


def test_the_ten_views_are_in_the_order_of_the_paper():
    cut = jax.jit(cut_views, static_argnums=(1, 2))
    found = np.asarray(cut(coordinates(8), 3, choose_views(8, 3, 10)))
    assert found.shape == (10, 1, 3, 3, 2)
    corners = [tuple(int(v) for v in view[0, 0, 0]) for view in found[:5]]
    assert corners == [(0, 0), (0, 5), (2, 2), (5, 0), (5, 5)]
    for straight, mirrored in zip(found[:5], found[5:], strict=True):
        np.testing.assert_array_equal(mirrored, straight[:, :, ::-1])


def test_the_paper_sizes_put_the_centre_at_sixteen():
    assert centre_offset(256, 224) == 16
    views = choose_views(256, 224, 10)
    assert [(v.y, v.x) for v in views[:5]] == [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
    assert [v.mirrored for v in views] == [False] * 5 + [True] * 5


def test_the_centre_view_rounds_its_offset_down():
    found = np.asarray(centre_view(coordinates(8), 3))
    assert tuple(found[0, 0, 0]) == (2, 2)


def test_coinciding_views_are_taken_once():
    assert [tuple(v) for v in choose_views(8, 8, 10)] == [(0, 0, False), (0, 0, True)]
    assert [tuple(v) for v in choose_views(8, 8, 10, mirror=False)] == [(0, 0, False)]


def test_a_network_trained_without_mirroring_is_tested_without():
    views = choose_views(10, 8, 10, mirror=False)
    assert len(views) == 5 and not any(v.mirrored for v in views)


@pytest.mark.parametrize(
    ("preset", "count", "name"),
    [
        ("imagenet", 10, "ten views"),
        ("cifar10-13pct", 10, "ten views"),
        ("digits", 5, "five crops"),
        ("cifar10-18pct", 1, "one view"),
    ],
)
def test_what_the_presets_average_is_counted(preset, count, name):
    config = PRESETS[preset]
    sizes = config.data.stored_size, resolve(config, Facts(2, config.data.stored_size)).image_size
    averaged = averaged_views(*sizes, 10, config.augment.mirror)
    assert averaged[:2] == (count, name) and bool(averaged.why) == (count < 10)
    views = choose_views(*sizes, 10, config.augment.mirror)
    noise = np.random.default_rng(0).integers(0, 256, (1, sizes[0], sizes[0], 3), np.uint8)
    cut = np.asarray(cut_views(jnp.asarray(noise), sizes[1], views))
    assert len(np.unique(cut.reshape(len(cut), -1), axis=0)) == count
    assert averaged_views(*sizes, 1, config.augment.mirror) == (1, "centre view", "")


def test_views_that_coincide_are_counted_once_and_said():
    assert str(averaged_views(9, 8, 10)) == "eight views (10 views asked; the centre is a corner)"
    assert str(averaged_views(9, 8, 10, mirror=False)).startswith("four crops (10 views asked;")
    assert str(averaged_views(8, 8, 10)) == (
        "two views (10 views asked; stored images have the network's size)"
    )
    assert str(averaged_views(10, 8, 10)) == "ten views"


@pytest.mark.parametrize(
    ("arguments", "message"), [((8, 8, 5), "1 or 10 views, not 5"), ((7, 8, 1), "7x7")]
)
def test_impossible_views_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        choose_views(*arguments)
