"""What is left of the network when it only predicts: one program, no dropout, no gradients."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.evaluation.evaluate import make_predict_step
from alexnet_jax.network.layers import Conv, MaxPool, Network, with_features
from alexnet_jax.network.model import init_params
from alexnet_jax.network.networks import NETWORKS

WIDTHS = {"conv1": 8, "conv2": 16, "conv3": 24, "conv4": 24, "conv5": 16, "fc6": 32, "fc7": 32}
PLATFORMS = ("cpu", "cuda", "tpu")
SIZE, STORED, IMAGES = 64, 70, 3
INPUTS = Inputs(
    np.zeros((SIZE, SIZE, 3), np.float32), np.ones(3, np.float32), np.zeros((3, 3), np.float32)
)


def narrow(name):
    """The network `name` with few features."""
    network = NETWORKS[name]
    layers = with_features(network.layers, WIDTHS | {"fc8": 10})
    return Network(f"narrow {name}", layers, SIZE, "this test")


@functools.cache
def _texts(name: str, dtype: str, views: int) -> dict[str, str]:
    """Returns the StableHLO of a predict step for `IMAGES` stored images, by platform."""
    network = narrow(name)
    params = jax.eval_shape(lambda: init_params(network, SIZE, 0))
    step = make_predict_step(network, PreprocessConfig(), SIZE, views, jnp.dtype(dtype))
    images = jax.ShapeDtypeStruct((IMAGES, STORED, STORED, 3), np.uint8)
    traced = step.trace(params, INPUTS, images)  # type: ignore[attr-defined]
    return {p: traced.lower(lowering_platforms=(p,)).as_text() for p in PLATFORMS}


@pytest.mark.parametrize("name", ["paper", "original", "one-weird-trick"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_dropout_and_gradients_leave_nothing(name, platform):
    text = _texts(name, "float32", 10)[platform]
    for word in ("threefry", "bernoulli", "rng", "xor", "select_and_scatter"):
        assert word not in text, word
    # The winners of max pooling are uint8 maps; the only others are the images themselves.
    sizes = {int(size) for size in re.findall(r"tensor<\d+x(\d+)x\d+x\d+xui8>", text)}
    assert sizes <= {STORED, SIZE}


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("views", [1, 10])
def test_all_views_go_through_the_network_as_one_batch(platform, views):
    text = _texts("paper", "float32", views)[platform]
    maps = re.findall(r"(?:convolution|dot_general).*-> tensor<(\d+)x\d+x\d+x\d+xf32>", text)
    halves = 2 if platform == "cpu" else 1  # a grouped convolution is two there, as products
    assert maps == [str(views * IMAGES)] * (2 + 3 * halves)
    assert text.count("stablehlo.dot_general") - text.count("precision = [HIGHEST") == 3


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_get_the_plain_forms(platform):
    text = _texts("paper", "bfloat16", 10)[platform]
    network = narrow("paper")
    grouped = [layer for layer in network.layers if isinstance(layer, Conv) and layer.groups == 2]
    pools = [layer for layer in network.layers if isinstance(layer, MaxPool)]
    assert text.count("feature_group_count = 2") == len(grouped)
    maxima = re.findall(r'"stablehlo\.reduce_window"[^\n]*\n[^\n]*\n[^\n]*stablehlo\.maximum', text)
    assert len(maxima) == len(pools)
    for line in text.splitlines():
        if "stablehlo.convolution" in line:
            assert line.count("bf16") == 3 and "dim_numbers = [b, 0, 1, f]x[0, 1, i, o]" in line
    assert "optimization_barrier" not in text and "custom_call" not in text
