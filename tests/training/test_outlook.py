"""A run that is given more epochs says what its schedule does with them, and how to change that."""

import dataclasses
import re
import shlex

import numpy as np
import pytest

from alexnet_jax import main
from alexnet_jax.config import Config, OptimizerConfig, Phase, ScheduleConfig
from alexnet_jax.presets import PRESETS
from alexnet_jax.recipes import chosen, resume_recipe
from alexnet_jax.training.outlook import outlook
from alexnet_jax.training.schedule import PlateauState, rates_at


def longer(schedule, old, new, finished, optimizer=OptimizerConfig(), plateau=PlateauState()):  # noqa: B008
    before = Config(schedule=schedule, epochs=old, optimizer=optimizer)
    return outlook(before, dataclasses.replace(before, epochs=new), finished, plateau)


def step(*rows):
    return ScheduleConfig("step", tuple(Phase(*row) for row in rows))


def options(lines):
    (line,) = [line for line in lines if "--retune" in line]
    return shlex.split(line.partition("--retune ")[2])


def test_all_that_is_added_has_a_tenth_of_the_rate():
    lines = longer(step((4, 0.001, 0.002)), 4, 8, 4)
    assert lines[0].split(maxsplit=1) == [
        "schedule",
        "after 4 of 8 epochs the rate is 0.001 (biases 0.002)",
    ]
    assert "past: 0.001 (biases 0.002) from epoch 4;" in lines[1]
    assert "no change is to come: that rate is for all of the 4 epochs that remain" in lines[1]
    assert options(lines) == ["--epochs", "8", "--schedule.phases.0.epoch", "7"]


@pytest.mark.parametrize(
    ("rows", "old", "new", "finished", "past", "coming", "moved"),
    [
        (((3, 0.001), (5, 1e-4)), 6, 12, 3.5, 1, 1, {0: "5", 1: "9"}),  # stopped in the middle
        (((1, 0.01), (3, 0.001), (4, 1e-4)), 4, 8, 4, 2, 0, {2: "7"}),  # the other stays past
        (((4, 0.001),), 4, 5, 4, 1, 0, {0: "5.5"}),  # even moved with the end it would be past
        (((2.5, 0.001),), 2.5, 7.5, 2.5, 1, 0, {0: "5.5"}),
        (((4, 0.001), (3, 0.005)), 4, 8, 3.98, 2, 0, {0: "7", 1: "5"}),  # rows in any order
    ],
)
def test_steps(rows, old, new, finished, past, coming, moved):
    lines = longer(step(*rows), old, new, finished)
    said = lines[1].partition("to come")
    assert len(re.findall("from epoch", said[0])) == past
    assert len(re.findall("from epoch", said[2])) == coming
    found = dict(zip(options(lines)[2::2], options(lines)[3::2], strict=True))
    assert found.keys() == {f"--schedule.phases.{i}.epoch" for i in moved}
    for i, epoch in moved.items():
        moved_to = float(found[f"--schedule.phases.{i}.epoch"])
        assert finished < moved_to - 1 < new
        assert moved_to == pytest.approx(float(epoch), abs=0.51)


def test_fewer_epochs_leave_drops_beyond_the_end():
    lines = longer(step((4, 0.001), (8, 1e-4)), 9, 5, 2)
    assert "to come: 0.001 (biases 0.02) from epoch 4; beyond the end: 0.0001" in lines[1]
    assert not any("--retune" in line for line in lines)


def test_rates_of_layers_and_frozen_ones_are_named():
    optimizer = OptimizerConfig(0.01, 0.02, layer_learning_rate=(("conv1", 0.0), ("conv2", 0.0)))
    phases = (Phase(3, 0.001, layer_learning_rate=(("fc8", 0.01),), colour_noise=False),)
    lines = longer(ScheduleConfig("step", phases), 4, 8, 1, optimizer)
    assert "the rate is 0.01 (biases 0.02), conv1 to conv2 0 (frozen)" in lines[0]
    assert "0.001 (biases 0.02), conv1 to conv2 0 (frozen), fc8 0.01, without colour" in lines[1]


def test_a_plateau_tells_its_divisions():
    schedule = ScheduleConfig("plateau", drops=2, patience_epochs=3)
    lines = longer(schedule, 4, 8, 4, plateau=PlateauState(1, 0.2, 1))
    assert "rate is 0.001 (biases 0.002)" in lines[0]
    assert "1 of 2 divisions by 10; the next comes after 2 more epochs" in lines[1]
    assert options(lines) == shlex.split(
        "--optimizer.learning-rate 0.1 --optimizer.bias-learning-rate 0.2"
    )
    lines = longer(schedule, 4, 5, 4, plateau=PlateauState(2, 0.2, 0))
    assert "the run ends after 3 more" in lines[1] and "cannot be before the end" in lines[1]


def test_stairs_are_spread_anew():
    schedule = ScheduleConfig("dexp", stairs=4, total_factor=1000)
    lines = longer(schedule, 4, 8, 4)
    assert "the rate is 0.0001 (biases 0.002); it was 1e-05" in lines[0]
    assert "0.001 (biases 0.02) from epoch 3" in lines[1]
    assert "to come: 1e-05 (biases 0.002) from epoch 7" in lines[1]
    assert options(lines)[:4] == [
        "--schedule.kind",
        "constant",
        "--optimizer.learning-rate",
        "0.0001",
    ]


def test_a_constant_rate_stays():
    lines = longer(ScheduleConfig("constant"), 4, 8, 4)
    assert len(lines) == 2 and "no change is to come" in lines[1]


def test_a_rate_that_counts_no_longer_is_told():
    before = Config(schedule=step((4, 0.001)), epochs=4)
    optimizer = OptimizerConfig(0.005)
    now = dataclasses.replace(before, epochs=8, optimizer=optimizer)
    line = outlook(before, now, 4, PlateauState())[-1]
    assert "no effect" in line and "--schedule.phases.0.learning-rate 0.005" in line


def test_what_is_printed_can_be_typed_and_does_it(tmp_path):
    """The preset has no phases: those that were chosen for the photos lie in the run folder."""
    words = ["--preset", "folder", "--workdir", str(tmp_path)]
    typed = main.parse("train", [*words, "--epochs", "4"])
    run = chosen(typed.config, 24, ("train", "validation"), 1.0, typed=typed.typed)
    (tmp_path / "config.json").write_text(run.to_json())

    def again(*more):
        verb = main.parse("train", [*words, "--epochs", "8", *more])
        return resume_recipe(verb.config, run, verb.typed)

    now = again()
    assert now.schedule == run.schedule and now.epochs == 8
    moved = again(*options(outlook(run, now, 4, PlateauState())))
    changed = dataclasses.replace(run.schedule.phases[0], epoch=7)
    schedule = dataclasses.replace(run.schedule, phases=(changed,))
    assert moved == dataclasses.replace(now, schedule=schedule)
    rates = [rates_at(moved.schedule, moved.optimizer, done, 8).weights for done in (4, 5.9, 6)]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.001])
    held = again("--schedule.kind", "constant")
    assert rates_at(held.schedule, held.optimizer, 7, 8).weights == 0.01
    other = main.parse("train", ["--preset", "folder", "--workdir", str(tmp_path / "other")])
    assert other.config == PRESETS["folder"]
