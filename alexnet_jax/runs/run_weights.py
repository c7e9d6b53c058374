"""The parameters of a run together with what is needed to use them."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from alexnet_jax.errors import CheckpointError
from alexnet_jax.network.model import Params, init_params
from alexnet_jax.runs.checkpoint import Checkpoints
from alexnet_jax.runs.record import CHECKPOINTS
from alexnet_jax.runs.run_folder import Run, read_run


class RunWeights(NamedTuple):
    """A run and the parameters of one of its checkpoints."""

    run: Run
    params: Params  # `{layer: {"kernel": float32, "bias": float32}}`, NumPy
    step: int  # finished updates at the checkpoint


def load_weights(workdir: str | Path, checkpoint: str | int = "best") -> RunWeights:
    """Reads a run folder and one of its checkpoints; errors as of `weights_of`, or no run there."""
    return weights_of(read_run(workdir), checkpoint)


def weights_of(run: Run, checkpoint: str | int = "best") -> RunWeights:
    """Reads `best` (lowest validation error), `last` or a step, and verifies its digests.

    Raises:
      InputError: `checkpoint` is neither name nor number.
      CheckpointError: the checkpoint is missing or damaged.
    """
    if not (run.workdir / CHECKPOINTS).is_dir():
        raise CheckpointError(f"{run.workdir / CHECKPOINTS} does not exist; train first")
    target = jax.eval_shape(lambda: init_params(run.network, run.image_size, 0))
    checkpoints = Checkpoints(run.workdir, read_only=True)
    try:
        step = checkpoints.step_of(checkpoint)
        try:
            params = checkpoints.restore_params(target, step)
        except CheckpointError as error:
            others = ", ".join(str(other) for other in checkpoints.steps() if other != step)
            remedy = f"choose another with --checkpoint ({others})" if others else "train again"
            raise CheckpointError(f"{error}; {remedy}") from error
    finally:
        checkpoints.close()
    return RunWeights(run, jax.tree.map(np.asarray, params), step)


def kept_steps(workdir: Path) -> list[int]:
    """Oldest first."""
    if not (workdir / CHECKPOINTS).is_dir():
        return []
    checkpoints = Checkpoints(workdir, read_only=True)
    try:
        return checkpoints.steps()
    finally:
        checkpoints.close()
