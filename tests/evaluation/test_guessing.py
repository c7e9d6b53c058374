"""When a training loss counts as that of guessing."""

import math

import numpy as np
import pytest

from alexnet_jax.evaluation.guessing import STEPS, Guess, Watch, watch_rows


def losses(*parts):
    """Concatenates (level at the start, level at the end, number of logged rows)."""
    return np.concatenate([np.linspace(*part) for part in parts])


def follow(values, guess, every=20, noise=0.0):
    values = values + np.random.default_rng(0).normal(0, noise, len(values))
    watch, told = Watch(guess), []
    for i, value in enumerate(values, start=1):
        before = watch.stuck
        watch.add(i * every, float(value), every)
        if watch.stuck != before:
            told.append((i * every, watch.stuck))
    return watch, told


TEN, TWO, THOUSAND = (Guess(math.log(n), math.log(n)) for n in (10, 2, 1000))


def test_the_losses_of_guessing():
    assert Guess.of(np.array([5, 5])) == pytest.approx((math.log(2), math.log(2)))
    by_size, by_number = Guess.of(np.array([90, 10, 0]))
    assert by_size == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert by_number == pytest.approx(math.log(3))


@pytest.mark.parametrize(
    ("guess", "values"),
    [
        (TEN, losses((2.3, 1.2, 20))),  # from the start
        (THOUSAND, losses((7.4, 7.0, 5), (6.8, 5.0, 50))),  # from large initial weights
        (TWO, losses((0.72, 0.60, 12))),
        (TEN, losses((0.4, 0.2, 40))),  # taken over from another run
        (TEN, losses((2.3, 9.0, 30))),  # away from it, but upwards: that is another trouble
        (TEN, losses((2.3026, 2.3026, STEPS // 20 - 1))),  # too short to say
    ],
)
def test_learning_gives_no_alarm(guess, values):
    watch, told = follow(values, guess)
    assert told == [] and watch.stretches == []


@pytest.mark.parametrize(("guess", "noise"), [(TWO, 0.002), (TEN, 0.01), (THOUSAND, 0.03)])
def test_a_plateau_is_told_once_and_so_is_its_end(guess, noise):
    level = guess.by_size
    values = losses((level, level, 60), (0.95 * level, 0.3 * level, 20))
    watch, told = follow(values, guess, noise=noise)
    assert told == [(STEPS, True), (1300, False)]
    assert watch.stretches == [(0, 1200)] and not watch.stuck
    watch, told = follow(values[:60], guess, noise=noise)
    assert told == [(STEPS, True)] and watch.stretches == [(0, 1200)] and watch.stuck


def test_a_plateau_does_not_end_upwards():
    level = math.log(10)
    _, told = follow(losses((level, level, 10), (level, 9.0, 20)), TEN)
    assert told == [(STEPS, True)]


def test_small_batches_are_averaged_over_many_steps():
    # Batches of 4, each logged, with a standard deviation of 0.1 per image.
    _, told = follow(losses((math.log(2), math.log(2), 2000)), TWO, every=1, noise=0.05)
    assert told == [(STEPS, True)]


def test_knowing_the_sizes_of_the_classes_is_no_learning():
    guess = Guess.of(np.array([900, 100]))
    _, told = follow(losses((0.69, guess.by_size, 10), (guess.by_size, guess.by_size, 30)), guess)
    assert told == [(STEPS, True)]


def test_rows_of_a_run_are_followed_whatever_else_they_hold():
    rows = []
    for step in range(20, 401, 20):
        rows.append({"step": step, "epoch": step / 100, "train/loss": math.log(10)})
        rows.append({"step": step, "epoch": step / 100, "validation/loss": 2.3})
    rows.append({"step": 420, "epoch": 4.2, "train/loss": float("nan")})
    rows.append({"step": 440, "epoch": 4.4, "train/loss": None})
    assert watch_rows(TEN, rows).stretches == [(0, 400)]
    rows.append({"step": 460, "epoch": 4.6, "train/loss": math.log(10)})
    assert watch_rows(TEN, rows).stretches == [(0, 460)], (
        "to the end, though that is no whole stretch"
    )
    rows[-1]["train/loss"] = 2.0
    assert watch_rows(TEN, rows).stretches == [(0, 400)]
    assert watch_rows(TEN, []).stretches == []
