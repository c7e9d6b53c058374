"""The state that a run saves, and goes on from."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from alexnet_jax.network.compilation import jit
from alexnet_jax.network.model import Params


class TrainState(NamedTuple):
    """Everything that changes in training; arrays only."""

    step: jax.Array  # int32 scalar, finished updates; the one clock
    params: Params  # `{layer: {"kernel": float32, "bias": float32}}`
    opt_state: Any  # velocities
    key: jax.Array  # uint32 data of the run's PRNG key; dropout uses `fold_in(key, step)`


def all_finite(params: Params) -> bool:
    return bool(_all_finite(params))


@jit
def _all_finite(params: Params) -> jax.Array:
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]).all()
