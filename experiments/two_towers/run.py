"""Does the network on many devices compute what it computes on one?

    python -m experiments.two_towers.run

Trains the same ten steps on one device and on meshes of replicas x towers, in float32 and in
float64, with dropout, crops, mirroring and colour noise, and compares losses, gradients, parameters
and tests. The devices are virtual ones of this processor, in one process or in two, which talk over
gloo. A control trains on one device from parameters that are each moved by one rounding. Images are
the embedded digits, enlarged to 256x256. Writes `results/two_towers.json`.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments import programs
from experiments.benchmarks import jobs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write

RESULTS = Path(__file__).parent / "results"
CONTROL = "1 device, start moved by one rounding"
ROWS = (  # name, replicas, towers, processes
    ("1 device", 1, 1, 1),
    (CONTROL, 1, 1, 1),
    ("1x2", 1, 2, 1),
    ("2x1", 2, 1, 1),
    ("2x2", 2, 2, 1),
    ("4x2", 4, 2, 1),
    ("1x2 in 2 processes", 1, 2, 2),
    ("2x1 in 2 processes", 2, 1, 2),
)
_MAX_SECONDS = 1800


def main() -> None:
    parser = programs.parser(__doc__, RESULTS / "two_towers.json")
    parser.add_argument("--network", default="original")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--test-images", type=int, default=100)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument(
        "--rows",
        nargs="+",
        metavar="NAME",
        choices=[name for name, *_ in ROWS[1:]],
        help="measure these and 1 device again, and keep the others",
    )
    arguments = parser.parse_args()
    settings = {
        "network": arguments.network,
        "batch_size": arguments.batch_size,
        "steps": arguments.steps,
        "learning_rate": arguments.learning_rate,
        "test_images": arguments.test_images,
    }
    here = environment(("optax",))
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for dtype in arguments.dtypes:
            for place, (name, replicas, towers, count) in enumerate(ROWS):
                if place and arguments.rows and name not in arguments.rows:
                    continue
                mesh = {"replicas": replicas, "towers": towers, "processes": count}
                job = settings | mesh | {"dtype": dtype, "folder": folder}
                job |= {"reference": not place, "moved": name == CONTROL}
                result = in_processes(job)
                stamp = {"name": name, "date": here["date"], "commit": here["commit"]}
                rows.setdefault(name, stamp | mesh)[dtype] = result
                print(name, dtype, json.dumps(result), flush=True)
    content = {
        "question": "Is a training step on many devices that on one device?",
        "environment": here,
        "settings": settings,
        "rows": _kept(arguments.output, settings, here) | rows if arguments.rows else rows,
    }
    order = [name for name, *_ in ROWS]
    content["rows"] = sorted(content["rows"].values(), key=lambda row: order.index(row["name"]))
    write(arguments.output, content)


def _kept(path: Path, settings: dict[str, Any], here: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the rows of an older file, unless they are of other settings or another machine."""
    old = read(path)
    if not old or old["settings"] != settings:
        return {}
    place = old["environment"]
    if any(place[name] != here[name] for name in ("versions", "processor", "cpu_cores")):
        return {}
    stamp = {name: place[name] for name in ("date", "commit")}
    return {row["name"]: stamp | row for row in old["rows"]}


def in_processes(job: dict[str, Any]) -> dict[str, Any]:
    """Returns the result of one row, computed by as many processes as it names."""
    count = job["processes"]
    job = job | {"coordinator": jobs.free_address()}
    devices = str(job["replicas"] * job["towers"] // count)
    variables = {"JAX_NUM_CPU_DEVICES": devices, "JAX_PLATFORMS": "cpu"}
    began = time.monotonic()
    started = [
        jobs.start("experiments.two_towers.job", job | {"process": number}, **variables)
        for number in range(count)
    ]
    try:
        outputs = [process.communicate(timeout=_MAX_SECONDS)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    if failed := [process.returncode for process in started if process.returncode]:
        raise SystemExit(f"{job}: a process ended with exit status {failed[0]}")
    result = json.loads(outputs[0].splitlines()[-1])
    return result | {"seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    main()
