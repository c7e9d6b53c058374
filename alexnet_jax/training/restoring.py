"""What training begins with: the newest checkpoint, or a fresh state."""

import jax
from jax.sharding import Mesh

from alexnet_jax import processes
from alexnet_jax.errors import CheckpointError
from alexnet_jax.network import placement
from alexnet_jax.network.model import count_params
from alexnet_jax.runs.checkpoint import Checkpoints, Restored
from alexnet_jax.runs.digests import digest_of
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.context import Context
from alexnet_jax.training.position import Position
from alexnet_jax.training.steps import init_state
from alexnet_jax.training.transfer import transfer_layers


def restore_or_start(context: Context, checkpoints: Checkpoints) -> tuple[TrainState, Position]:
    """Returns the newest saved state, or that of a new run, on the devices of the mesh.

    Raises:
      CheckpointError: no checkpoint can be read, or the run is finished and has none.
    """
    run, mesh, display = context.run, context.mesh, context.display
    restored = _restore(run, checkpoints, mesh)
    if restored is not None:
        position = Position.from_json(restored.meta, run.config.schedule)
        display.say(f"resumed {run.workdir} at step {position.step} of {context.total_steps}")
        return restored.state, position
    if run.info["status"] == "finished":
        raise CheckpointError(
            f"{run.workdir} holds a finished run, but its checkpoints are gone; bring them "
            "back, or use another --workdir"
        )
    state = _fresh_state(run)
    if run.config.transfer.run:
        state = transfer_layers(state, run.config.transfer, display.say)
    if processes.count() > 1:
        digest = digest_of((state.params, run.inputs))
        processes.check_agreement({"the initial parameters": digest})
    state = placement.put(mesh, run.network, state)
    if mesh is None:
        # Bound to their device, as restored arrays are: else the step would be another program.
        state = jax.tree.map(lambda leaf: jax.device_put(leaf, leaf.sharding), state)
    display.say(headline(run, count_params(state.params), 1 if mesh is None else mesh.size))
    return state, Position()


def _restore(run: Run, checkpoints: Checkpoints, mesh: Mesh | None) -> Restored | None:
    if not checkpoints.steps():
        return None
    return checkpoints.restore_newest(abstract_state(run, mesh))


def abstract_state(run: Run, mesh: Mesh | None) -> TrainState:
    """Returns shapes and types of a run's state, and where its arrays lie."""
    state = jax.eval_shape(lambda: _fresh_state(run))
    if mesh is None:
        place = jax.device_put(0).sharding
        return jax.tree.map(lambda leaf: leaf.update(sharding=place), state)
    places = placement.shardings(mesh, run.network, state)
    return jax.tree.map(lambda leaf, place: leaf.update(sharding=place), state, places)


def _fresh_state(run: Run) -> TrainState:
    return init_state(run.network, run.config.optimizer, run.image_size, run.config.seed)


def headline(run: Run, params: int, devices: int) -> str:
    return (
        f"{run.config.preset}: network '{run.network.name}', {params:,} parameters, "
        f"{run.image_size}x{run.image_size} pixels, {len(run.class_names)} classes, "
        f"{run.info['train_images']:,} training images, {devices} x {jax.default_backend()}"
        + (f" (of {jax.device_count()})" if devices < jax.device_count() else "")
    )
