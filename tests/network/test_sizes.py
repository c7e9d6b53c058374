"""The module at any height and width, and cut at a layer."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Network, parametric_layers, with_features
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.networks import NETWORKS

WIDTHS = {"conv1": 8, "conv2": 16, "conv3": 24, "conv4": 24, "conv5": 16, "fc6": 32, "fc7": 32}


def narrow(name):
    layers = with_features(NETWORKS[name].layers, WIDTHS | {"fc8": 7})
    return Network(f"narrow {name}", layers, 64, "this test")


@functools.cache
def setting(name):
    """A narrow network, its parameters for 64 pixels, and images of 45 x 70."""
    network = narrow(name)
    params = jax.jit(AlexNet(network).init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    images = jax.random.normal(jax.random.key(1), (2, 45, 70, 3))
    return network, params, images


def test_pictures_turned_on_their_side_give_maps_turned_on_their_side(few_optimizations):
    network, params, images = setting("original")
    turned = {
        layer: leaves | {"kernel": leaves["kernel"].swapaxes(0, 1)}
        for layer, leaves in params.items()
        if layer.startswith("conv")
    }
    apply = jax.jit(AlexNet(network.until("pool2")).apply)
    upright = apply({"params": params}, images)
    on_side = apply({"params": turned}, images.swapaxes(1, 2))
    assert upright.shape == (2, 2, 4, 16)
    tolerance = 2e-5 * float(jnp.abs(upright).max())
    np.testing.assert_allclose(on_side.swapaxes(1, 2), upright, rtol=0, atol=tolerance)


def test_layers_after_the_captured_ones_need_not_fit(few_optimizations):
    network, params, _ = setting("one-weird-trick")
    small = jnp.ones((1, 31, 40, 3))
    apply = functools.partial(AlexNet(network).apply, {"params": params}, small)
    captured: Any = jax.eval_shape(functools.partial(apply, capture="relu5"))
    assert captured.shape == (1, 1, 1, 16)
    with pytest.raises(InputError, match=r"at 31x40: layer 'pool5' .* fits is 63x63"):
        apply(capture=("relu5", "fc6"))
    with pytest.raises(InputError, match="until conv3' at 31x20: layer 'pool2' .* 31x31"):
        AlexNet(network).apply({"params": params}, jnp.ones((1, 31, 20, 3)), capture="conv3")


def test_dense_parameters_of_another_size_are_refused_with_both(few_optimizations):
    network, params, images = setting("original")
    tall = jnp.ones((1, 90, 64, 3))
    with pytest.raises(InputError, match=r"90x64 layer 'fc6' needs a kernel of \[32, 32\], not"):
        AlexNet(network).apply({"params": params}, tall)


@pytest.mark.parametrize("layer", ["relu1", "conv3", "fc6", "fc8"])
def test_a_cut_network_computes_what_is_captured_there(layer, key, few_optimizations):
    network, params, _ = setting("one-weird-trick")
    images = jax.random.normal(jax.random.key(1), (2, 64, 64, 3))
    cut = network.until(layer)
    expected = AlexNet(network).apply({"params": params}, images, capture=layer)
    own = {each.name: params[each.name] for each in parametric_layers(cut.layers)}
    for given in (own, params):
        found = AlexNet(cut).apply({"params": given}, images)
        np.testing.assert_array_equal(found, expected)
    shapes = jax.eval_shape(AlexNet(cut).init, key, images)["params"]
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, own)


def test_a_cut_network_is_no_classifier_in_bfloat16(few_optimizations):
    network, params, _ = setting("one-weird-trick")
    images = jax.random.normal(jax.random.key(1), (1, 64, 64, 3))
    expected, found = (
        jax.jit(functools.partial(AlexNet(each, jnp.bfloat16).apply, capture=capture))
        for each, capture in ((network, "fc6"), (network.until("fc6"), None))
    )
    np.testing.assert_array_equal(*(form({"params": params}, images) for form in (found, expected)))
