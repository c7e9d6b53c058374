"""How much memory a training step takes, whole and in parts (`--accumulation`).

    python -m experiments.benchmarks.memory

Each measurement is a process of its own that compiles the step, makes a few of them with random
images, and tells XLA's size of the temporary buffers and the peak of its resident memory. Parts of
1, 2 and 4 take turns. The allocator is set as the command line sets it.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import RESULTS, write

_PARTS = (1, 2, 4)
_MODULE = "experiments.benchmarks.memory"


def main() -> None:
    """Measures, prints and writes `results/memory.json`; or is one measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--network", default="original")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "memory.json")
    parser.add_argument("--measure", type=int, metavar="PARTS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.network, options.batch_size, options.measure, options)))
        return
    found: dict[int, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for parts in _PARTS:
            found.setdefault(parts, []).append(in_a_process(parts))
            print(f"{parts} parts", found[parts][-1], flush=True)
    rows = [
        row(f"{title}, {'whole' if parts == 1 else f'{parts} parts'}", found, parts, field, unit)
        for title, field, unit in (
            ("temporary buffers (XLA)", "temporary_mib", "MiB"),
            ("peak of resident memory", "peak_mib", "MiB"),
            ("step", "step_seconds", "s"),
            ("step, CPU time", "step_cpu_seconds", "s"),
        )
        for parts in _PARTS
    ]
    for entry in rows:
        print("{name:36} {value:9.2f} {unit:4} {note}".format(**entry))
    question = f"Memory of a training step of `{options.network}`, batch {options.batch_size}."
    content = {"question": question, "environment": environment(("optax",)), "rows": rows}
    write(options.output, content | {"rounds": {str(k): v for k, v in found.items()}})


def in_a_process(parts: int) -> dict[str, float]:
    """Returns a measurement of this program, started with its own arguments and `parts`."""
    root = Path(__file__).resolve().parents[2]
    words = [sys.executable, "-m", _MODULE, *sys.argv[1:], "--measure", str(parts)]
    result = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def measure(
    name: str, batch_size: int, parts: int, options: argparse.Namespace
) -> dict[str, float]:
    """Returns sizes in MiB and seconds per step of one network in this process."""
    import jax
    import numpy as np

    step, arguments = make_step(name, batch_size, parts)
    compiled = step.lower(*arguments).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes
    state, *others = arguments
    seconds, cpu_seconds = [], []
    for _ in range(options.steps):
        clock, cpu = time.monotonic(), time.process_time()
        state, sums = jax.block_until_ready(compiled(state, *others))
        seconds.append(time.monotonic() - clock)
        cpu_seconds.append(time.process_time() - cpu)
    assert np.isfinite(float(sums.loss))  # pyright: ignore[reportPossiblyUnboundVariable]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
    return {
        "temporary_mib": round(temporary / 2**20, 1),
        "peak_mib": round(peak / 2**10, 1),
        "step_seconds": round(min(seconds), 2),
        "step_cpu_seconds": round(min(cpu_seconds), 2),
        "loss": round(float(sums.loss), 3),  # pyright: ignore[reportPossiblyUnboundVariable]
    }


def make_step(name: str, batch_size: int, parts: int) -> tuple[Any, tuple[Any, ...]]:
    """Returns the jitted train step of a network and its arguments, on the device."""
    import jax
    import numpy as np

    from alexnet_jax.config import Config
    from alexnet_jax.data.preprocess import Inputs
    from alexnet_jax.data.stream import Batch
    from alexnet_jax.network.networks import NETWORKS
    from alexnet_jax.training.steps import init_state, make_train_step

    network, config = NETWORKS[name], Config()
    size, classes, random = network.image_size, 1000, np.random.default_rng(0)
    batch = Batch(
        images=random.integers(0, 256, (batch_size, size, size, 3), np.uint8),
        labels=random.integers(0, classes, batch_size).astype(np.int32),
        mask=np.ones(batch_size, bool),
        colour=np.zeros((batch_size, 3), np.float32),
        offsets=np.zeros((batch_size, 2), np.int32),
        flips=np.zeros(batch_size, bool),
    )
    mean, scale = np.full((size, size, 3), 120, np.float32), np.ones(3, np.float32)
    inputs = Inputs(mean, scale, np.zeros((3, 3), np.float32))
    state = init_state(network.with_classes(classes), config.optimizer, size, 0)
    rates = jax.tree.map(lambda _: np.float32(0.001), state.params)
    step = make_train_step(
        network.with_classes(classes),
        config.optimizer,
        config.preprocess,
        config.augment,
        accumulation=parts,
    )
    return step, jax.device_put((state, batch, inputs, rates, np.bool_(True)))


def row(
    title: str, found: dict[int, list[dict[str, float]]], parts: int, field: str, unit: str
) -> dict[str, Any]:
    """Returns a row of the table: median, lowest and highest, and the share of the whole batch."""
    values = [one[field] for one in found[parts]]
    middle = statistics.median(values)
    whole = statistics.median(one[field] for one in found[1])
    return {
        "name": title,
        "value": round(middle, 2),
        "unit": unit,
        "low": min(values),
        "high": max(values),
        "note": "" if parts == 1 else f"{middle / whole:.2f} of the whole",
    }


if __name__ == "__main__":
    main()
