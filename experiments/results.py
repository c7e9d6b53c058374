"""What the records of trained presets say: errors, epochs, and the rows of their table."""

import itertools
import json
import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from alexnet_jax.presets import PRESETS
from experiments.pages import each_made_with, record
from experiments.paired import spread
from experiments.view_names import view_name, view_name_of_record


class TrainedPreset(NamedTuple):
    """A trained preset: folder and name of its record, title, published error (%)."""

    folder: str
    name: str
    title: str
    published: str = "–"


ROWS = (
    TrainedPreset("digits", "digits", "`digits`: two towers in small, embedded digits"),
    TrainedPreset("cifar10", "cifar10-alexnet",
        "`cifar10-alexnet`: the paper's eight layers on the lossy CIFAR-10"),
    TrainedPreset("cifar10", "cifar10-alexnet-one-tower",
        "`cifar10-alexnet` with one tower (`--network cifar-alexnet-one-tower`)"),
    TrainedPreset("cifar10", "cifar10-18pct",
        "`cifar10-18pct`: CIFAR-10 stored as lossy JPEG, 9,000 test images",
        "18 (lossless, cuda-convnet)"),
    TrainedPreset("cifar10", "cifar10-13pct", "`cifar10-13pct`: four layers, the same images",
        "13 (lossless, cuda-convnet)"),
    TrainedPreset("cifar10", "cifar10-11pct",
        "`cifar10-11pct`: four layers with normalization, the same images",
        "11 (lossless, cuda-convnet)"),
    TrainedPreset("imagenette", "imagenette",
        "`imagenette`: the paper's eight layers in small, ten classes of ImageNet, 4,500 photos"),
    TrainedPreset("imagenette", "folder",
        "`folder` on the same photos: it chooses network and recipe as `imagenette` does"),
    TrainedPreset("imagenette", "original",
        "`imagenette-original`: run 145's full network on the same photos"),
    TrainedPreset("cats_vs_dogs", "cats-vs-dogs",
        "`cats-vs-dogs`: 5,200 training photos, 800 test photos, from nothing"),
    TrainedPreset("cats_vs_dogs", "on-a-trunk",
        "`cats-vs-dogs` on torchvision's convolutions (`--transfer.run`)"),
    TrainedPreset("cats_vs_dogs", "cats-vs-dogs-224",
        "`cats-vs-dogs-224`: 4,680 training photos, 520 set aside"),
)  # fmt: skip


def rows(folder: str = "") -> list[dict[str, str]]:
    """Returns the cells of the trained presets, or of those of one folder."""
    chosen = (row for row in ROWS if folder in ("", row.folder))
    return [_cells(row, record(row.folder, row.name)) for row in chosen]


def _cells(row: TrainedPreset, found: dict[str, Any]) -> dict[str, str]:
    errors, views = test_errors(found), view_name_of_record(found)
    centre = errors.get(1, 100 * found["validation"][-1]["validation/top1_error"])
    all_views = f"{errors[10]:.1f}" if 10 in errors else "not run"
    return {
        "title": row.title,
        "errors": f"{centre:.1f} / {all_views}" + (f" ({views})" if views != "ten views" else ""),
        "published": row.published,
        "epochs": epochs(found) + ("" if is_finished(found) else " (interrupted)"),
        "rate": f"{found['images_per_second']['median']:,.0f}",
        "time": f"{minutes(found):,.0f} min"
        + (", one core" if found["run"]["cpu_cores"] == 1 else ""),
        "file": f"{row.folder}/results/{row.name}.json",
    }


def trained_with(folder: str) -> str:
    records = {row.name: record(folder, row.name) for row in ROWS if row.folder == folder}
    return each_made_with(
        {
            f"{name}, seed {found['run']['seed']}": {"environment": found["run"]}
            for name, found in records.items()
        }
    )


def seeds() -> str:
    """Returns the errors of the seeds of the default preset."""
    runs = record("seeds")["runs"]
    keys = {"centre": "error", view_name(PRESETS["digits"]): "error_ten_views"}
    texts = [f"{spread([run[key] for run in runs])} % ({name})" for name, key in keys.items()]
    return f"`digits` with {len(runs)} seeds: {', '.join(texts)}"


def is_finished(found: dict[str, Any]) -> bool:
    return found["run"]["status"] == "finished"


def minutes(found: dict[str, Any]) -> float:
    return found["run"]["wall_seconds"] / 60


def test_errors(found: dict[str, Any], metric: str = "top1_error") -> dict[int, float]:
    """Returns the errors of the final tests in percent, by the number of views asked for."""
    tests = sorted(found["final"], key=lambda row: row["test_views"])
    return {row["test_views"]: 100 * row[f"final/{metric}"] for row in tests}


def errors_by_epoch(found: dict[str, Any]) -> dict[int, float]:
    """Returns the validation error in percent, by whole epoch."""
    return {round(row["epoch"]): 100 * row["validation/top1_error"] for row in found["validation"]}


def mean_error(found: dict[str, Any], first: int, last: int) -> float:
    """Returns the mean validation error of the epochs `first` to `last`, percent."""
    errors = errors_by_epoch(found)
    return statistics.mean(errors[epoch] for epoch in range(first, last + 1))


def last_training_error(found: dict[str, Any], rows: int) -> float:
    """Returns the mean training error of the last rows, percent."""
    return 100 * statistics.mean(row["train/top1_error"] for row in found["training"][-rows:])


def standard_error(error: float, images: int) -> float:
    """Returns the standard error of an error in percent of so many images."""
    return 100 * math.sqrt(error / 100 * (1 - error / 100) / images)


def epoch_below(found: dict[str, Any], loss: float) -> float:
    """Returns the epoch from which on the training loss is below a value."""
    above = itertools.takewhile(lambda row: row["train/loss"] >= loss, found["training"])
    return found["training"][len(list(above))]["epoch"]


def loss_after(found: dict[str, Any], epoch: float) -> float:
    """Returns the training loss of the row nearest to an epoch."""
    return min(found["training"], key=lambda row: abs(row["epoch"] - epoch))["train/loss"]


def epochs(found: dict[str, Any]) -> str:
    """Returns how many epochs a run had, and of how many if its schedule was shortened."""
    last, whole = found["validation"][-1]["epoch"], _epochs_of_preset(found)
    return f"{last:.0f}" + (f" of {whole:.0f}" if is_shortened(found) else "")


def is_shortened(found: dict[str, Any]) -> bool:
    return _epochs_of_preset(found) > found["validation"][-1]["epoch"]


def _epochs_of_preset(found: dict[str, Any]) -> float:
    preset = PRESETS.get(found["config"]["preset"])
    return preset.epochs if preset and preset.network == found["config"]["network"] else 0


def single_errors(name: str) -> dict[str, list[float]]:
    """Returns the errors of a set's single networks in `ensembles`, by the views asked for."""
    tested = record("ensembles")["sets"][name]["views"]
    return {
        views: next(row["errors"] for row in rows if row["networks"] == 1)
        for views, rows in tested.items()
    }


def curves(folder: Path) -> list[dict[str, Any]]:
    """Returns all records of runs in a folder, also those without a row in the table."""
    records = (json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json")))
    return [found for found in records if "training" in found]
