"""The 2012 update rule as an optax chain: the learning rate sits inside the velocity."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from alexnet_jax.config import OptimizerConfig
from alexnet_jax.network.model import Params

RateTree = Any
"""A tree like the parameters with one float32 scalar per leaf: its learning rate."""


def update_rule(config: OptimizerConfig, params: Params) -> optax.GradientTransformationExtraArgs:
    """Returns the chain `v = m v - r d w - r g; w = w + v`. Paper §5; 2012 file `weights.cu`.

    The rates r are an argument of `update` (`rates=`, a `RateTree`), so no schedule recompiles the
    step. After a drop the old velocity keeps its old scale, which `optax.sgd(schedule, momentum)`
    does not do, nor this with `rate_inside_velocity=False`: `v = m v - d w - g; w = w + r v`. Where
    r is 0, neither parameter nor velocity changes. Biases have no decay.
    """
    decays = dict(config.layer_weight_decay)
    by_layer = {layer: decays.get(layer, config.weight_decay) for layer in params}
    add_decay = [
        optax.add_decayed_weights(
            decay,
            mask={layer: {"kernel": by_layer[layer] == decay, "bias": False} for layer in params},
        )
        for decay in sorted(set(by_layer.values()))
        if decay
    ]
    rule = [_scale_by_rates(), _trace_unless_frozen(config.momentum)]
    if not config.rate_inside_velocity:
        rule.reverse()
    chain = optax.with_extra_args_support(optax.chain(*add_decay, *rule))

    def update(grads, state, params=None, *, rates, **extra):
        chex.assert_trees_all_equal_shapes_and_dtypes(grads, params)
        chex.assert_rank(jax.tree.leaves(rates), 0)
        return chain.update(grads, state, params, rates=rates, **extra)

    return optax.GradientTransformationExtraArgs(chain.init, update)  # type: ignore[arg-type]


def _scale_by_rates() -> optax.GradientTransformationExtraArgs:
    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None, *, rates, **extra):
        del params, extra
        return jax.tree.map(lambda g, r: -r * g, updates, rates), state

    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]


def _trace_unless_frozen(momentum: float) -> optax.GradientTransformationExtraArgs:
    """Returns `optax.trace`, but a leaf with rate 0 keeps its velocity and is not updated."""
    trace = optax.trace(momentum)

    def update(updates, state, params=None, *, rates, **extra):
        del extra
        result: Any = trace.update(updates, state, params)
        new_state = result[1]
        # The division, by 1, keeps XLA from computing the velocity again for the parameters, out of
        # old ones that it would have to copy before both are written in place.
        velocity = jax.tree.map(
            lambda new, old, r, w: jnp.where(r > 0, new, old) / (w == w).astype(new.dtype),
            new_state.trace,
            state.trace,
            rates,
            params,
        )
        moved = jax.tree.map(lambda v, r: jnp.where(r > 0, v, jnp.zeros_like(v)), velocity, rates)
        return moved, new_state._replace(trace=velocity)

    return optax.GradientTransformationExtraArgs(trace.init, update)  # type: ignore[arg-type]
