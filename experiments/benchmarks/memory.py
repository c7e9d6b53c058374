"""How much memory a training step takes: whole, in parts (`--accumulation`), and in PyTorch.

    python -m experiments.benchmarks.memory

Each measurement is a process of its own. It builds the step, makes a few steps with random images,
and reports its resident memory before the first step, the peak of its resident memory, and XLA's
size of the temporary buffers. All take turns. The allocator is set as the command line sets it;
PyTorch keeps the default.
"""

import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from experiments.benchmarks import jobs
from experiments.benchmarks.contest import ContestantError, peak_mib
from experiments.benchmarks.records import RESULTS, row, write_rows

_WHOLE = "whole"
_RIVALS = {f"PyTorch, {form}": {"memory_format": form} for form in ("contiguous", "channels_last")}
_CONTESTANTS: dict[str, dict[str, Any]] = {
    _WHOLE: {"accumulation": 1},
    "2 parts": {"accumulation": 2},
    "4 parts": {"accumulation": 4},
    **_RIVALS,
}
_PEAK = "peak of resident memory"
_FIELDS = {
    "temporary_mib": ("temporary buffers (XLA)", "MiB"),
    "before_mib": ("resident memory before the first step", "MiB"),
    "peak_mib": (_PEAK, "MiB"),
    "step_seconds": ("step", "s"),
    "step_cpu_seconds": ("step, CPU time", "s"),
}

Measurements = dict[str, list[dict[str, float]]]


def main() -> None:
    from experiments import programs  # not loaded where memory is measured

    parser = programs.parser(__doc__, RESULTS / "memory.json")
    parser.add_argument("--network", default="paper")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    facts = {"network": options.network, "batch": options.batch_size}
    found: Measurements = {}
    skipped: dict[str, str] = {}
    for _ in range(options.rounds):
        for name, one in _CONTESTANTS.items():
            if name in skipped:
                continue
            result = jobs.run(__spec__.name, facts | {"steps": options.steps} | one)
            if "left_out" in result:
                skipped[name] = result["left_out"]
            else:
                found.setdefault(name, []).append(result)
            print(name, result, flush=True)
    question = f"Memory of a training step of `{options.network}`, batch {options.batch_size}."
    facts |= {"rounds": found, "skipped": skipped}
    write_rows(options.output, question, rows(found), ("optax",), **facts)


def rows(found: Measurements) -> list[dict[str, Any]]:
    """Returns the rows of the table, with the share of our whole batch as a note."""
    result = []
    for field, (title, unit) in _FIELDS.items():
        columns = {
            name: [one[field] for one in measurements if field in one]  # XLA's are ours only
            for name, measurements in found.items()
        }
        for name, values in columns.items():
            if values:
                share = statistics.median(values) / statistics.median(columns[_WHOLE])
                note = "" if name == _WHOLE else f"{share:.2f} of the whole"
                result.append(row(f"{title}, {name}", values, unit, note))
    return result


def ratio(rows: list[dict[str, Any]]) -> float | None:
    """Returns our peak over the lower one of PyTorch's; None: one is missing."""
    values = {row["name"]: row["value"] for row in rows}
    ours = values.get(f"{_PEAK}, {_WHOLE}")
    rivals = [values[name] for form in _RIVALS if (name := f"{_PEAK}, {form}") in values]
    return ours / min(rivals) if ours and rivals else None


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Returns sizes in MiB and seconds per step, the fastest of a few steps, in this process."""
    result: dict[str, Any] = {}
    if "memory_format" in job:
        from experiments.benchmarks import torch_contestant

        try:
            run, _ = torch_contestant.build(job | {"kind": "torch", "what": "train"})
        except ContestantError as error:
            return {"left_out": str(error)}
    else:
        from experiments.benchmarks.jax_contestant import training

        run, compiled = training(job)
        size = compiled.memory_analysis().temp_size_in_bytes
        result["temporary_mib"] = round(size / 2**20, 1)
    result["before_mib"] = _resident_mib()
    times = []
    for _ in range(job["steps"]):
        clock, cpu = time.monotonic(), time.process_time()
        run(1)
        times.append((time.monotonic() - clock, time.process_time() - cpu))
    seconds, cpu_seconds = (round(min(column), 2) for column in zip(*times, strict=True))
    return result | {
        "peak_mib": peak_mib(),
        "step_seconds": seconds,
        "step_cpu_seconds": cpu_seconds,
    }


def _resident_mib() -> float:
    """Returns the resident memory of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


if __name__ == "__main__":
    if job := jobs.current():
        print(json.dumps(measure(job)))
    else:
        main()
