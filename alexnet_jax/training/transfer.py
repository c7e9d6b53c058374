"""Layers copied from another run at the start, as the 2012 `initw.py` did for every fine-tuning."""

from collections.abc import Callable
from pathlib import Path

import jax

from alexnet_jax.config import TransferConfig
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.training.checkpoint import Checkpoints
from alexnet_jax.training.run_folder import read_run
from alexnet_jax.training.steps import TrainState, init_params


def transferred(
    state: TrainState, transfer: TransferConfig, say: Callable[[str], None]
) -> TrainState:
    """Returns `state` with the named layers' parameters of another run; the rest stays fresh.

    Raises:
      InputError: the run or a layer is missing, or its shapes differ.
      CheckpointError: the run's checkpoint cannot be read.
    """
    run = read_run(Path(transfer.run))
    checkpoints = Checkpoints(run.workdir, read_only=True)
    step = checkpoints.step_of(transfer.checkpoint)
    target = jax.eval_shape(lambda: init_params(run.network, run.image_size, 0))
    source = checkpoints.restore_params(target, step)
    checkpoints.close()
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
        params[layer] = source[layer]
    say(f"copied {', '.join(transfer.layers)} from step {step} of {transfer.run}")
    return state._replace(params=params)
