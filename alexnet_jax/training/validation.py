"""The tests during a run: when one is due, what it measures, and how it is stopped."""

import math

import numpy as np

from alexnet_jax.data.dataset import Dataset
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.evaluation.evaluate import Evaluation, evaluate, make_run_predict_step
from alexnet_jax.evaluation.metrics import MAIN_ERROR, describe_errors, describe_others
from alexnet_jax.network import placement
from alexnet_jax.network.filters import colour_shares, filter_picture
from alexnet_jax.runs.metrics_log import MetricsLog
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.context import Context
from alexnet_jax.training.position import Position
from alexnet_jax.training.saving import Saver
from alexnet_jax.training.schedule import after_validation
from alexnet_jax.training.signals import Signals


class _StoppedError(Exception):
    """The run was stopped between two batches of a validation."""


class Validator:
    """Validates a run; `best_error` is the smallest top-1 error, a fraction, or None."""

    def __init__(
        self,
        context: Context,
        dataset: Dataset,
        inputs: Inputs,
        log: MetricsLog,
        saver: Saver,
        signals: Signals,
    ):
        self._context, self._run, self._clock = context, context.run, context.clock
        self._split = dataset.split(context.run.config.data.validation_split)
        self._inputs, self._log, self._saver, self._signals = inputs, log, saver, signals
        self._predict_step = None  # the first validation compiles it
        self.best_error: float | None = min(log.values(f"validation/{MAIN_ERROR}"), default=None)

    def is_due(self, position: Position) -> bool:
        config = self._run.config
        due = self._clock.step_after(position.evaluated_epochs + config.evaluate_every_epochs)
        return position.step >= min(due, self._context.total_steps)

    def run(self, state: TrainState, position: Position) -> Position:
        """Validates the parameters, logs the result and saves; once stopped, it is due again."""
        try:
            result = self._evaluate(state)
        except _StoppedError:
            return position._replace(validation_due=True)
        metrics = {f"validation/{name}": value for name, value in result.values.items()}
        self._write(state, position.step, metrics)
        self._show(position.step, result)
        finite = all(math.isfinite(value) for value in metrics.values())
        position = self._after(position, result.top1_error)
        self._saver.save(state, position, metrics if finite else {})
        return position

    def _evaluate(self, state: TrainState) -> Evaluation:
        run, mesh = self._run, self._context.mesh
        self._predict_step = self._predict_step or make_run_predict_step(run, 1, mesh)

        def check_stop(*_: int) -> None:
            if self._signals.told_to_stop():
                raise _StoppedError

        return evaluate(
            self._predict_step,
            state.params,
            self._inputs,
            self._split,
            run.config.batch_size,
            keep_probabilities=False,
            progress=check_stop,
            mesh=mesh,
        )

    def _write(self, state: TrainState, step: int, metrics: dict[str, float]) -> None:
        kernel, groups = _rgb_filters(state, self._run.network.towers), self._run.network.towers
        shares = [] if kernel is None else colour_shares(kernel, groups)
        colours = {f"validation/colour_share_{i}": share for i, share in enumerate(shares, start=1)}
        self._log.add({"step": step, "epoch": self._clock.epochs(step), **metrics, **colours})
        if kernel is not None:
            self._log.add_picture(step, "filters/conv1", filter_picture(kernel, groups))
        self._log.write_csv()

    def _show(self, step: int, result: Evaluation) -> None:
        before, error = self.best_error, result.top1_error
        self.best_error = error if before is None else min(before, error)
        comparison = ""
        if before is not None:
            best = f"best {100 * self.best_error:.2f} %"
            comparison = f" ({'the best' if error < before else best})"
        self._context.display.say(
            f"epoch {self._clock.epochs(step):.2f}: validation error "
            f"{describe_errors(result.values)}, {describe_others(result.values)}{comparison}"
        )

    def _after(self, position: Position, error: float) -> Position:
        config = self._run.config
        plateau = after_validation(
            config.schedule, position.plateau, error, config.evaluate_every_epochs
        )
        if plateau.drops > position.plateau.drops:
            self._context.display.say("validation error has stalled: learning rate divided")
        return position._replace(
            plateau=plateau,
            evaluated_epochs=position.evaluated_epochs + config.evaluate_every_epochs,
            validation_due=False,
        )


def _rgb_filters(state: TrainState, groups: int) -> np.ndarray | None:
    """Returns conv1's kernel, float32 [height, width, 3, filters]; None if it sees no RGB."""
    if "conv1" not in state.params:
        return None
    kernel = placement.to_host(state.params["conv1"]["kernel"])
    sees_rgb = kernel.ndim == 4 and kernel.shape[2] == 3
    return kernel if sees_rgb and kernel.shape[3] % groups == 0 else None
