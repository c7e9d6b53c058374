"""Minimal filtering against its definition, the direct convolution."""

import functools

import jax
import numpy as np
import pytest
import quick

from alexnet_jax.network import minimal_filtering, ops
from alexnet_jax.network.layers import Conv, padding_of, summarize
from alexnet_jax.network.networks import NETWORKS

TILES = [(tile, 3) for tile in (2, 3, 4, 5, 6)] + [(4, 5)]


def _normal(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("tile", "window"), TILES)
def test_the_matrices_filter_one_row(tile, window):
    a, g, b = minimal_filtering.matrices(tile, window)
    row, taps = _normal(0, tile + window - 1), _normal(1, window)
    expected = np.correlate(row, taps, "valid")
    np.testing.assert_allclose(a @ ((g @ taps) * (b @ row)), expected, rtol=0, atol=1e-12)


def test_more_points_than_float32_bears_are_refused():
    with pytest.raises(ValueError, match=r"F\(7, 3\) needs 9 points"):
        minimal_filtering.matrices(7, 3)


def _outputs_and_gradients(form, x, kernel, grad):
    out, pull = jax.vjp(form, x, kernel)
    return out, *pull(grad)


SIZES = {
    "a whole number of tiles": ((2, 12, 12, 3), ((1, 1), (1, 1))),
    "a rest": ((2, 7, 11, 3), ((1, 1), (1, 1))),
    "no padding": ((1, 9, 8, 2), ((0, 0), (0, 0))),
    "lopsided": ((2, 6, 7, 3), ((2, 0), (0, 1))),
    "more padding than window": ((2, 6, 6, 2), ((7, 1), (0, 8))),
    "one tile": ((1, 5, 5, 2), ((0, 0), (0, 0))),
}


@pytest.mark.parametrize("size", quick.only(["a rest", "lopsided"], SIZES))
@pytest.mark.parametrize(("tile", "window"), TILES)
def test_float64_equals_the_direct_convolution(tile, window, size):
    shape, padding = SIZES[size]
    with jax.enable_x64(True):
        x, kernel = _normal(0, shape), _normal(1, (window, window, shape[-1], 4))
        plain = functools.partial(ops.plain_convolution, padding=padding)
        fast = functools.partial(minimal_filtering.convolve, padding=padding, tile=tile)
        grad = _normal(2, jax.eval_shape(plain, x, kernel).shape)
        found = jax.jit(functools.partial(_outputs_and_gradients, fast))(x, kernel, grad)
        wanted = jax.jit(functools.partial(_outputs_and_gradients, plain))(x, kernel, grad)
        for ours, theirs in zip(found, wanted, strict=True):
            bound = 1e-12 * np.abs(theirs).max()
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound)


def _layers():
    """Returns `{(image size, channels, layer without name and bias): name}` of all networks."""
    found = {}
    for network in NETWORKS.values():
        for summary in summarize(network):
            layer = summary.layer
            if isinstance(layer, Conv):
                shape = (layer.window, layer.stride, layer.groups, layer.features)
                padding = padding_of(summary.input_shape[0], layer)
                key = (summary.input_shape[0], summary.input_shape[2], shape, padding)
                found.setdefault(key, f"{network.name}/{layer.name}")
    return {name: key for key, name in found.items()}


LAYERS = _layers()


QUICK = [name for name in LAYERS if name.startswith(("paper/", "cifar-11pct/"))]


@pytest.mark.parametrize("name", quick.only(QUICK, LAYERS))
def test_float32_of_every_layer_is_near_the_direct_convolution_in_float64(name):
    """Within 2e-5 of the largest value: outputs, gradients of images, gradients of filters."""
    size, channels, (window, stride, groups, features), padding = LAYERS[name]
    # As many images as make minimal filtering worth its while; a small part of each layer's work.
    x = _normal(0, (2, size, size, channels))
    kernel = _normal(1, (window, window, channels // groups, features))
    options = {"stride": stride, "padding": (padding, padding), "groups": groups}
    with jax.enable_x64(True):
        plain = functools.partial(ops.plain_convolution, **options)
        grad = _normal(2, jax.eval_shape(plain, x, kernel).shape)
        wanted = jax.jit(functools.partial(_outputs_and_gradients, plain))(x, kernel, grad)
        wanted = [np.asarray(value) for value in wanted]
    x, kernel, grad = (value.astype(np.float32) for value in (x, kernel, grad))
    # The choice of 128 images, for two: the filters' transform costs them relatively more.
    fast = functools.partial(ops.convolution, **options)
    with pytest.MonkeyPatch.context() as patch:
        choose = minimal_filtering.best_tile
        patch.setattr(
            minimal_filtering,
            "best_tile",
            lambda x, *rest: choose(jax.ShapeDtypeStruct((128, *x.shape[1:]), x.dtype), *rest),
        )
        found = jax.jit(functools.partial(_outputs_and_gradients, fast))(x, kernel, grad)
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.abs(np.asarray(ours) - theirs).max() <= 2e-5 * np.abs(theirs).max()


@pytest.mark.parametrize(
    ("images", "size", "channels", "features", "window", "tile"),
    [
        (128, 13, 256, 384, 3, 5),
        (128, 27, 48, 128, 5, 4),
        (128, 6, 64, 64, 3, 3),
        (1, 13, 256, 384, 3, None),  # the filters' transform is not shared by many images
        (128, 32, 3, 32, 5, None),  # few channels
        (128, 13, 256, 384, 1, None),
        (128, 13, 256, 384, 7, None),
    ],
)
def test_the_form_is_chosen_by_its_operations(images, size, channels, features, window, tile):
    x = jax.ShapeDtypeStruct((images, size, size, channels), np.float32)
    kernel = jax.ShapeDtypeStruct((window, window, channels, features), np.float32)
    edges = (window // 2, window // 2)
    assert minimal_filtering.best_tile(x, kernel, (edges, edges)) == tile  # type: ignore[arg-type]


def test_conv1_becomes_3x3_over_squares_of_pixels():
    """Squares of 4 x 4 pixels have 48 channels; no convolution is left in the program."""
    convolve = jax.jit(functools.partial(ops.convolution, stride=4, padding=((0, 3), (0, 3))))
    shapes = ((64, 224, 224, 3), (11, 11, 3, 96))
    arguments = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    program = convolve.lower(*arguments).compile().as_text() or ""
    assert "f32[49,7744,96]" in program and " convolution(" not in program
