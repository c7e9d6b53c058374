"""The 2012 update rule against its two printed equations, in NumPy and float64."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from alexnet_jax.config import OptimizerConfig
from alexnet_jax.training.optimizer import update_rule

pytestmark = pytest.mark.usefixtures("float64")


def run(config, params, grads, rates) -> tuple[Any, Any]:
    """Applies one update per entry of `grads` and `rates`; returns params and velocities."""
    chain = update_rule(config, params)
    state: Any = chain.init(params)

    @jax.jit
    def step(params, state, grads, rates):
        updates, state = chain.update(grads, state, params, rates=rates)
        return optax.apply_updates(params, updates), state

    for grad, rate in zip(grads, rates, strict=True):
        params, state = step(params, state, grad, rate)
    velocity = next(part.trace for part in state if hasattr(part, "trace"))
    return params, velocity


def tree(kernel, bias):
    return {"fc": {"kernel": jnp.float64(kernel), "bias": jnp.float64(bias)}}


def map_rates(rates):
    return [tree(rate, rate) for rate in rates]


def test_golden_value_with_a_drop_of_the_rate():
    grads = [tree(g, 0.0) for g in (1, -0.5, 0.3, 0.2, 0.8, 0.1)]
    rates = [tree(r, 1.0) for r in (0.1, 0.1, 0.1, 0.01, 0.01, 0.01)]
    params, _ = run(OptimizerConfig(), tree(1.5, 0.0), grads, rates)
    np.testing.assert_allclose(params["fc"]["kernel"], 1.110499, atol=1e-6)


def test_biases_have_their_own_rate_and_no_decay():
    config = OptimizerConfig(weight_decay=0.1)
    params, _ = run(config, tree(2.0, 2.0), [tree(0.0, 0.0)], [tree(0.5, 0.5)])
    np.testing.assert_allclose(params["fc"]["kernel"], 2.0 - 0.1 * 0.5 * 2.0)
    np.testing.assert_allclose(params["fc"]["bias"], 2.0)


def test_rate_zero_leaves_parameter_and_velocity_alone():
    grads = [tree(1.0, 1.0)] * 3
    rates = [tree(0.1, 0.2), tree(0.0, 0.2), tree(0.1, 0.2)]
    config = OptimizerConfig(weight_decay=0.0)
    frozen, velocity = run(config, tree(1.0, 0.0), grads[:2], rates[:2])
    np.testing.assert_allclose(frozen["fc"]["kernel"], 0.9, rtol=1e-14)
    np.testing.assert_allclose(velocity["fc"]["kernel"], -0.1, rtol=1e-14)
    thawed, _ = run(config, tree(1.0, 0.0), grads, rates)
    np.testing.assert_allclose(thawed["fc"]["kernel"], 0.9 - 0.9 * 0.1 - 0.1, rtol=1e-14)


@pytest.mark.parametrize("steps", [1, 7])
def test_layers_follow_the_equations_of_the_paper(steps):
    generator = np.random.default_rng(steps)
    shapes = {"conv1": (2, 3), "local3": (4,), "fc4": (5, 2)}
    config = OptimizerConfig(weight_decay=5e-4, layer_weight_decay=(("local3", 0.004), ("fc4", 0)))
    decay = {"conv1": 5e-4, "local3": 0.004, "fc4": 0.0}

    def sample():
        return {
            name: {"kernel": generator.normal(size=shape), "bias": generator.normal(size=3)}
            for name, shape in shapes.items()
        }

    start, grads = sample(), [sample() for _ in range(steps)]
    rates = [
        {name: {"kernel": 0.1 / (i + 1), "bias": 0.2} for name in shapes} for i in range(steps)
    ]
    expected = jax.tree.map(np.array, start)
    velocity = jax.tree.map(np.zeros_like, start)
    for grad, rate in zip(grads, rates, strict=True):
        for name in shapes:
            for leaf in ("kernel", "bias"):
                d = decay[name] if leaf == "kernel" else 0.0
                e, w, v = rate[name][leaf], expected[name][leaf], velocity[name][leaf]
                velocity[name][leaf] = 0.9 * v - d * e * w - e * grad[name][leaf]
                expected[name][leaf] = w + velocity[name][leaf]

    start, grads, rates = jax.tree.map(jnp.float64, (start, grads, rates))
    params, trace = run(config, start, grads, rates)
    for ours, theirs in ((params, expected), (trace, velocity)):
        chex.assert_trees_all_close(ours, theirs, rtol=1e-12)


def test_a_rate_outside_the_velocity_is_pytorchs_rule():
    gradients, rates = (1.0, -0.5, 0.3, 0.2), (0.1, 0.1, 0.01, 0.01)
    config = OptimizerConfig(weight_decay=0.1, rate_inside_velocity=False)
    params, found = run(config, tree(1.5, 0), [tree(g, 0) for g in gradients], map_rates(rates))
    weight, velocity = 1.5, 0.0
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = 0.9 * velocity + gradient + 0.1 * weight
        weight -= rate * velocity
    np.testing.assert_allclose(params["fc"]["kernel"], weight, rtol=1e-14)
    np.testing.assert_allclose(found["fc"]["kernel"], velocity, rtol=1e-14)
    inside = dataclasses.replace(config, rate_inside_velocity=True)
    other, _ = run(inside, tree(1.5, 0), [tree(g, 0) for g in gradients], map_rates(rates))
    assert abs(float(other["fc"]["kernel"] - params["fc"]["kernel"])) > 0.01


def test_a_frozen_layer_stays_by_either_rule():
    config = OptimizerConfig(weight_decay=0.0, rate_inside_velocity=False)
    params, velocity = run(config, tree(1.0, 0.0), [tree(1.0, 0.0)] * 2, map_rates((0.1, 0.0)))
    np.testing.assert_allclose(params["fc"]["kernel"], 0.9, rtol=1e-14)
    np.testing.assert_allclose(velocity["fc"]["kernel"], 1.0, rtol=1e-14)


def test_gradients_and_rates_that_would_be_broadcast_are_refused():
    params = tree(1.0, 0.0)
    chain = update_rule(OptimizerConfig(), params)
    narrow = jax.tree.map(lambda leaf: leaf.astype("f4"), params)
    for grads, rates, message in (
        (params, tree([0.1], 0.1), "rank 1"),
        (tree([1.0], 0.0), tree(0.1, 0.1), "shapes"),
        (narrow, tree(0.1, 0.1), "types"),
    ):
        with pytest.raises(AssertionError, match=message):
            chain.update(grads, chain.init(params), params, rates=rates)


def test_the_update_is_in_place_without_copies_of_what_it_replaces():
    params = {"fc6": {"kernel": jnp.ones((256, 256)), "bias": jnp.ones(256)}}
    rule = update_rule(OptimizerConfig(), params)
    rates = jax.tree.map(lambda leaf: leaf.dtype.type(0.1), params)

    def step(params, opt_state, grads):
        updates, opt_state = rule.update(grads, opt_state, params, rates=rates)
        return optax.apply_updates(params, updates), opt_state

    compiled = (
        jax.jit(step, donate_argnums=(0, 1)).lower(params, rule.init(params), params).compile()
    )
    analysis: Any = compiled.memory_analysis()
    assert analysis.temp_size_in_bytes < params["fc6"]["kernel"].nbytes
