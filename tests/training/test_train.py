"""The loop: resuming is exact, a run is finished once, and nothing of the user's is overwritten."""

import copy
import dataclasses
import itertools
import json
import math
import os
import shutil
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import train

from alexnet_jax.config import OptimizerConfig, TransferConfig
from alexnet_jax.data.stream import Batch, TrainingStream
from alexnet_jax.errors import CheckpointError, DataError, DivergedError, InputError
from alexnet_jax.runs.checkpoint import Checkpoints
from alexnet_jax.runs.digests import digest_of
from alexnet_jax.runs.metrics_log import read_rows
from alexnet_jax.runs.run_folder import read_run
from alexnet_jax.training import steps as steps_module
from alexnet_jax.training import validation as validation_module


def rows_without_rate(folder: Path) -> list[dict]:
    """Returns the rows of metrics without what depends on the clock."""
    rows = read_rows(folder / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]


class _Stop(Exception):
    """Stands for a process that ends without a word."""


def train_and_break(config, folder, dataset, monkeypatch, last_step):
    """Runs until `last_step` steps are done and then breaks off, as a kill would."""
    make = steps_module.make_train_step
    done = 0

    def make_breaking(*arguments, **options):
        step = make(*arguments, **options)

        def breaking(state, *others):
            nonlocal done
            if int(state.step) == last_step:
                raise _Stop
            done += 1
            return step(state, *others)

        breaking.lower = step.lower  # type: ignore[attr-defined]
        return breaking

    with monkeypatch.context() as patch, pytest.raises(_Stop):
        patch.setattr(steps_module, "make_train_step", make_breaking)
        train(config, folder, dataset)


@pytest.fixture(scope="module")
def finished(config, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    return train(config, folder, dataset), folder


@pytest.fixture
def unbroken(finished, tmp_path):
    """The outcome of an unbroken run, and a copy of its folder."""
    outcome, folder = finished
    shutil.copytree(folder, tmp_path / "unbroken")
    run = outcome.run._replace(workdir=tmp_path / "unbroken")
    return outcome._replace(run=run), tmp_path / "unbroken"


def test_a_run_writes_its_folder(unbroken, config):
    outcome, folder = unbroken
    assert outcome.finished and outcome.steps_done == 12 and int(outcome.state.step) == 12
    assert read_run(folder).config == config
    info = json.loads((folder / "run.json").read_text())
    assert info["status"] == "finished" and info["step"] == 12
    assert info["params_sha256"] == digest_of(outcome.state.params)
    assert info["class_names"] == ["dark", "red"] and info["versions"]["jax"] == jax.__version__
    rows = read_rows(folder / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/loss" in row] == [2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in rows if "validation/loss" in row] == [4, 8, 12]
    assert (folder / "metrics.csv").read_text().startswith("step,epoch,train/loss")
    assert list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("last_step", [0, 4, 7, 11])
def test_a_run_broken_at_any_step_and_resumed_is_the_unbroken_run(
    unbroken, config, dataset, tmp_path, monkeypatch, last_step
):
    outcome, folder = unbroken
    config = dataclasses.replace(config, checkpoint_every_steps=3)
    broken = tmp_path / "broken"
    train_and_break(config, broken, dataset, monkeypatch, last_step)
    resumed = train(config, broken, dataset)
    assert digest_of(resumed.state.params) == digest_of(outcome.state.params)
    assert digest_of(resumed.state.opt_state) == digest_of(outcome.state.opt_state)
    assert rows_without_rate(broken) == rows_without_rate(folder)


def test_a_finished_run_does_no_work(unbroken, config, dataset, monkeypatch):
    _, folder = unbroken
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != ".lock"}
    monkeypatch.setattr(steps_module, "make_train_step", None)
    outcome = train(config, folder, dataset)
    assert outcome.finished and outcome.steps_done == 0
    after = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    changed = {p.name for p in after if after[p] != before.get(p) and p.name != ".lock"}
    assert changed <= {"config.json"}


def test_a_finished_run_without_its_checkpoints_is_not_nothing_to_do(unbroken, config, dataset):
    _, folder = unbroken
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(CheckpointError, match="finished run, but its checkpoints are gone"):
        train(config, folder, dataset)


def test_a_signal_saves_and_the_same_command_goes_on(
    unbroken, config, dataset, tmp_path, monkeypatch, capsys
):
    outcome, _ = unbroken
    make = steps_module.make_train_step

    def make_signalling(*arguments, **options):
        step = make(*arguments, **options)

        def signalling(state, *others):
            if int(state.step) == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(state, *others)

        signalling.lower = step.lower  # type: ignore[attr-defined]
        return signalling

    with monkeypatch.context() as patch:
        patch.setattr(steps_module, "make_train_step", make_signalling)
        stopped = train(config, tmp_path / "run", dataset)
    assert not stopped.finished and int(stopped.state.step) == 6
    assert "interrupted: saved step 6" in capsys.readouterr().out
    resumed = train(config, tmp_path / "run", dataset)
    assert "resumed" in capsys.readouterr().out
    assert resumed.finished and resumed.steps_done == 6
    assert digest_of(resumed.state.params) == digest_of(outcome.state.params)


@pytest.mark.slow
@pytest.mark.parametrize("validation", [1, 3])
def test_a_signal_in_a_validation_stops_it_and_it_is_repeated(
    config, dataset, tmp_path, monkeypatch, capsys, validation
):
    make = validation_module.make_run_predict_step
    calls = 0

    def make_signalling(*arguments, **options):
        step = make(*arguments, **options)

        def signalling(*others):
            nonlocal calls
            calls += 1
            if calls == 2 * (validation - 1) + 1:  # each has two batches
                os.kill(os.getpid(), signal.SIGTERM)
            return step(*others)

        return signalling

    config = dataclasses.replace(config, batch_size=7)
    folder, straight = tmp_path / "run", tmp_path / "straight"
    unbroken = train(config, straight, dataset)
    with monkeypatch.context() as patch:
        patch.setattr(validation_module, "make_run_predict_step", make_signalling)
        stopped = train(config, folder, dataset)
    assert not stopped.finished
    step = int(stopped.state.step)
    assert f"interrupted: saved step {step}" in capsys.readouterr().out
    info = read_run(folder).info
    assert info["status"] == "interrupted" and "params_sha256" not in info
    rows = [row for row in rows_without_rate(folder) if "validation/loss" in row]
    assert len(rows) == validation - 1
    resumed = train(config, folder, dataset)
    assert resumed.finished
    assert digest_of(resumed.state.params) == digest_of(unbroken.state.params)
    assert rows_without_rate(folder) == rows_without_rate(straight)
    mine, theirs = (Checkpoints(place, read_only=True) for place in (folder, straight))
    assert mine.steps() == theirs.steps()
    assert [mine.metrics(s) for s in mine.steps()] == [theirs.metrics(s) for s in theirs.steps()]
    assert mine.step_of("best") == theirs.step_of("best")
    assert train(config, folder, dataset).steps_done == 0


def test_another_configuration_is_refused_with_its_fields(unbroken, config, dataset):
    _, folder = unbroken
    text = (folder / "config.json").read_text()
    other = dataclasses.replace(config, batch_size=7, optimizer=OptimizerConfig(0.5))
    with pytest.raises(InputError, match=r"batch_size was 11, is 7.*optimizer.learning_rate was"):
        train(other, folder, dataset)
    assert (folder / "config.json").read_text() == text
    train(dataclasses.replace(config, log_every_steps=5, workers=0), folder, dataset)


@pytest.mark.slow
def test_rates_and_epochs_change_in_mid_run_only_when_asked(
    unbroken, config, dataset, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "run"
    train_and_break(config, folder, dataset, monkeypatch, 5)
    lower = dataclasses.replace(config, optimizer=OptimizerConfig(1e-4), epochs=4)
    with pytest.raises(InputError, match="learning_rate was 0.001, is 0.0001.*--retune"):
        train(lower, folder, dataset)
    with pytest.raises(InputError, match=r"\(batch_size was 11, is 7\).*another --workdir"):
        train(dataclasses.replace(lower, batch_size=7), folder, dataset, retune=True)
    outcome = train(lower, folder, dataset, retune=True)
    assert int(outcome.state.step) == 16 and read_run(folder).config == lower
    changes = json.loads((folder / "run.json").read_text())["changes"]
    assert {"step": 4, "field": "epochs", "was": 3, "is": 4} in changes
    rows = {row["step"]: row for row in read_rows(folder / "metrics.jsonl") if "train/loss" in row}
    assert rows[4]["train/learning_rate"] == 1e-3 and rows[6]["train/learning_rate"] == 1e-4

    _, finished = unbroken  # a finished run goes on when it is given more epochs
    assert "epochs the rate is 0.0001" in capsys.readouterr().out
    longer = train(dataclasses.replace(config, epochs=4), finished, dataset, retune=True)
    assert longer.finished and longer.steps_done == 4


def test_a_changed_data_set_is_refused(unbroken, config, dataset):
    _, folder = unbroken
    other = copy.copy(dataset)
    other.fingerprint = "0" * 64
    with pytest.raises(DataError, match="has changed since this run began"):
        train(config, folder, other)


def test_divergence_ends_the_run_and_keeps_the_last_good_checkpoint(config, dataset, tmp_path):
    wild = dataclasses.replace(config, optimizer=OptimizerConfig(1e30, 1e30), epochs=30)
    with pytest.raises(DivergedError, match=r"not finite at step \d+ .*learning rate 1e\+30"):
        train(wild, tmp_path / "run", dataset)
    assert Checkpoints(tmp_path / "run", read_only=True).steps() == []


def test_best_and_last_are_kept(config, dataset, tmp_path):
    config = dataclasses.replace(config, epochs=6)
    train(config, tmp_path / "run", dataset)
    rows = [r for r in read_rows(tmp_path / "run/metrics.jsonl") if "validation/top1_error" in r]
    checkpoints = Checkpoints(tmp_path / "run", read_only=True)
    best = checkpoints.step_of("best")
    errors = {row["step"]: row["validation/top1_error"] for row in rows}
    assert errors[best] == min(errors.values())
    assert checkpoints.step_of("last") == 24
    assert len(checkpoints.steps()) <= 3
    with pytest.raises(CheckpointError, match="no checkpoint of step 23"):
        checkpoints.step_of(23)
    with pytest.raises(InputError, match="neither best, last nor a step"):
        checkpoints.step_of("newest")


def _flip_a_byte(folder: Path) -> None:
    largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)


def _truncate(folder: Path) -> None:
    for path in folder.rglob("d/*"):
        os.truncate(path, path.stat().st_size // 2)


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("damage", [_flip_a_byte, _truncate, _empty])
def test_a_damaged_checkpoint_is_set_aside_and_the_older_one_taken(
    unbroken, config, dataset, tmp_path, monkeypatch, damage
):
    outcome, _ = unbroken
    folder = tmp_path / "run"
    train_and_break(config, folder, dataset, monkeypatch, 10)
    damage(folder / "checkpoints" / "8")
    with pytest.warns(UserWarning, match="checkpoints/8 .*trying the one before"):
        resumed = train(config, folder, dataset)
    assert resumed.steps_done == 8
    assert digest_of(resumed.state.params) == digest_of(outcome.state.params)
    assert len(list((folder / "damaged_checkpoints").iterdir())) == 1


def test_without_a_readable_checkpoint_nothing_is_overwritten(
    config, dataset, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    train_and_break(config, folder, dataset, monkeypatch, 10)
    for step in Checkpoints(folder, read_only=True).steps():
        _flip_a_byte(folder / "checkpoints" / str(step))
    rows = (folder / "metrics.jsonl").read_text()
    with (
        pytest.warns(UserWarning, match="trying the one before"),
        pytest.raises(CheckpointError, match="none of the 2 checkpoints"),
    ):
        train(config, folder, dataset)
    assert (folder / "metrics.jsonl").read_text() == rows
    assert not (folder / "damaged_checkpoints").exists()


@pytest.mark.slow
def test_layers_are_transferred_from_another_run(unbroken, config, dataset, tmp_path):
    outcome, folder = unbroken
    transfer = TransferConfig(str(folder), "last", ("conv1",))
    frozen = OptimizerConfig(1e-3, layer_learning_rate=(("conv1", 0.0),))
    tuned = dataclasses.replace(config, transfer=transfer, optimizer=frozen, seed=1)
    state = train(tuned, tmp_path / "tuned", dataset).state
    np.testing.assert_array_equal(
        state.params["conv1"]["kernel"], outcome.state.params["conv1"]["kernel"]
    )
    other = state.params["fc2"]["kernel"] - outcome.state.params["fc2"]["kernel"]
    assert float(abs(other).max()) > 0.01

    missing = dataclasses.replace(tuned, transfer=TransferConfig(str(folder), "last", ("conv2",)))
    with pytest.raises(InputError, match="no layer 'conv2'"):
        train(missing, tmp_path / "missing", dataset)
    assert not (tmp_path / "missing" / "config.json").exists()  # a corrected command can follow
    nothing = dataclasses.replace(tuned, transfer=TransferConfig(str(folder), "last"))
    with pytest.raises(InputError, match="copies nothing; name layers with --transfer.layers"):
        train(nothing, tmp_path / "nothing", dataset)
    nowhere = dataclasses.replace(tuned, transfer=TransferConfig(layers=("conv1",)))
    with pytest.raises(InputError, match="--transfer.run"):
        train(nowhere, tmp_path / "nowhere", dataset)


def test_the_step_compiles_once_and_donates(config, dataset, tmp_path, monkeypatch):
    made, states = [], []
    make = steps_module.make_train_step

    def make_and_keep(*arguments, **options):
        step = make(*arguments, **options)
        made.append(step)

        def keeping(state, *others):
            states.append(state)
            return step(state, *others)

        keeping.lower = step.lower  # type: ignore[attr-defined]
        return keeping

    monkeypatch.setattr(steps_module, "make_train_step", make_and_keep)
    outcome = train(config, tmp_path / "run", dataset)
    assert [step._cache_size() for step in made] == [1]
    assert len(states) == outcome.steps_done
    assert all(leaf.is_deleted() for state in states for leaf in jax.tree.leaves(state.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(outcome.state.params))


def test_runs_follow_each_other_in_one_process(config, dataset, tmp_path):
    config = dataclasses.replace(config, epochs=1)
    states = [train(config, tmp_path / name, dataset).state for name in ("first", "second")]
    assert digest_of(states[0].params) == digest_of(states[1].params)


def test_batches_that_change_their_shape_end_a_run_and_mended_it_goes_on(
    unbroken, config, dataset, tmp_path, monkeypatch
):
    whole = TrainingStream.batch

    def drifting(stream, step):
        batch = whole(stream, step)
        return Batch(*(array[:-1] for array in batch)) if step >= 6 else batch

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStream, "batch", drifting)
        with pytest.raises(
            DataError, match=r"images was uint8\[11,8,8,3\] and is uint8\[10,.*repair"
        ):
            train(config, tmp_path / "run", dataset)
    assert Checkpoints(tmp_path / "run", read_only=True).steps() == [4]
    mended = train(config, tmp_path / "run", dataset)
    assert mended.finished and mended.steps_done == 8
    assert digest_of(mended.state.params) == digest_of(unbroken[0].state.params)


def test_workdir_that_is_a_file(config, dataset, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        train(config, path, dataset)
    assert path.read_text() == "mine"


def test_two_runs_in_one_workdir(unbroken, config, dataset):
    _, folder = unbroken
    from alexnet_jax.runs.run_folder import locked

    with locked(folder), pytest.raises(InputError, match="another process"):
        train(config, folder, dataset)


def test_a_clock_that_jumps_spoils_no_rate(config, dataset, tmp_path, monkeypatch):
    """Back an hour at every look, and the rest of the program sees it, too."""
    before, looks = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: before() - 3600 * next(looks))
    train(config, tmp_path / "run", dataset)
    rates = [
        value
        for row in read_rows(tmp_path / "run" / "metrics.jsonl")
        for name, value in row.items()
        if "per_second" in name or "seconds" in name
    ]
    assert rates and all(math.isfinite(value) and value > 0 for value in rates)


@pytest.mark.parametrize("begins", ["at the start", "with a checkpoint"])
def test_the_step_that_was_compiled_ahead_is_the_one_that_runs(config, dataset, tmp_path, begins):
    folder = tmp_path / "run"
    if begins == "with a checkpoint":
        with pytest.MonkeyPatch.context() as patch:
            train_and_break(config, folder, dataset, patch, 5)
    compiled = []

    def note(event, duration_secs, **kwargs):
        if event.endswith("backend_compile_duration") and "train_step" in str(kwargs["fun_name"]):
            compiled.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        assert train(config, folder, dataset).finished
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    assert len(compiled) == 1
