"""Means and spreads over seeds, and differences between runs of the same seed."""

import math
import statistics
from typing import Any

from scipy import stats


def summary(values: list[float]) -> dict[str, float | None]:
    """Returns mean and standard deviation (None of fewer than two)."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "standard_deviation": spread}


def reached(runs: list[dict[str, Any]], variant: str, key: str) -> tuple[dict[int, float], str]:
    """Returns what the runs of a variant reached, by seed, and a remark where some did not.

    Args:
      runs: of a record; what was not reached is None there, and `diverged` may be True.
      variant: whose.
      key: of the value.
    """
    mine = [run for run in runs if run["variant"] == variant and key in run]
    values = {run["seed"]: run[key] for run in mine if run[key] is not None}
    remark = ""
    if len(values) < len(mine):
        fate = "diverged" if any(run.get("diverged") for run in mine) else "not reached"
        remark = f"{fate} in {len(mine) - len(values)} of {len(mine)} runs"
    return values, remark


def verdict(interval: list[float]) -> str:
    """Returns what stands behind a difference whose interval holds 0; else nothing."""
    low, high = interval
    return ", not told from 0" if low <= 0 <= high else ""


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
