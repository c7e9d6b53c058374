"""Is the network on many devices the network on one?

    python -m experiments.two_towers.run

Trains the same ten steps on one device and on meshes of replicas x towers, in float32 and in
float64, with dropout, crops, mirroring and colour noise, and compares losses, gradients, parameters
and tests. The devices are virtual ones of this processor, in one process or in two, which talk over
gloo. Images are the embedded digits, enlarged to 256x256. Writes `results/two_towers.json`.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write

RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).resolve().parents[2]
_MODULE = "experiments.two_towers.run"
ROWS = (  # name, replicas, towers, processes
    ("1 device", 1, 1, 1),
    ("1x2", 1, 2, 1),
    ("2x1", 2, 1, 1),
    ("2x2", 2, 2, 1),
    ("4x2", 4, 2, 1),
    ("1x2 in 2 processes", 1, 2, 2),
    ("2x1 in 2 processes", 2, 1, 2),
)
_PATIENCE_SECONDS = 1800


def main() -> None:
    """Runs all rows, prints them and writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="original")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--test-images", type=int, default=100)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--output", type=Path, default=RESULTS / "two_towers.json")
    arguments = parser.parse_args()
    settings = {
        "network": arguments.network,
        "batch_size": arguments.batch_size,
        "steps": arguments.steps,
        "learning_rate": arguments.learning_rate,
        "test_images": arguments.test_images,
    }
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for dtype in arguments.dtypes:
            for name, replicas, towers, count in ROWS:
                mesh = {"replicas": replicas, "towers": towers, "processes": count}
                job = settings | mesh | {"dtype": dtype, "folder": folder}
                result = in_processes(job)
                rows.setdefault(name, {"name": name} | mesh)[dtype] = result
                print(name, dtype, json.dumps(result), flush=True)
    content = {
        "question": "Is a training step on many devices that on one device?",
        "environment": environment(("optax",)),
        "settings": settings,
        "rows": list(rows.values()),
    }
    write(arguments.output, content)


def in_processes(job: dict[str, Any]) -> dict[str, Any]:
    """Returns the result of one row, computed by as many processes as it names."""
    count = job["processes"]
    devices = str(job["replicas"] * job["towers"] // count)
    variables = os.environ | {"JAX_NUM_CPU_DEVICES": devices, "JAX_PLATFORMS": "cpu"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            cwd=_ROOT,
            env=variables | {"TWO_TOWERS_JOB": json.dumps(job | {"process": number} | where)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for where in ({"coordinator": coordinator},)
        for number in range(count)
    ]
    try:
        outputs = [process.communicate(timeout=_PATIENCE_SECONDS)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    if failed := [process.returncode for process in started if process.returncode]:
        raise SystemExit(f"{job}: a process ended with exit status {failed[0]}")
    result = json.loads(outputs[0].splitlines()[-1])
    return result | {"seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    if "TWO_TOWERS_JOB" in os.environ:
        from experiments.two_towers import job

        job.serve(json.loads(os.environ["TWO_TOWERS_JOB"]))
    else:
        main()
