"""The claims of the paper: its number, ours from the records, and what was not run."""

import itertools
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments.after_drop import run as after_drop
from experiments.benchmarks.records import read
from experiments.paired import contrast, difference_text, paired, reached, spread
from experiments.results import epochs, is_finished, is_shortened, test_errors
from experiments.specialise.run import compared, gaps
from experiments.sweep.claims import CLAIMS
from experiments.sweep.page import ratios, value_text
from experiments.view_names import view_name_of_record

ROOT = Path(__file__).parent
MINIATURE = "miniature, CIFAR-10, 8 epochs"
RUN, SHORTENED = "run", "run, shortened"


class ClaimRow(NamedTuple):
    """A claim of the paper."""

    claim: str
    paper: str  # its number, with the section
    ours: Callable[[], str | None]  # the text of our result; None if there is no record yet
    scale: str
    folder: str  # of the evidence, below `experiments/`
    status: str = "not run yet"  # if there is no record
    in_readme: bool = False
    preset: str = ""  # whose run is the evidence


def find_record(folder: str, name: str = "") -> dict[str, Any] | None:
    """Returns a record, or None if there is none; the name is that of the folder unless given."""
    return read(ROOT / folder / "results" / f"{name or folder}.json")


def runs_of(folder: str, name: str = "") -> list[dict[str, Any]]:
    return (find_record(folder, name) or {"runs": []})["runs"]


def claim_difference(
    name: str, variant: str, base: str = "", measure: str = ""
) -> dict[str, Any] | None:
    """Returns the paired difference of two variants; None unless all their runs have a value."""
    claim = CLAIMS[name]
    names = (variant, base or claim.baseline)
    return contrast(runs_of(name), *names, measure or claim.measure, claim.seeds)


def single_errors() -> list[dict[int, float]] | None:
    """Returns the errors of single miniatures with the centre and with ten views, by run."""
    entry = _ensembles()
    if entry is None:
        return None
    return [
        dict(
            enumerate(next(row["errors"] for row in entry["views"][views] if row["networks"] == 1))
        )
        for views in ("1", "10")
    ]


def _ensembles() -> dict[str, Any] | None:
    return (find_record("ensembles") or {"sets": {}})["sets"].get("miniature")


def _sweep(name: str, *variants: str) -> str | None:
    """Returns the differences of variants from the baseline of their claim, and all means."""
    claim, runs = CLAIMS[name], runs_of(name)
    unit = {"steps_on_plateau": "steps"}.get(claim.measure, "points")
    names = (claim.baseline, *variants)
    if not {run["variant"] for run in runs} >= set(names):
        return None
    steps = max((run.get("steps", 0) for run in runs), default=0)
    within = f"{steps:,} steps" if unit == "steps" else ""
    means = []
    for label in names:
        found = reached(runs, label, claim.measure, claim.seeds, within)
        form = (".0f", " steps") if unit == "steps" else ()
        means.append(f"*{label}* {value_text(*found, *form)}")
    differences = ""
    for variant in variants:
        found = claim_difference(name, variant)
        label = f"*{variant}* " if len(variants) > 1 else ""
        differences += f"{label}{difference_text(found, unit)}; " if found else ""
    return differences + ", ".join(means)


def _overfitting(name: str, variant: str) -> str | None:
    """Returns by how much a variant widens the gap between test and training error."""
    claim, runs = CLAIMS[name], runs_of(name)
    gap, error = (claim_difference(name, variant, measure=key) for key in ("gap", "error"))
    if gap is None or error is None:
        return _sweep(name, variant)
    means = ", ".join(
        f"*{label}* {value_text(*reached(runs, label, 'gap'))}"
        for label in (claim.baseline, variant)
    )
    gap, error = (difference_text(found, "points") for found in (gap, error))
    return f"gap of test and training images {gap}; {means}; test error {error}"


def _ratio(name: str, slower: str) -> str | None:
    """Returns how many times as many epochs a variant needs, paired by seed."""
    claim, runs = CLAIMS[name], runs_of(name)
    if not {run["variant"] for run in runs} >= {claim.baseline, slower}:
        return None
    texts = []
    for kind, variant in claim.variants.items():
        within = f"{variant.config.epochs:g} epochs"
        values, remark = reached(runs, kind, claim.measure, claim.seeds, within)
        if values or remark:
            texts.append(f"*{kind}* {value_text(values, remark)}")
    times = "; ".join(ratios(claim, {"runs": runs}, slower))
    goal = claim.goal
    to = f" to {100 * goal.error:.0f} % {goal.of} error" if goal and goal.above else ""
    return f"{times and f'{times}; '}whole epochs{to}: {'; '.join(texts)}"


def _depth() -> str | None:
    """Returns how much the error rises without each of the middle convolutions."""
    claim, runs, texts = CLAIMS["depth"], runs_of("depth"), []
    for variant in claim.variants:
        values, remark = reached(runs, variant, claim.measure, claim.seeds)
        part = claim_difference("depth", variant) if variant != claim.baseline else None
        if part:
            texts.append(f"{variant} {difference_text(part, 'points')}")
        elif remark:
            texts.append(f"{variant} {value_text(values, remark)}")
    return "; ".join(texts) if runs else None


def _velocity() -> str | None:
    """Returns the final difference of the two rules, and their difference after a drop."""
    text, dropped = _sweep("velocity", "outside"), find_record("after_drop")
    if text is None or dropped is None:
        return text
    texts = [
        f"{difference_text(found, form='+.3f')} after {step} steps"
        for step in (5, 100)
        if (found := after_drop.difference(dropped, step))
    ]
    what = "[loss after a drop](after_drop/README.md), *inside* less *outside*"
    return f"{text}; {what}: {', '.join(texts)}"


def _views() -> str | None:
    errors = single_errors()
    found = paired(errors[1], errors[0]) if errors else None
    if errors is None or found is None:
        return None
    centre, ten = (spread(list(values.values())) for values in errors)
    return f"{difference_text(found, 'points')}; *centre* {centre}, *ten* {ten}"


def _ensemble() -> str | None:
    entry = _ensembles()
    if entry is None:
        return None
    rows = [row for row in entry["views"]["10"] if row["weights"] == "equal"]
    single, averaged = rows[0]["errors"], rows[-1]["errors"]
    gain = statistics.mean(averaged) - statistics.mean(single)
    many = f"*{rows[-1]['networks']} networks* {statistics.mean(averaged):.1f}"
    text = f"{gain:+.1f} points (ten views); *one* {spread(single)}, {many}"
    return text + (" (the one average of all: no interval)" if len(averaged) == 1 else "")


def _retrieval() -> str | None:
    texts = []
    for name, entry in (find_record("retrieval") or {"sets": {}})["sets"].items():
        found = entry["layers"]
        shown = (layer for layer in ("fc7", "conv5", "pixels") if layer in found)
        layers = ", ".join(f"{layer} {100 * found[layer]['5']:.0f}" for layer in shown)
        texts.append(f"`{name}`: {layers}, chance {100 * entry['chance']:.0f}")
    return f"of the five nearest in the query's class, %: {'; '.join(texts)}" if texts else None


def _colours() -> str | None:
    record = find_record("specialise") or {"runs": []}
    found = compared(record)
    if found is None:
        return None
    apart = {name: [*gaps(record, name).values()] for name in ("one whole tower", "two towers")}
    apart["two towers whose filters begin near 0"] = [
        100 * run["course"][-1]["difference"] for run in runs_of("specialise", "figure3")
    ]
    texts = ", ".join(f"*{name}* {spread(values)}" for name, values in apart.items() if values)
    return f"{difference_text(found, 'points')}; colour shares of the halves differ by {texts}"


def _preset(name: str) -> str | None:
    """Returns the error of a finished run of a CIFAR-10 preset, and its epochs."""
    record = find_record("cifar10", name)
    if record is None or not is_finished(record):
        return None
    error, views = test_errors(record)[10], view_name_of_record(record)
    return f"{error:.1f} % ({views}) after {epochs(record)} epochs"


_PHOTOS = "miniature, 4,500 photos, 80 epochs"
_CIFAR = "a lossy copy, 9,000 test images"
ROWS = (
    ClaimRow("Rectified units reach 25 % training error sooner than tanh", "six times (§3.1)",
        partial(_ratio, "figure1", "tanh"), "four layers, CIFAR-10", "figure1"),
    ClaimRow("Two towers beat one of half the kernels", "+1.7 points (§3.2)",
        partial(_sweep, "towers", "half"), MINIATURE, "towers", in_readme=True),
    ClaimRow("Towers that talk beat towers that do not", "+1.2 points (2012 logs, run 150)",
        partial(_sweep, "towers", "no talk"), MINIATURE, "towers"),
    ClaimRow("Response normalization helps", "+1.4 points (§3.3)",
        partial(_sweep, "normalization", "none"), MINIATURE, "normalization"),
    ClaimRow("Overlapping pooling helps", "+0.4 points (§3.4)",
        partial(_sweep, "overlapping", "not overlapping"), MINIATURE, "overlapping"),
    ClaimRow("Without crops, mirrors and colour noise it overfits", "substantially (§4.1)",
        partial(_overfitting, "augmentation", "none"), _PHOTOS, "augmentation"),
    ClaimRow("Colour noise helps", "over +1 point (§4.1)",
        partial(_sweep, "colour", "none"), MINIATURE, "colour"),
    ClaimRow("Without dropout it overfits", "substantially (§4.2)",
        partial(_overfitting, "dropout", "none"), _PHOTOS, "dropout"),
    ClaimRow("Dropout doubles the iterations to converge", "about two times (§4.2)",
        partial(_ratio, "convergence", "dropout"), "miniature, CIFAR-10, one rate, to an error",
        "convergence"),
    ClaimRow("Dropout doubles the iterations, on few images", "about two times (§4.2)",
        partial(_ratio, "convergence-photos", "dropout"),
        "miniature, 4,500 photos, one rate, to an error", "convergence-photos"),
    ClaimRow("Weight decay lowers the training error", "yes (§5)",
        partial(_sweep, "weight-decay", "none"), MINIATURE, "weight-decay"),
    ClaimRow("Initial weights of 0.01, and with 0.03 as run (steps on the plateau)", "– (§5)",
        partial(_sweep, "initial-weights", "0.01", "0.01, 0.03"),
        f"{MINIATURE}; the full network's loss falls within its first epoch "
        "([imagenette](imagenette/README.md))", "initial-weights"),
    ClaimRow("The rate lies inside the velocity", "not compared (§5)",
        _velocity, MINIATURE, "velocity"),
    ClaimRow("Every middle convolution matters", "+2 points each (§7)",
        _depth, MINIATURE, "depth"),
    ClaimRow("One tower becomes grey, the other coloured", "in every run (§6.1)",
        _colours, "miniature, CIFAR-10, 8 epochs; 6 near 0", "specialise"),
    ClaimRow("Ten views beat the centre", "-1.5 points (§4.1: 39.0, 37.5)",
        _views, MINIATURE, "ensembles", in_readme=True),
    ClaimRow("Several networks beat one", "-2.6 points (table 2: five)",
        _ensemble, MINIATURE, "ensembles"),
    ClaimRow("Pre-training helps (six convolutions in both)",
        "-1.7 points, the sixth layer included (§6, table 2)",
        partial(_sweep, "transfer", "the whole rate", "a fifth"),
        "miniature, CIFAR-10 to 4,500 photos", "transfer",
        "rehearsed: `tests/system/test_transfer_chain.py`"),
    ClaimRow("Near in fc7 is alike", "pictures (figure 4)",
        _retrieval, "the set named before each, one seed", "retrieval"),
    ClaimRow("CIFAR-10, four layers", "13 % (§3.3, lossless)",
        partial(_preset, "cifar10-13pct"), _CIFAR, "cifar10", preset="cifar10-13pct"),
    ClaimRow("CIFAR-10, with normalization", "11 % (§3.3, lossless)",
        partial(_preset, "cifar10-11pct"), _CIFAR, "cifar10", preset="cifar10-11pct"),
    ClaimRow("ILSVRC-2010 and 2012, Fall 2009", "37.5, 40.7, 67.4 % (tables 1 and 2, §6)",
        lambda: None, "", "imagenet", "not possible here: 1.2 million images, weeks on two cores; "
        "2012 and Fall 2009 rehearsed in small: `tests/system/test_transfer_chain.py`"),
)  # fmt: skip
"""The claims of the paper, in its order."""


def cells(row: ClaimRow) -> dict[str, str]:
    """Returns the cells of a claim; links are relative to `experiments/`."""
    ours = row.ours()
    status = "begun" if _is_begun(row.folder) else RUN if ours else row.status
    of_preset = find_record(row.folder, row.preset) if row.preset else None
    if status == RUN and of_preset and is_shortened(of_preset):
        status = SHORTENED
    has_page = (ROOT / row.folder / "README.md").exists()
    return {
        "claim": row.claim,
        "paper": row.paper,
        "ours": ours or "–",
        "scale": row.scale if ours is not None else "–",
        "status": status,
        "evidence": f"[{row.folder}]({row.folder}/README.md)" if has_page else row.folder,
    }


def _is_begun(name: str) -> bool:
    if name not in CLAIMS:
        return False
    made = {(run["variant"], run["seed"]) for run in runs_of(name)}
    claim = CLAIMS[name]
    return bool(made) and not made.issuperset(itertools.product(claim.variants, range(claim.seeds)))


def short_cells() -> list[dict[str, str]]:
    """Returns the claims of the short table, those that were run."""
    found = (cells(row) for row in ROWS if row.in_readme)
    return [row for row in found if row["status"] in (RUN, SHORTENED)]


def cells_of(*folders: str) -> list[dict[str, str]]:
    """Returns the claims whose evidence lies in these folders, in their order; none: all."""
    chosen = (row for folder in folders for row in ROWS if row.folder == folder)
    return [cells(row) for row in (chosen if folders else ROWS)]
