"""What was asked of the speed before it was built, next to what the result files say."""

from collections.abc import Callable
from typing import Any, NamedTuple

from experiments.benchmarks import accelerator, cells, memory, networks
from experiments.benchmarks import contestants as who

Records = Callable[[str], dict[str, Any] | None]


class Target(NamedTuple):
    """A number that was asked for, and how it is looked up in the records."""

    words: str
    asked: float
    find: Callable[[Records], float | None]
    at_least: bool = True


def rows(records: Records = cells.found) -> list[tuple[str, str, str, str]]:
    """Returns for each target its words, what was asked, what is reached, and `yes` or `no`."""
    result = []
    for target in TARGETS:
        asked = f"{target.asked:,.0f}" if target.asked >= 100 else f"{target.asked:g}"
        asked = f"at {'least' if target.at_least else 'most'} {asked}"
        value = target.find(records)
        if value is None:
            result.append((target.words, asked, "not measured", ""))
            continue
        good = value >= target.asked if target.at_least else value <= target.asked
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        result.append((target.words, asked, shown, "yes" if good else "no"))
    return result


def _ratio(network: str, what: str, rival: str, asked: float) -> Target:
    """Returns a target for a ratio of `networks.json`."""

    def find(records: Records) -> float | None:
        entries = (records("networks") or {"entries": {}})["entries"]
        return entries.get(f"{network}/{what}", {"ratios": {}})["ratios"].get(rival)

    words = "training" if what == "train" else what
    return Target(f"`{network}`, {words}: ours / {rival}", asked, find)


def latency_ratio(contestants: dict[str, Any]) -> float | None:
    """Returns the median time of the faster PyTorch over ours; None: one is missing."""
    times = {name: score.get("median_seconds") for name, score in contestants.items()}
    rivals = [times[name] for name in who.PYTORCH if times.get(name)]
    ours = times.get(who.OURS)
    return min(rivals) / ours if rivals and ours else None


def _latency(network: str) -> Target:
    def find(records: Records) -> float | None:
        entries = (records("latency") or {"entries": {}})["entries"]
        return latency_ratio(entries.get(f"{network}/1x1", {"contestants": {}})["contestants"])

    return Target(f"`{network}`, one image: time of PyTorch / ours", 1.1, find)


def _row(file: str, name: str, field: str = "value") -> Callable[[Records], float | None]:
    """Returns what looks up a field of the row called `name` in a file of rows."""

    def find(records: Records) -> float | None:
        rows = (records(file) or {"rows": []})["rows"]
        return next((row.get(field) for row in rows if row["name"] == name), None)

    return find


def _memory(records: Records) -> float | None:
    """Returns the peak of a step of `paper` over PyTorch's; None: not measured."""
    record = records("memory") or {}
    if (record.get("network"), record.get("batch")) != ("paper", 128):
        return None
    return memory.ratio(record["rows"])


def _share_of_card(records: Records) -> float | None:
    """Returns the largest share of the card's peak in training steps of `paper`, bfloat16."""
    record = records("accelerator") or {accelerator.OURS: {}}
    wanted = ("paper", "train", "bfloat16")
    shares = [
        accelerator.share_of_card(record, row)
        for row in record[accelerator.OURS].get("rows", [])
        if (row["network"], row["what"], row["dtype"]) == wanted
    ]
    return max((share for share in shares if share is not None), default=None)


def _fed_of_step(records: Records) -> float | None:
    """Returns images/s of that step when it is fed from JPEGs, over those of the step alone."""
    record = records("accelerator") or {accelerator.OURS: {}}
    shares = [
        one["fed_of_step"]
        for one in record[accelerator.OURS].get("feeding", [])
        if (one["network"], one["store"]) == ("paper", "jpeg") and "fed_of_step" in one
    ]
    return max(shares, default=None)


_SPEEDS = {
    **dict.fromkeys(("paper", "original"), (3.0, 3.0)),
    **dict.fromkeys(("one-weird-trick", "one-tower"), (1.5, 1.6)),
    **dict.fromkeys(networks.SMALL, (1.2, 1.3)),
}
"""Ratios to PyTorch of the networks, in training and inference."""

TARGETS = (
    *(
        _ratio(network, what, "PyTorch", asked)
        for network, both in _SPEEDS.items()
        for what, asked in zip(("train", "inference"), both, strict=True)
    ),
    _ratio("paper", "train", "plain Flax", 9),
    _ratio("paper", "train", "bound", 0.8),
    _ratio("one-weird-trick", "inference", "bound", 1),
    *map(_latency, networks.DEFAULT),
    Target(
        "peak memory of a training step of `paper`, batch 128: ours / PyTorch",
        1,
        _memory,
        at_least=False,
    ),
    Target(
        "pipeline: ours / bare decoding, two threads",
        0.85,
        _row("pipeline", "ours, 2 threads", "of_the_bound"),
    ),
    Target(
        "raw store, two threads: images/s",
        5000,
        _row("pipeline", "ours, raw store, 2 threads", "images_per_second"),
    ),
    Target(
        "seconds from the default command to the first step, warm cache",
        8,
        _row("startup", "first step, warm cache"),
        at_least=False,
    ),
    Target(
        "seconds from the default command to the first step, empty cache",
        5,
        _row("startup", "first step, empty cache"),
        at_least=False,
    ),
    Target(
        "`paper`, training in bfloat16 on a GPU: share of the card's stated peak",
        0.35,
        _share_of_card,
    ),
    Target(
        "`paper`, training in bfloat16 on a GPU: fed from JPEGs / the step alone",
        1,
        _fed_of_step,
    ),
)
