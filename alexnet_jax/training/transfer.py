"""Layers copied from another run at the start, as the 2012 `initw.py` did for every fine-tuning."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from alexnet_jax.config import TransferConfig
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.network.layers import Network
from alexnet_jax.network.model import Params, init_params
from alexnet_jax.runs.folder import read_run
from alexnet_jax.runs.state import TrainState
from alexnet_jax.runs.weights import load_weights


def check_transfer(transfer: TransferConfig, network: Network, image_size: int) -> None:
    """Refuses a transfer that cannot be made; to be called before a run folder is begun.

    Raises:
      InputError: no run or no layers are named, or a layer is missing or of another shape.
    """
    if transfer.layers and not transfer.run:
        raise InputError(
            f"layers {', '.join(transfer.layers)} start from another run: name its folder with "
            "--transfer.run"
        )
    if not transfer.run:
        return
    if not transfer.layers:
        raise InputError(
            f"--transfer.run {transfer.run} copies nothing; name layers with --transfer.layers"
        )
    run = read_run(transfer.run)
    here = jax.eval_shape(lambda: init_params(network, image_size, 0))
    there = jax.eval_shape(lambda: init_params(run.network, run.image_size, 0))
    _check_layers(transfer, here, there)


def _check_layers(transfer: TransferConfig, params: Params, source: Params) -> None:
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
    _check_layers(transfer, params, source)
    for layer in transfer.layers:
        params[layer] = jax.tree.map(jnp.asarray, source[layer])
    say(f"copied {', '.join(transfer.layers)} from step {step} of {transfer.run}")
    return state._replace(params=params)
