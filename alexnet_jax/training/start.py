"""How a run begins: checked against its folder and its data, before anything is computed."""

import contextlib
import csv
import io
import shutil
import time
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
from alexnet_jax.data.preprocess import make_inputs
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.evaluation.guessing import Guess
from alexnet_jax.files import write_text
from alexnet_jax.network import placement
from alexnet_jax.resolution import Facts, Resolved, resolve
from alexnet_jax.runs import folder as run_folder
from alexnet_jax.runs.folder import read_run
from alexnet_jax.training.train import Outcome, train_run

Say = Callable[[str], None]

DUPLICATES = "near_duplicates.csv"
"""In a run folder: test images that show what a training image shows."""


def train(
    config: Config,
    workdir: str | Path,
    dataset: Dataset,
    retune: bool = False,
    started: float | None = None,
    display: Display | None = None,
) -> Outcome:
    """Trains `config` in `workdir`, or goes on where an earlier call stopped; see `train_run`.

    Args:
      config: what to run.
      workdir: run folder; made when absent. All processes must see the same one.
      dataset: an opened data set that holds the configured splits.
      retune: let rates, schedule and epochs of a run in the folder change from here on.
      started: `time.monotonic()` at which the user began to wait (default: now), from which
        `run.json` counts `seconds_to_first_step`.
      display: shows lines and progress.

    Raises:
      InputError: impossible configuration, devices that do not fit it, or the folder holds
        another run.
      DataError: the data set is not the one that the run began with.
      CheckpointError, DivergedError, PeerLostError: see `train_run`.
    """
    workdir = Path(workdir).absolute()
    started = time.monotonic() if started is None else started
    display = (display or Display()) if processes.is_chief() else Display(lambda line: None)
    mesh = mesh_of(config)
    previous = None
    with contextlib.ExitStack() as stack:

        def begin() -> run_folder.Run:
            nonlocal previous
            stack.enter_context(run_folder.locked(workdir))
            run_folder.repair(workdir, display.say)
            resumed = run_folder.check_same_config(workdir, config, retune)
            previous = run_folder.read_config(workdir) if resumed else None
            return open_run(config, workdir, dataset, resumed, display.say)

        run = processes.chief_first(begin, lambda: join_run(config, workdir))
        # A folder of the same name on a disk of another machine would do great harm.
        processes.check_agreement({"the run in --workdir": run.info.get("run_id", "")})
        return train_run(
            run, dataset, mesh=mesh, display=display, started=started, previous=previous
        )


def mesh_of(config: Config) -> Mesh | None:
    """Returns the mesh that a configuration asks for; None: one device.

    Raises:
      InputError: the devices do not make it, or the batch does not divide over it.
    """
    mesh = placement.make_mesh(
        config.towers,
        config.replicas,
        batch_size=config.batch_size,
        accumulation=config.accumulation,
    )
    return placement.mesh_or_none(mesh)


def open_run(
    config: Config, workdir: Path, dataset: Dataset, resumed: bool, say: Say
) -> run_folder.Run:
    """Checks an old run folder against the data, or starts a new one.

    Args:
      config: what to run.
      workdir: run folder, locked.
      dataset: holds the configured splits.
      resumed: the folder holds a run of this configuration.
      say: takes a line for the user.

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
        _repair_inputs(config, workdir, dataset, info, say)
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
        _look_for_duplicates(config, workdir, dataset, say)
    run_folder.start_run(workdir, config, inputs, info)
    return run_folder.read_run(workdir)


def _look_for_duplicates(config: Config, workdir: Path, dataset: Dataset, say: Say) -> None:
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
        f"{len(pairs)} of {len(test):,} test images show what a training image shows, so that the "
        f"error will look too small: {workdir / DUPLICATES}"
    )


def _repair_inputs(
    config: Config,
    workdir: Path,
    dataset: Dataset,
    info: dict[str, Any],
    say: Say,
) -> None:
    """Makes a lost or damaged `inputs.npz` anew from the data set, which is the same."""
    try:
        run_folder.read_inputs(workdir, info)
    except InputError:
        _, image_size = resolve(config, Facts(len(dataset.class_names), dataset.stored_size))
        statistics = load_statistics(dataset.path)
        inputs = make_inputs(config.preprocess, config.augment, statistics, image_size)
        run_folder.write_inputs(workdir, inputs)
        say(f"inputs.npz made anew from {dataset.path}")


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
