"""What the proofs of all readers share: environments, processes, the comparison, the record.

A program of `writers/` runs inside an environment of its own. It builds the library's own AlexNet
with random values, saves it, and computes logits. What it leaves in its folder: files, `data.npz`
with `images` (float32, prepared, channels first) and `logits`, and `versions.json`.
"""

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet_jax.network.model import AlexNet
from alexnet_jax.weights import READERS
from alexnet_jax.weights.readers.file_kinds import find_source
from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write

HERE = Path(__file__).parent
_SECONDS = 1800


def options(text: str | None, name: str) -> argparse.ArgumentParser:
    """Returns the options of the proof whose record is called `name`."""
    parser = programs.parser(text, HERE / "results" / f"{name}.json")
    parser.add_argument("--scratch", type=Path, help="for environments and files, which stay there")
    return parser


@contextlib.contextmanager
def scratch(arguments: argparse.Namespace) -> Iterator[Path]:
    """The folder that the user named, or a temporary one."""
    if arguments.scratch:
        arguments.scratch.mkdir(parents=True, exist_ok=True)
        yield arguments.scratch.absolute()
    else:
        with tempfile.TemporaryDirectory(prefix="foreign_files_") as folder:
            yield Path(folder)


def install(folder: Path, python: str, requirements: Sequence[str], pip: str = "") -> Path:
    """Returns the Python of an environment with pinned packages, made unless it is there."""
    program = folder / "bin" / "python"
    if (folder / "installed").exists():
        return program
    find = HERE.parents[1] / ".ci" / "find_python"
    found = subprocess.run([find, python], capture_output=True, text=True).stdout.strip()
    if not found:
        raise SystemExit(f"there is no Python {python} here, which {requirements[0]} needs")
    run([found, "-m", "venv", folder])
    if pip:
        run([program, "-m", "pip", "install", "--quiet", pip])
    run([program, "-m", "pip", "install", "--quiet", *requirements])
    (folder / "installed").touch()
    return program


def run(command: Sequence[Any], folder: Path | None = None, **variables: str) -> None:
    """Runs a program; exits with its last words if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")


def compare(folder: Path, files: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns a row for each file of `folder`, `files` telling what each is."""
    data = np.load(folder / "data.npz")
    images = data["images"].transpose(0, 2, 3, 1)
    rows = []
    for file, what in files.items():
        expected = data[file if file in data else "logits"]
        source = find_source(folder / file)
        read = READERS[source].read(folder / file)
        logits = jax.jit(AlexNet(read.network).apply)({"params": read.params}, images)
        rows.append(
            {
                "file": file,
                "what": what,
                "source": source,
                "network": read.network.name,
                "image_size": images.shape[1],
                "difference": float(np.abs(logits - expected).max() / np.abs(expected).max()),
            }
        )
        print(f"{file} ({what}): {rows[-1]['difference']:.1e} of the largest logit", flush=True)
    return rows


def record(output: Path, program: str, folder: Path, rows: list[dict[str, Any]]) -> None:
    """`program` is how people call it."""
    versions = json.loads((folder / "versions.json").read_text("utf-8"))
    place = environment()
    write(output, {"environment": place, "program": program, "versions": versions, "files": rows})
    if output.parent == HERE / "results":
        pages.write("foreign_files")
