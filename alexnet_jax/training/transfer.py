"""Layers copied from another run at the start, as the 2012 `initw.py` did for every fine-tuning."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from alexnet_jax.config import TransferConfig
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.training.load import load_weights
from alexnet_jax.training.steps import TrainState


def transferred(
    state: TrainState, transfer: TransferConfig, say: Callable[[str], None]
) -> TrainState:
    """Returns `state` with the named layers' parameters of another run; the rest stays fresh.

    Raises:
      InputError: the run or a layer is missing, or its shapes differ.
      CheckpointError: the run's checkpoint cannot be read.
    """
    _, source, step = load_weights(transfer.run, transfer.checkpoint)
    params = dict(state.params)
    for layer in transfer.layers:
        for side, tree in (("this network", params), (f"run {transfer.run}", source)):
            if layer not in tree:
                raise InputError(
                    f"transfer.layers: {side} has no layer '{layer}'.{did_you_mean(layer, tree)}"
                )
        for leaf in params[layer]:
            here, there = params[layer][leaf].shape, source[layer][leaf].shape
            if here != there:
                raise InputError(
                    f"transfer.layers: '{layer}' is {list(there)} in {transfer.run}, but "
                    f"{list(here)} here; leave it out to start it fresh"
                )
        params[layer] = jax.tree.map(jnp.asarray, source[layer])
    say(f"copied {', '.join(transfer.layers)} from step {step} of {transfer.run}")
    return state._replace(params=params)
