"""The metrics of training: summed step by step, checked, logged and shown."""

import contextlib
import math
import resource
import time
from pathlib import Path

import jax

from alexnet_jax.display import duration
from alexnet_jax.errors import DivergedError
from alexnet_jax.evaluation.guessing import Guess
from alexnet_jax.evaluation.metrics import MAIN_ERROR, MetricSums, no_sums
from alexnet_jax.runs.metrics_log import MetricsLog
from alexnet_jax.training.context import Context
from alexnet_jax.training.position import Position
from alexnet_jax.training.saving import Saver
from alexnet_jax.training.schedule import CurrentRates
from alexnet_jax.training.watching import LearningWatch

DISPENSABLE = (5, 7, 1, 4, 6, 3)
"""Indices of the parts of a line of progress that a narrow terminal loses, the first one first."""


class Reporter:
    """Counts the metrics of the steps, and reports them every `log_every_steps`."""

    def __init__(self, context: Context, log: MetricsLog, saver: Saver):
        self._context, self._log, self._saver = context, log, saver
        run = context.run
        self._watch = LearningWatch(run.config, Guess.of_run(run.info), context.display)
        self._pending: tuple[MetricSums, int, float] | None = None
        self._measured_at, self._measured_step = 0.0, 0

    def restart_clock(self, step: int) -> None:
        """Measures the speed from here on: what was done before is not training."""
        self._measured_at, self._measured_step = time.monotonic(), step

    def add(self, position: Position, sums: MetricSums, rates: CurrentRates) -> Position:
        """Counts the step before this one, so that the device never waits for the host."""
        position = self.settle(position)
        self._pending = (sums, position.step, rates.weights)
        return position

    def settle(self, position: Position) -> Position:
        """Counts the step that is left; raises `DivergedError` if the loss is not finite."""
        if self._pending is None:
            return position
        (sums, step, rate), self._pending = self._pending, None
        window = position.window + sums
        if not math.isfinite(window.loss):
            saved = self._saver.saved_step
            have = "nothing was saved yet"
            if saved is not None:
                have = f"the checkpoint of step {saved} is good"
            raise DivergedError(
                f"the loss is not finite at step {step} (learning rate {rate:g}); {have}: "
                "start in another --workdir with lower rates (--optimizer, --schedule)"
            )
        return position._replace(window=window)

    def is_due(self, position: Position) -> bool:
        return position.step % self._context.run.config.log_every_steps == 0

    def report(self, position: Position, rates: CurrentRates, best_error: float | None) -> Position:
        """Shows the metrics since the last row; if a row is due, writes it and starts from zero."""
        position = self.settle(position)
        context, step = self._context, position.step
        batch_size, total_steps = context.run.config.batch_size, context.total_steps
        seconds = max(time.monotonic() - self._measured_at, 1e-9)
        speed = (step - self._measured_step) * batch_size / seconds
        self.restart_clock(step)
        means = position.window.means(context.run.network.classes)
        values = {f"train/{name}": mean for name, mean in means.items()}
        values["train/learning_rate"] = rates.weights
        epoch = context.clock.epochs(step)
        if self.is_due(position):
            self._log.add({"step": step, "epoch": epoch, **values, "images_per_second": speed})
            position = position._replace(window=no_sums())
            self._watch.add(step, values["train/loss"], rates)
        eta = (total_steps - step) * batch_size / max(speed, 1e-9)
        parts = progress_parts(step, total_steps, epoch, values, speed, eta, best_error)
        context.display.update(parts, DISPENSABLE, last=step == total_steps)
        return position


def progress_parts(
    step: int,
    total_steps: int,
    epoch: float,
    values: dict[str, float],
    speed: float,  # images per second
    eta: float,  # seconds
    best_error: float | None,  # fraction
) -> list[str]:
    """Returns the parts of a line of progress."""
    return [
        f"step {step}/{total_steps}",
        f"epoch {epoch:.2f}",
        f"loss {values['train/loss']:.4f}",
        f"error {100 * values[f'train/{MAIN_ERROR}']:.1f} %",
        "" if best_error is None else f"best {100 * best_error:.1f} %",
        f"rate {values['train/learning_rate']:.3g}",
        f"{speed:,.0f} images/s",
        f"{memory_in_use() / 1e9:.1f} GB",
        f"ETA {duration(eta)}",
    ]


def memory_in_use() -> int:
    """Returns the bytes that the first device holds; of a CPU those that the process holds."""
    with contextlib.suppress(Exception):  # devices differ in what they report
        stats = jax.local_devices()[0].memory_stats()
        if stats:
            return int(stats["bytes_in_use"])
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0
