"""Every file of a run folder, lost, emptied, cut off, or of another run, and what commands do."""

import dataclasses
import itertools
import json
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from alexnet_jax import files, program, workflow
from alexnet_jax.config import PreprocessConfig
from alexnet_jax.insight.inference import predict_files
from alexnet_jax.runs.run_folder import read_run

DAMAGES = ("missing", "empty", "cut", "other")
DESCRIBED = ("run.json", "config.json")  # checkpoints say what these say


@pytest.fixture(scope="module")
def data_dir(dataset):
    return dataset.path.parent


def settings(config, dataset):
    data = dataclasses.replace(config.data, name=dataset.path.name, stored_size=10)
    return dataclasses.replace(config, data=data, final_views=1, preset="tiny")


def train(config, folder, data_dir):
    return workflow.train(config, folder, data_dir=data_dir)


@pytest.fixture(scope="module")
def runs(config, dataset, data_dir, tmp_path_factory):
    """A finished run and another one, and a photo."""
    root = tmp_path_factory.mktemp("runs")
    mine = settings(config, dataset)
    train(mine, root / "run", data_dir)
    other = dataclasses.replace(mine, seed=1, preprocess=PreprocessConfig(mean="channel"))
    train(other, root / "other", data_dir)
    Image.new("RGB", (10, 10), (200, 60, 40)).save(root / "photo.png")
    return root


def damaged(runs, folder, name, damage):
    """Copies the run and damages one of its files; returns what the others hold."""
    shutil.copytree(runs / "run", folder)
    path = folder / name
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        shutil.copyfile(runs / "other" / name, path)
    else:
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:100])
    return contents(folder)


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def call(action, capsys):
    """Returns exit code, and what stands on standard error, as a command would have it."""
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=r"alexnet_jax\b")
        warnings.showwarning = lambda message, *_, **__: print_warning(message)
        code = program.exit_code(lambda: action() and 0 or 0, debug=False)
    return code, capsys.readouterr()


def print_warning(message):
    import sys

    print(f"warning: {message}", file=sys.stderr)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*DESCRIBED, "inputs.npz", "final.npz", "metrics.jsonl"])
def test_the_training_command_mends_the_run(
    runs, config, dataset, data_dir, tmp_path, name, damage, capsys
):
    folder = tmp_path / "run"
    before = damaged(runs, folder, name, damage)
    code, shown = call(lambda: train(settings(config, dataset), folder, data_dir), capsys)
    if damage == "other" and name in DESCRIBED:
        assert code == 1 and shown.err.count("\n") == 1, shown.err
        assert f"{name} is of another run than the checkpoints" in shown.err
        assert contents(folder) == before
        return
    assert code == 0, shown.err
    run, whole = read_run(folder), read_run(runs / "run")
    assert run.config == whole.config and run.info["run_id"] == whole.info["run_id"]
    assert run.info["status"] == "finished"
    assert run.info["params_sha256"] == whole.info["params_sha256"]
    np.testing.assert_array_equal(run.inputs.mean, whole.inputs.mean)
    with np.load(folder / "final.npz") as mended, np.load(runs / "run" / "final.npz") as first:
        np.testing.assert_array_equal(mended["probabilities"], first["probabilities"])
    assert not list(folder.glob(".*.tmp"))
    told = {"run.json": "run.json written again", "config.json": "config.json written again",
            "inputs.npz": "inputs.npz made again", "final.npz": "final.npz"}  # fmt: skip
    if name in told and not (name == "final.npz" and damage == "missing"):
        assert told[name] in shown.out + shown.err


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*DESCRIBED, "inputs.npz", "final.npz", "metrics.jsonl"])
def test_other_commands_go_on_or_say_in_one_line_why_not(
    runs, data_dir, tmp_path, name, damage, capsys
):
    folder = tmp_path / "run"
    before = damaged(runs, folder, name, damage)
    commands = {
        "predict": lambda: predict_files(folder, [str(runs / "photo.png")]),
        "evaluate": lambda: workflow.evaluate_ensemble((folder,), "last", 1, data_dir),
        "report": lambda: workflow.write_run_report(folder),
    }
    for command, action in commands.items():
        code, shown = call(action, capsys)
        fails = name == "inputs.npz" or (name in DESCRIBED and damage == "other")
        assert code == int(fails), (command, shown.err)
        assert "unexpected" not in shown.err and "Traceback" not in shown.err
        if fails:
            assert shown.err.count("\n") == 1 and name in shown.err, shown.err
            assert "again" in shown.err or "the beginning" in shown.err, "there is a remedy"
        elif name in DESCRIBED or (command == "report" and name == "final.npz"):
            quiet = name == "final.npz" and damage == "missing"
            assert quiet or f"{name} is " in shown.err, shown.err
    made = ("report.html", workflow.CARD)
    after = {path: data for path, data in contents(folder).items() if path.name not in made}
    before = {path: data for path, data in before.items() if path.name not in made}
    assert {path: after.get(path) for path in before} == before


FILES = [*DESCRIBED, "inputs.npz", "final.npz", "metrics.jsonl", "meta", "arrays"]
PAIRS = list(itertools.combinations(FILES, 2))


def place_of(folder, name):
    """The path of a file of a run; `meta` and `arrays` are of its newest checkpoint."""
    newest = max((folder / "checkpoints").iterdir(), key=lambda step: int(step.name))
    if name == "meta":
        return newest / "meta" / "metadata"
    if name == "arrays":
        found = newest.glob("params/d/*")
        return max(found, key=lambda path: path.stat().st_size)
    return folder / name


@pytest.mark.slow
@pytest.mark.parametrize("damages", [("missing", "cut"), ("empty", "missing"), ("cut", "empty")])
@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_the_training_command_mends_every_pair(
    runs, config, dataset, data_dir, tmp_path, names, damages, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(runs / "run", folder)
    for path, damage in zip([place_of(folder, name) for name in names], damages, strict=True):
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:100])
    code, shown = call(lambda: train(settings(config, dataset), folder, data_dir), capsys)
    assert code == 0, shown.err
    run, whole = read_run(folder), read_run(runs / "run")
    assert run.config == whole.config and run.info["run_id"] == whole.info["run_id"]
    assert run.info["status"] == "finished"
    assert run.info["params_sha256"] == whole.info["params_sha256"]
    with np.load(folder / "final.npz") as mended, np.load(runs / "run" / "final.npz") as first:
        np.testing.assert_array_equal(mended["probabilities"], first["probabilities"])


@pytest.mark.slow
@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_no_pair_of_another_run_is_taken_for_its_own(
    runs, config, dataset, data_dir, tmp_path, names, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(runs / "run", folder)
    for name in names:
        shutil.copyfile(place_of(runs / "other", name), place_of(folder, name))
    before = contents(folder)
    code, shown = call(lambda: train(settings(config, dataset), folder, data_dir), capsys)
    if code:
        assert shown.err.count("\n") == 1 and "another " in shown.err, shown.err
        assert contents(folder) == before
        return
    run, whole = read_run(folder), read_run(runs / "run")
    assert run.info["run_id"] == whole.info["run_id"]
    assert run.info["params_sha256"] == whole.info["params_sha256"]


@pytest.mark.parametrize("name", DESCRIBED)
def test_without_a_checkpoint_that_says_it_nothing_is_guessed(runs, tmp_path, name, capsys):
    folder = tmp_path / "run"
    damaged(runs, folder, name, "cut")
    for meta in folder.glob("checkpoints/*/meta/metadata"):
        content = json.loads(meta.read_text())
        del content["run"]  # as checkpoints were at first
        meta.write_text(json.dumps(content))
    code, shown = call(lambda: workflow.write_run_report(folder), capsys)
    assert code == 1 and shown.err.count("\n") == 1
    assert f"{name} is damaged" in shown.err and "bring back a copy" in shown.err


def test_a_run_that_has_saved_nothing_begins_anew(runs, config, dataset, data_dir, tmp_path):
    folder = tmp_path / "run"
    damaged(runs, folder, "run.json", "empty")
    (folder / "final.npz").unlink()
    shutil.rmtree(folder / "checkpoints")
    (folder / "checkpoints").mkdir()
    train(settings(config, dataset), folder, data_dir)
    run = read_run(folder)
    assert run.info["params_sha256"] == read_run(runs / "run").info["params_sha256"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_text(path, "old")
    synced = []
    monkeypatch.setattr(files.os, "fsync", lambda number: synced.append(number))
    files.write_text(path, "new")
    assert path.read_text() == "new" and len(synced) == 2, "the file and its folder"

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(path, "newer")
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_process_was_writing_is_cleared_away_later(tmp_path, monkeypatch):
    (tmp_path / ".a.json.1.tmp").write_text("half")
    files.write_text(tmp_path / "a.json", "whole")
    assert (tmp_path / ".a.json.1.tmp").exists(), "its process may be alive"
    monkeypatch.setattr(files, "_STALE_SECONDS", -1)
    files.write_text(tmp_path / "a.json", "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
