"""Layers copied from another run at the start, as the 2012 `initw.py` did for every fine-tuning."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from alexnet_jax.config import TransferConfig
from alexnet_jax.resolution import check_layers_fit
from alexnet_jax.runs.run_weights import load_weights
from alexnet_jax.runs.state import TrainState


def transfer_layers(
    state: TrainState, transfer: TransferConfig, say: Callable[[str], None]
) -> TrainState:
    """Returns `state` with the named layers' parameters of another run; the rest stays fresh.

    Raises:
      InputError: the run or a layer is missing, or its shapes differ.
      CheckpointError: the run's checkpoint cannot be read.
    """
    _, source, step = load_weights(transfer.run, transfer.checkpoint)
    params = dict(state.params)
    check_layers_fit(transfer, params, source)
    for layer in transfer.layers:
        params[layer] = jax.tree.map(jnp.asarray, source[layer])
    say(f"copied {', '.join(transfer.layers)} from step {step} of {transfer.run}")
    return state._replace(params=params)
