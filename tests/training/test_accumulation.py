"""A batch computed in parts: the same step as in one piece, in less memory."""

import dataclasses
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.config import Config
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Activation, Conv, Dense, Dropout, Flatten, MaxPool, Network
from alexnet_jax.network.model import AlexNet
from alexnet_jax.runs.record import check_same_config
from alexnet_jax.training.steps import init_state, make_train_step

ROWS, SIZE = 12, 16
NETWORK = Network(
    "two-dropouts",
    (
        Conv("conv1", 8, 3, padding=1, weight_std=0.1),
        Activation(),
        Conv("conv2", 8, 3, padding=1, weight_std=0.1),
        Activation(),
        MaxPool(),
        Flatten(),
        Dropout(),
        Dense("fc3", 16, weight_std=0.1),
        Dropout(),
        Dense("fc4", 4, weight_std=0.1),
    ),
    SIZE,
    "tests",
)


def batch_of(rows=ROWS):
    random = np.random.default_rng(0)
    return Batch(
        images=random.integers(0, 256, (rows, SIZE, SIZE, 3), np.uint8),
        labels=random.integers(0, 4, rows).astype(np.int32),
        mask=np.arange(rows) != rows - 2,
        colour=random.standard_normal((rows, 3)).astype(np.float32),
        offsets=np.zeros((rows, 2), np.int32),
        flips=np.zeros(rows, bool),
    )


INPUTS = Inputs(
    np.full((SIZE, SIZE, 3), 120, np.float32),
    np.full(3, 0.02, np.float32),
    np.eye(3, dtype=np.float32),
)


def step_of(accumulation, dtype: Any = np.float32):
    config = Config()
    state = init_state(NETWORK, config.optimizer, SIZE, 0)
    rates = jax.tree.map(lambda _: np.float32(0.01), state.params)
    arguments = (NETWORK, config.optimizer, config.preprocess, config.augment, dtype)
    return make_train_step(*arguments, accumulation=accumulation), state, rates


def in_float64(tree):
    return jax.tree.map(lambda x: x.astype("f8") if x.dtype == np.float32 else x, tree)


@pytest.mark.slow
def test_parts_make_the_same_step_with_the_same_dropout(float64):
    outcomes = []
    for parts in (1, 3):
        step, *start = step_of(parts, np.float64)
        state, rates, batch, inputs = in_float64((*start, batch_of(), INPUTS))
        outcomes.append(step(state, batch, inputs, rates, np.bool_(True)))
    (whole, whole_sums), (state, sums) = outcomes
    chex.assert_trees_all_close(state.params, whole.params, rtol=1e-10, atol=1e-14)
    chex.assert_trees_all_close(state.opt_state, whole.opt_state, rtol=1e-10, atol=1e-14)
    chex.assert_trees_all_close(sums, whole_sums, rtol=1e-12)
    assert float(sums.count) == ROWS - 1


@pytest.mark.slow
def test_an_image_has_the_dropout_mask_of_its_place_in_the_batch():
    images = jnp.ones((6, SIZE, SIZE, 3))
    variables = jax.jit(AlexNet(NETWORK).init)(jax.random.key(0), images)

    def outputs(first_row, images):
        options = {"rngs": {"dropout": jax.random.key(7)}, "first_row": first_row}
        return jax.jit(partial(AlexNet(NETWORK).apply, train=True, **options))(variables, images)

    whole, part = outputs(0, images), outputs(2, images[:3])
    assert len(np.unique(np.asarray(whole), axis=0)) == 6  # equal images, unlike masks
    np.testing.assert_allclose(np.asarray(part), np.asarray(whole)[2:5], rtol=1e-5)


@pytest.mark.slow
def test_parts_use_the_same_memory_one_after_another():
    def temporary_bytes(parts):
        step, state, rates = step_of(parts)
        arguments = (state, batch_of(96), INPUTS, rates, np.bool_(True))
        compiled = step.lower(*arguments).compile()  # type: ignore[attr-defined]
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(4) < 0.45 * temporary_bytes(1)


def test_a_run_may_change_its_parts_only_when_it_says_so(tmp_path):
    config = Config()
    changed = dataclasses.replace(config, accumulation=2)
    check_same_config(tmp_path, config, changed, retune=True)
    with pytest.raises(InputError, match="accumulation was 1, is 2.*--retune"):
        check_same_config(tmp_path, config, changed)
