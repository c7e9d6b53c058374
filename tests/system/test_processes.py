"""Two real processes over gloo: training, evaluation, a stop, another number of them, a loss."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import compiling
import float64
import jax
import numpy as np
import pytest

from alexnet_jax import workflow
from alexnet_jax.main import main, parse
from alexnet_jax.runs.run_weights import load_weights

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--log-every-steps", "1", "--final-views", "1", "--evaluate-every-epochs", "0.5")
SHORT += ("--epochs", "0.5")  # 12 steps


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder, and the environment of the processes: one CPU device each, quickly compiled."""
    environment = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        **compiling.SOONER,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests" / "oracle"))),
    }
    return tmp_path_factory.mktemp("processes"), os.environ | environment


def start(place, number, port, *words, processes=2, verb="train", program="alexnet_jax.main"):
    """Starts process `number` of a command; 1 process: without any option for several."""
    folder, environment = place
    several = (
        ("--coordinator", f"127.0.0.1:{port}", "--processes", str(processes))
        + ("--process-id", str(number))
        if processes > 1
        else ()
    )
    command = [sys.executable, "-m", program, verb, *several]
    command += ["--data-dir", str(folder / "data"), *words]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def both(place, *words, differing=((), ()), **options):
    """Starts two processes; `differing` are words of one of them."""
    port = free_port()
    return [start(place, i, port, *words, *differing[i], **options) for i in (0, 1)]


def ended(processes, seconds=150):
    """Returns (exit code, stdout, stderr) of each process."""
    deadline = time.monotonic() + seconds
    try:
        results = []
        for process in processes:
            out, err = process.communicate(timeout=max(1, deadline - time.monotonic()))
            lines = out.splitlines(keepends=True)
            out = "".join(line for line in lines if not line.startswith("[Gloo]"))
            results.append((process.returncode, out, err))
        return results
    finally:
        for process in processes:
            process.kill()


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def steps_of(workdir):
    """The steps that a run has logged so far."""
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line)["step"])
        except ValueError:  # a line that is being written
            break
    return rows


def train_alone(workdir, data_dir):
    """Trains with one device of this process."""
    config = parse("train", ["--workdir", str(workdir), *SHORT, "--replicas", "1"]).config
    workflow.train(config, workdir, data_dir)
    return workdir


@pytest.fixture(scope="module")
def alone(place):
    """The run of one device."""
    with compiling.few_optimizations():
        return train_alone(place[0] / "alone", place[0] / "data")


@pytest.fixture(scope="module")
def exact(place):
    """The run of one device in float64."""
    with float64.training():
        return train_alone(place[0] / "exact", place[0] / "data")


def assert_same_run(ours, theirs):
    """Two runs in float64 have the same losses and the same last test, as logged and in float32."""
    rows = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (ours, theirs)
    ]
    losses = [[row["train/loss"] for row in some if "train/loss" in row] for some in rows]
    assert len(losses[0]) == 12
    np.testing.assert_allclose(*losses, rtol=1e-6)
    finals = [np.load(folder / "final.npz") for folder in (ours, theirs)]
    np.testing.assert_allclose(*(final["probabilities"] for final in finals), atol=1e-5)
    np.testing.assert_array_equal(*(final["labels"] for final in finals))


@pytest.mark.slow
def test_two_processes_train_the_network_of_one(place, exact):
    workdir = place[0] / "together"  # two towers
    words = ("--workdir", str(workdir), "--towers", "2", *SHORT)
    (code, out, err), (other_code, other_out, _) = ended(both(place, *words, program="float64"))
    assert (code, other_code) == (0, 0), err
    assert "2 x cpu" in out and "test error" in out
    assert other_out == ""  # process 0 alone speaks and writes
    info = json.loads((workdir / "run.json").read_text())
    assert info["processes"] == 2 and info["mesh"] == {"data": 1, "tower": 2}
    assert_same_run(workdir, exact)


@pytest.mark.slow
def test_two_processes_evaluate_what_one_does(place, alone):
    one = workflow.evaluate_run(alone, "last", 1, replicas=1)
    words = ("--workdir", str(alone), "--checkpoint", "last", "--views", "1")
    (code, out, err), (other_code, other_out, _) = ended(both(place, *words, verb="evaluate"))
    assert (code, other_code, other_out) == (0, 0, ""), err
    assert f"{one.count:,} images" in out
    assert f"loss         {one.loss:.4f}" in out
    assert f"top-1 error  {100 * one.top1_error:.2f} %" in out


@pytest.mark.slow
def test_a_stop_of_one_process_ends_both_and_one_process_goes_on(place, exact):
    workdir = place[0] / "stopped"
    words = ("--workdir", str(workdir), *SHORT)  # two replicas
    processes = both(place, *words, program="float64")
    wait_for(lambda: len(steps_of(workdir)) >= 3)
    processes[1].send_signal(signal.SIGTERM)
    results = ended(processes)
    assert [code for code, _, _ in results] == [0, 0], results
    assert "interrupted: saved step" in results[0][1]
    shutil.copytree(workdir, place[0] / "again")
    one = start(place, 0, 0, *words, processes=1, program="float64")
    ((code, out, err),) = ended([one])
    assert code == 0, err
    assert "resumed" in out and "test error" in out
    assert_same_run(workdir, exact)
    again = ("--workdir", str(place[0] / "again"), *SHORT)
    results = ended(both(place, *again, program="float64"))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "resumed" in results[0][1]
    assert_same_run(place[0] / "again", exact)


@pytest.mark.slow
def test_a_stop_of_one_process_in_a_validation_ends_both_and_it_is_repeated(place, exact):
    workdir = place[0] / "stopped validation"
    words = ("--workdir", str(workdir), *SHORT)
    results = ended(both(place, *words, program="stopped_validation"))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "interrupted: saved step 12" in results[0][1]
    assert "validation error" not in results[0][1]
    results = ended(both(place, *words, program="float64"))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "resumed" in results[0][1] and "validation error" in results[0][1]
    assert_same_run(workdir, exact)
    assert (workdir / "checkpoints" / "12" / "metrics" / "metrics").exists(), "it can be the best"


@pytest.mark.slow
def test_two_processes_go_on_where_one_has_stopped(place, alone):
    """The velocities of one device are split over two processes, and then are whole again."""
    workdir = place[0] / "back"
    shutil.copytree(alone, workdir)
    more = ("--workdir", str(workdir), *SHORT[:-1], "1", "--retune")
    results = ended(both(place, *more, "--towers", "2"))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "resumed" in results[0][1] and "at step 12 of 23" in results[0][1]
    starts = json.loads((workdir / "run.json").read_text())["starts"]
    assert [(start["step"], start["processes"]) for start in starts] == [(0, 1), (12, 2)]
    assert load_weights(workdir, "last").step == 23


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_whose_peer_is_killed_ends_with_a_message(place, alone, victim):
    workdir = place[0] / f"killed {victim}"
    words = ("--workdir", str(workdir), *SHORT, "--epochs", "200")
    processes = both(place, *words)
    wait_for(lambda: len(steps_of(workdir)) >= 3)
    processes[victim].kill()
    code, _, err = ended(processes, 60)[1 - victim]
    assert code == 6
    assert "another process" in err and "start all processes again" in err


@pytest.mark.slow
def test_processes_that_disagree_are_refused(place, alone):
    workdir = place[0] / "disagreeing"
    words = ("--workdir", str(workdir), *SHORT)
    results = ended(both(place, *words, differing=((), ("--batch-size", "32"))))
    for code, _, err in results:
        assert code == 1
        line = err.strip().splitlines()[-1]
        assert "process 1 disagrees with process 0 (batch_size is 32, in process 0 64)" in line
    assert not workdir.exists()


@pytest.mark.slow
def test_what_process_0_finds_wrong_ends_both(place, alone):
    words = ("--workdir", str(place[0] / "wrong"), *SHORT, "--batch-size", "63")
    for code, _, err in ended(both(place, *words)):
        assert code == 1
        assert "63 images does not divide over 2 replicas" in err
    words = ("--workdir", str(place[0] / "wrong"), *SHORT, "--preset", "folder")
    words += ("--data.name", "photos")
    for code, _, err in ended(both(place, *words)):
        assert code == 5
        assert "the data set 'photos' is not in" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--processes", "2"), "all three, or --cluster alone"),
        (("--coordinator", "here:1", "--processes", "2", "--process-id", "2"), "it is 0 to 1"),
        (("--coordinator", "here", "--processes", "2", "--process-id", "0"), "HOST:PORT"),
    ],
)
def test_numbers_of_processes_that_make_no_sense_are_refused(
    words, message, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr(jax.distributed, "initialize", None)  # nothing is begun
    assert main(["train", "--workdir", str(tmp_path / "no"), *words]) == 1
    err = capfd.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
