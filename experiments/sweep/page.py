"""The results of a claim, and its page; all from the claim's record."""

import itertools
from typing import Any

from alexnet_jax.network.layers import summarize
from alexnet_jax.network.networks import NETWORKS
from experiments import pages
from experiments.paired import contrast, difference_text, paired, reached, spread
from experiments.sweep.claims import CLAIMS, Claim, Goal
from experiments.sweep.variants import Variant
from experiments.view_names import common_heading, view_name

MEASURES = {
    "error": "test error, %",
    "training_error": "training error of the last epoch, %",
    "steps_on_plateau": "steps on the plateau",
    "error_on_training_images": "training images, same test, %",
    "gap": "gap, points",
}
SETS = {
    "cifar10": ("cifar10-18pct", "CIFAR-10 here is a copy in lossy JPEG with {:,} test images."),
    "imagenette": (
        "imagenette",
        "The photos show ten classes of ImageNet at 32 pixels; {:,} are for the test.",
    ),
}
"""Record of a run and sentence of each set, by the name that `--data` takes."""


def measure_text(claim: Claim) -> str:
    """Returns the heading of what a claim compares."""
    return _epochs_to(claim.goal, claim.goal.error) if claim.goal else MEASURES[claim.measure]


def _epochs_to(goal: Goal, error: float) -> str:
    return f"epochs to {100 * error:.0f} % {goal.of} error"


def value_text(
    values: dict[int, float], remark: str = "", form: str = ".1f", unit: str = ""
) -> str:
    """Returns mean and standard deviation of values by seed, and a remark on missing values."""
    if not values:
        return remark or "–"
    text = f"{spread(list(values.values()), form)}{unit}"
    return f"{text}, {remark}" if remark else text


def table_of(claim: Claim, record: dict[str, Any]) -> str:
    key, runs, goal = claim.measure, record["runs"], claim.goal
    above = {_epochs_to(goal, error): 100 * error for error in goal.above} if goal else {}
    runs = [run | {text: first_epoch(run, error) for text, error in above.items()} for run in runs]
    others = ["error", "error_ten_views", "training_error"]
    others += ["error_on_training_images", "gap"] if claim.overfits else []
    others = [k for k in others if k != key and any(run.get(k) is not None for run in runs)]
    others = [*above, *others]
    views = common_heading({k: view_name(v.config, v.network) for k, v in claim.variants.items()})
    names = MEASURES | {"error_ten_views": f"{views}, %"} | {text: text for text in above}
    # A column is there only if one of its cells can have a value.
    compares = len(claim.variants) > 1 and claim.seeds > 1
    has_paper = any(variant.paper for variant in claim.variants.values())
    head = ["", "n", measure_text(claim), *["difference, 95 % interval"] * compares]
    head += [*(names[other] for other in others)]
    head += [*["difference of gaps"] * ("gap" in others), *["paper"] * has_paper]
    lines = []
    for name, variant in claim.variants.items():
        count = sum(run["variant"] == name for run in runs)
        mean = value_text(*reached(runs, name, key, claim.seeds)) if count else "not run"
        cells = [name, count, mean, *[_difference(claim, runs, name, key)] * compares]
        cells += [
            value_text(*reached(runs, name, other, claim.seeds if other == "gap" else 0))
            for other in others
        ]
        cells += [_difference(claim, runs, name, "gap")] if "gap" in others else []
        lines.append([*cells, *[variant.paper or "–"] * has_paper])
    return pages.table(head, lines)


def _difference(claim: Claim, runs: list[dict[str, Any]], variant: str, key: str) -> str:
    found = contrast(runs, variant, claim.baseline, key, claim.seeds)
    return difference_text(found) if found and variant != claim.baseline else "–"


def ratios(claim: Claim, record: dict[str, Any], variant: str) -> list[str]:
    """Returns how many times as many epochs as the baseline a variant needs, for each error.

    Between two whole epochs the error is taken as a straight line; whole numbers alone would make
    the ratio of 6 and 14 out of anything between 5 or 6 and 13 or 14. An error that a run did not
    reach has no ratio.
    """
    texts, goal = [], claim.goal or Goal(0)
    for error in (goal.error, *goal.above):
        one, base = (
            {
                run["seed"]: crossing(run["by_epoch"], 100 * error)
                for run in record["runs"]
                if run["variant"] == name and first_epoch(run, 100 * error) is not None
            }
            for name in (variant, claim.baseline)
        )
        times = {seed: one[seed] / base[seed] for seed in sorted(one.keys() & base.keys())}
        found = paired(times, dict.fromkeys(times, 0.0))
        if found and len(times) == claim.seeds:
            to = f" to {100 * error:.0f} %" if goal.above else ""
            texts.append(difference_text(found, f"times{to}", ".1f", none=1))
    return texts


def first_epoch(run: dict[str, Any], goal: float) -> int | None:
    """Returns the first epoch whose error (%) is at most `goal`; None if there is none."""
    errors = enumerate(run.get("by_epoch", []), 1)  # a run that diverged has none
    return next((epoch for epoch, error in errors if error <= goal), None)


def crossing(by_epoch: list[float], goal: float) -> float:
    """Returns after how many epochs an error was reached, on a line between whole epochs.

    If the goal is not reached, the number of epochs is returned.
    """
    above = list(itertools.takewhile(lambda error: error > goal, by_epoch))
    if not above or len(above) == len(by_epoch):
        return float(max(1, len(above)))
    return len(above) + (above[-1] - goal) / (above[-1] - by_epoch[len(above)])


def page(name: str, claim: Claim | None = None, record: dict[str, Any] | None = None) -> str:
    """Returns the page of a claim; the claim and its record are those of the repository."""
    claim, record = claim or CLAIMS[name], record or pages.record(name)
    runs, variants = record["runs"], claim.variants
    environment = dict(record["environment"])
    cores = {run["cpu_cores"] for run in runs if "cpu_cores" in run}
    if len(cores) == 1:  # the cores of a run, not of the sweep
        environment["cpu_cores"] = cores.pop()
    times = [
        f"*{variant}* {text}"
        for variant in variants
        if variant != claim.baseline and claim.goal
        for text in ratios(claim, record, variant)
    ]
    return pages.render(
        "sweep/claim.md.jinja",
        claim=claim,
        name=name,
        sets=[set_text(one) for one in claim.source.split(", ") if one],
        data=[f"{one}=PLACE" for one in claim.source.split(", ") if one],
        table=table_of(claim, record),
        times=times,
        epochs={variant: found.config.epochs for variant, found in variants.items()},
        parameters={variant: parameters(found) for variant, found in variants.items()},
        hours=sum(run["wall_seconds"] for run in runs) / 3600,
        environment=environment,
        commits=sorted({run["commit"] for run in runs if run.get("commit")}),
    )


def set_text(name: str) -> str:
    """Returns the sentence on a set, with the number of its test images."""
    run, text = SETS[name]
    return text.format(pages.record(name, run)["run"]["validation_images"])


def parameters(variant: Variant) -> int:
    network = variant.network or NETWORKS[variant.config.network]
    return sum(row.params for row in summarize(network))
