"""Curves: what is read from the metrics, how it is thinned, and where labels go."""

import re

import numpy as np
import pytest

from alexnet_jax.insight import curves, series
from alexnet_jax.insight.curves import CurveLine
from alexnet_jax.insight.series import Series


def line(values, **options):
    values = np.asarray(values, float)
    return CurveLine(
        "training", Series(np.arange(1.0, len(values) + 1), values), "training", **options
    )


def test_rows_without_the_key_or_with_values_that_are_not_finite_are_passed_over():
    rows = [
        {"epoch": 2.0, "train/loss": 1.0},
        {"epoch": 1.0, "train/loss": 2.0},
        {"epoch": 3.0},
        {"train/loss": 5.0},
        {"epoch": 4.0, "train/loss": float("nan")},
        {"epoch": 5.0, "train/loss": None},
        {"epoch": 6.0, "train/loss": "much"},
    ]
    read = series.read_series(rows, "train/loss")
    assert read.epochs.tolist() == [1, 2] and read.values.tolist() == [2, 1]


def test_smoothing_keeps_constants_and_straight_lines():
    assert series.smoothed(np.full(200, 3.0)) == pytest.approx(np.full(200, 3.0))
    ramp = np.arange(200.0)
    assert series.smoothed(ramp)[20:-20] == pytest.approx(ramp[20:-20])
    noise = np.random.default_rng(0).normal(size=1000)
    assert series.smoothed(noise).std() < 0.3


def test_thinning_keeps_the_extremes_and_the_ends():
    values = np.random.default_rng(1).normal(size=20_000)
    values[7777], values[333] = 99.0, -99.0
    thin = series.thinned(Series(np.arange(20_000.0), values), 400)
    assert len(thin.values) <= 400
    assert thin.values.max() == 99 and thin.values.min() == -99
    assert thin.epochs[0] == 0 and thin.epochs[-1] == 19_999


def test_the_rate_is_marked_where_it_changes():
    rates = [0.01, 0.01, 0.01, 0.001, 0.001, 0.0001]
    rows = [{"epoch": i + 1.0, "train/learning_rate": rate} for i, rate in enumerate(rates)]
    assert series.rate_changes(rows) == [(1, 0.01), (4, 0.001), (6, 0.0001)]
    svg = curves.draw_curves("loss", [line([3, 2, 2, 1, 1, 1])], rates=series.rate_changes(rows))
    assert svg.count('class="rate"') == 2
    assert ">rate 0.01<" in svg and ">0.001<" in svg


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 2.3, [0, 0.5, 1, 1.5, 2]), (3, 3, [3])],
)
def test_ticks_are_round(low, high, expected):
    assert curves.ticks(low, high) == expected


def test_log_ticks():
    assert curves.log_ticks(0.04, 1.1) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1])
    assert curves.log_ticks(1e-4, 3) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1])


def test_labels_move_apart_in_order_and_stay_inside():
    places = curves.spread([100, 101, 240], 30, 0, 245)
    assert places == [100, 130, 240]
    places = curves.spread([240, 241, 242], 30, 0, 245)
    assert np.diff(places).min() >= 30 and max(places) == 245


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "50.0\xa0%"), (0.0012, "0.12\xa0%"), (0, "0.0\xa0%"), (1, "100.0\xa0%")],
)
def test_percent(value, text):
    assert curves.percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.01, "0.01"), (1e-5, "1e-5"), (38.21, "38.2"), (12345, "12,300")]
)
def test_number(value, text):
    assert curves.number(value) == text


def test_every_point_lies_inside_the_picture_and_the_last_value_is_written():
    values = np.exp(np.random.default_rng(2).normal(size=3000))
    svg = curves.draw_curves("loss", [line(values, smooth=True)], chance=2.3)
    numbers = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", svg)
    points = np.array(numbers, float)
    assert len(points) > 300 and np.isfinite(points).all()
    assert (points >= 0).all() and (points <= [curves.WIDTH, curves.HEIGHT]).all()
    assert "guessing" in svg
    assert f">{curves.three_digits(series.smoothed(values)[-1])}<" in svg


def test_a_loss_over_several_powers_of_ten_gets_a_logarithmic_axis():
    svg = curves.draw_curves("loss", [line([2.0, 0.5, 0.02, 0.001])])
    assert ">0.1<" in svg and ">0.001<" in svg


def test_nothing_to_draw():
    assert curves.draw_curves("loss", []) == ""
    assert curves.draw_curves("loss", [line([])]) == ""


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [5.0, 5.0]])
def test_degenerate_curves_are_drawn(values):
    svg = curves.draw_curves("error", [line(values, smooth=True)], as_percent=False)
    assert svg.startswith("<svg") and "nan" not in svg
