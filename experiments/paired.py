"""Means and spreads over seeds, and differences between runs of the same seed."""

import math
import statistics
from typing import Any

from scipy import stats


def spread(values: list[float], form: str = ".1f") -> str:
    """Returns "mean ± standard deviation"; of one value, that alone.

    Args:
      values: one or more.
      form: of both numbers.
    """
    mean = f"{statistics.mean(values):{form}}"
    return f"{mean} ± {statistics.stdev(values):{form}}" if len(values) > 1 else mean


def reached(
    runs: list[dict[str, Any]], variant: str, key: str, seeds: int = 0, within: str = ""
) -> tuple[dict[int, float], str]:
    """Returns what the runs of a variant reached, by seed, and a remark where some did not.

    Args:
      runs: of a record; what was not reached is None there, and `diverged` may be True.
      variant: whose.
      key: of the value.
      seeds: how many runs there are to be.
      within: how long those that did not arrive were given.
    """
    mine = [run for run in runs if run["variant"] == variant and key in run]
    values = {run["seed"]: run[key] for run in mine if run[key] is not None}
    remarks = []
    if len(values) < len(mine):
        fate = "diverged" if any(run.get("diverged") for run in mine) else "not reached"
        limit = f" within {within}" if within else ""
        remarks.append(f"{fate} in {len(mine) - len(values)} of {len(mine)} runs{limit}")
    if len(mine) < seeds:
        remarks.append(f"{len(mine)} of {seeds} runs yet")
    return values, ", ".join(remarks)


def told(found: dict[str, Any], unit: str = "", form: str = "+.1f", none: float = 0) -> str:
    """Returns a difference with its interval, and whether that holds what no difference is.

    Args:
      found: from `paired`.
      unit: after the mean.
      form: of the numbers.
      none: what no difference is: 1 of ratios.
    """
    mean, (low, high), n = found["mean"], found["interval_95"], found["n"]
    text = f"{mean:{form}}{unit and ' '}{unit}"
    if low == high:  # of counted things; a width of 0 would say too much
        return f"{text} in each of {n} pairs"
    holds = f", not told from {none:g}" if low <= none <= high else ""
    return f"{text} ({low:{form}} to {high:{form}}, n = {n}){holds}"


def paired(first: dict[int, float], second: dict[int, float]) -> dict[str, Any] | None:
    """Returns the mean of `first - second` over the seeds of both, and its 95 % interval.

    Args:
      first: values by seed.
      second: values by seed.
    """
    differences = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    if len(differences) < 2:
        return None
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * deviation / math.sqrt(len(differences))
    return {"n": len(differences), "mean": mean, "interval_95": [mean - half, mean + half]}


def contrast(
    runs: list[dict[str, Any]], variant: str, baseline: str, key: str, seeds: int
) -> dict[str, Any] | None:
    """Returns `paired` of a variant and its baseline; None unless all their runs arrived.

    Args:
      runs: of a record.
      variant: whose values are compared.
      baseline: what they are compared with, seed by seed.
      key: of the value.
      seeds: how many runs each is to have.
    """
    (values, lacking), (base, missing) = (
        reached(runs, name, key, seeds) for name in (variant, baseline)
    )
    return None if lacking or missing else paired(values, base)
