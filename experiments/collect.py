"""Turns run folders into records: a JSON file per run, a figure of the curves, the pages.

python -m experiments.collect --into experiments/imagenette/results original=RUN paper=RUN2
"""

import itertools
import json
from pathlib import Path
from typing import Any

from alexnet_jax.runs.metrics_log import read_rows
from experiments import pages, pictures, programs, results
from experiments.benchmarks.records import write

_KEPT = (
    "status",
    "step",
    "starts",
    "changes",
    "wall_seconds",
    "train_images",
    "validation_images",
    "data_fingerprint",
    "params_sha256",
    "seed",
    "commit",
    "versions",
    "devices",
    "processor",
    "cpu_cores",
)


def collect(folder: Path, name: str) -> dict[str, Any]:
    """Returns the record of one run: its configuration, place, and results."""
    config = json.loads((folder / "config.json").read_text())
    config["data"]["source"] = ""  # a path of the machine
    config["transfer"]["run"] = ""
    info = json.loads((folder / "run.json").read_text())
    rows = read_rows(folder / "metrics.jsonl")
    if info["status"] != "finished" or not any("test_views" in row for row in rows):
        raise SystemExit(f"{folder} has not been trained and tested to its end; train it first")
    rates = sorted(row["images_per_second"] for row in rows if "images_per_second" in row)
    if not rates:
        raise SystemExit(f"{folder} has no rows with images_per_second; train for some steps")
    return {
        "name": name,
        "run": {key: info[key] for key in _KEPT if key in info},
        "images_per_second": {
            "median": rates[len(rates) // 2],
            "lowest": rates[0],
            "highest": rates[-1],
        },
        "final": [row for row in rows if "test_views" in row],
        "validation": [row for row in rows if "validation/top1_error" in row],
        "training": _thinned([row for row in rows if "train/loss" in row]),
        "config": config,
    }


def _thinned(rows: list[dict[str, Any]], limit: int = 150) -> list[dict[str, Any]]:
    """Returns about `limit` rows at most; each is the mean of its neighbours."""
    size = -(-len(rows) // limit) or 1
    groups = [rows[i : i + size] for i in range(0, len(rows), size)]
    names = ("step", "epoch", "train/loss", "train/top1_error", "train/learning_rate")
    return [
        {n: float(f"{sum(row[n] for row in group) / len(group):.5g}") for n in names}
        for group in groups
    ]


def draw(records: list[dict[str, Any]], path: Path) -> None:
    figure = pictures.blank(9, 3.4)
    loss, error = figure.subplots(1, 2)
    highest = 0.0
    colours = itertools.cycle(("#1f4e79", "#a8321e", "#3d7a3d", "#8a6d1d", "#5b3a8c", "#444444"))
    for record, colour in zip(records, colours, strict=False):
        rows = record["training"]
        epochs = [row["epoch"] for row in rows]
        losses = [row["train/loss"] for row in rows]
        loss.plot(epochs, losses, color=colour, lw=1.2, label=record["name"])
        # The first row, of random weights, may be so high that the rest would lie flat.
        highest = max([highest, *(losses[1:] or losses)])
        rows = record["validation"]
        error.plot(
            [row["epoch"] for row in rows],
            [100 * row["validation/top1_error"] for row in rows],
            color=colour,
            lw=1.2,
            marker="o",
            ms=3,
        )
    loss.set_title("training loss, nats per image", loc="left", fontsize=10)
    error.set_title("top-1 error on the test images, %", loc="left", fontsize=10)
    for axes in (loss, error):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("epochs")
        axes.set_xlim(left=0)
    loss.set_ylim(0, 1.05 * highest)
    loss.legend(frameon=False, fontsize=8)
    error.set_ylim(bottom=0)
    pictures.save(figure, path, records)


def main() -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("--into", type=Path, required=True, help="folder of the records")
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN", help="name and run folder")
    arguments = parser.parse_args()
    for pair in arguments.runs:
        name, _, folder = pair.partition("=")
        record = collect(Path(folder), name)
        write(arguments.into / f"{name}.json", record)
        for row in record["final"] or record["validation"][-1:]:
            print(name, json.dumps(row))
    draw(results.curves(arguments.into), arguments.into / "curves.svg")
    if arguments.into.resolve().is_relative_to(pages.ROOT):
        pages.write()


if __name__ == "__main__":
    main()
