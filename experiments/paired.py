"""Means and spreads over seeds, and differences between runs of the same seed."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from scipy import stats

Run = dict[str, Any]


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """Returns "mean ± standard deviation"; of one value, that alone."""
    mean = f"{statistics.mean(values):{form}}"
    return f"{mean} ± {statistics.stdev(values):{form}}" if len(values) > 1 else mean


def reached(
    runs: list[Run], variant: str, key: str, seeds: int = 0, within: str = ""
) -> tuple[dict[int, float], str]:
    """Returns the values of a variant's runs by seed, and a remark where some have none.

    `seeds` is how many runs the variant should have, `within` how long they were given.
    """
    of_variant = [run for run in runs if run["variant"] == variant and key in run]
    values = {run["seed"]: run[key] for run in of_variant if run[key] is not None}
    remarks = []
    if len(values) < len(of_variant):
        fate = "diverged" if any(run.get("diverged") for run in of_variant) else "not reached"
        limit = f" within {within}" if within else ""
        missing = len(of_variant) - len(values)
        remarks.append(f"{fate} in {missing} of {len(of_variant)} runs{limit}")
    if len(of_variant) < seeds:
        remarks.append(f"{len(of_variant)} of {seeds} runs yet")
    return values, ", ".join(remarks)


def difference_text(
    found: dict[str, Any], unit: str = "", form: str = "+.1f", none: float = 0
) -> str:
    """Returns a difference of `paired` with its interval, and a note if that holds `none`.

    `none` means no difference: 1 for ratios.
    """
    mean, (low, high), n = found["mean"], found["interval_95"], found["n"]
    text = f"{mean:{form}}{unit and ' '}{unit}"
    if low == high:  # of counted things; a width of 0 would say too much
        return f"{text} in each of {n} pairs"
    note = ", not significant" if low <= none <= high else ""
    return f"{text} ({low:{form}} to {high:{form}}, n = {n}){note}"


def paired(first: dict[int, float], second: dict[int, float]) -> dict[str, Any] | None:
    """Returns the mean of `first - second` over common seeds, with its 95 % interval."""
    differences = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    if len(differences) < 2:
        return None
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * deviation / math.sqrt(len(differences))
    return {"n": len(differences), "mean": mean, "interval_95": [mean - half, mean + half]}


def contrast(
    runs: list[Run], variant: str, baseline: str, key: str, seeds: int
) -> dict[str, Any] | None:
    """Returns `paired` of a variant and its baseline; None unless all runs have a value."""
    (values, lacking), (base, missing) = (
        reached(runs, name, key, seeds) for name in (variant, baseline)
    )
    return None if lacking or missing else paired(values, base)
