"""The train step, compiled while the rest of a run is made ready."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.network import placement
from alexnet_jax.training.context import Context
from alexnet_jax.training.restoring import abstract_state
from alexnet_jax.training.schedule import PlateauState, RateSource
from alexnet_jax.training.steps import TrainStep, make_run_step


def step_ahead(context: Context, inputs: Inputs) -> Callable[[], TrainStep]:
    """Starts to compile the run's train step; returns a function that waits for it.

    The step is called as ever: JAX finds the program that it has compiled for these shapes.
    """
    run, mesh = context.run, context.mesh
    train_step: Any = make_run_step(run, mesh)
    state = abstract_state(run, mesh)
    rates = RateSource(run.config, context.clock, state.params).at(0, PlateauState())
    batch = _abstract_batch(run.config.batch_size, run.image_size)
    if mesh is not None:
        place = placement.batch_sharding(mesh)
        batch = jax.tree.map(lambda leaf: leaf.update(sharding=place), batch)
    lowered = train_step.lower(state, batch, inputs, rates.tree, rates.colour_on)
    executor = ThreadPoolExecutor(1, "compiler")
    compiled = executor.submit(lowered.compile)
    executor.shutdown(wait=False)

    def wait() -> TrainStep:
        compiled.result()
        return train_step

    return wait


def _abstract_batch(n: int, size: int) -> Batch:
    shape = jax.ShapeDtypeStruct
    return Batch(
        images=shape((n, size, size, 3), np.uint8),
        labels=shape((n,), np.int32),
        mask=shape((n,), bool),
        colour=shape((n, 3), np.float32),
        offsets=shape((n, 2), np.int32),
        flips=shape((n,), bool),
    )
