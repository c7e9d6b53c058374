"""Schedules at their borders, and the logged ones row by row."""

import math

import pytest

from alexnet_jax.config import OptimizerConfig, Phase, ScheduleConfig
from alexnet_jax.presets import PRESETS, RUN_145, RUN_145_2010
from alexnet_jax.training.schedule import (
    PlateauState,
    after_validation,
    rate_tree,
    rates_at,
    resume_plateau,
)

OPTIMIZER = OptimizerConfig()


def at(schedule, epoch, total=90.0, plateau=PlateauState()):  # noqa: B008
    """Returns the rates at the start of an epoch counted from 1."""
    return rates_at(schedule, OPTIMIZER, epoch - 1, total, plateau)


def test_constant():
    assert at(ScheduleConfig(), 1)[:2] == at(ScheduleConfig(), 80)[:2] == (0.01, 0.02)


@pytest.mark.parametrize(
    ("phases", "epoch", "weights", "conv1", "noise"),
    [
        (RUN_145_2010, 1, 0.01, 0.01, True),
        (RUN_145_2010, 22.999, 0.01, 0.01, True),
        (RUN_145_2010, 23, 1e-3, 1e-3, True),
        (RUN_145_2010, 51, 1e-4, 1e-4, True),
        (RUN_145_2010, 68, 1e-4, 1e-5, False),
        (RUN_145_2010, 72, 1e-4, 0.0, False),
        (RUN_145_2010, 78, 1e-5, 0.0, False),
        (RUN_145_2010, 93, 1e-5, 0.0, False),
        (RUN_145, 24.99, 0.01, 0.01, True),
        (RUN_145, 25, 1e-3, 1e-3, True),
        (RUN_145, 67, 1e-4, 1e-5, False),
        (RUN_145, 79, 1e-5, 0.0, False),
    ],
)
def test_logged_schedules(phases, epoch, weights, conv1, noise):
    rates = at(ScheduleConfig("step", phases), epoch)
    tree = rate_tree(rates, OPTIMIZER, {"conv1": {"kernel": 0}, "conv2": {"kernel": 0}})
    assert tree["conv2"]["kernel"] == pytest.approx(weights)
    assert tree["conv1"]["kernel"] == pytest.approx(conv1)
    assert rates.colour_noise is noise


def test_bias_rates_did_not_follow_the_weights_down():
    assert at(ScheduleConfig("step", RUN_145), 91).biases == 0.02
    assert at(ScheduleConfig("step", RUN_145_2010), 93).biases == 0.002


def test_dexp_has_four_stairs_of_the_weights_and_two_of_the_biases():
    schedule = ScheduleConfig("dexp")
    stairs = [at(schedule, 1 + 95 * share, 95).weights for share in (0, 0.26, 0.51, 0.76, 1)]
    assert stairs == pytest.approx([0.01, 1.5874e-3, 2.5198e-4, 4e-5, 4e-5], rel=1e-4)
    assert [at(schedule, 1 + 95 * s, 95).biases for s in (0.49, 0.51)] == pytest.approx(
        [0.02, 0.002]
    )


def test_plateau_divides_three_times_and_then_stops():
    schedule = ScheduleConfig("plateau", patience_epochs=2, drops=3)
    state, rates = PlateauState(), []
    for error in [0.5, 0.4] + [0.4] * 20:
        state = after_validation(schedule, state, error, 1)
        rates.append(at(schedule, 1, plateau=state).weights)
        if state.stopped:
            break
    assert rates == pytest.approx([0.01] * 3 + [1e-3] * 2 + [1e-4] * 2 + [1e-5] * 3)
    assert state.drops == 3


def test_plateau_counts_epochs_not_evaluations():
    schedule = ScheduleConfig("plateau", patience_epochs=2)
    state = after_validation(schedule, PlateauState(), 0.5, 0.5)
    for _ in range(3):
        state = after_validation(schedule, state, 0.6, 0.5)
    assert state.drops == 0
    assert after_validation(schedule, state, 0.6, 0.5).drops == 1


def test_a_plateau_that_stopped_goes_on_when_the_schedule_allows_it():
    stopped = PlateauState(drops=3, best_error=0.4, stalled_epochs=2.0, stopped=True)
    for schedule, stops in (
        (ScheduleConfig("plateau", drops=3), True),
        (ScheduleConfig("plateau", drops=4), False),
        (ScheduleConfig("constant"), False),
    ):
        assert resume_plateau(schedule, stopped) == stopped._replace(stopped=stops)


def test_plateau_ignores_nan():
    schedule = ScheduleConfig("plateau")
    state = after_validation(schedule, PlateauState(), math.nan, 1)
    assert state.best_error == math.inf and state.stalled_epochs == 1


def test_factors_and_absolute_rates_of_layers():
    optimizer = OptimizerConfig(layer_learning_rate=(("conv1", 0.1), ("fc8", 0.0)))
    layers = (("conv2", 1e-3), ("conv4", 0.0), ("conv5", 1e-3))
    biases = (("conv4", 0.5), ("conv5", 0.5))
    schedule = ScheduleConfig("step", (Phase(1, 0.01, 0.02, layers, biases),))
    rates = rates_at(schedule, optimizer, 0, 90)
    names = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc8")
    tree = rate_tree(rates, optimizer, {n: {"kernel": 0, "bias": 0} for n in names})
    kernels = [float(tree[n]["kernel"]) for n in names]
    biases = [float(tree[n]["bias"]) for n in names]
    assert kernels == pytest.approx([1e-3, 1e-3, 0.01, 0.0, 1e-3, 0.0])
    assert biases == pytest.approx([2e-3, 0.02, 0.02, 0.0, 0.5, 0.0]), "0 freezes both"


def test_every_preset_starts_at_a_positive_rate():
    for preset in PRESETS.values():
        rates = rates_at(preset.schedule, preset.optimizer, 0, preset.epochs)
        assert rates.weights > 0 and rates.biases > 0
