"""Layers that never learn: known before the run, they cost no gradients, and others learn on."""

import dataclasses

import jax
import numpy as np
import pytest
from float64 import as_float64

from alexnet_jax.config import Config, OptimizerConfig, Phase, ScheduleConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.network.layers import Activation, Conv, Dense, Flatten, MaxPool, Network
from alexnet_jax.training.schedule import frozen_layers, rate_tree, rates_at
from alexnet_jax.training.steps import init_state, make_train_step

SIZE, ROWS = 16, 6
NETWORK = Network(
    "trunk",
    (
        Conv("conv1", 16, 5, padding=2, weight_std=0.1),
        Activation(),
        Conv("conv2", 16, 5, padding=2, weight_std=0.1),
        Activation(),
        MaxPool(),
        Flatten(),
        Dense("fc3", 4, weight_std=0.1),
    ),
    SIZE,
    "tests",
)
FACTORS = (("conv1", 0.0), ("conv2", 0.0))


def test_only_layers_without_a_rate_in_any_phase_are_frozen():
    optimizer = OptimizerConfig(layer_learning_rate=(*FACTORS, ("fc3", 0.1)))
    assert frozen_layers(ScheduleConfig(), optimizer) == {"conv1", "conv2"}
    wakes = ScheduleConfig("step", (Phase(3, layer_learning_rate=(("conv2", 1e-3),)),))
    assert frozen_layers(wakes, optimizer) == {"conv1"}
    stays = ScheduleConfig("step", (Phase(3, layer_learning_rate=(("conv1", 0.0),)),))
    assert frozen_layers(stays, optimizer) == {"conv1", "conv2"}
    assert frozen_layers(stays, OptimizerConfig()) == set(), "it learns until epoch 3"


@pytest.mark.slow
def test_frozen_layers_cost_no_gradients_and_change_nothing_for_the_others(float64):
    config = dataclasses.replace(
        Config(), optimizer=OptimizerConfig(0.1, layer_learning_rate=FACTORS)
    )
    random = np.random.default_rng(0)
    batch = Batch(
        random.integers(0, 256, (ROWS, SIZE, SIZE, 3), np.uint8),
        random.integers(0, 4, ROWS).astype(np.int32),
        np.ones(ROWS, bool),
        np.zeros((ROWS, 3), np.float32),
        np.zeros((ROWS, 2), np.int32),
        np.zeros(ROWS, bool),
    )
    inputs = Inputs(np.full((SIZE, SIZE, 3), 120.0), np.full(3, 0.02), np.eye(3))
    rates = rates_at(config.schedule, config.optimizer, 0, 1)
    results, work = [], []
    for frozen in (frozenset(), frozen_layers(config.schedule, config.optimizer)):
        state = as_float64(init_state(NETWORK, config.optimizer, SIZE, 0))
        before = jax.tree.map(np.array, state.params)
        step = make_train_step(
            NETWORK, config.optimizer, config.preprocess, config.augment, np.float64, frozen=frozen
        )
        tree = as_float64(rate_tree(rates, config.optimizer, state.params))
        compiled = step.lower(state, as_float64(batch), inputs, tree, np.bool_(False)).compile()  # type: ignore
        work.append(compiled.cost_analysis()["flops"])
        for _ in range(3):
            state, _ = step(state, as_float64(batch), inputs, tree, np.bool_(False))
        for layer in ("conv1", "conv2"):
            np.testing.assert_array_equal(state.params[layer]["kernel"], before[layer]["kernel"])
        assert np.abs(state.params["fc3"]["kernel"] - before["fc3"]["kernel"]).max() > 1e-3
        results.append(np.array(state.params["fc3"]["kernel"]))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-10)
    assert work[1] < 0.6 * work[0]
