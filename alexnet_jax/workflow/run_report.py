"""What a run leaves for people: its report, and its model card."""

import contextlib
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.data.balance import training_split
from alexnet_jax.data.dataset import Dataset
from alexnet_jax.data.stream import stream_indices
from alexnet_jax.errors import CheckpointError, DataError, InputError
from alexnet_jax.evaluation.metrics import confusion_matrix
from alexnet_jax.files import write_text
from alexnet_jax.insight.augmentations import FramedRow, training_pictures
from alexnet_jax.insight.classifier import classifier_of
from alexnet_jax.insight.examples import Example
from alexnet_jax.insight.model_card import is_card, model_card
from alexnet_jax.insight.neighbours import Neighbours, last_hidden_layer, nearest
from alexnet_jax.insight.report import write_report
from alexnet_jax.insight.report_data import ReportData
from alexnet_jax.runs.metrics_log import read_rows
from alexnet_jax.runs.run_folder import Run, read_run
from alexnet_jax.runs.run_weights import RunWeights, kept_steps, weights_of
from alexnet_jax.training.schedule import frozen_layers
from alexnet_jax.training.start import DUPLICATES
from alexnet_jax.workflow.evaluation import dataset_of
from alexnet_jax.workflow.final import FinalTest, epochs_of, examples_of, final_test

NEIGHBOUR_ROWS, NEIGHBOURS = 5, 6
"""Of the report's nearest neighbours: test images, and training images for each (figure 4)."""
NEIGHBOUR_BANK, NEIGHBOUR_PART = 1500, 250
"""Training images that are searched, and how many are in memory at once."""
REPORT, CARD = "report.html", "model_card.md"


def write_run_report(workdir: str | Path) -> Path:
    """Writes `report.html` (returned) and `model_card.md`; test images need the run's data set."""
    run = read_run(workdir)
    weights, dataset = None, None
    with contextlib.suppress(CheckpointError):  # a run that has not saved yet still has curves
        weights = weights_of(run, "last")
    with contextlib.suppress(DataError):
        dataset = dataset_of(run, None)
    return write_report_of(run, final_test(run), weights, dataset)


def write_report_of(
    run: Run, test: FinalTest, weights: RunWeights | None, dataset: Dataset | None
) -> Path:
    """Writes report and model card; `weights` are those of the last checkpoint."""
    path = run.workdir / REPORT
    params = {} if weights is None else weights.params
    labels, probabilities = test.labels, test.probabilities
    examples, neighbours = [], []
    if dataset is not None and labels is not None:
        examples = examples_of(run, dataset, probabilities, labels)
        if weights is not None:
            neighbours = _neighbours(weights, dataset, examples)
    results = {int(views): values for views, values in test.summary.items()}
    data = ReportData(
        config=run.config,
        run=run.info | {"workdir": str(run.workdir)},
        metrics=read_rows(run.workdir / "metrics.jsonl"),
        conv1_kernel=params["conv1"]["kernel"] if "conv1" in params else None,
        earlier_kernels=_earlier_kernels(run),
        network=run.network,
        evaluation=results or None,
        confusion=None if labels is None else confusion_matrix(np.asarray(probabilities), labels),
        class_names=run.class_names,
        examples=examples,
        neighbours=neighbours,
        training=None if "import" in run.info else _training(run, dataset),
        bad_images=_bad_images(run.workdir),
        near_duplicates=_near_duplicates(run.workdir),
    )
    write_report(path, data)
    write_text(run.workdir / CARD, model_card(run, results))
    return path


def _training(run: Run, dataset: Dataset | None) -> list[FramedRow]:
    """Returns what training showed of its first image; nothing where its data set is gone."""
    if dataset is None or dataset.fingerprint != run.info.get("data_fingerprint"):
        return []
    split = training_split(run.config.data, dataset)
    _, (first,) = stream_indices(run.config.seed, split.num_examples, 1, 0)
    label = run.class_names[int(split.labels[first])]
    return training_pictures(
        split, int(first), run.config, run.inputs, run.image_size, f"{label}, as stored"
    )


def _earlier_kernels(run: Run) -> dict[str, np.ndarray]:
    """Returns conv1's kernel at every checkpoint but the last, by epoch; none if it is frozen."""
    kernels = {}
    if "conv1" in frozen_layers(run.config.schedule, run.config.optimizer):
        return kernels
    for step in kept_steps(run.workdir)[:-1]:
        with contextlib.suppress(CheckpointError):
            params = weights_of(run, step).params
            if "conv1" in params:
                name = f"epoch {epochs_of(run, step):.2f}, step {step:,}"
                kernels[name] = params["conv1"]["kernel"]
    return kernels


def card_path(output: str | Path) -> Path:
    """Returns the export's name with `.md`; raises `InputError` if that file is no card of ours."""
    path = Path(output)
    path = path.with_name(path.name + ".md")
    if path.exists() and not is_card(path):
        raise InputError(f"{path} exists already; remove it or choose another --output")
    return path


def write_card(weights: RunWeights, path: Path, readers: Mapping[str, Any] | None = None) -> None:
    """Writes the model card of exported weights; raises `InputError` if it cannot be written."""
    tested = final_test(weights.run)
    # The errors are those of the last step; another checkpoint was not tested whole.
    results = tested.summary if tested.step == weights.step else {}
    by_views = {int(views): values for views, values in results.items()}
    text = model_card(weights.run, by_views, readers)
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _bad_images(workdir: Path) -> int | None:
    path = workdir / "bad_images.jsonl"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else None


def _near_duplicates(workdir: Path) -> int:
    path = workdir / DUPLICATES
    if not path.exists():
        return 0
    with open(path, newline="", encoding="utf-8") as file:
        return max(0, sum(1 for _ in csv.reader(file)) - 1)  # a head stands first


def _neighbours(
    weights: RunWeights, dataset: Dataset, examples: Sequence[Example]
) -> list[Neighbours]:
    """Returns the first random examples with the training images nearest to them."""
    rows = [example for example in examples if example.kind == "random"][:NEIGHBOUR_ROWS]
    train = dataset.split(weights.run.config.data.train_split)
    draw = np.random.Generator(np.random.Philox(key=[weights.run.config.seed, 0xF4]))
    searched = np.sort(draw.permutation(len(train))[:NEIGHBOUR_BANK])
    layer = last_hidden_layer(weights.run.network)
    if layer is None or not rows or len(searched) < NEIGHBOURS:
        return []
    classifier = classifier_of(weights)
    queries = classifier.features(np.stack([row.image for row in rows]), layer)
    bank = [
        classifier.features(train.images(part), layer)
        for part in np.array_split(searched, -(-len(searched) // NEIGHBOUR_PART))
    ]
    found, distances = nearest(queries, np.concatenate(bank), NEIGHBOURS)
    return [
        Neighbours(
            row.image,
            row.label,
            train.images(searched[places]),
            [int(label) for label in train.labels[searched[places]]],
            [float(distance) for distance in lengths],
        )
        for row, places, lengths in zip(rows, found, distances, strict=True)
    ]
