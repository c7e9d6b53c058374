"""The training loop."""

from contextlib import closing
from typing import NamedTuple

from jax.sharding import Mesh

from alexnet_jax import processes
from alexnet_jax.config import Config
from alexnet_jax.data.balance import training_split
from alexnet_jax.data.dataset import Dataset
from alexnet_jax.display import Display
from alexnet_jax.network import placement
from alexnet_jax.network.host_memory import FreedMemory
from alexnet_jax.runs.checkpoint import Checkpoints
from alexnet_jax.runs.metrics_log import MetricsLog
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.ahead import step_ahead
from alexnet_jax.training.batches import batches_on_device
from alexnet_jax.training.context import Context
from alexnet_jax.training.notes import Notes
from alexnet_jax.training.reporting import Reporter
from alexnet_jax.training.restoring import restore_or_start
from alexnet_jax.training.saving import Saver
from alexnet_jax.training.schedule import Clock, RateSource
from alexnet_jax.training.signals import Signals
from alexnet_jax.training.steps import make_run_step
from alexnet_jax.training.validation import Validator


class Outcome(NamedTuple):
    """How a call of `train_run` ended: `finished`, or interrupted and saved."""

    state: TrainState
    finished: bool
    steps_done: int
    run: Run


def train_run(
    run: Run,
    dataset: Dataset,
    *,
    mesh: Mesh | None,
    display: Display,
    started: float,
    previous: Config | None = None,
) -> Outcome:
    """Trains a locked run to its end, from its newest checkpoint if there is one.

    SIGINT and SIGTERM finish the step (of a validation the batch: it is repeated later), save and
    return; a second signal ends the process at once. All processes call this and stop together.

    Args:
      started: `time.monotonic()` at which the user began to wait.
      previous: the configuration up to now, where this call continues a run.

    Raises:
      CheckpointError: there are checkpoints, but none can be read.
      DivergedError: the loss is not finite.
      PeerLostError: another process of the run has ended.
    """
    split = training_split(run.config.data, dataset)
    clock = Clock(run.config.batch_size, split.num_examples)
    context = Context(run, clock, mesh, display)
    notes = Notes(context)
    inputs = placement.put(mesh, run.network, run.inputs)
    with notes.failure(), closing(Checkpoints(run.workdir)) as checkpoints:
        trained = max(checkpoints.steps(), default=0) >= context.total_steps
        nothing_left = trained or run.info["status"] == "finished"
        step = None if nothing_left else step_ahead(context, inputs)
        state, position = restore_or_start(context, checkpoints)
        first_step = position.step
        if not notes.start(previous or run.config, position):
            return Outcome(state, finished=True, steps_done=0, run=run)
        with (
            notes.wall_seconds(),
            closing(MetricsLog(run.workdir, first_step, writes=processes.is_chief())) as log,
            Signals(display.warn) as signals,
            closing(batches_on_device(context, split, first_step)) as batches,
        ):
            train_step = step() if step else make_run_step(run, mesh)
            schedule = RateSource(run.config, clock, state.params)
            saver = Saver(run, checkpoints)
            validator = Validator(context, dataset, inputs, log, saver, signals)
            reporter = Reporter(context, log, saver)
            freed_memory = FreedMemory()
            if position.validation_due:  # an earlier call was stopped in it
                position = validator.run(state, position)
            freed_memory.give_back_if_grown()  # what compiling has left
            reporter.restart_clock(first_step)
            while not position.is_at_end(context.total_steps) and not signals.told_to_stop():
                rates = schedule.at(position.step, position.plateau)
                state, sums = train_step(state, next(batches), inputs, rates.tree, rates.colour_on)
                position = reporter.add(position.after_step(), sums, rates.now)
                freed_memory.give_back_if_grown()
                pauses = validator.is_due(position) or saver.is_due(position)
                if pauses or reporter.is_due(position):
                    position = reporter.report(position, rates.now, validator.best_error)
                if position.step == first_step + 1:
                    position = reporter.settle(position)  # waits for the device
                    notes.first_step(started)
                    reporter.restart_clock(position.step)
                if validator.is_due(position):
                    position = validator.run(state, position)  # saves it, too
                elif saver.is_due(position):
                    saver.save(state, position)
                if pauses:
                    reporter.restart_clock(position.step)
            position = reporter.settle(position)
            saver.save_unless_saved(state, position)
        finished = position.is_at_end(context.total_steps) and not position.validation_due
        notes.end(state, finished)
    return Outcome(state, finished, position.step - first_step, run)
