"""What the paper does not say: the networks and recipes that are compared, the measures."""

import numpy as np
import pytest

from alexnet_jax.network.layers import (
    Activation,
    Conv,
    Lrn,
    MaxPool,
    ResponseNorm,
    parametric_layers,
    summarize,
)
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.resolution import check_values
from alexnet_jax.training.schedule import rates_at
from experiments.silent_details import learn, photos


@pytest.mark.parametrize("change", learn.CHANGES)
def test_each_change_is_a_possible_network_and_recipe(change):
    network, config = change(NETWORKS["digits"], learn.base())
    check_values(config)
    assert summarize(network)[-1].output_shape == (10,)
    assert len(parametric_layers(network.layers)) == 8
    assert (network.layers == NETWORKS["digits"].layers) == (
        change in (learn.printed, learn.faster_biases, learn.chunks)
    )


def test_all_habits_at_once_are_those_of_the_source():
    network, config = learn.everything(NETWORKS["digits"], learn.base())
    kinds = [type(layer) for layer in network.layers[:9]]
    assert kinds == [Conv, Lrn, MaxPool, Activation, Conv, Activation, Lrn, ResponseNorm, MaxPool]
    assert [layer.alpha for layer in network.layers if isinstance(layer, Lrn)] == [2e-5, 2e-5]
    assert config.augment.crop_chunk == 32
    last = rates_at(config.schedule, config.optimizer, 7.5, 8)
    assert (last.weights, last.biases) == (0.004, 0.08)


def test_differences_are_relative_to_the_second_and_beyond_a_factor():
    b = np.array([3.0, 4.0], np.float32)
    assert photos.difference(2 * b, b) == pytest.approx(1.0)
    assert photos.up_to_a_factor(2 * b, b) == pytest.approx(0.0, abs=1e-6)
    turned = np.array([4.0, -3.0], np.float32)
    assert photos.up_to_a_factor(turned, b) == pytest.approx(1.0)


def test_sizes_counted_down_are_smaller():
    sizes = photos.windows()
    assert sizes["original at 224"]["up"] == [55, 27, 27, 13, 13, 13, 13, 6]
    assert sizes["original at 224"]["down"] == [54, 26, 26, 12, 12, 12, 12, 5]
    assert sizes["cifar-13pct at 32"] == {"up": [32, 16, 16, 8], "down": [32, 15, 15, 7]}
