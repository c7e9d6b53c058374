"""The state before the first step, and what a step refuses when it is traced."""

from typing import Any

import chex
import jax
import numpy as np
import pytest
from tiny import TINY

from alexnet_jax.config import AugmentConfig, Config, OptimizerConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.errors import DataError
from alexnet_jax.network.model import init_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.training.steps import init_state, make_train_step

N, SIZE = 4, TINY.image_size


@pytest.mark.slow
@pytest.mark.parametrize("seed", (0, 2**31, 2**33 + 5))
def test_any_seed_gives_the_parameters_of_its_key(seed):
    network = NETWORKS["digits"]
    state = init_state(network, OptimizerConfig(), network.image_size, seed)
    params = init_params(network, network.image_size, seed)
    pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True)
    assert all((a == b).all() for a, b in pairs)
    assert (state.key == jax.random.key_data(jax.random.fold_in(jax.random.key(seed), 1))).all()


def batch(**changes):
    whole = Batch(
        images=np.zeros((N, SIZE, SIZE, 3), np.uint8),
        labels=np.zeros(N, np.int32),
        mask=np.ones(N, bool),
        colour=np.zeros((N, 3), np.float32),
        offsets=np.zeros((N, 2), np.int32),
        flips=np.zeros(N, bool),
    )
    return whole._replace(**changes)


def step_and_arguments(accumulation=1) -> tuple[Any, list[Any]]:
    config = Config()
    step = make_train_step(
        TINY,
        config.optimizer,
        config.preprocess,
        AugmentConfig(colour_noise=0.1),
        accumulation=accumulation,
    )
    state = jax.eval_shape(lambda: init_state(TINY, config.optimizer, SIZE, 0))
    sizes = (SIZE, SIZE, 3), (3,), (3, 3)
    inputs = Inputs(*(np.ones(shape, np.float32) for shape in sizes))
    rates = jax.tree.map(lambda _: np.float32(0.01), state.params)
    return step, [state, batch(), inputs, rates, np.bool_(True)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": np.zeros((N, SIZE, SIZE, 1), np.uint8)},
        {"images": np.zeros((N, SIZE, SIZE, 3), np.float32)},
        {"labels": np.zeros((N, 1), np.int32)},
        {"labels": np.zeros(1, np.int32)},
        {"mask": np.ones((N, 1), bool)},
        {"mask": np.ones(N, np.float32)},
        {"colour": np.zeros((1, 3), np.float32)},
        {"offsets": np.zeros((1, 2), np.int32)},
        {"flips": np.zeros(1, bool)},
    ],
    ids=lambda wrong: f"{next(iter(wrong))}{next(iter(wrong.values())).shape}",
)
def test_a_batch_of_other_shapes_or_types_is_refused(wrong):
    step, (state, _, *others) = step_and_arguments()
    with (
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
        pytest.raises(AssertionError, match=r"\[Chex\].*images, labels, mask"),
    ):
        step.trace(state, batch(**wrong), *others)


def test_parts_that_would_leave_images_out_are_refused():
    step, arguments = step_and_arguments(accumulation=3)
    with pytest.raises(AssertionError, match="4 is not divisible by 3"):
        step.trace(*arguments)


def test_the_checks_are_no_part_of_the_program():
    step, arguments = step_and_arguments()
    text = step.lower(*arguments).as_text()
    chex.disable_asserts()
    try:
        step, arguments = step_and_arguments()
        assert step.lower(*arguments).as_text() == text
        wrong = batch(labels=np.zeros(1, np.int32))
        step.trace(arguments[0], wrong, *arguments[2:])  # they are really off
    finally:
        chex.enable_asserts()


def test_a_step_is_one_program_and_says_what_would_make_it_two():
    step, (state, first, inputs, rates, on) = step_and_arguments()
    with pytest.raises(AssertionError, match="Chex"):
        step.trace(state, batch(labels=np.zeros(1, np.int32)), inputs, rates, on)
    for _ in range(2):  # what was refused does not count
        step.trace(state, first, inputs, rates, on)
    fewer = Batch(*(array[1:] for array in first))
    with pytest.raises(DataError, match=r"batch.images was uint8\[4,8,8,3\] and is uint8\[3,8,8"):
        step.trace(state, fewer, inputs, rates, on)
    weak = jax.tree.map(float, rates)
    with pytest.raises(AssertionError, match=r"rates.conv1.bias was float32\[\] and is ~float32"):
        step.trace(state, first, inputs, weak, on)
    with (
        jax.default_matmul_precision("highest"),
        pytest.raises(AssertionError, match="JAX's settings"),
    ):
        step.trace(state, first, inputs, rates, on)
    step.trace(state, first, inputs, rates, on)  # as before


def test_arguments_may_be_given_by_name():
    step, (state, first, inputs, rates, on) = step_and_arguments()
    after, _ = jax.eval_shape(step, state, first, inputs, rates=rates, colour_on=on)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_steps_made_at_one_place_are_counted_apart():
    for _ in range(2):
        step, arguments = step_and_arguments()
        step.trace(*arguments)
