"""The state that a run saves, and goes on from."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from alexnet_jax.network.model import Params


class TrainState(NamedTuple):
    """Everything that changes in training; arrays only.

    Attributes:
      step: int32 scalar, number of finished updates; the one clock.
      params: `{layer: {"kernel": float32, "bias": float32}}`.
      opt_state: velocities.
      key: uint32 data of the PRNG key of the run; dropout uses `fold_in(key, step)`.
    """

    step: jax.Array
    params: Params
    opt_state: Any
    key: jax.Array


def all_finite(params: Params) -> bool:
    """Returns whether every parameter is finite."""
    return bool(_all_finite(params))


@jax.jit
def _all_finite(params: Params) -> jax.Array:
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]).all()
