"""The training batches of a run, on its devices."""

from collections.abc import Generator

from alexnet_jax.data.pipeline import device_prefetch, training_batches
from alexnet_jax.data.stream import Batch, TrainingSource
from alexnet_jax.network import placement
from alexnet_jax.training.context import Context


def batches_on_device(
    context: Context, source: TrainingSource, first_step: int
) -> Generator[Batch, None, None]:
    run, config, mesh = context.run, context.run.config, context.mesh
    batches = training_batches(
        source,
        seed=config.seed,
        batch_size=config.batch_size,
        image_size=run.image_size,
        augment=config.augment,
        first_step=first_step,
        workers=config.workers,
        rows=placement.own_rows(mesh, config.batch_size),
    )
    return device_prefetch(batches, put=placement.batch_putter(mesh, config.batch_size))
