"""Mutates files for every reader for a given time, guided by the code that they reach.

    python -m experiments.fuzz.run --scratch runs/fuzz --seconds 3600

Each reader is fuzzed by a process of its own with limits on time and memory per input; two at once,
where there are two cores. What was reached is kept in the scratch folder, and the same command goes
on there; the record counts what was run in all.
"""

import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.fuzz import targets

OUTPUT = Path(__file__).parent / "results" / "fuzz.json"
SECONDS_PER_INPUT = 20
MEGABYTES = 3000
"""Of the whole process; JAX, Orbax and the instrumented package take 700 of them."""
PART_SECONDS = 60


def fuzz(name: str, scratch: Path, seconds: float) -> dict[str, Any]:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    corpus, findings = scratch / "corpus" / slug, scratch / "findings" / slug
    artifacts = scratch / "artifacts" / slug
    artifacts.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "experiments.fuzz.one", name, str(corpus), str(findings)]
    words += [f"-max_total_time={max(1, round(seconds))}", f"-timeout={SECONDS_PER_INPUT}"]
    words += [f"-rss_limit_mb={MEGABYTES}", f"-artifact_prefix={artifacts}/"]
    with tempfile.TemporaryFile("w+") as output:
        subprocess.run(words, stdout=output, stderr=output, check=False)
        output.seek(0)
        text = output.read()
    found = {name: int(number) for name, number in re.findall(r"stat::(\w+):\s+(\d+)", text)}
    edges = [int(number) for number in re.findall(r"cov: (\d+)", text)]
    stopped = [path.name.split("-")[0] for path in artifacts.iterdir()]
    if not found and not stopped:
        raise SystemExit(f"{name}: the fuzzer did not start:\n{text[-2000:]}")
    return {
        "inputs": found.get("number_of_executed_units", 0),
        "seconds": seconds,
        "edges": [edges[0], edges[-1]] if edges else [0, 0],
        "peak_mb": found.get("peak_rss_mb", 0),
        "wrong": sorted(path.read_text().split("\n")[0] for path in findings.glob("*.txt")),
        "crashes": stopped.count("crash"),
        "hangs": stopped.count("timeout"),
        "too_large": stopped.count("oom"),
    }


def added(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """Returns the counts of two times of fuzzing together."""
    if before is None:
        return now
    return now | {
        "inputs": before["inputs"] + now["inputs"],
        "seconds": before["seconds"] + now["seconds"],
        "edges": [before["edges"][0], max(before["edges"][1], now["edges"][1])],
        "peak_mb": max(before["peak_mb"], now["peak_mb"]),
    }


def main() -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for what is reached")
    parser.add_argument("--seconds", type=float, default=3600.0, help="of processor time, in all")
    parser.add_argument("--targets", nargs="*", default=[], help="only these")
    parser.add_argument("--jobs", type=int, default=2, help="readers at once")
    parser.add_argument("--again", action="store_true", help="forget what was counted and found")
    arguments = parser.parse_args()
    record = None if arguments.again else read(OUTPUT)
    record = record or {"cpu_seconds": 0.0, "targets": {}}
    if arguments.again:
        for name in ("artifacts", "findings"):
            shutil.rmtree(arguments.scratch / name, ignore_errors=True)
    with targets.in_memory() as root:
        names = [n for n in targets.targets(root) if n in (arguments.targets or [n])]
    before = record["cpu_seconds"]
    part = min(PART_SECONDS, max(1.0, arguments.seconds / len(names)))

    def one(name: str) -> None:
        now = fuzz(name, arguments.scratch, part)
        record["targets"][name] = added(record["targets"].get(name), now)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        record["cpu_seconds"] = before + used.ru_utime + used.ru_stime
        write(OUTPUT, {"environment": environment()} | record)
        print(f"{time.strftime('%H:%M:%S')} {name}: {json.dumps(record['targets'][name])}")

    while record["cpu_seconds"] < arguments.seconds:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(one, names))
    pages.write("fuzz")


if __name__ == "__main__":
    main()
