"""Turns run folders into committed evidence: JSON per run, a picture of the curves, the tables.

python -m experiments.collect --into experiments/imagenette/results original=RUN paper=RUN2
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from alexnet_jax.runs.metrics_log import read_rows
from experiments import pictures, reproduction, table
from experiments.generated import rewrite

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
    """Returns the evidence of one run: what it was, where it ran, what came out."""
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
    """Returns at most about `limit` rows, each the mean of its neighbours."""
    size = -(-len(rows) // limit) or 1
    groups = [rows[i : i + size] for i in range(0, len(rows), size)]
    names = ("step", "epoch", "train/loss", "train/top1_error", "train/learning_rate")
    return [
        {n: float(f"{sum(row[n] for row in group) / len(group):.5g}") for n in names}
        for group in groups
    ]


def collected(folder: Path) -> list[dict[str, Any]]:
    """Returns the evidence of all runs in a folder of results."""
    records = (json.loads(path.read_text()) for path in sorted(folder.glob("*.json")))
    return [record for record in records if "training" in record]


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draws training loss and test error of all runs against epochs."""
    figure = pictures.blank(9, 3.4)
    loss, error = figure.subplots(1, 2)
    highest = 0.0
    colours = itertools.cycle(("#1f4e79", "#a8321e", "#3d7a3d", "#8a6d1d", "#5b3a8c", "#444444"))
    for result, colour in zip(results, colours, strict=False):
        rows = result["training"]
        epochs = [row["epoch"] for row in rows]
        losses = [row["train/loss"] for row in rows]
        loss.plot(epochs, losses, color=colour, lw=1.2, label=result["name"])
        # The first row, of random weights, may be so high that the rest would lie flat.
        highest = max([highest, *(losses[1:] or losses)])
        rows = result["validation"]
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
    pictures.save(figure, path, results)


def main() -> None:
    """Reads the runs named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, required=True, help="folder of the results")
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN", help="name and run folder")
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    for pair in arguments.runs:
        name, _, folder = pair.partition("=")
        text = json.dumps(collect(Path(folder), name), indent=1) + "\n"
        (arguments.into / f"{name}.json").write_text(text)
    results = collected(arguments.into)
    draw(results, arguments.into / "curves.svg")
    names = [pair.partition("=")[0] for pair in arguments.runs]
    for result in (result for result in results if result["name"] in names):
        for row in result["final"] or result["validation"][-1:]:
            print(result["name"], json.dumps(row))
    if arguments.into.resolve().is_relative_to(table.ROOT.resolve()):
        rewrite(table.PAGES)
        reproduction.main()


if __name__ == "__main__":
    main()
