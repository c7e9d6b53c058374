"""Means and spreads over seeds, and differences between runs of the same seed."""

import math
import statistics
from typing import Any

from scipy import stats


def summary(values: list[float]) -> dict[str, float | None]:
    """Returns mean and standard deviation (None of fewer than two)."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "standard_deviation": spread}


def paired(first: dict[int, float], second: dict[int, float]) -> dict[str, Any] | None:
    """Returns the mean of `first - second` over the seeds of both, and its 95 % interval.

    Args:
      first: values by seed.
      second: values by seed.
    """
    differences = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    if len(differences) < 2:
        return None
    mean, spread = statistics.mean(differences), statistics.stdev(differences)
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * spread / math.sqrt(len(differences))
    return {"n": len(differences), "mean": mean, "interval_95": [mean - half, mean + half]}
