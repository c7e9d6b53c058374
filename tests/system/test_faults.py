"""Faults of the matrix in `experiments/faults` that no other test injects, by whole commands."""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import compiling
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--batch-size", "8", "--epochs", "0.2", "--log-every-steps", "1", "--final-views", "1"]
SHORT += ["--checkpoint-every-steps", "4"]  # of 36


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Environment and options of all commands of this file: a set and compiled programs shared."""
    folder = tmp_path_factory.mktemp("faults")
    kept = {name: value for name, value in os.environ.items() if "_CACHE_" not in name}
    return folder, kept | compiling.SOONER | {"XDG_CACHE_HOME": str(folder / "cache")}


def command(place, workdir, *words):
    folder, _ = place
    program = [sys.executable, "-u", "-m", "alexnet_jax.main", "--workdir", str(workdir)]
    return [*program, "--data-dir", str(folder / "data"), *SHORT, *words]


def run(place, workdir, *words, **options):
    options = {"env": place[1], "cwd": ROOT, "timeout": 240} | options
    return subprocess.run(
        command(place, workdir, *words), capture_output=True, text=True, check=False, **options
    )


def info(workdir):
    return json.loads((workdir / "run.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def unbroken(place):
    workdir = place[0] / "unbroken"
    assert run(place, workdir).returncode == 0
    return info(workdir)["params_sha256"]


@pytest.fixture(scope="module")
def half(place):
    """The first half of the unbroken run."""
    workdir = place[0] / "half"
    assert run(place, workdir, "--epochs", "0.1").returncode == 0
    return workdir


@pytest.fixture
def begun(half, tmp_path):
    """A copy of the first half of the unbroken run, to go on with."""
    return shutil.copytree(half, tmp_path / "run")


@pytest.mark.slow
def test_killed_in_the_middle_of_a_save(place, unbroken, tmp_path):
    """Row 1: kill -9 while a checkpoint is being written: the first, and one after another."""
    folder = tmp_path / "run" / "checkpoints"
    for finished in range(2):
        left = set(folder.glob("*.orbax-checkpoint-tmp"))  # by the kill before
        with subprocess.Popen(
            command(place, tmp_path / "run"), cwd=ROOT, env=place[1], stdout=subprocess.DEVNULL
        ) as process:
            while process.poll() is None:
                whole = [path for path in folder.glob("*") if path.name.isdigit()]
                begun = set(folder.glob("*.orbax-checkpoint-tmp"))
                left &= begun
                if len(whole) >= finished and begun - left:
                    process.kill()
                    break
        assert process.returncode == -signal.SIGKILL
    done = run(place, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "resumed" in done.stdout
    assert info(tmp_path / "run")["params_sha256"] == unbroken
    assert not list(folder.glob("*-tmp*"))


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_on_the_disk(place, unbroken, begun):
    """Rows 6 and 18: no file may grow; one line, the older checkpoint stays, then it goes on."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    before = {path.name for path in (begun / "checkpoints").iterdir()}
    full = run(place, begun, "--retune", preexec_fn=limit)
    assert full.returncode not in (0, -signal.SIGXFSZ)
    lines = full.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), full.stderr
    assert "could not be written" in lines[0] or "File too large" in lines[0]
    assert before <= {path.name for path in (begun / "checkpoints").iterdir()}
    done = run(place, begun, "--retune")
    assert done.returncode == 0, done.stderr
    assert info(begun)["params_sha256"] == unbroken


@pytest.mark.slow
def test_a_work_folder_that_vanishes(place, unbroken, tmp_path):
    """Row 14: it is moved away during the run; one line, and nothing is begun at the old place.

    A checkpoint that is just being written then is finished there.
    """
    workdir, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    process = subprocess.Popen(
        command(place, workdir, "--epochs", "3000", "--evaluate-every-epochs", "0.1"),
        cwd=ROOT, env=place[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        last = -1
        for line in process.stdout:
            if line.startswith("epoch"):
                workdir.rename(elsewhere)
                rows = (elsewhere / "metrics.jsonl").read_text("utf-8").splitlines()
                last = json.loads(rows[-1])["step"]
                break
        complaint = ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, complaint = process.communicate(timeout=120)
        process.kill()
    assert process.returncode in (1, 4), "it trained on into nothing"
    assert complaint.startswith("error: ") and len(complaint.strip().splitlines()) == 1, complaint
    files = [path.relative_to(workdir).parts for path in workdir.rglob("*") if path.is_file()]
    assert all(parts[0] == "checkpoints" and len(parts) > 2 for parts in files), files
    steps = {int(parts[1].split(".")[0]) for parts in files}
    assert len(steps) <= 1 and max(steps, default=0) <= last, (files, last)


@pytest.mark.slow
def test_a_relative_work_folder_behind_a_link_with_spaces_and_umlauts(place, tmp_path):
    """Row 14."""
    (tmp_path / "große Läufe").mkdir()
    (tmp_path / "läufe").symlink_to(tmp_path / "große Läufe", target_is_directory=True)
    environment = place[1] | {"PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = run(place, "läufe/ein Lauf", cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
    assert info(tmp_path / "große Läufe" / "ein Lauf")["status"] == "finished"


@pytest.mark.slow
def test_foreign_files_among_the_checkpoints(place, unbroken, begun):
    """Row 15: notes, a folder that is no step, and an empty folder with a step's name."""
    folder = begun / "checkpoints"
    (folder / "notes.txt").write_text("mine")
    (folder / "7x").mkdir()
    (folder / "99").mkdir()
    done = run(place, begun, "--retune")
    assert done.returncode == 0, done.stderr
    assert info(begun)["params_sha256"] == unbroken
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "7x").is_dir()


@pytest.mark.slow
def test_no_home_no_locale_no_terminal(place, tmp_path):
    """Row 24."""
    bare = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUNBUFFERED": "1"} | compiling.SOONER
    bare["XDG_CACHE_HOME"] = place[1]["XDG_CACHE_HOME"]
    done = run(place, tmp_path / "run", env=bare)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
def test_without_a_network(place, tmp_path):
    """Row 29: every connection is refused; the default command needs none."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*_):\n"
        "    raise OSError('no network here')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
    )
    environment = place[1] | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    fresh = ["--data-dir", str(tmp_path / "data")]
    done = run(place, tmp_path / "run", *fresh, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_large_photo_needs_bounded_memory(tmp_path):
    """Row 32: 40 megapixels; the pixels are 120 MB, and twice that is enough for all."""
    photo = tmp_path / "large.jpg"
    Image.fromarray(np.zeros((5000, 8000, 3), np.uint8)).save(photo)
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from alexnet_jax.data.decode import decode_rgb\n"
        "from alexnet_jax.data.square import fit_square\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "pixels = fit_square(decode_rgb(Path(sys.argv[1]).read_bytes()), 256)\n"
        "assert pixels.shape == (256, 256, 3)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    words = [sys.executable, "-c", program, str(photo)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True, timeout=120)
    assert int(done.stdout) < 400 * 1024  # KiB
