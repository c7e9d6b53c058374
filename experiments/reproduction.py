"""The reproduction table: every claim of the paper, its number, ours, and what was not run.

python -m experiments.reproduction          # rewrites experiments/README.md and the README
python -m experiments.reproduction --check  # exits with 1 if one of them is out of date
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from experiments import pictures
from experiments.after_drop import run as after_drop
from experiments.averaged import views_in
from experiments.benchmarks.records import read
from experiments.generated import rewrite, table, with_parts
from experiments.paired import contrast, paired, reached, spread, told
from experiments.specialise.run import compared, gaps
from experiments.sweep.claims import CLAIMS
from experiments.sweep.page import cell, ratios
from experiments.table import epochs_of, is_shortened

ROOT = Path(__file__).parent
PAGE, README = ROOT / "README.md", ROOT.parent / "README.md"
PICTURE = ROOT / "reproduction.svg"
MINIATURE = "miniature, CIFAR-10, 8 epochs"
_RUN, _SHORTENED = "run", "run, shortened"


class Row(NamedTuple):
    """A line of the table.

    Attributes:
      claim: in a few words.
      paper: its number, with the section.
      ours: makes the text from the records; None where there is no record yet.
      scale: at which it was run.
      folder: of the evidence, below `experiments/`.
      otherwise: status where there is no record.
      shown: in the README, too.
      preset: whose run it tells, where it is one.
    """

    claim: str
    paper: str
    ours: Callable[[], str | None]
    scale: str
    folder: str
    otherwise: str = "not run yet"
    shown: bool = False
    preset: str = ""


def _record(folder: str, name: str = "") -> dict[str, Any] | None:
    return read(ROOT / folder / "results" / f"{name or folder}.json")


def _runs(name: str) -> list[dict[str, Any]]:
    return (_record(name) or {"runs": []})["runs"]


def _difference(
    name: str, variant: str, base: str = "", measure: str = ""
) -> dict[str, Any] | None:
    """Returns the paired difference of two variants; None unless all their runs arrived."""
    claim = CLAIMS[name]
    key = measure or claim.measure
    return contrast(_runs(name), variant, base or claim.baseline, key, claim.seeds)


def _sweep(name: str, *variants: str) -> Callable[[], str | None]:
    """Returns what tells the differences of variants from the baseline of their claim."""

    def text() -> str | None:
        claim, runs = CLAIMS[name], _runs(name)
        unit = {"steps_on_plateau": "steps"}.get(claim.measure, "points")
        all_of_them = (claim.baseline, *variants)
        steps = max((run.get("steps", 0) for run in runs), default=0)
        within = f"{steps:,} steps" if unit == "steps" else ""
        if not {run["variant"] for run in runs} >= set(all_of_them):
            return None
        means = []
        for label in all_of_them:
            values, remark = reached(runs, label, claim.measure, claim.seeds, within)
            means.append(f"*{label}* {_told(values, remark, unit)}")
        first = ""
        for variant in variants:
            found = _difference(name, variant)
            label = f"*{variant}* " if len(variants) > 1 else ""
            first += f"{label}{told(found, unit)}; " if found else ""
        return first + ", ".join(means)

    return text


def _overfitting(name: str, variant: str) -> Callable[[], str | None]:
    """Returns what tells by how much a variant widens the gap of test and training images."""

    def text() -> str | None:
        claim, runs = CLAIMS[name], _runs(name)
        both = (claim.baseline, variant)
        gap, error = (_difference(name, variant, measure=key) for key in ("gap", "error"))
        if gap is None or error is None:
            return _sweep(name, variant)()
        means = [f"*{label}* {cell(*reached(runs, label, 'gap'))}" for label in both]
        return (
            f"gap of test and training images {told(gap, 'points')}; {', '.join(means)}; "
            f"test error {told(error, 'points')}"
        )

    return text


def _told(values: dict[int, float], remark: str, unit: str) -> str:
    """Returns what a variant reached, and what became of those that did not arrive."""
    return cell(values, remark, ".0f", " steps") if unit == "steps" else cell(values, remark)


def _ratio(name: str, slower: str) -> Callable[[], str | None]:
    """Returns what tells how many times as many epochs a variant needs, seed by seed."""

    def text() -> str | None:
        claim, runs = CLAIMS[name], _runs(name)
        found = {
            kind: reached(
                runs, kind, claim.measure, claim.seeds, f"{variant.config.epochs:g} epochs"
            )
            for kind, variant in claim.variants.items()
        }
        if not {run["variant"] for run in runs} >= {claim.baseline, slower}:
            return None
        texts = []
        for kind, (values, remark) in found.items():
            if values or remark:
                texts.append(f"*{kind}* {cell(values, remark)}")
        times = "; ".join(ratios(claim, {"runs": runs}, slower))
        goal = claim.goal
        to = f" to {100 * goal.error:.0f} % {goal.of} error" if goal and goal.above else ""
        return f"{times and f'{times}; '}whole epochs{to}: {'; '.join(texts)}"

    return text


def _depth() -> str | None:
    """Returns what each of the middle convolutions is worth."""
    claim, runs, texts = CLAIMS["depth"], _runs("depth"), []
    for variant in claim.variants:
        values, remark = reached(runs, variant, claim.measure, claim.seeds)
        part = _difference("depth", variant) if variant != claim.baseline else None
        if part:
            texts.append(f"{variant} {told(part, 'points')}")
        elif remark:
            texts.append(f"{variant} {cell(values, remark)}")
    return "; ".join(texts) if runs else None


def _velocity() -> str | None:
    """Returns what the other rule ends with, and how far apart both are after a drop."""
    text, dropped = _sweep("velocity", "outside")(), _record("after_drop")
    if text is None or dropped is None:
        return text
    apart = {step: after_drop.difference(dropped, step) for step in (5, 100)}
    told_of = [f"{told(found, form='+.3f')} after {n} steps" for n, found in apart.items() if found]
    return (
        f"{text}; [loss after a drop](after_drop/README.md), *inside* less *outside*: "
        f"{', '.join(told_of)}"
    )


def _by_views() -> list[dict[int, float]] | None:
    """Returns the errors of single networks with the centre and with ten views, by run."""
    entry = _set("ensembles", "miniature")
    if entry is None:
        return None
    singles = (
        next(row["errors"] for row in entry["views"][views] if row["networks"] == 1)
        for views in ("1", "10")
    )
    return [dict(enumerate(errors)) for errors in singles]


def _views() -> str | None:
    errors = _by_views()
    found = paired(errors[1], errors[0]) if errors else None
    if errors is None or found is None:
        return None
    centre, ten = (spread(list(values.values())) for values in errors)
    return f"{told(found, 'points')}; *centre* {centre}, *ten* {ten}"


def _ensemble() -> str | None:
    entry = _set("ensembles", "miniature")
    if entry is None:
        return None
    rows = [row for row in entry["views"]["10"] if row["weights"] == "equal"]
    one, most = statistics.mean(rows[0]["errors"]), statistics.mean(rows[-1]["errors"])
    count, subsets = rows[-1]["networks"], len(rows[-1]["errors"])
    text = (
        f"{most - one:+.1f} points (ten views); *one* {spread(rows[0]['errors'])}, "
        f"*{count} networks* {most:.1f}"
    )
    return text + (" (the one average of all: no interval)" if subsets == 1 else "")


def _set(folder: str, name: str) -> dict[str, Any] | None:
    return (_record(folder) or {"sets": {}})["sets"].get(name)


def _retrieval() -> str | None:
    sets = (_record("retrieval") or {"sets": {}})["sets"]
    texts = []
    for name, entry in sets.items():
        layers = ", ".join(
            f"{layer} {100 * entry['layers'][layer]['5']:.0f}"
            for layer in ("fc7", "conv5", "pixels")
            if layer in entry["layers"]
        )
        texts.append(f"`{name}`: {layers}, chance {100 * entry['chance']:.0f}")
    return f"of the five nearest in the query's class, %: {'; '.join(texts)}" if texts else None


def _colours() -> str | None:
    record = _record("specialise") or {"runs": []}
    found, texts = compared(record), []
    if found is None:
        return None
    for variant in ("one whole tower", "two towers"):
        texts.append(f"*{variant}* {spread(list(gaps(record, variant).values()))}")
    small = (_record("specialise", "figure3") or {"runs": []})["runs"]
    if small:
        apart = [100 * run["course"][-1]["difference"] for run in small]
        texts.append(f"*two towers whose filters begin near 0* {spread(apart)}")
    return f"{told(found, 'points')}; colour shares of the halves differ by {', '.join(texts)}"


def _final(name: str) -> Callable[[], str | None]:
    """Returns what tells the error of a finished run of a CIFAR-10 preset, and its epochs."""

    def text() -> str | None:
        record = _record("cifar10", name)
        if record is None or record["run"]["status"] != "finished":
            return None
        tests = {row["test_views"]: 100 * row["final/top1_error"] for row in record["final"]}
        return f"{tests[10]:.1f} % ({views_in(record)}) after {epochs_of(record)} epochs"

    return text


_PHOTOS = "miniature, 4,500 photos, 80 epochs"
_CIFAR = "a lossy copy, 9,000 test images"
ROWS = (
    Row("Rectified units reach 25 % training error sooner than tanh", "six times (§3.1)",
        _ratio("figure1", "tanh"), "four layers, CIFAR-10", "figure1", shown=True),
    Row("Two towers beat one of half the kernels", "+1.7 points (§3.2)",
        _sweep("towers", "half"), MINIATURE, "towers", shown=True),
    Row("Towers that talk beat towers that do not", "+1.2 points (2012 logs, run 150)",
        _sweep("towers", "no talk"), MINIATURE, "towers"),
    Row("Response normalization helps", "+1.4 points (§3.3)",
        _sweep("normalization", "none"), MINIATURE, "normalization", shown=True),
    Row("Overlapping pooling helps", "+0.4 points (§3.4)",
        _sweep("overlapping", "not overlapping"), MINIATURE, "overlapping"),
    Row("Without crops, mirrors and colour noise it overfits", "substantially (§4.1)",
        _overfitting("augmentation", "none"), _PHOTOS, "augmentation"),
    Row("Colour noise helps", "over +1 point (§4.1)",
        _sweep("colour", "none"), MINIATURE, "colour"),
    Row("Without dropout it overfits", "substantially (§4.2)",
        _overfitting("dropout", "none"), _PHOTOS, "dropout", shown=True),
    Row("Dropout doubles the iterations to converge", "about two times (§4.2)",
        _ratio("convergence", "dropout"), "miniature, CIFAR-10, one rate, to an error",
        "convergence", shown=True),
    Row("Dropout doubles the iterations, on few images", "about two times (§4.2)",
        _ratio("convergence-photos", "dropout"), "miniature, 4,500 photos, one rate, to an error",
        "convergence-photos"),
    Row("Weight decay lowers the training error", "yes (§5)",
        _sweep("weight-decay", "none"), MINIATURE, "weight-decay"),
    Row("Initial weights of 0.01, and with 0.03 as run (steps on the plateau)", "– (§5)",
        _sweep("initial-weights", "0.01", "0.01, 0.03"), f"{MINIATURE}; the full network's loss "
        "falls within its first epoch ([imagenette](imagenette/README.md))", "initial-weights"),
    Row("The rate lies inside the velocity", "not compared (§5)",
        _velocity, MINIATURE, "velocity"),
    Row("Every middle convolution matters", "+2 points each (§7)",
        _depth, MINIATURE, "depth", shown=True),
    Row("One tower becomes grey, the other coloured", "in every run (§6.1)",
        _colours, "miniature, CIFAR-10, 8 epochs; 6 near 0", "specialise"),
    Row("Ten views beat the centre", "-1.5 points (§4.1: 39.0, 37.5)",
        _views, MINIATURE, "ensembles", shown=True),
    Row("Several networks beat one", "-2.6 points (table 2: five)",
        _ensemble, MINIATURE, "ensembles"),
    Row("Pre-training helps (six convolutions in both)",
        "-1.7 points, the sixth layer included (§6, table 2)",
        _sweep("transfer", "the whole rate", "a fifth"),
        "miniature, CIFAR-10 to 4,500 photos", "transfer",
        "rehearsed: `tests/system/test_transfer_chain.py`"),
    Row("Near in fc7 is alike", "pictures (figure 4)",
        _retrieval, "the set named before each, one seed", "retrieval"),
    Row("CIFAR-10, four layers", "13 % (§3.3, lossless)",
        _final("cifar10-13pct"), _CIFAR, "cifar10", preset="cifar10-13pct"),
    Row("CIFAR-10, with normalization", "11 % (§3.3, lossless)",
        _final("cifar10-11pct"), _CIFAR, "cifar10", preset="cifar10-11pct"),
    Row("ILSVRC-2010 and 2012, Fall 2009", "37.5, 40.7, 67.4 % (tables 1 and 2, §6)",
        lambda: None, "", "imagenet", "not possible here: 1.2 million images, weeks on two cores; "
        "2012 and Fall 2009 rehearsed in small: `tests/system/test_transfer_chain.py`"),
)  # fmt: skip
"""The claims of the paper, in its order."""


_COSTS = (
    ("half of the kernels", "towers", "half", 1.7),
    ("towers that do not talk", "towers", "no talk", 1.2),
    ("no response normalization", "normalization", "none", 1.4),
    ("pooling that does not overlap", "overlapping", "not overlapping", 0.4),
    ("no crops, mirrors, noise (photos)", "augmentation", "none", None),
    ("no colour noise", "colour", "none", 1.0),
    ("no dropout (photos)", "dropout", "none", None),
    ("no weight decay (training error)", "weight-decay", "none", None),
    ("no conv2", "depth", "without conv2", 2.0),
    ("no conv3", "depth", "without conv3", 2.0),
    ("no conv4", "depth", "without conv4", 2.0),
    ("no conv5", "depth", "without conv5", 2.0),
    ("rate outside of the velocity", "velocity", "outside", None),
)
"""What is changed, in which claim and variant, and what it cost in the paper, points.

Of the towers that do not talk the number is of the 2012 logs; colour noise is "over 1 point", a
middle layer "about 2%".
"""


def costs() -> list[tuple[str, dict[str, Any], float | None]]:
    """Returns what each part of the recipe is worth: name, our paired difference, the paper's."""
    found = []
    for label, name, variant, paper in _COSTS:
        found.append((label, _difference(name, variant), paper))
    errors = _by_views()
    if errors:
        found.append(("centre instead of ten views", paired(*errors), 1.5))
    transfer = _difference("transfer", "from scratch", "the whole rate")
    found.append(("no pre-training (photos, whole rate)", transfer, None))
    return [(label, difference, paper) for label, difference, paper in found if difference]


def draw(path: Path) -> None:
    """Draws what each part of the recipe is worth, with its interval, and the paper's number."""
    found = costs()[::-1]
    if not found:
        return
    counts = sorted({difference["n"] for _, difference, _ in found})
    seeds = " to ".join(str(count) for count in sorted({counts[0], counts[-1]}))
    figure = pictures.blank(8.5, 0.9 + 0.27 * len(found))
    axes = figure.subplots()
    axes.axvline(0, color="#888888", lw=0.8)
    for row, (_, difference, paper) in enumerate(found):
        low, high = difference["interval_95"]
        colour = "#9aa7b5" if low <= 0 <= high else "#1f4e79"
        axes.plot([low, high], [row, row], color=colour, lw=2.2, solid_capstyle="butt")
        axes.plot(difference["mean"], row, "o", color=colour, ms=5.5)
        if paper is not None:
            axes.plot(paper, row, "D", mfc="none", mec="#a8321e", ms=5.5)
    axes.set_yticks(range(len(found)), [label for label, _, _ in found])
    axes.set_xlabel("points of top-1 error that it costs")
    figure.suptitle(
        "Left out or changed, one at a time: a miniature on CIFAR-10 (8 epochs) or photos (80)",
        fontsize=9,
    )
    for mark, colour, fill, text in (
        ("o-", "#1f4e79", None, f"here: mean, 95 % interval of {seeds} seeds"),
        ("o-", "#9aa7b5", None, "here: the interval holds 0"),
        ("D", "#a8321e", "none", "the paper or its logs, on ImageNet"),
    ):
        axes.plot([], [], mark, color=colour, mfc=fill, label=text)
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#e3e3e3", lw=0.6)
    axes.set_axisbelow(True)
    pictures.save(figure, path, _spelled(found))


def _spelled(found: list) -> str:
    """Returns what is drawn as text: it lies in the picture, for those who read, and to check."""
    return "; ".join(
        f"{label}: {d['mean']:+.2f} ({d['interval_95'][0]:+.2f} to {d['interval_95'][1]:+.2f}), "
        f"n = {d['n']}, paper {paper}"
        for label, d, paper in found
    )


def is_drawn(path: Path) -> bool:
    """Returns whether a picture shows the records of today."""
    return pictures.is_of(path, _spelled(costs()[::-1]))


def _begun(name: str) -> bool:
    """Returns whether some runs of a claim were made, and some are missing."""
    claim = CLAIMS.get(name)
    if claim is None:
        return False
    made = {(run["variant"], run["seed"]) for run in _runs(name)}
    wanted = {(variant, seed) for variant in claim.variants for seed in range(claim.seeds)}
    return bool(made) and not wanted <= made


def lines(rows: tuple[Row, ...], base: str) -> list[list[str]]:
    """Returns the cells of each row.

    Args:
      rows: of the table.
      base: path from the page to `experiments/`.
    """
    found = []
    for row in rows:
        ours = row.ours()
        status = "begun" if _begun(row.folder) else _RUN if ours else row.otherwise
        of_preset = _record(row.folder, row.preset) if row.preset else None
        if status == _RUN and of_preset and is_shortened(of_preset):
            status = _SHORTENED
        there = (ROOT / row.folder / "README.md").exists()
        name = f"[{row.folder}]({base}{row.folder}/README.md)" if there else row.folder
        scale = row.scale if ours is not None else "–"
        found.append([row.claim, row.paper, ours or "–", scale, status, name])
    return found


def whole() -> str:
    """Returns the table of all claims."""
    cells = lines(ROWS, "")
    statuses = [line[4] for line in cells]
    shortened = statuses.count(_SHORTENED)
    count = statuses.count(_RUN) + shortened
    of_them = f", {shortened} of them by a shortened schedule" if shortened else ""
    head = ["claim", "the paper", "ours", "scale", "status", "evidence"]
    return f"{table(head, cells)}\n\n{count} of {len(ROWS)} rows were run{of_them}. {_hours()}"


def _hours() -> str:
    """Returns what the runs of sweeps, towers, presets and averages took, each counted once."""
    swept = [run for name in CLAIMS for run in (_record(name) or {"runs": []})["runs"]]
    one = {  # claims share runs
        run["config"]: run.get("cpu_cores", 1) * run["wall_seconds"] for run in swept
    }
    record = _record("specialise") or {"runs": []}
    record["runs"] += (_record("specialise", "figure3") or {"runs": []})["runs"]
    cores = record.get("environment", {}).get("cpu_cores", 1)
    others = [run.get("cpu_cores", cores) * run["wall_seconds"] for run in record["runs"]]
    dropped = (_record("after_drop") or {"runs": []})["runs"]
    others += [run["cpu_cores"] * run["wall_seconds"] for run in dropped]
    known = {run.get("params_sha256") for run in [*swept, *record["runs"]]}
    for path in sorted(ROOT.glob("*/results/*.json")):
        run = (read(path) or {}).get("run", {})
        if "wall_seconds" in run:
            known.add(run.get("params_sha256"))
            others.append(run["cpu_cores"] * run["wall_seconds"])
    averaged = {
        run["params_sha256"]: run["cpu_cores"] * run["wall_seconds"]
        for entry in (_record("ensembles") or {"sets": {}})["sets"].values()
        for run in entry.get("training", [])
        if run["params_sha256"] not in known and run["wall_seconds"]
    }
    before = {
        run["before"]["params_sha256"]: run["before"]["cpu_cores"] * run["before"]["wall_seconds"]
        for run in swept
        if "before" in run
    }
    counted = [*one.values(), *others, *averaged.values(), *before.values()]
    hours = sum(counted) / 3600
    return (
        f"The {len(one)} runs of the sweeps, {len(before)} before a transfer, "
        f"{len(others) - len(dropped)} of towers and presets, {len(dropped)} until a drop and "
        f"{len(averaged)} that were only averaged took {hours:.0f} core hours by the clock, beside "
        "other work and with its standstills; not counted are own photos, and all that is not "
        "training of a claim or preset. "
        f"{_rounding()}"
    )


def _rounding() -> str:
    """Returns how far runs of one recipe and seed lie apart, that were made in two ways."""
    found = [
        abs(one["error"] - other["error"])
        for one in _runs("towers")
        for other in _runs("specialise")
        if (one["variant"], one["seed"]) == (other["variant"], other["seed"])
    ]
    if not found:
        return ""
    return (
        f"How far runs of one recipe and seed lie apart: {len(found)} of `towers` were made again "
        "for `specialise`, with the same start and order of images, in other stretches and by "
        "other versions of the code, so that they round otherwise; their errors differ by "
        f"{statistics.mean(found):.1f} points in the mean and {max(found):.1f} at most. So a pair "
        "shares its start and its images, and little of its noise."
    )


def short() -> str:
    """Returns the lines of the README: of what was run."""
    cells = lines(tuple(row for row in ROWS if row.shown), "experiments/")
    head = ["claim", "the paper", "ours", "scale", "evidence"]
    return table(head, [[*line[:4], line[5]] for line in cells if line[4] in (_RUN, _SHORTENED)])


def updated_page(text: str) -> str:
    """Returns the page with the table of today's records."""
    return with_parts(text, {"reproduction": whole()}, "experiments.reproduction")


def updated_readme(text: str) -> str:
    """Returns the README with its lines of the table."""
    return with_parts(text, {"reproduction": short()}, "experiments.reproduction")


def main(*words: str) -> None:
    """Writes picture and pages, or with `--check` looks whether they are those of the records."""
    if "--check" not in words:
        draw(PICTURE)
    elif not is_drawn(PICTURE):
        sys.exit(f"{PICTURE} is out of date")
    rewrite({PAGE: updated_page, README: updated_readme}, words)


if __name__ == "__main__":
    main(*sys.argv)
