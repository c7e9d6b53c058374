"""The train step of two towers and two replicas against that of one device."""

from typing import Any

import chex
import jax
import numpy as np
import pytest

from alexnet_jax.config import AugmentConfig, OptimizerConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.network import placement
from alexnet_jax.network.layers import (
    Activation,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Lrn,
    MaxPool,
    Network,
)
from alexnet_jax.training.steps import init_state, make_train_step

LAYERS = (
    Conv("conv1", 8, 3, weight_std=0.1),
    Activation(),
    Lrn(groups=2),
    MaxPool(),
    Conv("conv2", 8, 3, groups=2, weight_std=0.1),
    Activation(),
    Flatten(),
    Dense("fc3", 16, weight_std=0.1),
    Activation(),
    Dropout(),
    Dense("fc4", 3, weight_std=0.1),
)
NETWORK = Network("tower step", LAYERS, 10, "this test")
OPTIMIZER = OptimizerConfig(learning_rate=0.1)
INPUTS = Inputs(
    np.full(3, 128, np.float32), np.full(3, 60, np.float32), np.eye(3, dtype=np.float32)
)


def batch():
    """Eight images, one of them padding, so that the replicas count differently."""
    rng = np.random.default_rng(0)
    return Batch(
        images=rng.integers(0, 256, (8, 10, 10, 3), np.uint8),
        labels=rng.integers(0, 3, 8, np.int32),
        mask=np.arange(8) != 2,
        colour=rng.standard_normal((8, 3)).astype(np.float32),
        offsets=np.zeros((8, 2), np.int32),
        flips=np.zeros(8, bool),
    )


def steps_on(mesh, count, dtype: Any = np.float32, accumulation=1):
    """Returns the state after `count` steps, the sums of the last, and the step."""

    def cast(tree):
        floats = (np.float32, np.dtype("float32"))
        return jax.tree.map(lambda x: x.astype(dtype) if x.dtype in floats else x, tree)

    state = jax.tree.map(np.asarray, init_state(NETWORK, OPTIMIZER, 10, 0))
    rates = jax.tree.map(lambda _: dtype(0.1), state.params)
    inputs = placement.put(mesh, NETWORK, cast(INPUTS))
    state = placement.put(mesh, NETWORK, cast(state))
    images = placement.batch_putter(mesh, 8)(cast(batch()))
    preprocess = PreprocessConfig(mean="channel", scale="channel")
    augment = AugmentConfig(colour_noise=0.1)
    step = make_train_step(NETWORK, OPTIMIZER, preprocess, augment, dtype, accumulation, mesh=mesh)
    sums = None
    for _ in range(count):
        state, sums = step(state, images, inputs, rates, np.bool_(True))
    return state, jax.tree.map(float, sums), step


def largest_difference(ours, theirs):
    """Returns the largest difference of any leaf, relative to the leaf's maximum."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    arrays = [(np.asarray(a), np.asarray(b)) for a, b in pairs]
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in arrays)


@pytest.mark.slow
def test_a_step_of_many_devices_is_that_of_one():
    mesh = placement.make_mesh(2)
    first, sums, _ = steps_on(mesh, 1)
    expected, expected_sums, _ = steps_on(None, 1)
    chex.assert_trees_all_close(sums, expected_sums, rtol=1e-5)
    assert sums.count == 7
    assert largest_difference(first, expected) <= 1e-5


def test_steps_of_many_devices_are_one_program_whose_state_stays_where_it_is():
    mesh = placement.make_mesh(2)
    last, _, step = steps_on(mesh, 3)
    assert step._cache_size() == 1  # pyright: ignore[reportFunctionMemberAccess]
    places = placement.shardings(mesh, NETWORK, last)
    for leaf, place in zip(jax.tree.leaves(last), jax.tree.leaves(places), strict=True):
        assert leaf.sharding.is_equivalent_to(place, leaf.ndim)


@pytest.mark.parametrize(("towers", "replicas"), [(2, 1), (1, 2), (2, 2)])
def test_ten_steps_in_float64_are_those_of_one_device(float64, towers, replicas):
    found, _, _ = steps_on(placement.make_mesh(towers, replicas), 10, np.float64)
    expected, _, _ = steps_on(None, 10, np.float64)
    assert jax.tree.leaves(found.params)[0].dtype == np.float64
    assert largest_difference(found, expected) <= 1e-12


@pytest.mark.slow
def test_a_batch_in_parts_on_many_devices_is_that_of_one(float64):
    found, sums, _ = steps_on(placement.make_mesh(2), 1, np.float64, accumulation=2)
    expected, expected_sums, _ = steps_on(None, 1, np.float64)
    chex.assert_trees_all_close(sums, expected_sums, rtol=1e-12)
    assert largest_difference(found, expected) <= 1e-12
