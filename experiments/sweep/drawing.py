"""The figure of a claim: every run, from its record."""

import statistics
from pathlib import Path
from typing import Any

from experiments import pictures
from experiments.paired import reached
from experiments.sweep.claims import Claim, Goal
from experiments.sweep.page import measure_text

COLOURS = ("#1f4e79", "#a8321e", "#5a7d3c", "#7a4f9a")


def draw_claim(claim: Claim, record: dict[str, Any], path: Path) -> None:
    """Draws every run as a point, and the means; where an error ends runs, their courses."""
    figure = _courses(claim, record) if claim.goal is not None else _points(claim, record)
    pictures.save(figure, path, record["runs"])


def _courses(claim: Claim, record: dict[str, Any]) -> Any:
    """Draws the error of each epoch, a line per run, as figure 1 of the paper does."""
    goal = claim.goal or Goal(0)
    figure = pictures.blank(7, 3.6)
    axes = figure.subplots()
    for variant, colour in zip(claim.variants, COLOURS, strict=False):
        runs = [run for run in record["runs"] if run["variant"] == variant]
        for number, run in enumerate(runs):
            errors = run.get("by_epoch", [])  # none of a run that diverged
            epochs = range(1, len(errors) + 1)
            label = "" if number else variant
            axes.plot(epochs, errors, "o-", color=colour, label=label, lw=1.1, ms=2.5, alpha=0.75)
    for error in (goal.error, *goal.above):
        axes.axhline(100 * error, color="#555555", lw=0.8, ls="--")
    axes.set(xlabel="epoch", ylabel=f"{goal.of} error, %", ylim=(0, 100))
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", lw=0.6)
    axes.legend(frameon=False, loc="upper right")
    return figure


def _points(claim: Claim, record: dict[str, Any]) -> Any:
    names = list(claim.variants)
    figure = pictures.blank(7, 0.8 + 0.42 * len(names))
    axes = figure.subplots()
    for row, name in enumerate(reversed(names)):
        values, remark = reached(record["runs"], name, claim.measure)
        values = list(values.values())
        middle = (len(values) - 1) / 2
        places = [row + 0.3 * (i - middle) / max(1.0, 2 * middle) for i in range(len(values))]
        axes.plot(values, places, "o", color="#1f4e79", alpha=0.7, ms=5, mew=0)
        if remark:
            place = {"x": 0.02, "y": row, "transform": axes.get_yaxis_transform()}
            axes.text(**place, s=remark, va="center", color="#a8321e", fontsize=8)
        if len(values) > 1:
            mean = statistics.mean(values)
            axes.plot([mean, mean], [row - 0.28, row + 0.28], color="#a8321e", lw=2)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(measure_text(claim))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    return figure
