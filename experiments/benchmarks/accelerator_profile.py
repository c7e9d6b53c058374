"""Where the time of a step on a GPU or TPU goes: by layer and direction, from JAX's profiler."""

import collections
import gzip
import json
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 5
_LONGEST = 15  # operations that are listed one by one


def of_a_step(run: Callable[[int], None], compiled: Any) -> dict[str, Any]:
    """Returns seconds of one step: by the clock, computing, by part, and of the longest operations.

    `run` makes a number of steps and waits for their end; it was called before.
    """
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            start = time.perf_counter()
            run(STEPS)
            wall = (time.perf_counter() - start) / STEPS
        (trace,) = Path(folder).glob("**/*.trace.json.gz")
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    return {"wall_seconds": wall, **summary(compiled.as_text(), events)}


def summary(program: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns seconds of one of `STEPS` steps, the longest first.

    Args:
      program: text of the optimized program, whose operations have their paths as metadata.
      events: of a trace, durations in microseconds. Of a device's own lines, if there are any;
        else (on a CPU) those that bear the name of an operation of the program.
    """
    paths = dict(re.findall(r'%?([\w.\-]+) = [^\n]*?op_name="([^"]*)"', program))
    names = set(re.findall(r"^\s*(?:ROOT )?%?([\w.\-]+) = ", program, re.MULTILINE))
    devices = {
        event["pid"]
        for event in events
        if event.get("name") == "process_name" and "/device:" in event["args"].get("name", "")
    }
    # Of a device's lines, others repeat these times: by module, by step, on GPUs by operation.
    lines = _lines(events, devices, "Stream") or _lines(events, devices, "XLA Ops")
    parts: collections.Counter[str] = collections.Counter()
    single: collections.Counter[tuple[str, str]] = collections.Counter()
    for event in events:
        operation = event.get("args", {}).get("hlo_op") or event.get("name", "")
        place = (event.get("pid"), event.get("tid"))
        ours = place in lines if lines else operation in names
        if event.get("ph") == "X" and ours and not _holds_others(operation):
            words = part(paths.get(operation, ""))
            seconds = event["dur"] / 1e6 / STEPS
            parts[words] += seconds
            single[words, event["name"][:100]] += seconds
    longest = [
        {"part": words, "name": name, "seconds": seconds}
        for (words, name), seconds in single.most_common(_LONGEST)
    ]
    return {
        "busy_seconds": sum(parts.values()),
        "parts": dict(parts.most_common()),
        "longest": longest,
    }


def _lines(events: list[dict[str, Any]], devices: set[int], word: str) -> set[tuple[int, int]]:
    """Returns process and thread of the lines of devices whose name has the word."""
    return {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name"
        and event.get("pid") in devices
        and word in event["args"].get("name", "")
    }


def part(path: str) -> str:
    """Returns layer and direction of an operation from its path in the program."""
    if not path:
        return "copies and operations without a path"
    found = re.search(r"AlexNet\)*/(\w+)", path)
    if not found:
        return "input, loss, update"
    return f"{found[1]}, {'gradients' if 'transpose(' in path else 'forward'}"


def _holds_others(operation: str) -> bool:
    """Says whether the bodies of an operation are counted themselves."""
    return operation.startswith(("while", "call", "conditional"))
