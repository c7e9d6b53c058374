"""Layers as modules: Flax's own tools see each of them, and it changes nothing."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.network.layers import (
    Activation,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Network,
    layer_names,
)
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.summary import summary


@pytest.mark.parametrize("name", ["miniature", "cifar-11pct"])
def test_tabulate_has_a_row_for_every_layer(name, key, monkeypatch):
    table = summary(name)
    images = jnp.zeros((2, table.image_size, table.image_size, 3))
    monkeypatch.setenv("COLUMNS", "80")  # as in a notebook
    text = AlexNet(table.network).tabulate(key, images)
    assert "…" not in text
    lines = [re.split(r"\s*│\s*", line) for line in re.sub(r"\x1b\[[\d;]*m", "", text).split("\n")]
    cells = {line[1]: line[2:] for line in lines if len(line) > 5 and line[1]}
    assert list(cells) == [row.layer for row in table.rows]
    specs = dict(zip(cells, table.network.layers, strict=True))
    before = [2, table.image_size, table.image_size, 3]
    for row in table.rows:
        kind, inputs, outputs, *_ = cells[row.layer]
        after = [2, *row.output_shape]
        assert kind == f"{type(specs[row.layer]).__name__}Module"
        assert (inputs, outputs) == tuple(
            f"float32[{','.join(map(str, shape))}]" for shape in (before, after)
        )
        before = after
    assert f"Total Parameters: {table.params:,}" in re.sub(r"\x1b\[[\d;]*m", "", text)


TINY = Network(
    "tiny",
    (
        *(Conv("conv1", 4, 3), Activation(), MaxPool(), Flatten()),
        *(Dense("fc2", 32), Dropout(), Dense("fc3", 2)),
    ),
    9,
    "a test",
)


def test_layers_are_seen_by_flax_and_dropout_draws_as_ever(key, few_optimizations):
    model = AlexNet(TINY)
    images = jnp.ones((3, 9, 9, 3))
    names = layer_names(TINY.layers)
    params = jax.tree.map(
        lambda leaf: jnp.full(leaf.shape, 0.1), jax.eval_shape(model.init, key, images)
    )

    @jax.jit
    def outputs(key):
        apply = functools.partial(model.apply, params, images, train=True, first_row=5)
        captured = apply(rngs={"dropout": key}, capture=names)
        _, state = apply(rngs={"dropout": key}, capture_intermediates=True)
        # From the key of the network, not of the layer: courses stay those of earlier versions.
        drawn = model.bind({}, rngs={"dropout": key}).make_rng("dropout")
        masks = [
            jax.random.bernoulli(jax.random.fold_in(drawn, row), 0.5, (32,)) for row in (5, 6, 7)
        ]
        return captured, state["intermediates"], masks

    captured, intermediates, masks = outputs(key)
    for name in names:
        [output] = intermediates[name]["__call__"]
        np.testing.assert_array_equal(captured[name], output)
    np.testing.assert_array_equal(captured["dropout2"] != 0, masks)
