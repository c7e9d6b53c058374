"""Writes the tables of trained presets, in the README and their own pages, from the records.

python -m experiments.table          # rewrites the tables
python -m experiments.table --check  # exits with 1 if one is out of date
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from alexnet_jax.presets import PRESETS
from experiments.averaged import views_in, views_of
from experiments.benchmarks.records import read
from experiments.generated import each_made_with, rewrite, with_parts
from experiments.paired import spread

ROOT = Path(__file__).parent
README = ROOT.parent / "README.md"
SEEDS = ROOT / "seeds" / "results" / "seeds.json"
ROWS = (
    ("digits/results/digits.json", "`digits`: two towers in small, embedded digits", "–"),
    (
        "cifar10/results/cifar10-alexnet.json",
        "`cifar10-alexnet`: the paper's eight layers on the lossy CIFAR-10",
        "–",
    ),
    (
        "cifar10/results/cifar10-alexnet-one-tower.json",
        "`cifar10-alexnet` with one tower (`--network cifar-alexnet-one-tower`)",
        "–",
    ),
    (
        "cifar10/results/cifar10-18pct.json",
        "`cifar10-18pct`: CIFAR-10 stored as lossy JPEG, 9,000 test images",
        "18 (lossless, cuda-convnet)",
    ),
    (
        "cifar10/results/cifar10-13pct.json",
        "`cifar10-13pct`: four layers, the same images",
        "13 (lossless, cuda-convnet)",
    ),
    (
        "cifar10/results/cifar10-11pct.json",
        "`cifar10-11pct`: four layers with normalization, the same images",
        "11 (lossless, cuda-convnet)",
    ),
    (
        "imagenette/results/imagenette.json",
        "`imagenette`: the paper's eight layers in small, ten classes of ImageNet, 4,500 photos",
        "–",
    ),
    (
        "imagenette/results/folder.json",
        "`folder` on the same photos: it chooses network and recipe as `imagenette` does",
        "–",
    ),
    (
        "imagenette/results/original.json",
        "`imagenette-original`: run 145's full network on the same photos",
        "–",
    ),
    (
        "cats_vs_dogs/results/cats-vs-dogs.json",
        "`cats-vs-dogs`: 5,200 training photos, 800 test photos, from nothing",
        "–",
    ),
    (
        "cats_vs_dogs/results/on-a-trunk.json",
        "`cats-vs-dogs` on torchvision's convolutions (`--transfer.run`)",
        "–",
    ),
    (
        "cats_vs_dogs/results/cats-vs-dogs-224.json",
        "`cats-vs-dogs-224`: 4,680 training photos, 520 set aside",
        "–",
    ),
)


def table(base: str = "experiments/", folder: str = "") -> str:
    """Returns the table of all results that are committed.

    Args:
      base: path from the page to `experiments/`.
      folder: only results of this one.
    """
    lines = [
        "| experiment | top-1 error, centre / ten views (%) | published (%) | epochs | "
        "images/s in training | wall time | record |",
        "|---|---|---|---|---|---|---|",
    ]
    made = {}
    for name, title, published in ROWS:
        path = ROOT / name
        if path.exists() and name.startswith(folder):
            result = json.loads(path.read_text("utf-8"))
            lines.append(_row(result, f"{base}{name}", title, published))
            made[f"{path.stem}, seed {result['run']['seed']}"] = {"environment": result["run"]}
    if not made:
        return "Not run yet."
    return "\n".join(lines) + (f"\n\n{each_made_with(made)}" if folder else _seeds())


def _seeds() -> str:
    """Returns what the seeds of the default preset reached, where they were run."""
    record = read(SEEDS)
    if record is None or len(record["runs"]) < 2:
        return ""
    texts = []
    for name, key in (("centre", "error"), (views_of(PRESETS["digits"]), "error_ten_views")):
        texts.append(f"{spread([run[key] for run in record['runs']])} % ({name})")
    return (
        f"\n\n`digits` with {len(record['runs'])} seeds: {', '.join(texts)}; "
        "[seeds](experiments/seeds/README.md)."
    )


def _row(result: dict, link: str, title: str, published: str) -> str:
    last = result["validation"][-1]
    finals = {row["test_views"]: row["final/top1_error"] for row in result["final"]}
    centre = finals.get(1, last["validation/top1_error"])
    ten = f"{100 * finals[10]:.1f}" if 10 in finals else "not run"
    views = views_in(result)
    ten += f" ({views})" if views != "ten views" else ""
    minutes = result["run"]["wall_seconds"] / 60
    wall = f"{minutes:,.0f} min" + (", one core" if result["run"]["cpu_cores"] == 1 else "")
    unfinished = "" if result["run"]["status"] == "finished" else " (interrupted)"
    return (
        f"| {title} | {100 * centre:.1f} / {ten} | {published} | {epochs_of(result)}{unfinished} | "
        f"{result['images_per_second']['median']:,.0f} | {wall} | [json]({link}) |"
    )


def epochs_of(result: dict) -> str:
    """Returns how many epochs a run had, and of how many where its schedule was shortened.

    Args:
      result: a record that `collect` wrote.
    """
    last, whole = result["validation"][-1]["epoch"], _whole(result)
    return f"{last:.0f}" + (f" of {whole:.0f}" if is_shortened(result) else "")


def is_shortened(result: dict) -> bool:
    """Returns whether a run had fewer epochs than its preset has.

    Args:
      result: a record that `collect` wrote.
    """
    return _whole(result) > result["validation"][-1]["epoch"]


def _whole(result: dict) -> float:
    preset = PRESETS.get(result["config"]["preset"])
    return preset.epochs if preset and preset.network == result["config"]["network"] else 0


def updated(text: str) -> str:
    """Returns the README's text with the table of today."""
    return with_parts(text, {"results": table()}, "experiments.table")


def _of(folder: str) -> Callable[[str], str]:
    def made(text: str) -> str:
        parts = {"results": table("../", f"{folder}/")}
        return with_parts(text, parts, "experiments.table")

    return made


PAGES: dict[Path, Callable[[str], str]] = {README: updated} | {
    ROOT / folder / "README.md": _of(folder)
    for folder in sorted({name.split("/")[0] for name, *_ in ROWS})
}
"""What makes each page anew."""

if __name__ == "__main__":
    rewrite(PAGES, sys.argv)
