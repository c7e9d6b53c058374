"""A claim's page: question, command, table, picture; all from its record."""

import itertools
import statistics
from pathlib import Path
from typing import Any

from alexnet_jax.network.layers import summarize
from alexnet_jax.network.networks import NETWORKS
from experiments import pictures
from experiments.averaged import heading, views_of
from experiments.generated import made_with, table
from experiments.paired import contrast, paired, reached, spread, told
from experiments.sweep.claims import Claim, Goal, Variant

MEASURES = {
    "error": "test error, %",
    "training_error": "training error of the last epoch, %",
    "steps_on_plateau": "steps on the plateau",
    "error_on_training_images": "training images, tested alike, %",
    "gap": "gap, points",
}


def _measure(claim: Claim) -> str:
    if claim.goal is not None:
        return _epochs_to(claim.goal, claim.goal.error)
    return MEASURES[claim.measure]


def _epochs_to(goal: Goal, error: float) -> str:
    return f"epochs to {100 * error:.0f} % {goal.of} error"


def cell(values: dict[int, float], remark: str = "", form: str = ".1f", unit: str = "") -> str:
    """Returns mean and standard deviation of values by seed, and a remark.

    Args:
      values: by seed.
      remark: on runs that have none.
      form: of the numbers.
      unit: written behind them.
    """
    if not values:
        return remark or "–"
    text = f"{spread(list(values.values()), form)}{unit}"
    return f"{text}, {remark}" if remark else text


def results(claim: Claim, record: dict[str, Any]) -> str:
    """Returns the table of a record."""
    key, runs, goal = claim.measure, record["runs"], claim.goal
    above = {_epochs_to(goal, error): 100 * error for error in goal.above} if goal else {}
    runs = [run | {text: _whole(run, error) for text, error in above.items()} for run in runs]
    others = ["error", "error_ten_views", "training_error"]
    others += ["error_on_training_images", "gap"] if claim.overfits else []
    others = [k for k in others if k != key and any(run.get(k) is not None for run in runs)]
    others = [*above, *others]
    views = heading({k: views_of(v.config, v.network) for k, v in claim.variants.items()})
    names = MEASURES | {"error_ten_views": f"{views}, %"}
    names |= {text: text for text in above}
    # A column stands where it can have something to say.
    compares = len(claim.variants) > 1 and claim.seeds > 1
    states = any(variant.paper for variant in claim.variants.values())
    head = ["", "n", _measure(claim), *["difference, 95 % interval"] * compares]
    head += [*(names[other] for other in others)]
    head += [*["difference of gaps"] * ("gap" in others), *["paper"] * states]
    lines = []
    for name, variant in claim.variants.items():
        count = sum(run["variant"] == name for run in runs)
        values, remark = reached(runs, name, key, claim.seeds)
        more = [cell(*reached(runs, name, k, claim.seeds if k == "gap" else 0)) for k in others]
        more += [_difference(claim, runs, name, "gap")] if "gap" in others else []
        mean = cell(values, remark) if count else "not run"
        text = _difference(claim, runs, name, key)
        cells = [name, str(count), mean, *[text] * compares, *more]
        lines.append([*cells, *[variant.paper or "–"] * states])
    return table(head, lines)


def _difference(claim: Claim, runs: list[dict[str, Any]], variant: str, key: str) -> str:
    """Returns the difference of a variant from the baseline, as text; "–" where there is none."""
    found = contrast(runs, variant, claim.baseline, key, claim.seeds)
    return told(found) if found and variant != claim.baseline else "–"


def ratios(claim: Claim, record: dict[str, Any], variant: str) -> list[str]:
    """Returns how many times as many epochs as the baseline's a variant's runs took, as text.

    Between two whole epochs the error is taken to fall in a line, or whole numbers would make the
    ratio of 6 and 14 out of all between 5 or 6 and 13 or 14.

    Args:
      claim: whose runs end at an error.
      record: of the claim.
      variant: whose.

    Returns:
      Of each error of the goal the mean over pairs of one seed, with its interval; nothing of one
      that not all runs came to.
    """
    texts, goal = [], claim.goal or Goal(0)
    for error in (goal.error, *goal.above):
        one, base = (
            {
                run["seed"]: crossing(run["by_epoch"], 100 * error)
                for run in record["runs"]
                if run["variant"] == name and _whole(run, 100 * error) is not None
            }
            for name in (variant, claim.baseline)
        )
        times = {seed: one[seed] / base[seed] for seed in sorted(one.keys() & base.keys())}
        found = paired(times, dict.fromkeys(times, 0.0))
        if found and len(times) == claim.seeds:
            to = f" to {100 * error:.0f} %" if goal.above else ""
            texts.append(told(found, f"times{to}", ".1f", none=1))
    return texts


def _whole(run: dict[str, Any], goal: float) -> int | None:
    """Returns the first epoch of a run whose error, in percent, is no larger; None: there is none.

    A run that diverged has no errors by epoch.
    """
    errors = enumerate(run.get("by_epoch", []), 1)
    return next((epoch for epoch, error in errors if error <= goal), None)


def crossing(by_epoch: list[float], goal: float) -> float:
    """Returns after how many epochs an error was reached, in a line between two whole epochs.

    Args:
      by_epoch: error of each epoch, from 1; not reached: their number.
      goal: in the same unit.
    """
    above = list(itertools.takewhile(lambda error: error > goal, by_epoch))
    if not above or len(above) == len(by_epoch):
        return float(max(1, len(above)))
    return len(above) + (above[-1] - goal) / (above[-1] - by_epoch[len(above)])


SETS = {
    "cifar10": "CIFAR-10 is here a copy in lossy JPEG with 9,000 test images.",
    "imagenette": "The photos are of ten classes of ImageNet, at 32 pixels, 1,100 for the test.",
}
"""What the records of claims were made of, by the name that `--data` takes."""
COLOURS = ("#1f4e79", "#a8321e", "#5a7d3c", "#7a4f9a")


def draw(claim: Claim, record: dict[str, Any], path: Path) -> None:
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
    axes.set_xlabel(_measure(claim))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    return figure


def parameters(variant: Variant) -> int:
    """Returns the number of a network's weights and biases."""
    network = variant.network or NETWORKS[variant.config.network]
    return sum(row.weights + row.biases for row in summarize(network))


def text_of(claim: Claim, name: str, record: dict[str, Any]) -> str:
    """Returns the whole page of a claim."""
    names = claim.source.split(", ") if claim.source else []
    data = f" --data {' '.join(f'{name}=PLACE' for name in names)}" if names else ""
    draws_means = claim.goal is None and claim.seeds > 1
    with_means = ", and the means" if draws_means else ""
    cores = {run["cpu_cores"] for run in record["runs"] if "cpu_cores" in run}
    if len(cores) == 1:  # those of the runs, not of the sweep
        record = record | {"environment": record["environment"] | {"cpu_cores": cores.pop()}}
    again = " --output runs/again   # anew; without --output only what this record lacks"
    made = made_with(record, f"{name}.json", ["torch"])
    hours = sum(run["wall_seconds"] for run in record["runs"]) / 3600
    epochs = {name: variant.config.epochs for name, variant in claim.variants.items()}
    scale = " or ".join(f"{e:g}" for e in sorted(set(epochs.values())))
    if claim.goal is not None:
        scale = "At most " + ", ".join(f"{e:g} ({name})" for name, e in epochs.items())
    means = "Mean ± standard deviation over seeds. " if claim.seeds > 1 else ""
    if claim.seeds > 1 and len(claim.variants) > 1:
        means = (
            "Mean ± standard deviation over seeds; differences from "
            f"*{claim.baseline}*, paired by seed; *not told from 0*: their interval holds it.\n"
        )
    if claim.goal is not None:
        others = [name for name in claim.variants if name != claim.baseline]
        times = [f"*{name}* {text}" for name in others for text in ratios(claim, record, name)]
        if times:
            means += f"Epochs, in a line between whole ones, compared with *{claim.baseline}*: "
            means += f"{', '.join(times)}. "
    counts = {name: parameters(variant) for name, variant in claim.variants.items()}
    if len(set(counts.values())) > 1:
        scale += " epochs. Parameters: "
        scale += ", ".join(f"{count:,} ({name})" for name, count in counts.items())
    else:
        scale += " epochs"
    sets = " ".join(SETS[name] for name in names)
    commits = sorted({run["commit"] for run in record["runs"] if run.get("commit")})
    return f"""# Claim: {claim.title}

{claim.question}{sets and f" {sets}"}

Paper: {claim.paper}.

```sh
python -m experiments.sweep {name}{data} --jobs 2{again}
```

{results(claim, record)}

{means}{scale}.

![every run{with_means}](results/{name}.svg)

{hours:.1f} hours of runs, added up; the last of them with: {made}. Commits ("+": with changes,
in older runs of records, too): {", ".join(commits) or "–"}.
"""
