"""How a run begins: opened in its folder, and checked against its data, before it is trained."""

import csv
import io
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from alexnet_jax import processes
from alexnet_jax.config import Config
from alexnet_jax.data.balance import training_split
from alexnet_jax.data.dataset import Dataset
from alexnet_jax.data.duplicates import (
    COPIES,
    DuplicatePair,
    across_splits,
    conflicts_line,
    near_duplicates,
    read_copies,
)
from alexnet_jax.data.prepared import load_statistics, read_prepared
from alexnet_jax.data.preprocess import Inputs, make_inputs
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.evaluation.guessing import Guess
from alexnet_jax.files import write_text
from alexnet_jax.network import placement
from alexnet_jax.resolution import Facts, Resolved, resolve
from alexnet_jax.runs import run_folder
from alexnet_jax.runs.environment import environment
from alexnet_jax.runs.record import RunRecord
from alexnet_jax.runs.run_folder import Run, read_run
from alexnet_jax.source_kinds import SOURCE_KINDS

Say = Callable[[str], None]

DUPLICATES = "near_duplicates.csv"
"""In a run folder: test images that show what a training image shows."""


def mesh_of(config: Config) -> Mesh | None:
    """Returns None for one device; raises `InputError` if devices or batch do not fit."""
    mesh = placement.make_mesh(
        config.towers,
        config.replicas,
        batch_size=config.batch_size,
        accumulation=config.accumulation,
    )
    return placement.mesh_or_none(mesh)


def source_of(config: Config, record: RunRecord | None) -> Run | None:
    return read_run(config.transfer.run) if config.transfer.run and record is None else None


def open_run(
    config: Config,
    workdir: Path,
    dataset: Dataset,
    record: RunRecord | None,
    source: Run | None,
    say: Say,
) -> Run:
    """Returns a new run, or that of `record` with `config`; all processes call this.

    Raises:
      InputError: impossible configuration, or a process does not see the folder.
      DataError: the data set is not the one that the run began with.
    """
    config = config.normalized()

    def open_here() -> Run:
        if record is None:
            return _new_run(config, workdir, dataset, source, say)
        return _continued_run(config, workdir, dataset, record, say)

    run = processes.chief_first(open_here, lambda: _joined_run(config, workdir))
    # A folder of the same name on a disk of another machine would do great harm.
    processes.check_agreement({"the run in --workdir": run.info.get("run_id", "")})
    return run


def _new_run(config: Config, workdir: Path, dataset: Dataset, source: Run | None, say: Say) -> Run:
    facts = Facts(len(dataset.class_names), dataset.stored_size)
    resolved = resolve(config, facts, source and Resolved(source.network, source.image_size))
    inputs = _make_inputs(config, dataset, resolved)
    record = RunRecord(config, _first_info(config, dataset))
    bad = dataset.path / "bad_images.jsonl"
    if bad.exists():
        shutil.copyfile(bad, workdir / bad.name)
    if SOURCE_KINDS[config.data.source_kind].reports_copies:
        _list_duplicates(config, workdir, dataset, say)
    run_folder.write_run(workdir, record, inputs)
    return Run.of(workdir, record, resolved, inputs)


def _continued_run(
    config: Config, workdir: Path, dataset: Dataset, record: RunRecord, say: Say
) -> Run:
    info = record.info
    if info["data_fingerprint"] != dataset.fingerprint:
        raise DataError(
            f"the data set {dataset.path} has changed since this run began; bring the old one "
            "back, or start a new run in another --workdir"
        )
    resolved = resolve(config, run_folder.facts_of(info))
    try:
        inputs = run_folder.read_inputs(workdir, info)
    except InputError:  # lost or damaged; the data set is the same
        inputs = _make_inputs(config, dataset, resolved)
        run_folder.write_inputs(workdir, inputs)
        say(f"inputs.npz made again from {dataset.path}")
    return Run.of(workdir, RunRecord(config, info), resolved, inputs)


def _joined_run(config: Config, workdir: Path) -> Run:
    try:
        return read_run(workdir)._replace(config=config)
    except InputError as error:
        raise InputError(
            f"{error}: process 0 has begun a run there; several processes need a --workdir that "
            "all of them see"
        ) from None


def _make_inputs(config: Config, dataset: Dataset, resolved: Resolved) -> Inputs:
    statistics = load_statistics(dataset.path)
    return make_inputs(config.preprocess, config.augment, statistics, resolved.image_size)


def _first_info(config: Config, dataset: Dataset) -> dict[str, Any]:
    split = training_split(config.data, dataset)
    guess = Guess.of(np.bincount(split.labels, minlength=len(dataset.class_names)))
    return environment() | {
        "status": "running",
        "run_id": uuid.uuid4().hex,
        "seed": config.seed,
        "class_names": list(dataset.class_names),
        "stored_size": dataset.stored_size,
        **dataset.appearance._asdict(),
        "data_path": str(dataset.path),
        "data_fingerprint": dataset.fingerprint,
        "guess_loss": list(guess),
        "train_images": dataset.split(config.data.train_split).num_examples,
        "epoch_images": split.num_examples,
        "validation_images": dataset.split(config.data.validation_split).num_examples,
        "wall_seconds": 0.0,
    }


def _list_duplicates(config: Config, workdir: Path, dataset: Dataset, say: Say) -> None:
    """Writes which test images are copies of training images; says how many, and of conflicts."""
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
        if prepared and prepared.get("copies", {}).get("searched") == "bytes":
            say("among so many photos only equal files count as copies of training images")
        if line := conflicts_line(rows):
            say(f"{line}: {dataset.path / COPIES}")
    if not pairs:
        return
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(DuplicatePair._fields)
    table.writerows(pairs)
    write_text(workdir / DUPLICATES, text.getvalue())
    say(
        f"{len(pairs)} of {len(test):,} test images show the same as a training image, so the "
        f"error will look too small: {workdir / DUPLICATES}"
    )
