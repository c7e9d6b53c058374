"""What was asked of the speed before it was built, beside what the result files say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks import contestants as who
from experiments.benchmarks.records import read

Results = Callable[[str], dict[str, Any] | None]


def table(results: Path) -> str:
    """Returns the table of asked and reached values for the files of the folder `results`."""

    def find(file: str) -> dict[str, Any] | None:
        return read(results / f"{file}.json")

    lines = ["| | asked | reached | |", "| --- | --- | --- | --- |"]
    for words, asked, at_least, reach in _TARGETS:
        value = reach(find)
        if value is None:
            lines.append(f"| {words} | {_asked(asked, at_least)} | not measured | |")
            continue
        good = value >= asked if at_least else value <= asked
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        lines.append(
            f"| {words} | {_asked(asked, at_least)} | {shown} | {'yes' if good else 'no'} |"
        )
    return "\n".join(lines)


def _asked(value: float, at_least: bool) -> str:
    shown = f"{value:,.0f}" if value >= 100 else f"{value:g}"
    return f"at least {shown}" if at_least else f"at most {shown}"


def _network(network: str, what: str, rival: str) -> Callable[[Results], float | None]:
    """Returns what looks up a ratio of `networks.json`."""

    def reach(find: Results) -> float | None:
        record = find("networks")
        entry = record["entries"].get(f"{network}/{what}") if record else None
        return entry["ratios"].get(rival) if entry else None

    return reach


def _latency(network: str) -> Callable[[Results], float | None]:
    """Returns what looks up the milliseconds of PyTorch for one image over ours."""

    def reach(find: Results) -> float | None:
        record = find("latency")
        entry = record["entries"].get(f"{network}/1x1") if record else None
        scores = entry["contestants"] if entry else {}
        ours = scores.get(who.OURS, {}).get("median_seconds")
        theirs = [scores.get(name, {}).get("median_seconds") for name in who.PYTORCH]
        best = min((value for value in theirs if value), default=None)
        return best / ours if best and ours else None

    return reach


def _row(file: str, name: str, field: str = "value") -> Callable[[Results], float | None]:
    """Returns what looks up a field of the row called `name` in a file of rows."""

    def reach(find: Results) -> float | None:
        record = find(file)
        rows = {row["name"]: row.get(field) for row in record["rows"]} if record else {}
        return rows.get(name)

    return reach


_RATIOS: tuple[tuple[str, str, str, float], ...] = (
    ("paper", "train", "PyTorch", 2.8),
    ("paper", "inference", "PyTorch", 2.8),
    ("original", "train", "PyTorch", 2.8),
    ("original", "inference", "PyTorch", 2.6),
    ("one-weird-trick", "train", "PyTorch", 1.35),
    ("one-weird-trick", "inference", "PyTorch", 1.45),
    ("cifar-18pct", "train", "PyTorch", 1),
    ("cifar-18pct", "inference", "PyTorch", 1),
    ("cifar-13pct", "train", "PyTorch", 1),
    ("cifar-13pct", "inference", "PyTorch", 1),
    ("paper", "train", "plain Flax", 9),
    ("paper", "train", "bound", 0.8),
    ("one-weird-trick", "inference", "bound", 1),
)
"""Network, what, rival, and the least that ours over the rival's rate was asked to be."""

_WORDS = {"train": "training", "inference": "inference"}

_TARGETS: tuple[tuple[str, float, bool, Callable[[Results], float | None]], ...] = (
    *(
        (f"`{name}`, {_WORDS[what]}: ours / {rival}", asked, True, _network(name, what, rival))
        for name, what, rival, asked in _RATIOS
    ),
    ("`paper`, one image: time of PyTorch / ours", 1, True, _latency("paper")),
    ("`original`, one image: time of PyTorch / ours", 1, True, _latency("original")),
    ("`one-weird-trick`, one image: time of PyTorch / ours", 1, True, _latency("one-weird-trick")),
    (
        "pipeline: ours / bare decoding, two threads",
        0.85,
        True,
        _row("pipeline", "ours, 2 threads", "of_the_bound"),
    ),
    (
        "raw store, two threads: images/s",
        5000,
        True,
        _row("pipeline", "ours, raw store, 2 threads", "images_per_second"),
    ),
    (
        "seconds from the default command to the first step, warm cache",
        8,
        False,
        _row("startup", "first step, warm cache"),
    ),
)
