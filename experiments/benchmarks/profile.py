"""Where the time of a step goes: thread time by kind of layer, read from JAX's profiler.

python -m experiments.benchmarks.profile
python -m experiments.benchmarks.profile --networks paper --what train --batch 64

Sums the durations of the operations on all threads; what is missing to threads x wall time is
waiting, mostly of one thread for an operation that occupies only another. Writes
`results/profile.json`.
"""

import collections
import gzip
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from experiments import programs
from experiments.benchmarks import jax_contestant
from experiments.benchmarks.environment import environment, threads
from experiments.benchmarks.records import RESULTS, write

# The first pattern that is found in an operation's path and name says its kind.
_CONV = r"/(conv|local)\w*/"
_KINDS = (
    (
        rf"transpose\(jvp\(AlexNet\)\){_CONV}\S*(dot_general|conv_general)",
        "convolutions, gradients: products and transforms",
    ),
    (rf"{_CONV}\S*(dot_general|conv_general)", "convolutions, forward: products and transforms"),
    (
        rf"{_CONV}(\S*/)?(concatenate|dynamic_slice|slice|split|pad|transpose|reshape)(\s|$)",
        "convolutions, taking tiles in and out",
    ),
    (r"reduce_window|/pool\w*/", "pooling"),
    (r"/fc\w*/|log_softmax|logsumexp", "dense layers"),
    (r"/r?norm\w*/", "response normalization"),
    (r"_dropout|/dropout\w*/", "dropout masks"),
    (_CONV, "convolutions, biases"),
    (r"AlexNet", "activations and the rest of the network"),
)


def kind(path: str, name: str) -> str:
    """Returns the kind of an operation from its path in the program and its name."""
    text = re.sub(r"(jit\(\w*\)|cond|branch_\d+_fun|closed_call|while|body)/", "", f"{path} {name}")
    return next((words for pattern, words in _KINDS if re.search(pattern, text)), "update, input")


def thread_time(compiled_text: str, events: list[dict[str, Any]]) -> dict[str, float]:
    """Returns seconds of thread time by kind of operation, the longest first.

    `compiled_text` is the optimized program; durations of `events` are in microseconds.
    """
    paths = {}
    for line in compiled_text.splitlines():
        if found := re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = ", line):
            path = re.search(r'op_name="([^"]*)"', line)
            paths[found[1]] = path[1] if path else ""
    total: collections.Counter[str] = collections.Counter()
    for event in events:
        name = event.get("name", "")
        loop = name.startswith(("while", "call", "conditional"))  # their bodies are counted
        if event.get("ph") == "X" and name in paths and not loop:
            total[kind(paths[name], name)] += event["dur"] / 1e6
    return dict(total.most_common())


def measure(network: str, what: str, batch: int) -> list[dict[str, Any]]:
    run, compiled = jax_contestant.program({"network": network, "what": what, "batch": batch})
    run(2)
    walls = []
    for _ in range(3):
        start = time.perf_counter()
        run(1)
        walls.append(time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run(1)
        (trace,) = Path(folder).glob("**/*.trace.json.gz")
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    times = thread_time(compiled.as_text(), events)
    title = f"`{network}`, {'training' if what == 'train' else 'inference'}, batch {batch}"
    whole = sum(times.values())
    rows: list[dict[str, Any]] = [
        {
            "name": title,
            "value": sorted(walls)[1],
            "unit": "s",
            "low": min(walls),
            "high": max(walls),
            "note": f"wall time of a step; {whole:.2f} s of work for {threads()} threads",
        }
    ]
    for words, seconds in times.items():
        note = f"{100 * seconds / whole:.0f} % of the work"
        rows.append({"name": f"– {words}", "value": seconds, "unit": "s", "note": note})
    return rows


def main() -> None:
    parser = programs.parser(__doc__, RESULTS / "profile.json")
    parser.add_argument("--networks", default="paper,one-weird-trick", help="names with commas")
    parser.add_argument("--what", default="train,inference")
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    rows = []
    for network in options.networks.split(","):
        for what in options.what.split(","):
            found = measure(network, what, options.batch)
            for row in found:
                print(f"{row['value']:8.3f} {row['unit']}  {row['name']}  {row['note']}")
            rows += found
            write(options.output, {"environment": environment(), "rows": rows})


if __name__ == "__main__":
    main()
