"""The train step of two towers and two replicas against that of one device."""

import jax
import numpy as np

from alexnet_jax.config import AugmentConfig, OptimizerConfig, PreprocessConfig
from alexnet_jax.data.pipeline import Batch
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.network import towers
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


def two_steps(mesh):
    """Returns the state after one step, after two, the sums of the first, and the step."""
    state = init_state(NETWORK, OPTIMIZER, 10, 0)
    rates = jax.tree.map(lambda _: np.float32(0.1), state.params)
    images = batch()
    if mesh is not None:
        state = jax.device_put(state, towers.shardings(mesh, NETWORK, state))
        images = jax.device_put(images, towers.batch_sharding(mesh))
    preprocess = PreprocessConfig(mean="channel", scale="channel")
    augment = AugmentConfig(colour_noise=0.1)
    step = make_train_step(NETWORK, OPTIMIZER, preprocess, augment, mesh=mesh)
    state, sums = step(state, images, INPUTS, rates, np.bool_(True))
    first = jax.tree.map(np.asarray, state)
    state, _ = step(state, images, INPUTS, rates, np.bool_(True))
    return first, state, jax.tree.map(float, sums), step


def test_a_step_of_many_devices_is_that_of_one():
    mesh = towers.make_mesh(2, jax.devices()[:4])
    first, last, sums, step = two_steps(mesh)
    expected, _, expected_sums, _ = two_steps(None)
    np.testing.assert_allclose(sums, expected_sums, rtol=1e-5)
    assert sums.count == 7
    for ours, theirs in zip(jax.tree.leaves(first), jax.tree.leaves(expected), strict=True):
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
    assert step._cache_size() == 1
    for leaf, sharding in zip(
        jax.tree.leaves(last), jax.tree.leaves(towers.shardings(mesh, NETWORK, last)), strict=True
    ):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
