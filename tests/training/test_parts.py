"""The parts of the loop, each without a run."""

import dataclasses
import json
import math
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.config import Phase, ScheduleConfig
from alexnet_jax.display import Display
from alexnet_jax.errors import DivergedError
from alexnet_jax.evaluation.evaluate import Evaluation
from alexnet_jax.evaluation.guessing import Guess
from alexnet_jax.evaluation.metrics import MetricSums
from alexnet_jax.runs.metrics_log import MetricsLog, read_rows
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training import validation as validation_module
from alexnet_jax.training.context import Context
from alexnet_jax.training.position import Position
from alexnet_jax.training.reporting import Reporter, memory_in_use, progress_parts
from alexnet_jax.training.saving import Saver
from alexnet_jax.training.schedule import Clock, CurrentRates, PlateauState, RateSource
from alexnet_jax.training.validation import Validator
from alexnet_jax.training.watching import LearningWatch, what_helps

CLOCK = Clock(batch_size=11, num_examples=44)
RATES = CurrentRates(0.01, 0.02, {}, {}, True)
PLATEAU = ScheduleConfig("plateau", drops=1, patience_epochs=2)


def sums(loss=2.0, count=11.0):
    by_name = {"loss": loss, "top1_error": 5.5, "top5_error": count}
    return MetricSums(jnp.float32(count), {k: jnp.float32(v) for k, v in by_name.items()})


def state_of(value=0.0):
    kernel = jnp.full((2, 2, 3, 4), value, jnp.float32)
    return TrainState(jnp.int32(4), {"conv1": {"kernel": kernel}}, (), jnp.zeros(2, jnp.uint32))


@pytest.fixture
def run(config, tmp_path):
    info = {"class_names": ["dark", "red"], "status": "running"}
    network = SimpleNamespace(name="tiny", classes=2, towers=1)
    record = SimpleNamespace(to_dict=lambda: {})
    return SimpleNamespace(
        workdir=tmp_path, config=config, network=network, image_size=8, info=info, record=record
    )


class Recorder:
    """Stands for `Checkpoints`, and keeps the calls."""

    @classmethod
    def any(cls, *arguments) -> Any:
        """Returns one that type checks as anything."""
        return cls(*arguments)

    def __init__(self, steps=()):
        self.calls, self._steps = [], list(steps)

    def steps(self):
        return self._steps

    def save(self, state, meta, metrics):
        self.calls.append(("save", int(state.step), metrics))

    def amend(self, step, meta, metrics):
        self.calls.append(("amend", step, metrics))


# --- position ---


@pytest.mark.parametrize("best", [math.inf, 0.25])
def test_a_position_survives_a_checkpoint(best):
    plateau = PlateauState(1, best, 0.5, False)
    position = Position(7, Position().window + sums(), plateau, 2.0, True)
    stored = json.loads(json.dumps(position.as_json(), allow_nan=False))
    assert Position.from_json(stored, PLATEAU) == position


def test_the_position_of_an_old_checkpoint_is_read():
    plateau = {"drops": 0, "best_error": None, "stalled_epochs": 0.0, "stopped": False}
    old = {
        "data": {"next_step": 4},
        "plateau": plateau,
        "window": [2.0, 5.5, 11.0, 11.0],  # loss, top-1, top-5, count
        "evaluated_epochs": 1.0,
    }
    found = Position.from_json(old, ScheduleConfig())
    assert found == Position(4, Position().window + sums(), evaluated_epochs=1.0)


@pytest.mark.parametrize(
    ("position", "ends"),
    [
        (Position(11), False),
        (Position(12), True),
        (Position(4, plateau=PlateauState(stopped=True)), True),
        (Position(4, validation_due=True), True),
    ],
)
def test_training_ends_after_the_last_step_or_a_stop(position, ends):
    assert position.is_at_end(total_steps=12) is ends


# --- rates ---


def test_rates_keep_their_arrays_until_they_change(config):
    phases = (Phase(1, 0.1, 0.1), Phase(2, 0.01, 0.01))
    config = dataclasses.replace(config, schedule=ScheduleConfig("step", phases))
    source = RateSource(config, CLOCK, state_of().params)
    first = source.at(0, PlateauState())
    assert source.at(3, PlateauState()) is first
    assert source.at(4, PlateauState()).tree["conv1"]["kernel"] == np.float32(0.01)


# --- saver ---


def test_a_step_is_saved_once_and_then_only_amended(run):
    checkpoints = Recorder.any()
    saver = Saver(run, checkpoints)
    assert saver.saved_step is None
    position = Position(4, validation_due=True)
    saver.save(state_of(), position)
    saver.save(state_of(), position._replace(validation_due=False), {"validation/top1_error": 0.5})
    assert checkpoints.calls == [("save", 4, {}), ("amend", 4, {"validation/top1_error": 0.5})]
    assert saver.saved_step == 4 and Saver(run, Recorder.any([2, 4])).saved_step == 4


def test_parameters_that_are_not_finite_are_not_saved(run):
    checkpoints = Recorder.any()
    with pytest.raises(DivergedError, match="step 4"):
        Saver(run, checkpoints).save(state_of(math.nan), Position(4))
    assert not checkpoints.calls


# --- validation ---


@pytest.fixture
def validation(run, monkeypatch):
    """A validation, with the errors that it will find."""
    errors, told_to_stop = [], []

    def evaluate(*arguments, progress, **options):
        progress(1, 2)
        error = errors.pop(0)
        return Evaluation({"loss": error, "top1_error": error}, 2, np.zeros(2, np.int32))

    monkeypatch.setattr(validation_module, "evaluate", evaluate)
    monkeypatch.setattr(validation_module, "make_run_predict_step", lambda *_: object())
    dataset: Any = SimpleNamespace(split=lambda name: name)
    signals: Any = SimpleNamespace(told_to_stop=lambda: bool(told_to_stop))
    no_inputs: Any = None
    lines, log, saver = [], MetricsLog(run.workdir, 0), Saver(run, Recorder.any())
    context = Context(run, CLOCK, None, Display(lines.append))
    made = Validator(context, dataset, no_inputs, log, saver, signals)
    yield SimpleNamespace(part=made, errors=errors, stop=told_to_stop, lines=lines, saver=saver)
    log.close()


@pytest.mark.parametrize(
    ("step", "evaluated", "due"), [(3, 0, False), (4, 0, True), (4, 1, False), (12, 3, True)]
)
def test_a_validation_is_due_after_each_epoch_and_at_the_end(validation, step, evaluated, due):
    assert validation.part.is_due(Position(step, evaluated_epochs=evaluated)) is due


def test_the_best_error_is_kept_and_shown(validation, run):
    validation.errors += [0.5, 0.25, 0.75]
    position = Position(4)
    for step in (4, 8, 12):
        position = validation.part.run(state_of(), position._replace(step=step))
    assert validation.part.best_error == 0.25 and position.evaluated_epochs == 3
    endings = [line.partition("loss ")[2] for line in validation.lines]
    assert endings == ["0.5000", "0.2500 (the best)", "0.7500 (best 25.00 %)"]
    rows = read_rows(run.workdir / "metrics.jsonl")
    assert [row["validation/top1_error"] for row in rows] == [0.5, 0.25, 0.75]
    assert "validation/colour_share_1" in rows[0]


def test_a_stopped_validation_is_due_again_and_leaves_nothing(validation, run):
    validation.errors.append(0.5)
    validation.stop.append(True)
    position = validation.part.run(state_of(), Position(4))
    assert position == Position(4, validation_due=True)
    assert validation.saver.saved_step is None and not validation.lines
    assert not read_rows(run.workdir / "metrics.jsonl")
    validation.stop.clear()
    position = validation.part.run(state_of(), position)
    assert not position.validation_due and validation.saver.saved_step == 4


# --- reporting ---


@pytest.fixture
def reporting(run):
    lines, log = [], MetricsLog(run.workdir, 0)
    context = Context(run, CLOCK, None, Display(lines.append))
    yield Reporter(context, log, Saver(run, Recorder.any([2]))), lines
    log.close()


def test_steps_are_counted_one_behind_and_a_row_empties_the_window(reporting, run):
    part, lines = reporting
    position = part.add(Position(1), sums(), RATES)
    assert position.window.count == 0
    position = part.add(position.after_step(), sums(), RATES)
    assert position.window.count == 11
    position = part.report(position, RATES, best_error=0.25)
    assert position.window.count == 0 and "step 2/12" in lines[0] and "best 25.0 %" in lines[0]
    (row,) = read_rows(run.workdir / "metrics.jsonl")
    assert row["step"] == 2 and row["train/loss"] == pytest.approx(4 / 22)
    assert row["train/learning_rate"] == 0.01 and row["images_per_second"] > 0


def test_between_two_rows_the_window_stays(reporting, run):
    part, lines = reporting
    position = part.add(Position(3), sums(), RATES)
    assert part.report(position, RATES, None).window.count == 11 and len(lines) == 1
    assert not read_rows(run.workdir / "metrics.jsonl")


def test_a_loss_that_is_not_finite_names_step_rate_and_checkpoint(reporting):
    part, _ = reporting
    position = part.add(Position(3), sums(math.nan), RATES)
    with pytest.raises(DivergedError, match=r"step 3 .*rate 0\.01.*step 2 is good.*--optimizer"):
        part.settle(position)


def test_a_line_of_progress_has_rate_memory_best_and_time_left():
    values = {"train/loss": 0.5, "train/top1_error": 0.25, "train/learning_rate": 0.01}
    parts = progress_parts(10, 10, 1.0, values, 1234.5, 125.0, best_error=0.125)
    memory = parts.pop(7)
    assert "  ".join(parts) == (
        "step 10/10  epoch 1.00  loss 0.5000  error 25.0 %  best 12.5 %  rate 0.01  "
        "1,234 images/s  ETA 2 min 05 s"
    )
    assert float(memory.removesuffix(" GB")) > 0.01 and memory_in_use() > 10**7


# --- watching ---


def test_it_is_said_once_that_nothing_is_learnt_and_once_that_something_is(config):
    lines, level = [], math.log(2)
    watch = LearningWatch(config, Guess(level, level), Display(lines.append, quiet=True))
    losses = [level] * 110 + [level / 2] * 60 + [level] * 110
    for row, loss in enumerate(losses, start=1):
        watch.add(row * config.log_every_steps, loss, RATES)
    assert len(lines) == 2, lines
    assert "not learning" in lines[0] and "now 0.01" in lines[0]
    assert "is learning now" in lines[1]


@pytest.mark.parametrize(
    ("schedule", "option"),
    [
        (ScheduleConfig(), "--optimizer.learning-rate"),
        (ScheduleConfig("step", (Phase(1, 0.1, 0.1),)), "--schedule.phases.0.learning-rate"),
    ],
)
def test_the_remedy_names_the_option_that_sets_the_rate(config, schedule, option):
    text = what_helps(dataclasses.replace(config, schedule=schedule), RATES)
    assert option in text and "--network original" not in text
