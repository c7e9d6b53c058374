"""Receptive fields: known ones of AlexNet, and those that gradients show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    Local,
    Lrn,
    Network,
    ResponseNorm,
    layer_names,
)
from alexnet_jax.network.model import AlexNet, init_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.network.receptive_fields import receptive_fields

EXACT = Network(
    "exact",
    (
        *(Conv("conv1", 4, 5, stride=2, padding=1), Lrn(), AvgPool()),
        *(Local("local2", 4, 3, 1), Activation(), ResponseNorm(3)),
        AvgPool(window=2, stride=2, overhang=False),
        *(Conv("conv3", 4, 3, padding=1), Flatten(), Dense("fc4", 3)),
    ),
    45,
    "a test",
)
LOOSE = Network("loose", (*EXACT.layers[:-2], AdaptiveAvgPool(2), *EXACT.layers[-2:]), 45, "a test")


def test_the_fields_of_the_papers_network():
    fields = {f.layer: f for f in alexnet_jax.receptive_fields(NETWORKS["paper"])}
    names = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6")
    assert [fields[n].size for n in names] == [11, 19, 51, 67, 99, 131, 163, 195, 224]
    assert [fields[n].stride for n in names] == [4, 8, 8, 16, 16, 16, 16, 32, 0]
    assert [fields[n].units for n in names] == [55, 27, 27, 13, 13, 13, 13, 6, 1]
    assert fields["conv1"].bounds(0) == (0, 10) and fields["conv1"].bounds(54) == (216, 226)
    assert fields["conv2"].bounds(0) == (-16, 34), "two units of padding on the left"
    assert fields["fc6"].bounds(0) == (0, 223)


def test_another_image_size_and_its_errors():
    larger = {f.layer: f for f in receptive_fields(NETWORKS["paper"], 227)}
    assert larger["conv5"].size == 163 and larger["fc7"].size == 227
    with pytest.raises(InputError, match="smallest that fits"):
        receptive_fields(NETWORKS["paper"], 30)


def test_a_picture_that_is_no_square_has_fields_along_each_side():
    rows, columns = (
        {field.layer: field for field in receptive_fields(NETWORKS["paper"], (240, 320), axis)}
        for axis in (0, 1)
    )
    assert (rows["conv1"].units, columns["conv1"].units) == (59, 79)
    assert rows["conv5"].size == columns["conv5"].size == 163
    assert (rows["fc6"].size, columns["fc6"].size) == (240, 320)


@pytest.mark.slow
@pytest.mark.parametrize("network", [EXACT, LOOSE], ids=lambda n: n.name)
def test_gradients_reach_as_far_as_the_fields(network, float64, few_optimizations):
    params = jax.tree.map(
        lambda leaf: jnp.full(leaf.shape, 0.01, jnp.float64),
        init_params(network, network.image_size, 0),
    )
    side = network.image_size
    image = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (side, side, 3)))
    fields = receptive_fields(network)
    names = layer_names(network.layers)
    for place, (name, field) in enumerate(zip(names, fields, strict=True)):
        if place and field[1:] == fields[place - 1][1:]:
            continue  # nonlinearities and the like

        def output(x, name=name):
            model = AlexNet(network, dtype=jnp.float64)
            return model.apply({"params": params}, x[None], capture=name)[0]

        value, pullback = jax.vjp(output, image)
        for unit in {0, field.units // 2, field.units - 1}:
            chosen = jnp.zeros_like(value)
            chosen = chosen.at[unit, unit].set(1) if value.ndim == 3 else jnp.ones_like(value)
            slope = np.abs(pullback(chosen)[0]).sum(axis=(1, 2))
            seen = np.flatnonzero(slope)
            first, last = field.bounds(unit)
            slack = isinstance(network.layers[place], AdaptiveAvgPool) and 8
            assert first - slack <= seen[0] and seen[-1] <= last + slack, (name, unit)
            if network is EXACT and field.stride:
                assert (seen[0], seen[-1]) == (max(first, 0), min(last, side - 1)), (name, unit)
