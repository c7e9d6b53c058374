"""How a run begins: checked against its folder and its data, before anything is computed."""

import csv
import io
import shutil
import uuid
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet_jax.config import Config, DataConfig
from alexnet_jax.data.balance import Balanced
from alexnet_jax.data.dataset import Dataset
from alexnet_jax.data.duplicates import (
    COPIES,
    Pair,
    across_splits,
    conflicts_line,
    near_duplicates,
    read_copies,
)
from alexnet_jax.data.prepared import load_statistics, read_prepared
from alexnet_jax.data.preprocess import make_inputs
from alexnet_jax.data.stream import TrainingSplit
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.evaluation.guessing import Guess
from alexnet_jax.files import write_text
from alexnet_jax.resolution import Facts, Resolved, resolve
from alexnet_jax.runs import folder as run_folder
from alexnet_jax.runs.folder import read_run

DUPLICATES = "near_duplicates.csv"
"""In a run folder: test images that show what a training image shows."""


def open_run(config: Config, workdir: Path, dataset: Dataset, resumed: bool) -> run_folder.Run:
    """Checks an old run folder against the data, or starts a new one.

    Args:
      config: what to run.
      workdir: run folder, locked.
      dataset: holds the configured splits.
      resumed: the folder holds a run of this configuration.

    Raises:
      InputError: impossible configuration, or leftovers of another run.
      DataError: the data set is not the one that the run began with.
    """
    if resumed:
        info = run_folder.read_info(workdir)
        if info["data_fingerprint"] != dataset.fingerprint:
            raise DataError(
                f"the data set {dataset.path} has changed since this run began; bring the old one "
                "back, or start anew in another --workdir"
            )
        _repair_inputs(config, workdir, dataset, info)
        return run_folder.read_run(workdir)._replace(config=config)
    source = read_run(config.transfer.run) if config.transfer.run else None
    _, image_size = resolve(
        config,
        Facts(len(dataset.class_names), dataset.stored_size),
        source and Resolved(source.network, source.image_size),
    )
    leftover = workdir / "checkpoints"
    if leftover.is_dir() and any(leftover.iterdir()):
        raise InputError(f"{workdir} has checkpoints but no config.json; use another --workdir")
    inputs = make_inputs(
        config.preprocess, config.augment, load_statistics(dataset.path), image_size
    )
    split = training_split(config.data, dataset)
    labels = split.labels
    guess = Guess.of(np.bincount(labels, minlength=len(dataset.class_names)))
    info = run_folder.environment() | {
        "status": "running",
        "run_id": uuid.uuid4().hex,
        "seed": config.seed,
        "class_names": list(dataset.class_names),
        "stored_size": dataset.stored_size,
        **dataset.appearance._asdict(),
        "data_path": str(dataset.path),
        "data_fingerprint": dataset.fingerprint,
        "guess_loss": guess,
        "train_images": dataset.split(config.data.train_split).num_examples,
        "epoch_images": split.num_examples,
        "validation_images": dataset.split(config.data.validation_split).num_examples,
        "wall_seconds": 0.0,
    }
    bad = dataset.path / "bad_images.jsonl"
    if bad.exists():
        shutil.copyfile(bad, workdir / bad.name)
    if config.data.source_kind == "folder":
        _look_for_duplicates(config, workdir, dataset)
    run_folder.start_run(workdir, config, inputs, info)
    return run_folder.read_run(workdir)


def training_split(data: DataConfig, dataset: Dataset) -> TrainingSplit:
    """Returns the split that is trained on, with classes balanced where that is asked for.

    Args:
      data: which split, and how.
      dataset: opened.
    """
    split = dataset.split(data.train_split)
    return Balanced(split) if data.balance else split


def _look_for_duplicates(config: Config, workdir: Path, dataset: Dataset) -> None:
    """Says how many test images are copies of training images, and lists them.

    Also says how many photos are in two classes.
    """
    prepared = read_prepared(dataset.path)
    if prepared and prepared["options"].get("copies") == "ignore":
        return
    names = config.data.train_split, config.data.validation_split
    train, test = (dataset.split(name) for name in names)
    rows = read_copies(dataset.path)
    if rows is None:  # prepared before there was that list, or of a kind that is not searched
        pairs = near_duplicates(train, test)
    else:
        pairs = across_splits(rows, *names)
        if line := conflicts_line(rows):
            print(f"{line}: {dataset.path / COPIES}")
    if not pairs:
        return
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(Pair._fields)
    table.writerows(pairs)
    write_text(workdir / DUPLICATES, text.getvalue())
    print(
        f"{len(pairs)} of {len(test):,} test images show what a training image shows, so that the "
        f"error will look too small: {workdir / DUPLICATES}"
    )


def _repair_inputs(config: Config, workdir: Path, dataset: Dataset, info: dict[str, Any]) -> None:
    """Makes a lost or damaged `inputs.npz` anew from the data set, which is the same."""
    try:
        run_folder.read_inputs(workdir, info)
    except InputError:
        _, image_size = resolve(config, Facts(len(dataset.class_names), dataset.stored_size))
        statistics = load_statistics(dataset.path)
        inputs = make_inputs(config.preprocess, config.augment, statistics, image_size)
        run_folder.write_inputs(workdir, inputs)
        print(f"inputs.npz made anew from {dataset.path}")


def join_run(config: Config, workdir: Path) -> run_folder.Run:
    """Returns the run that another process has opened.

    Raises:
      InputError: this process does not see its folder.
    """
    try:
        return run_folder.read_run(workdir)._replace(config=config)
    except InputError as error:
        raise InputError(
            f"{error}: process 0 has begun a run there; several processes need a --workdir that "
            "all of them see"
        ) from None


def headline(run: run_folder.Run, params: int, devices: int) -> str:
    """Returns the line that begins a run: what is trained on what.

    Args:
      run: what is trained.
      params: number of parameters.
      devices: number in use.
    """
    return (
        f"{run.config.preset}: network '{run.network.name}', {params:,} parameters, "
        f"{run.image_size}x{run.image_size} pixels, {len(run.class_names)} classes, "
        f"{run.info['train_images']:,} training images, {devices} x {jax.default_backend()}"
        + (f" (of {jax.device_count()})" if devices < jax.device_count() else "")
    )
