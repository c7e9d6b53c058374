"""Watches a run of 2,000 steps from outside: memory, open files, threads, disk.

    python -m experiments.long_run.run --scratch runs/long_run

Writes `results/long_run.json` and the table of the README.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write
from experiments.pages import table

OUTPUT = Path(__file__).parent / "results" / "long_run.json"
STEPS, STEPS_PER_SAVE = 2000, 20
STEPS_PER_EPOCH = 22.46875  # 1,438 images in batches of 64
WINDOWS = ((800, 1200), (1200, 1600), (1600, 2000))
"""Medians are taken over these steps; earlier, programs are compiled and caches filled."""


def sample(process: int, workdir: Path) -> dict[str, int]:
    """Returns the step, and the resources of the process and the run folder, now."""
    place = Path("/proc") / str(process)
    status = (place / "status").read_text()
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    rows = (workdir / "metrics.jsonl").read_text().strip().splitlines()
    files = [path.stat().st_size for path in workdir.rglob("*") if path.is_file()]
    return {
        "step": json.loads(rows[-1])["step"],
        "memory_kib": int(values["VmRSS"].split()[0]),
        "threads": int(values["Threads"]),
        "open_files": len(list((place / "fd").iterdir())),
        "disk_bytes": sum(files),
    }


def watch(scratch: Path, steps: int) -> list[dict[str, int]]:
    """Trains, and returns a sample for every half second."""
    workdir = scratch / "run"
    shutil.rmtree(workdir, ignore_errors=True)
    epochs = steps / STEPS_PER_EPOCH
    every = STEPS_PER_SAVE / STEPS_PER_EPOCH
    words = ["--workdir", workdir, "--data-dir", scratch / "data", "--epochs", f"{epochs:.4f}"]
    words += ["--evaluate-every-epochs", f"{every:.5f}"]
    words += ["--checkpoint-every-steps", str(STEPS_PER_SAVE)]
    command = [sys.executable, "-m", "alexnet_jax.main", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    found = []
    while process.poll() is None:
        try:
            found.append(sample(process.pid, workdir))
        except (OSError, KeyError, ValueError, IndexError):
            pass  # not started, a line half written, a file being replaced, or ended
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit("the run failed")
    return found


def medians(samples: list[dict[str, int]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name in ("memory_kib", "threads", "open_files", "disk_bytes"):
        found[name] = [
            statistics.median(s[name] for s in samples if low < s["step"] <= high)
            for low, high in WINDOWS
        ]
    return found


def table_of(record: dict[str, Any]) -> str:
    units = {
        "memory_kib": ("memory, MiB", 1024),
        "threads": ("threads", 1),
        "open_files": ("open files", 1),
        "disk_bytes": ("run folder, MiB", 1024**2),
    }
    lines = []
    for name, (text, unit) in units.items():
        values = [value / unit for value in record["medians"][name]]
        lines.append([text, *(f"{v:.1f}" if unit > 1 else f"{v:.0f}" for v in values)])
    return table(["", *(f"steps {low:,} to {high:,}" for low, high in WINDOWS)], lines)


def growth_mib(record: dict[str, Any]) -> float:
    """Returns by how much the memory grows with each validation and save."""
    first, *_, last = record["medians"]["memory_kib"]
    saves = (WINDOWS[-1][0] - WINDOWS[0][0]) / STEPS_PER_SAVE
    return (last - first) / 1024 / saves


def main() -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the run")
    samples = watch(parser.parse_args().scratch, STEPS)
    record = {"environment": environment(), "samples": len(samples), "medians": medians(samples)}
    write(OUTPUT, record | {"course": samples[:: max(1, len(samples) // 60)]})
    pages.write("long_run")


if __name__ == "__main__":
    main()
