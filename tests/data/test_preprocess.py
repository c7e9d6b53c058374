import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.prepared import Statistics
from alexnet_jax.data.preprocess import colour_shift, make_inputs, preprocess
from alexnet_jax.errors import InputError

SIGMA = np.array([19.7208, 37.0939, 121.7801])
V = np.array(
    [
        [0.41795513, -0.71257945, -0.56351045],
        [-0.81698062, -0.02354167, -0.57618440],
        [0.39731118, 0.70119634, -0.59200296],
    ]
)
NOISE = AugmentConfig(colour_noise=0.1)
MEANS = ("image", "image-aligned", "channel", "imagenet", "none")
SCALES = ("none", "channel", "imagenet")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)
COLOUR = RNG.normal(size=(5, 3)).astype(np.float32)
OFFSETS = np.array([[0, 0], [8, 8], [0, 8], [3, 5], [4, 4]], np.int32)
FLIPS = np.array([False, True, True, True, False])
STEP = jax.jit(preprocess, static_argnames="config")


def _statistics(size=32):
    return Statistics(
        mean_image=np.random.default_rng(1).uniform(90, 140, (size, size, 3)).astype(np.float32),
        channel_mean=np.array([127.30, 119.72, 104.91], np.float32),
        channel_std=np.array([70.0, 65.0, 0.0], np.float32),
        colour_std=SIGMA.astype(np.float32),
        colour_vectors=V.astype(np.float32),
    )


def _apply(settings, augment, images=IMAGES, size=24, statistics=None, **arrays):
    inputs = make_inputs(settings, augment, statistics or _statistics(), size)
    return np.asarray(STEP(inputs, images, config=(settings, augment), **arrays))


def test_colour_shift_golden_values():
    inputs = make_inputs(PreprocessConfig(), NOISE, _statistics(), 24)
    z = jnp.array([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    shift = 0.1 * np.asarray(colour_shift(inputs, z))[:, 0, 0]
    expected = [[-8.681426, -8.715256, -3.824875], [-6.862434, -7.016777, -7.209416]]
    np.testing.assert_allclose(shift, expected, rtol=1e-6)


def _expected(settings, augment, on):
    statistics, x = _statistics(), IMAGES.astype(np.float64)
    if settings.mean == "image":
        x = x - statistics.mean_image[4:28, 4:28]
    elif settings.mean == "image-aligned":
        for i, (top, left) in enumerate(OFFSETS):
            window = statistics.mean_image[top : top + 24, left : left + 24]
            x[i] -= window[:, ::-1] if FLIPS[i] else window
    elif settings.mean == "channel":
        x = x - statistics.channel_mean
    elif settings.mean == "imagenet":
        x = x - np.array([0.485, 0.456, 0.406]) * 255
    if on:
        x = x + 0.1 * (V @ (SIGMA * COLOUR).T).T[:, None, None, :]
        x = x / 1.1 if augment.colour_form == "2012" else x
    if settings.scale == "channel":
        x = x / [70.0, 65.0, 1.0]
    elif settings.scale == "imagenet":
        x = x / (np.array([0.229, 0.224, 0.225]) * 255)
    return x


@pytest.mark.parametrize(("mean", "scale"), list(itertools.product(MEANS, SCALES)))
def test_formula(mean, scale):
    settings = PreprocessConfig(mean=mean, scale=scale)
    for form in ("2012", "printed") if scale == "none" else ("2012",):
        augment = AugmentConfig(colour_noise=0.1, colour_form=form)
        for on in (True, False):
            arrays: Any = dict(colour=COLOUR, offsets=OFFSETS, flips=FLIPS, colour_on=np.bool_(on))
            result = _apply(settings, augment, **arrays)
            assert result.dtype == np.float32 and result.shape == IMAGES.shape
            expected = _expected(settings, augment, on)
            np.testing.assert_allclose(result, expected, rtol=2e-5, atol=5e-5)


def test_test_images_are_never_divided():
    settings = PreprocessConfig(mean="none")
    np.testing.assert_array_equal(_apply(settings, NOISE), IMAGES.astype(np.float32))


def test_colour_is_on_unless_said_otherwise():
    settings = PreprocessConfig()
    left_out = _apply(settings, NOISE, colour=COLOUR)
    on = _apply(settings, NOISE, colour=COLOUR, colour_on=np.bool_(True))
    np.testing.assert_array_equal(left_out, on)


def test_without_noise_the_coefficients_change_nothing():
    settings = PreprocessConfig()
    plain = _apply(settings, AugmentConfig(), colour=COLOUR, colour_on=np.bool_(True))
    np.testing.assert_array_equal(plain, _apply(settings, AugmentConfig()))


def test_ending_the_noise_does_not_compile_again():
    settings = PreprocessConfig(mean="image-aligned")
    inputs = make_inputs(settings, NOISE, _statistics(), 24)
    traces = []

    @jax.jit
    def step(inputs, images, colour, on):
        traces.append(1)
        return preprocess(inputs, images, colour=colour, colour_on=on, config=(settings, NOISE))

    first = step(inputs, IMAGES, COLOUR, np.bool_(True))
    second = step(inputs, IMAGES, COLOUR, np.bool_(False))
    assert len(traces) == 1
    assert (np.asarray(first) != np.asarray(second)).any()


def test_aligned_mean_without_offsets_is_the_central_window():
    aligned = _apply(PreprocessConfig(mean="image-aligned"), AugmentConfig())
    np.testing.assert_array_equal(aligned, _apply(PreprocessConfig(mean="image"), AugmentConfig()))


@pytest.mark.parametrize("size", [32, 31, 24])
def test_image_sizes(size):
    images = RNG.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    result = _apply(PreprocessConfig(), AugmentConfig(), images, size=size)
    start = (32 - size) // 2
    window = _statistics().mean_image[start : start + size, start : start + size]
    np.testing.assert_allclose(result, images.astype(np.float32) - window[None], rtol=1e-6)


def test_inputs_are_contiguous_float32():
    for mean, scale in itertools.product(MEANS, SCALES):
        inputs = make_inputs(PreprocessConfig(mean, scale), NOISE, _statistics(), 24)
        for array in inputs:
            assert array.dtype == np.float32 and array.flags.c_contiguous


def test_statistics_are_needed_only_where_they_are_used():
    settings = PreprocessConfig(mean="imagenet", scale="imagenet")
    assert make_inputs(settings, AugmentConfig(), None, 224).mean.shape == (3,)
    for wanting in (
        (PreprocessConfig(mean="image"), AugmentConfig()),
        (PreprocessConfig(mean="none", scale="channel"), AugmentConfig()),
        (settings, NOISE),
    ):
        with pytest.raises(InputError, match="statistics"):
            make_inputs(*wanting, None, 224)


def test_contradictions_are_errors():
    with pytest.raises(InputError, match="resized-crop"):
        make_inputs(
            PreprocessConfig(mean="image-aligned"),
            AugmentConfig(recipe="resized-crop"),
            _statistics(),
            24,
        )
    with pytest.raises(InputError, match="32 pixels .* image_size 33"):
        make_inputs(PreprocessConfig(), AugmentConfig(), _statistics(), 33)


@pytest.mark.parametrize(
    "wrong",
    [
        {"colour": COLOUR[:1]},
        {"colour": COLOUR[:, :1]},
        {"offsets": OFFSETS[:1]},
        {"flips": FLIPS[:1]},
        {"flips": FLIPS[:, None]},
    ],
)
def test_draws_of_one_image_are_not_those_of_all(wrong):
    settings = PreprocessConfig(mean="image-aligned")
    inputs = make_inputs(settings, NOISE, _statistics(), 24)
    with jax.numpy_rank_promotion("allow"), pytest.raises(AssertionError, match=next(iter(wrong))):
        preprocess(inputs, jnp.asarray(IMAGES), config=(settings, NOISE), **wrong)


@pytest.mark.parametrize(
    ("mean", "changes"),
    [
        ("image", {"mean": np.zeros((24, 24, 1), np.float32)}),
        ("image", {"mean": np.zeros(3, np.float32)}),
        ("image", {"mean": np.zeros((24, 24, 3), np.uint8)}),  # would wrap below 0
        ("image-aligned", {"mean": np.zeros(3, np.float32)}),
        ("channel", {"mean": np.zeros((24, 24, 3), np.float32)}),
        ("channel", {"scale": np.float32(58)}),
    ],
)
def test_inputs_of_another_form_are_refused(mean, changes):
    settings = PreprocessConfig(mean=mean)
    inputs = make_inputs(settings, NOISE, _statistics(), 24)._replace(**changes)
    with jax.numpy_rank_promotion("allow"), pytest.raises(AssertionError, match="expected"):
        preprocess(inputs, jnp.asarray(IMAGES), config=(settings, NOISE))


def test_grey_images_are_refused():
    inputs = make_inputs(PreprocessConfig(), NOISE, _statistics(), 24)
    with pytest.raises(AssertionError, match="expected"):
        preprocess(inputs, jnp.asarray(IMAGES[..., :1]), config=(PreprocessConfig(), NOISE))
