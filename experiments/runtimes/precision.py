"""What do lower precisions cost on trained weights?

    python -m experiments.runtimes.precision NAME=RUN... --data-dir DATA   # half an hour

Each RUN is a finished run folder, DATA has its prepared set. Every test image goes through each row
of `precision.toml`, and all logits are compared with ours in float32. Writes
`results/precision.json` and the table of the page.
"""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

import alexnet_jax
from alexnet_jax.data.dataset import Split, open_dataset
from alexnet_jax.network.layers import parametric_layers
from alexnet_jax.runs.run_weights import RunWeights, load_weights
from alexnet_jax.weights.exporting import export
from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.runtimes.environments import Job, environment_of, run_jobs
from experiments.runtimes.make_files import preprocessed
from experiments.runtimes.run import error_of, version_of

HERE = Path(__file__).parent
OUTPUT = HERE / "results" / "precision.json"
CALIBRATION_IMAGES = 100
BATCH = 50
SECONDS = 3600


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/runtimes"))
    arguments = parser.parse_args()
    record = read(arguments.output) or {"sets": {}}
    for word in arguments.runs:
        name, _, folder = word.partition("=")
        found = measure(load_weights(folder), arguments.data_dir, arguments.work.absolute(), name)
        record["sets"][name] = {"environment": environment(), **found}
        write(arguments.output, record)
    pages.write("runtimes")


def measure(weights: RunWeights, data_dir: Path, work: Path, name: str) -> dict[str, Any]:
    dataset = open_dataset(data_dir / weights.run.config.data.name)
    split = dataset.split("test")
    folder = work / "precision" / name
    files = {form: _file(weights, form, folder, dataset.split("train"), split) for form in _forms()}
    classifier = alexnet_jax.load(weights.run.workdir)
    images = split.images(range(len(split)))
    starts = range(0, len(split), BATCH)
    last = parametric_layers(weights.run.network.layers)[-1].name
    ours = np.concatenate([classifier.features(images[i : i + BATCH], last) for i in starts])
    rows = []
    for entry in entries():
        form, batch = entry.get("files", [("whole", "free")])[0]
        row = {"runtime": entry["name"], "version": version_of(entry), "form": form}
        place = environment_of(entry, work)
        if place.missing:
            rows.append(row | {"missing": place.missing})
            continue
        file, sizes = files[form], (1 if batch == "1" else BATCH,)
        job = Job(file, Path(f"{file}.images.npy"), sizes)
        [outcome] = run_jobs(entry, place, [job], SECONDS)
        rows.append(row | _compared(outcome.logits, ours, split.labels, outcome.refusal))
        print(rows[-1], flush=True)
    return {
        "network": weights.run.network.name,
        "images": len(split),
        "top1": _top1(ours, split.labels),
        "rows": rows,
    }


def entries() -> list[dict[str, Any]]:
    return tomllib.loads((HERE / "precision.toml").read_text("utf-8"))["runtime"]


def _forms() -> set[str]:
    return {form for entry in entries() for form, _ in entry.get("files", [("whole", "free")])}


def _file(weights: RunWeights, form: str, folder: Path, train: Split, test: Split) -> Path:
    """Exports, and lays the images for test and calibration beside the file."""
    file = folder / f"{form}.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    Path(f"{file}.json").unlink(missing_ok=True)
    batch = 1 if form == "network" else None
    export(weights, file, "onnx", form=form, batch=batch)
    images = test.images(range(len(test)))
    ready = images if form == "whole" else preprocessed(weights, images, "onnx")
    np.save(f"{file}.images.npy", ready)
    chosen = np.random.default_rng(0).choice(len(train), CALIBRATION_IMAGES, replace=False)
    np.save(f"{file}.calibration.npy", train.images(np.sort(chosen)))
    return file


def _compared(logits: Any, ours: np.ndarray, labels: np.ndarray, refusal: str) -> dict[str, Any]:
    if logits is None:
        return {"refusal": refusal}
    same = float(np.mean(logits[0].argmax(1) == ours.argmax(1)))
    return {
        "error": error_of(logits, ours),
        "top1": _top1(logits[0], labels),
        "same_answer": same,
    }


def _top1(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(logits.argmax(1) == labels))


if __name__ == "__main__":
    main()
