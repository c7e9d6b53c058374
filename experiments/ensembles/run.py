"""How much do ten views and several networks gain? Tests finished runs and averages of them.

    python -m experiments.ensembles.run miniature RUN RUN RUN
    python -m experiments.ensembles.run --quick    # minutes: trains three seeds of digits for it

Every subset of at most five runs is averaged: with equal weights, as the paper says, and with
coefficients that are tuned on every other image and tested on the rest. (The 2012 programs tuned
them on the test images themselves.)
"""

import itertools
import statistics
from pathlib import Path
from typing import Any

from alexnet_jax.evaluation.ensemble import Member, alternate, evaluate_members
from alexnet_jax.evaluation.views import VIEW_NAMES, averaged_by
from alexnet_jax.runs.run_folder import read_run
from alexnet_jax.workflow import evaluate_run
from experiments import pictures, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.pages import table
from experiments.paired import spread
from experiments.view_names import common_heading

OUTPUT = Path(__file__).parent / "results" / "ensembles.json"
MAX_NETWORKS = 5
WAYS = ("equal", "equal, half of the images", "tuned on the other half")


def tested(runs: list[Path], views: int, data_dir: Path | None) -> list[Member]:
    """Returns the tests of finished runs, which were trained on one set, with 1 or 10 views."""
    members = []
    for place in runs:
        run = read_run(place)
        result = evaluate_run(place, "last", views, data_dir=data_dir)
        fingerprint = run.info["data_fingerprint"]
        members.append(Member(f"seed {run.config.seed}", result, fingerprint, run.class_names))
    return members


def trained(place: Path) -> dict[str, Any]:
    run = read_run(place)
    keys = ("seed", "cpu_cores", "wall_seconds", "params_sha256")
    counted = {key: run.info.get(key) for key in keys}  # an import has no training
    return {"preset": run.config.preset, "epochs": run.config.epochs} | counted


def errors(members: list[Member]) -> list[dict[str, Any]]:
    """Returns the top-1 errors (%) of all subsets, by size and way of averaging."""
    found: dict[tuple[int, str], list[float]] = {}
    for size in range(1, min(len(members), MAX_NETWORKS) + 1):
        for subset in itertools.combinations(members, size):
            whole = evaluate_members(subset, None).evaluation
            found.setdefault((size, WAYS[0]), []).append(100 * whole.top1_error)
            if size > 1:
                half, rest = alternate(list(subset))
                tuned = evaluate_members(rest, half)
                found.setdefault((size, WAYS[1]), []).append(100 * tuned.equal.top1_error)
                found.setdefault((size, WAYS[2]), []).append(100 * tuned.evaluation.top1_error)
    return [{"networks": size, "weights": way, "errors": e} for (size, way), e in found.items()]


def table_of(record: dict[str, Any]) -> str:
    lines = []
    for name, entry in record["sets"].items():
        by_views = [
            {(row["networks"], row["weights"]): row["errors"] for row in entry["views"][views]}
            for views in ("1", "10")
        ]
        for size, way in sorted(by_views[0], key=lambda key: (WAYS.index(key[1]), key[0])):
            texts = [f"{statistics.mean(part[size, way]):.2f}" for part in by_views]
            if size == 1:  # averages share their networks: their spread would be too small
                texts = [spread(part[size, way], ".2f") for part in by_views]
            lines.append([f"`{name}`, {way}", size, len(by_views[0][size, way]), *texts])
    return table(["", "networks", "subsets", "centre, %", f"{view_heading(record)}, %"], lines)


def view_heading(record: dict[str, Any]) -> str:
    sets = record["sets"]
    return common_heading(
        {name: VIEW_NAMES[entry["views_averaged"]] for name, entry in sets.items()}
    )


def draw(record: dict[str, Any], path: Path) -> None:
    """Draws the mean error of averages against their size, for the centre and for all views."""
    sets = record["sets"]
    figure = pictures.blank(2.9 * len(sets) + 0.6, 2.9)
    panels = figure.subplots(1, len(sets), squeeze=False)[0]
    for axes, (name, entry) in zip(panels, sets.items(), strict=True):
        for views, colour in (("1", "#a8321e"), ("10", "#1f4e79")):
            label = "centre" if views == "1" else VIEW_NAMES[entry["views_averaged"]]
            equal = [row for row in entry["views"][views] if row["weights"] == WAYS[0]]
            sizes = [row["networks"] for row in equal]
            means = [statistics.mean(row["errors"]) for row in equal]
            axes.plot(sizes, means, "o-", color=colour, label=label, ms=4, lw=1.2)
        axes.set(title=name, xlabel="networks", xticks=sizes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#dddddd", lw=0.6)
        axes.legend(frameon=False, fontsize=7)
    panels[0].set_ylabel("top-1 error, equal weights, %")
    pictures.save(figure, path, sets)


def main(words: list[str] | None = None) -> None:
    parser = programs.quick_parser(__doc__, OUTPUT)
    parser.add_argument("name", nargs="?", help="in the record")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="finished run folders")
    arguments = parser.parse_intermixed_args(words)
    programs.use_quick_folders(parser, arguments)
    if arguments.quick:
        arguments.name, arguments.runs = "digits", programs.train_digits(3, arguments.data_dir)
    if not arguments.runs:
        parser.error("a name and its runs are needed, or --quick")
    record = read(arguments.output) or {"sets": {}}
    entry: dict[str, Any] = {"environment": environment(), "views": {}}
    entry["training"] = [trained(run) for run in arguments.runs]
    entry["views_averaged"] = averaged_by(read_run(arguments.runs[0]), 10).views
    for views in (1, 10):
        members = tested(arguments.runs, views, arguments.data_dir)
        entry["members"] = [member.name for member in members]
        entry["images"] = members[0].evaluation.count
        entry["views"][str(views)] = errors(members)
    record["sets"][arguments.name] = entry
    write(arguments.output, record)
    draw(record, arguments.output.with_suffix(".svg"))
    programs.show(table_of(record), arguments.output, OUTPUT)


if __name__ == "__main__":
    main()
