"""How much memory a training step takes, whole and in parts (`--accumulation`).

    python -m experiments.benchmarks.memory

Each measurement is a process of its own. It compiles the step, makes a few steps with random
images, and reports XLA's size of the temporary buffers and the peak of its resident memory. Parts
of 1, 2 and 4 take turns. The allocator is set as the command line sets it.
"""

import json
import statistics
import time
from typing import Any

from experiments.benchmarks import jobs
from experiments.benchmarks.contest import peak_mib
from experiments.benchmarks.records import RESULTS, row, write_rows

_PARTS = (1, 2, 4)
_FIELDS = {
    "temporary_mib": ("temporary buffers (XLA)", "MiB"),
    "peak_mib": ("peak of resident memory", "MiB"),
    "step_seconds": ("step", "s"),
    "step_cpu_seconds": ("step, CPU time", "s"),
}


def main() -> None:
    from experiments import programs  # not loaded where memory is measured

    parser = programs.parser(__doc__, RESULTS / "memory.json")
    parser.add_argument("--network", default="original")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    job = {"network": options.network, "batch": options.batch_size, "steps": options.steps}
    found: dict[int, list[dict[str, float]]] = {parts: [] for parts in _PARTS}
    for _ in range(options.rounds):
        for parts in _PARTS:
            found[parts].append(jobs.run(__spec__.name, job | {"accumulation": parts}))
            print(f"{parts} parts", found[parts][-1], flush=True)
    question = f"Memory of a training step of `{options.network}`, batch {options.batch_size}."
    rounds = {str(parts): values for parts, values in found.items()}
    write_rows(options.output, question, rows(found), ("optax",), rounds=rounds)


def rows(found: dict[int, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Returns the rows of the table, with the share of the whole batch as a note."""
    result = []
    for field, (title, unit) in _FIELDS.items():
        whole = statistics.median(one[field] for one in found[1])
        for parts, measurements in found.items():
            values = [one[field] for one in measurements]
            name = f"{title}, {'whole' if parts == 1 else f'{parts} parts'}"
            share = f"{statistics.median(values) / whole:.2f} of the whole"
            result.append(row(name, values, unit, "" if parts == 1 else share))
    return result


def measure(job: dict[str, Any]) -> dict[str, float]:
    """Returns sizes in MiB and seconds per step, the fastest of a few steps, in this process."""
    from experiments.benchmarks.jax_contestant import training

    run, compiled = training(job)
    times = []
    for _ in range(job["steps"]):
        clock, cpu = time.monotonic(), time.process_time()
        run(1)
        times.append((time.monotonic() - clock, time.process_time() - cpu))
    seconds, cpu_seconds = (round(min(column), 2) for column in zip(*times, strict=True))
    return {
        "temporary_mib": round(compiled.memory_analysis().temp_size_in_bytes / 2**20, 1),
        "peak_mib": peak_mib(),
        "step_seconds": seconds,
        "step_cpu_seconds": cpu_seconds,
    }


if __name__ == "__main__":
    if job := jobs.current():
        print(json.dumps(measure(job)))
    else:
        main()
