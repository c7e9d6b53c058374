"""The training loop: joins data, step, schedule, records and checkpoints; computes nothing."""

import contextlib
import math
import resource
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alexnet_jax import processes
from alexnet_jax.config import Config
from alexnet_jax.data.balance import training_split
from alexnet_jax.data.dataset import Dataset, Split
from alexnet_jax.data.pipeline import device_prefetch, training_batches, usable_cores
from alexnet_jax.data.stream import Batch
from alexnet_jax.display import Display, duration
from alexnet_jax.errors import CheckpointError, DivergedError
from alexnet_jax.evaluation.evaluate import evaluate, make_predict_step
from alexnet_jax.evaluation.guessing import STEPS, Guess, Watch
from alexnet_jax.evaluation.metrics import MetricSums, describe_errors, no_sums
from alexnet_jax.network import placement
from alexnet_jax.network.filters import colour_shares, filter_picture
from alexnet_jax.network.model import count_params
from alexnet_jax.runs import folder as run_folder
from alexnet_jax.runs.checkpoint import Checkpoints, Restored, digest_of
from alexnet_jax.runs.metrics_log import MetricsLog
from alexnet_jax.runs.state import TrainState, all_finite
from alexnet_jax.training.outlook import outlook
from alexnet_jax.training.schedule import (
    Clock,
    CurrentRates,
    PlateauState,
    after_validation,
    frozen_layers,
    rate_tree,
    rates_at,
    taken_up,
)
from alexnet_jax.training.signals import Signals
from alexnet_jax.training.steps import init_state, make_train_step
from alexnet_jax.training.transfer import transferred


class _StoppedError(Exception):
    """A validation was told to stop."""


class Outcome(NamedTuple):
    """How a call of `train` ended.

    Attributes:
      state: the newest state.
      finished: the run is complete; False: it was interrupted and saved.
      steps_done: steps of this call (0: there was nothing to do).
      run: what the run folder says.
    """

    state: TrainState
    finished: bool
    steps_done: int
    run: run_folder.Run


def train_run(
    run: run_folder.Run,
    dataset: Dataset,
    *,
    mesh: Mesh | None,
    display: Display,
    started: float,
    previous: Config | None = None,
) -> Outcome:
    """Trains a run to its end, from its newest checkpoint if there is one.

    SIGINT and SIGTERM finish the step (of a validation the batch: it is repeated later), save and
    return; a second signal ends the process at once.
    With several processes all of them call this, and stop together when one is told to.

    Args:
      run: opened and locked by the caller.
      dataset: holds the configured splits.
      mesh: from `placement.make_mesh`; None: one device.
      display: of process 0; quiet in the others.
      started: `time.monotonic()` at which the user began to wait.
      previous: the configuration of the run up to now, where this call continues one.

    Raises:
      CheckpointError: there are checkpoints, but none can be read.
      DivergedError: the loss is not finite.
      PeerLostError: another process of the run has ended.
    """
    return _Loop(run, dataset, started, mesh, display, previous or run.config).go()


class _Loop:
    """One call of `train`: the moving parts of the loop, and the order in which they move."""

    def __init__(
        self,
        run: run_folder.Run,
        dataset: Dataset,
        started: float,
        mesh: Mesh | None,
        display: Display,
        previous: Config,
    ):
        config = run.config
        self.started, self.mesh = started, mesh
        self.run, self.config = run, config
        self.train_split = training_split(config.data, dataset)
        self.validation_split: Split = dataset.split(config.data.validation_split)
        self.clock = Clock(config.batch_size, self.train_split.num_examples)
        self.total_steps = self.clock.step_after(config.epochs)
        self.chief = processes.is_chief()
        self.progress, self.previous = display, previous
        self.best_error: float | None = None
        self.checkpoints = Checkpoints(run.workdir)
        self.plateau = PlateauState()
        self.window = no_sums()
        self.watch = Watch(Guess.of_run(run.info))
        self.saved_step = -1
        self.evaluated_epochs = 0.0
        self.validation_due = False
        self.dtype = jnp.dtype(config.compute_dtype)
        self.inputs = placement.put(mesh, run.network, run.inputs)

    def go(self) -> Outcome:
        """Restores or starts, trains until the end or a signal, and closes everything."""
        try:
            return self._go()
        except (KeyboardInterrupt, SystemExit):
            self._note(status="interrupted")
            raise
        except BaseException:
            self._note(status="failed")
            raise

    def _go(self) -> Outcome:
        state, first_step = self._start()
        if self._finished_before(first_step):
            self.checkpoints.close()
            return Outcome(state, True, 0, self.run)
        records = MetricsLog(self.run.workdir, first_step, writes=self.chief)
        self.best_error = min(records.values("validation/top1_error"), default=None)
        started = time.monotonic()
        try:
            with (
                Signals(self.progress.warn) as signals,
                contextlib.closing(self._batches(first_step)) as batches,
            ):
                state = self._train(state, first_step, batches, records, signals)
        finally:
            records.close()
            self.checkpoints.close()
            wall = self.run.info.get("wall_seconds", 0.0) + time.monotonic() - started
            self._note(wall_seconds=round(wall, 1))
        step = int(state.step)
        ended = step >= self.total_steps or self.plateau.stopped
        finished = ended and not self.validation_due
        if finished:
            digest = digest_of(state.params)
            self._note(status="finished", step=step, params_sha256=digest)
        else:
            self._note(status="interrupted", step=step)
            self.progress.warn(
                f"interrupted: saved step {step}; the same command goes on from there"
            )
        return Outcome(state, finished, step - first_step, self.run)

    def _finished_before(self, step: int) -> bool:
        """Notes what this call changes in the run; returns whether nothing is left to do."""
        status = ""
        if self.chief:
            info = self.run.info
            info |= run_folder.note_changes(self.run, self.previous, step)
            self._tell_schedule(self.previous, step)
            # Where the last checkpoint was damaged, the older one has still to go to the end.
            status = info["status"] if step >= info.get("step", 0) else "running"
        if processes.exchange(status)[0] == "finished":
            return True
        shape = {} if self.mesh is None else {k: int(v) for k, v in self.mesh.shape.items()}
        here: dict[str, Any] = {"mesh": shape, "processes": processes.count()}
        starts = [*self.run.info.get("starts", []), {"step": step, **here}]
        self._note(**here, starts=starts, status="running")
        return False

    def _tell_schedule(self, before: Config, step: int) -> None:
        """Says what the rates do from here on, where this call changes them or their time."""
        names = ("schedule", "optimizer", "epochs")
        same = all(getattr(before, name) == getattr(self.config, name) for name in names)
        if not same and 0 < step < self.total_steps:
            done = self.clock.epochs(step)
            for line in outlook(before, self.config, done, self.plateau):
                self.progress.say(line)

    def _note(self, **changes: Any) -> None:
        """Changes fields of `run.json`, unless the work folder has vanished."""
        self.run.info.update(changes)
        if self.chief and (self.run.workdir / "config.json").exists():
            run_folder.update_info(self.run.workdir, **changes)

    def _start(self) -> tuple[TrainState, int]:
        """Returns the newest saved state, or a fresh one, and its step."""
        config, run = self.config, self.run
        arguments = (run.network, config.optimizer, run.image_size, config.seed)
        restored = None
        if self.checkpoints.steps():
            target = jax.eval_shape(lambda: init_state(*arguments))
            if self.mesh is not None:
                places = placement.shardings(self.mesh, run.network, target)
                target = jax.tree.map(
                    lambda leaf, place: leaf.update(sharding=place), target, places
                )
            restored = self.checkpoints.restore_newest(target)
        if restored is None and run.info["status"] == "finished":
            raise CheckpointError(
                f"{run.workdir} holds a finished run, but its checkpoints are gone; bring them "
                "back, or use another --workdir"
            )
        if restored is None:
            state = init_state(*arguments)
            if config.transfer.run:
                state = transferred(state, config.transfer, self.progress.say)
            if processes.count() > 1:
                digest = {"the initial parameters": digest_of((state.params, run.inputs))}
                processes.check_agreement(digest)
            state = placement.put(self.mesh, run.network, state)
            devices = 1 if self.mesh is None else self.mesh.size
            self.progress.say(headline(run, count_params(state.params), devices))
            return state, 0
        step = self._take_up(restored)
        self.progress.say(f"resumed {run.workdir} at step {step} of {self.total_steps}")
        return restored.state, step

    def _take_up(self, restored: Restored) -> int:
        meta = restored.meta
        best = meta["plateau"]["best_error"]
        plateau = PlateauState(
            **meta["plateau"] | {"best_error": math.inf if best is None else best}
        )
        self.plateau = taken_up(self.config.schedule, plateau)
        self.window = MetricSums.from_json(meta["window"])
        self.evaluated_epochs = meta["evaluated_epochs"]
        self.saved_step = meta["step"]
        self.validation_due = meta.get("validation_due", False)
        return meta["data"]["next_step"]

    def _train(
        self,
        state: TrainState,
        step: int,
        batches: Iterator[Batch],
        records: MetricsLog,
        signals: Signals,
    ) -> TrainState:
        config = self.config
        train_step = make_train_step(
            self.run.network,
            config.optimizer,
            config.preprocess,
            config.augment,
            self.dtype,
            config.accumulation,
            mesh=self.mesh,
            frozen=frozen_layers(config.schedule, config.optimizer),
        )
        vote = processes.StopVote()
        self.told_to_stop = lambda: vote(signals.received)
        mark = time.monotonic()
        first_step = mark_step = step
        pending: MetricSums | None = None
        rates = self._rates(step)
        tree = rate_tree(rates, config.optimizer, state.params)
        goes_on = not self.validation_due or self._pause(state, step, records, True, True)
        while goes_on and step < self.total_steps and not self.plateau.stopped:
            if self.told_to_stop():
                break
            if (now := self._rates(step)) != rates:
                rates, tree = now, rate_tree(now, config.optimizer, state.params)
            state, sums = train_step(
                state, next(batches), self.inputs, tree, np.bool_(rates.colour_noise)
            )
            step += 1
            # One step behind, so that the device never waits for the host.
            self._count(pending, step - 1, rates)
            pending = sums
            pauses = self._due(step)
            logs = step % config.log_every_steps == 0 or pauses
            if logs or step == first_step + 1:
                self._count(pending, step, rates)
                pending = None
                clock = time.monotonic()
                rate = (step - mark_step) * config.batch_size / max(clock - mark, 1e-9)
                mark, mark_step = clock, step
                if logs:
                    self._log(step, rates, rate, records)
                if step == first_step + 1:
                    waited = clock - self.started
                    self._note(seconds_to_first_step=round(waited, 2))
                    self.progress.say(f"first step after {waited:.1f} s")
            if pauses:
                goes_on = self._pause(state, step, records, *pauses)
                mark = time.monotonic()
        self._count(pending, step, rates)
        if step != self.saved_step:
            self._save(state, {})
        return state

    def _batches(self, first_step: int) -> Generator[Batch, None, None]:
        config = self.config
        put = placement.batch_putter(self.mesh, config.batch_size)
        return device_prefetch(
            training_batches(
                self.train_split,
                seed=config.seed,
                batch_size=config.batch_size,
                image_size=self.run.image_size,
                augment=config.augment,
                first_step=first_step,
                workers=config.workers,
                threads=min(usable_cores(), 16),
                rows=placement.own_rows(self.mesh, config.batch_size),
            ),
            put=put,
        )

    def _rates(self, step: int) -> CurrentRates:
        return rates_at(
            self.config.schedule,
            self.config.optimizer,
            self.clock.epochs(step),
            self.config.epochs,
            self.plateau,
        )

    def _count(self, sums: MetricSums | None, step: int, rates: CurrentRates) -> None:
        """Adds a step's sums to the window; raises `DivergedError` when they are not finite."""
        if sums is None:
            return
        self.window += sums
        if not math.isfinite(self.window.loss):
            kept = f"the checkpoint of step {self.saved_step} is good"
            have = kept if self.saved_step >= 0 else "nothing was saved yet"
            raise DivergedError(
                f"the loss is not finite at step {step} (learning rate {rates.weights:g}); {have}: "
                "start in another --workdir with lower rates (--optimizer, --schedule)"
            )

    def _due(self, step: int) -> tuple[bool, bool] | None:
        """Returns (evaluate, checkpoint) when the loop must pause after `step`, else None."""
        every = self.config.evaluate_every_epochs
        due = self.clock.step_after(self.evaluated_epochs + every)
        evaluates = step >= min(due, self.total_steps)
        steps = self.config.checkpoint_every_steps
        saves = evaluates or bool(steps and step % steps == 0)
        return (evaluates, saves) if evaluates or saves else None

    def _log(self, step: int, rates: CurrentRates, rate: float, records: MetricsLog) -> None:
        classes = self.run.network.classes
        values = {f"train/{name}": value for name, value in self.window.means(classes).items()}
        values["train/learning_rate"] = rates.weights
        epoch = self.clock.epochs(step)
        if step % self.config.log_every_steps == 0:
            records.add({"step": step, "epoch": epoch, **values, "images_per_second": rate})
            self.window = no_sums()
            self._watch(step, values["train/loss"], rates)
        eta = (self.total_steps - step) * self.config.batch_size / max(rate, 1e-9)
        self.progress.update(
            progress_parts(step, self.total_steps, epoch, values, rate, eta, self.best_error),
            DISPENSABLE,
            last=step == self.total_steps,
        )

    def _watch(self, step: int, loss: float, rates: CurrentRates) -> None:
        """Says so once when nothing is being learnt, and once when that is over."""
        was_stuck = self.watch.stuck
        self.watch.add(step, loss, self.config.log_every_steps)
        if self.watch.stuck == was_stuck or len(self.watch.stretches) > 1:
            return
        if self.watch.stuck:
            self.progress.warn(
                f"nothing is being learnt yet: the loss of the last {STEPS} steps is that of "
                f"guessing ({loss:.3f}); {self._what_helps(rates)}"
            )
        else:
            self.progress.warn(f"something is being learnt now: the loss is {loss:.3f}")

    def _what_helps(self, rates: CurrentRates) -> str:
        config = self.config
        phases = config.schedule.phases[:1] if config.schedule.kind == "step" else ()
        set_there = any(p.epoch <= 1 and p.learning_rate is not None for p in phases)
        option = "--schedule.phases.0.learning-rate" if set_there else "--optimizer.learning-rate"
        larger = "--network original (larger initial weights) or " * (config.network == "paper")
        return (
            f"if it stays so, start in another --workdir with {larger}another rate ({option}, now "
            f"{rates.weights:g}: a third or three times of it)"
        )

    def _pause(
        self, state: TrainState, step: int, records: MetricsLog, evaluates: bool, saves: bool
    ) -> bool:
        """Validates and saves; returns False when the validation was stopped, which is then due."""
        metrics: dict[str, float] = {}
        if evaluates:
            try:
                metrics = self._validate(state, step, records)
            except _StoppedError:
                self.validation_due = True
                return False
            self.validation_due = False
        if saves:
            self._save(state, metrics)
        return True

    def _heed(self, *_: int) -> None:
        """Ends a validation between two batches when the run was told to stop."""
        if self.told_to_stop():
            raise _StoppedError

    def _validate(self, state: TrainState, step: int, records: MetricsLog) -> dict[str, float]:
        config, run = self.config, self.run
        if not hasattr(self, "predict_step"):
            self.predict_step = make_predict_step(
                run.network,
                config.preprocess,
                run.image_size,
                1,
                self.dtype,
                config.augment,
                self.mesh,
            )
        result = evaluate(
            self.predict_step,
            state.params,
            self.inputs,
            self.validation_split,
            config.batch_size,
            keep_probabilities=False,
            progress=self._heed,
            mesh=self.mesh,
        )
        metrics = {f"validation/{name}": value for name, value in result.values.items()}
        epoch = self.clock.epochs(step)
        kernel, groups = self._filters(state), run.network.towers
        shares = [] if kernel is None else colour_shares(kernel, groups)
        colours = {f"validation/colour_share_{i + 1}": share for i, share in enumerate(shares)}
        records.add({"step": step, "epoch": epoch, **metrics, **colours})
        if kernel is not None:
            records.add_picture(step, "filters/conv1", filter_picture(kernel, groups))
        records.write_csv()
        before, error = self.best_error, result.top1_error
        self.best_error = error if before is None else min(before, error)
        improved = before is None or error < before
        best = "the best" if improved else f"best {100 * self.best_error:.2f} %"
        self.progress.say(
            f"epoch {epoch:.2f}: validation error {describe_errors(result.values)}, "
            f"loss {result.loss:.4f}" + (f" ({best})" if before is not None else "")
        )
        passed = config.evaluate_every_epochs
        self.evaluated_epochs += passed
        drops = self.plateau.drops
        self.plateau = after_validation(config.schedule, self.plateau, result.top1_error, passed)
        if self.plateau.drops > drops:
            self.progress.say("validation error has stalled: learning rate divided")
        return metrics if all(math.isfinite(value) for value in metrics.values()) else {}

    def _filters(self, state: TrainState) -> np.ndarray | None:
        """Returns conv1's kernel, float32 [height, width, 3, filters]; None if it sees no RGB."""
        if "conv1" not in state.params:
            return None
        kernel = placement.to_host(state.params["conv1"]["kernel"])
        rgb = kernel.ndim == 4 and kernel.shape[2] == 3
        return kernel if rgb and not kernel.shape[3] % self.run.network.towers else None

    def _save(self, state: TrainState, metrics: dict[str, float]) -> None:
        plateau = self.plateau._asdict()
        if not math.isfinite(self.plateau.best_error):
            plateau["best_error"] = None
        meta = {
            "network": self.run.network.name,
            "data": {"next_step": int(state.step)},
            "plateau": plateau,
            "window": self.window.as_json(),
            "evaluated_epochs": self.evaluated_epochs,
            "validation_due": self.validation_due,
            "run": run_folder.description(self.config, self.run.info),
        }
        if not all_finite(state.params):
            raise DivergedError(
                f"parameters are not finite at step {int(state.step)}; they were not saved: "
                "start in another --workdir with lower rates (--optimizer, --schedule)"
            )
        if int(state.step) == self.saved_step:  # its validation had been stopped
            self.checkpoints.amend(self.saved_step, meta, metrics)
            return
        self.checkpoints.save(state, meta, metrics)
        self.saved_step = int(state.step)


def headline(run: run_folder.Run, params: int, devices: int) -> str:
    """Returns the line that begins a run: what is trained on what.

    Args:
      run: what is trained.
      params: number of parameters.
      devices: number in use.
    """
    return (
        f"{run.config.preset}: network '{run.network.name}', {params:,} parameters, "
        f"{run.image_size}x{run.image_size} pixels, {len(run.class_names)} classes, "
        f"{run.info['train_images']:,} training images, {devices} x {jax.default_backend()}"
        + (f" (of {jax.device_count()})" if devices < jax.device_count() else "")
    )


DISPENSABLE = (5, 7, 1, 4, 6, 3)
"""Indices of the parts of a line of progress that a narrow terminal loses, the first one first."""


def progress_parts(
    step: int,
    total_steps: int,
    epoch: float,
    values: dict[str, float],
    rate: float,
    eta: float,
    best: float | None,
) -> list[str]:
    """Returns the parts of a line of progress.

    Args:
      step: finished steps.
      total_steps: of the run.
      epoch: finished epochs.
      values: `train/loss`, `train/top1_error`, `train/learning_rate`.
      rate: images per second.
      eta: seconds left at this rate.
      best: smallest validation error up to now, a fraction.
    """
    return [
        f"step {step}/{total_steps}",
        f"epoch {epoch:.2f}",
        f"loss {values['train/loss']:.4f}",
        f"error {100 * values['train/top1_error']:.1f} %",
        "" if best is None else f"best {100 * best:.1f} %",
        f"rate {values['train/learning_rate']:.3g}",
        f"{rate:,.0f} images/s",
        f"{memory_in_use() / 1e9:.1f} GB",
        f"ETA {duration(eta)}",
    ]


def memory_in_use() -> int:
    """Returns the bytes that the first device holds; of a CPU those that the process holds."""
    import jax

    with contextlib.suppress(Exception):  # devices differ in what they tell
        stats = jax.local_devices()[0].memory_stats()
        if stats:
            return int(stats["bytes_in_use"])
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0
