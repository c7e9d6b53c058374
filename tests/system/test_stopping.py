"""Commands that are told to stop as a terminal or a batch system does it: all processes at once."""

import contextlib
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import compiling
import numpy as np
import pytest
import quick
from PIL import Image

from alexnet_jax import processes, program

ROOT = Path(__file__).resolve().parents[2]
SHARED_MEMORY = Path("/dev/shm")
ENVIRONMENT = os.environ | compiling.SOONER

pytestmark = pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="needs Linux's shared memory")


@pytest.fixture
def start():
    """Starts commands in process groups of their own, none of which outlives the test."""
    started = []

    def start(*words):
        command = [sys.executable, "-u", "-m", "alexnet_jax.main", *map(str, words)]
        started.append(
            subprocess.Popen(
                command, cwd=ROOT, env=ENVIRONMENT, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=hear_signals,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def hear_signals():
    """Undoes what `nohup`, or a shell that runs these tests in the background, has them ignore."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


def ended(process):
    """Returns what a stopped command still prints; nothing of it is left then."""
    rest, _ = process.communicate(timeout=60)
    for _ in range(100):
        left = [p for p in _group(process.pid) if "spawn_main" in p or "alexnet_jax" in p]
        if not left:
            return rest
        time.sleep(0.05)
    raise AssertionError(left)  # pyright: ignore[reportPossiblyUnboundVariable]


def _group(number):
    """Returns the command lines of the processes of a group; one that has ended has none."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == number:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def shared_memory():
    return {p.name for p in SHARED_MEMORY.iterdir() if p.name.startswith(("psm_", "sem.mp"))}


def left_since(before):
    """Returns what lies in shared memory and stays; what tests beside this one use passes."""
    left = shared_memory() - before
    for _ in range(300):
        if not left & shared_memory():
            break
        time.sleep(0.1)
    return left & shared_memory()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "number"),
    quick.rows(
        [(0, signal.SIGINT)],
        [(0, signal.SIGINT), (0, signal.SIGHUP), (2, signal.SIGINT), (2, signal.SIGTERM)],
    ),
)
def test_training_saves_and_leaves_nothing_behind(start, tmp_path, workers, number):
    before = shared_memory()
    words = ("--workdir", tmp_path / "run", "--epochs", 3000, "--workers", workers)
    process = start(*words, "--data-dir", tmp_path / "data")
    read_until(process, "first step after")
    os.killpg(process.pid, number)
    # Besides the progress; some versions of XLA log what they load from the cache of programs.
    progress = re.compile(r"step |epoch |[IWE]\d{4} .*\.cc:")
    rest = [line for line in ended(process).splitlines() if not progress.match(line)]
    assert process.returncode == 0
    assert rest[0] == "stopping after this step (once more: at once) …"
    assert rest[1].startswith("interrupted: saved step ") and len(rest) == 2, rest
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["status"] == "interrupted" and info["step"] >= 1
    assert not left_since(before)


@pytest.mark.slow
def test_a_second_signal_ends_training_at_once(start, tmp_path):
    before = shared_memory()
    words = ("--workdir", tmp_path / "run", "--epochs", 3000, "--workers", 2)
    process = start(*words, "--data-dir", tmp_path / "data", "--evaluate-every-epochs", 0.05)
    read_until(process, "first step after")
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.01)
    rest = ended(process)
    assert process.returncode in (0, 130)  # 0: the step was over before the second one came
    assert "Traceback" not in rest and "leaked" not in rest
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    assert not left_since(before)


@pytest.mark.slow
def test_a_preparation_keeps_its_finished_parts(start, tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(300):
            pixels = rng.integers(0, 256, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    words = ("prepare", "--source", "folder", tmp_path / "photos", "--name", "photos")
    options = ("--data-dir", tmp_path / "data", "--workers", 2, "--stored-size", 384)
    process = start(*words, *options)
    work = tmp_path / "data" / "photos" / "work"
    while process.poll() is None and not list(work.glob("*.npz")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    rest = ended(process)
    assert process.returncode == 143
    assert "parts are kept, the same command continues" in rest
    assert "Traceback" not in rest and "worker process died" not in rest
    process = start(*words, *options)
    assert "continuing: " in process.communicate(timeout=120)[0] and process.returncode == 0


def test_a_stop_whose_exception_is_swallowed_is_remembered():
    def command():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            pass  # as some libraries do while they are imported
        return 7 if processes.stop_asked else 0

    handler = signal.getsignal(signal.SIGTERM)
    assert program.exit_code(command, debug=False) == 7
    assert signal.getsignal(signal.SIGTERM) is handler
    assert program.exit_code(lambda: int(processes.stop_asked), debug=False) == 0

    def hung():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        return 0

    assert program.exit_code(hung, debug=False) == 128 + signal.SIGTERM


def test_a_stop_in_a_callback_of_the_garbage_collector_is_not_lost(capsys):
    def callback(phase, info):
        gc.callbacks.remove(callback)
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):  # the handler runs between two instructions
            pass

    def command():
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(60)
        return 0

    assert program.exit_code(command, debug=False) == 128 + signal.SIGTERM
    assert "ignored" not in capsys.readouterr().err


def test_a_stopped_process_ends_with_what_was_registered_but_deletes_nothing():
    program = """
import atexit
from alexnet_jax.program import end_at_once

class Half:
    def __del__(self):
        print("deleted")

half = Half()
atexit.register(print, "registered")
print("begun", end=" ")
end_at_once(130)
"""
    words = [sys.executable, "-c", program]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "begun registered\n", "")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A finished short run, its weights as a file, and photos for minutes."""
    root = tmp_path_factory.mktemp("stopping")
    program = [sys.executable, "-m", "alexnet_jax.main"]
    data = ["--data-dir", str(root / "data")]
    train = [*program, "--workdir", str(root / "run"), "--epochs", "0.2", "--final-views", "1"]
    train += data
    subprocess.run(train, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    weights = ["--workdir", str(root / "run"), "--output", str(root / "w.safetensors")]
    subprocess.run([*program, "export", *weights], cwd=ROOT, check=True, capture_output=True)
    (root / "photos").mkdir()
    photo = root / "photos" / "0000.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)).save(photo)
    for i in range(1, 60_000):
        (root / "photos" / f"{i:04d}.png").hardlink_to(photo)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_predictions_of_thousands_of_files_stop_at_once(start, place, number):
    before = shared_memory()
    process = start("predict", "--workdir", place / "run", place / "photos")
    time.sleep(4)
    assert process.poll() is None, "the machine is too fast for this test"
    os.killpg(process.pid, number)
    rest = ended(process)  # which waits a minute; the photos would take several
    # By the signal itself where a module was just being imported.
    assert process.returncode in (-number, 128 + number), rest
    assert "Traceback" not in rest and len(rest.splitlines()) <= 1, rest
    assert not left_since(before)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_import_that_was_stopped_is_no_run_and_is_done_again(start, place, tmp_path, number):
    words = ("import-weights", place / "w.safetensors", "--source", "safetensors")
    workdir, hits = tmp_path / "run", 0
    for wait in (0.0, 0.01, 0.03, 0.06):
        process = start(*words, "--workdir", workdir)
        while process.poll() is None and not (workdir / "run.json").exists():
            time.sleep(0.002)
        time.sleep(wait)
        process.send_signal(number)
        ended(process)
        if process.returncode == 0:
            break
        hits += 1
    assert hits, "the machine is too fast for this test"
    done = start(*words, "--workdir", workdir)
    text = done.communicate(timeout=60)[0]
    assert done.returncode == (1 if process.returncode == 0 else 0), text
    used = start("predict", "--workdir", workdir, place / "photos" / "0000.png")
    assert "0000.png" in used.communicate(timeout=60)[0] and used.returncode == 0
    assert not list((workdir / "checkpoints").glob("*tmp*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_export_that_was_stopped_leaves_nothing_that_a_later_one_stumbles_over(
    start, place, tmp_path, number
):
    output, hits = tmp_path / "out.pth", 0
    words = ("export", "--workdir", place / "run", "--output")
    for wait in (0.5, 1.5, 2.5, 3.0):
        process = start(*words, tmp_path / "out.safetensors")
        time.sleep(wait)
        process.send_signal(number)
        ended(process)
        whole = (tmp_path / "out.safetensors").exists()
        assert whole or process.returncode != 0
        hits += process.returncode != 0
        (tmp_path / "out.safetensors").unlink(missing_ok=True)
        for left in tmp_path.glob("out.config.json"):
            left.unlink()
    assert hits, "the machine is too fast for this test"
    left = tmp_path / f".out.safetensors.{process.pid}.tmp"
    left.write_bytes(b"half")  # what a kill in the middle of writing leaves
    again = start(*words, tmp_path / "out.safetensors")
    text = again.communicate(timeout=60)[0]
    assert again.returncode == 0, text
    assert not list(tmp_path.glob(".*.tmp")), "it is cleared away"
    assert not output.exists()
