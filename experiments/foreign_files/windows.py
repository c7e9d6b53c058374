"""Which channels does a response normalization with an even window read, in each library?

    python -m experiments.foreign_files.windows   # minutes; installs each library

Writes `results/windows.json` and the table of the page.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from alexnet_jax import __version__
from alexnet_jax.network.norm_ops import local_response_norm
from experiments import pages
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write
from experiments.foreign_files import proof
from experiments.foreign_files.writers.window import look

SIZES = ("2", "3", "4", "5")
PROGRAM = proof.HERE / "writers" / "window.py"


class Library(NamedTuple):
    """A library, and the word for it in `writers/window.py`."""

    word: str
    python: str
    requirements: tuple[str, ...]
    variables: dict[str, str] = {}


_ONNX = ("onnxruntime==1.32.0", "onnx==1.23.2")
LIBRARIES = {
    "PyTorch": Library("torch", "3.11", ("torch==2.13.0",)),
    "Paddle": Library("paddle", "3.11", ("paddlepaddle==3.3.1", "numpy==2.4.6")),
    "MXNet with oneDNN": Library("mxnet", "3.8", ("mxnet==1.9.1", "numpy==1.23.5")),
    "MXNet without oneDNN": Library(
        "mxnet", "3.8", ("mxnet==1.9.1", "numpy==1.23.5"), {"MXNET_MKLDNN_ENABLED": "0"}
    ),
    "Chainer": Library("chainer", "3.8", ("chainer==7.8.1", "numpy==1.23.5")),
    "ONNX's reference": Library("onnx", "3.11", _ONNX),
    "onnxruntime": Library("onnxruntime", "3.11", _ONNX),
}


def ask(library: Library, scratch: Path) -> dict[str, Any]:
    name = library.requirements[0].partition("=")[0]
    python = proof.install(scratch / name, library.python, library.requirements)
    done = subprocess.run(
        [str(python), str(PROGRAM), library.word],
        env=os.environ | library.variables,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise SystemExit(f"{library.word}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(x: np.ndarray, size: int) -> np.ndarray:
    images = jnp.moveaxis(jnp.asarray(x), 1, -1)
    result = local_response_norm(images, depth=size, alpha=1.0, beta=1.0, bias=1.0)
    return np.moveaxis(np.asarray(result), -1, 1)


def table(record: dict[str, Any]) -> str:
    head = ["library", "version"]
    head += [f"n = {size}" for size in SIZES] + ["alpha is divided by"]
    rows = []
    for name, found in record["libraries"].items():
        asked = [found[size] for size in SIZES]
        cells = [
            "refused"
            if "refused" in one
            else f"{-one['offsets'][0]} before, {one['offsets'][-1]} after"
            for one in asked
        ]
        divided = {
            "1" if divisor == 1 else "n" if divisor == float(size) else f"{divisor:g}"
            for size, one in zip(SIZES, asked, strict=True)
            for divisor in one.get("divisors", {}).values()
        }
        version = found["version"].partition("+")[0]
        rows.append((name, version, *cells, " or ".join(sorted(divided))))
    return pages.table(head, rows)


def main() -> None:
    arguments = proof.options(__doc__, "windows").parse_args()
    found = {
        "alexnet_jax": {size: look(ours, int(size)) for size in SIZES} | {"version": __version__}
    }
    with proof.scratch(arguments) as folder:
        for name, library in LIBRARIES.items():
            found[name] = ask(library, folder)
            print(f"{name}: {found[name]}", flush=True)
    write(arguments.output, {"environment": environment(), "libraries": found})
    if arguments.output.parent == proof.HERE / "results":
        pages.write("foreign_files")


if __name__ == "__main__":
    main()
