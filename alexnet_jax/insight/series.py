"""Metrics as series over epochs: read from rows, smoothed, thinned for drawing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

MAX_POINTS = 400


class Series(NamedTuple):
    """Values of one metric, float64 `[n]`, against epochs, float64 `[n]`."""

    epochs: np.ndarray
    values: np.ndarray


def read_series(metrics: Sequence[Mapping[str, Any]], key: str) -> Series:
    """Returns the finite values of `key`, by epoch; rows without it are left out."""
    pairs = {
        float(row["epoch"]): float(row[key])
        for row in metrics
        if _is_finite(row.get("epoch")) and _is_finite(row.get(key))
    }
    epochs = sorted(pairs)
    return Series(np.array(epochs, float), np.array([pairs[e] for e in epochs], float))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def smoothed(values: np.ndarray, share: float = 0.03) -> np.ndarray:
    """Returns a centred triangular moving average over about `share` of the points on each side."""
    reach = int(round(len(values) * share))
    if reach < 1:
        return values
    weights = np.concatenate([np.arange(1, reach + 2), np.arange(reach, 0, -1)]).astype(float)
    total = np.convolve(values, weights, mode="full")[reach : reach + len(values)]
    count = np.convolve(np.ones_like(values), weights, mode="full")[reach : reach + len(values)]
    return total / count


def thinned(series: Series, limit: int = MAX_POINTS) -> Series:
    """Returns at most `limit` points that keep the lowest and the highest value of each stretch."""
    count = len(series.values)
    if count <= limit:
        return series
    keep = {0, count - 1}
    for part in np.array_split(np.arange(count), limit // 2 - 1):
        keep |= {part[np.argmin(series.values[part])], part[np.argmax(series.values[part])]}
    chosen = np.array(sorted(keep))
    return Series(series.epochs[chosen], series.values[chosen])


def rate_changes(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Returns `(epoch, learning rate)` at the start and wherever the logged rate changes."""
    changes: list[tuple[float, float]] = []
    for epoch, rate in zip(*read_series(metrics, "train/learning_rate"), strict=True):
        if not changes or not math.isclose(rate, changes[-1][1], rel_tol=1e-3):
            changes.append((float(epoch), float(rate)))
    return changes
