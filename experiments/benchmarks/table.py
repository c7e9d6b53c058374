"""Writes the tables of this folder's README, and the short one of the project's, from the records.

python -m experiments.benchmarks.table          # rewrites the tables
python -m experiments.benchmarks.table --check  # exits with 1 if a README is out of date
"""

import sys
from pathlib import Path
from typing import Any

from experiments.benchmarks import accelerator, targets
from experiments.benchmarks import contestants as who
from experiments.benchmarks.networks import CIFAR, DEFAULT
from experiments.benchmarks.records import RESULTS, read
from experiments.generated import rewrite, with_parts

README = Path(__file__).parent / "README.md"
FRONT = Path(__file__).parents[2] / "README.md"

_COLUMNS = (
    who.OURS,
    who.MODULE,
    who.OURS_BFLOAT16,
    who.CHANNELS_LAST,
    who.CONTIGUOUS,
    who.PLAIN,
)
_OTHERS = (
    ("pipeline.json", "Input pipeline"),
    ("startup.json", "Start-up"),
    ("current_set.json", "Is a set current?"),
    ("memory.json", "Memory"),
    ("towers.json", "One tower against two"),
    ("profile.json", "Where the time goes"),
)


def tables(results: Path = RESULTS) -> str:
    """Returns all tables for which `results` has a file, as Markdown."""
    blocks = [_section("What was asked, and what is reached", targets.table(results), "")]
    networks = read(results / "networks.json")
    if networks:
        for title, names in (("Networks", DEFAULT), ("CIFAR networks", CIFAR)):
            rows = _networks(networks["entries"], names)
            picture = "networks.svg" if names == DEFAULT else "cifar.svg"
            if rows:
                blocks.append(_section(title, rows, _under(networks, "networks.json", picture)))
    for file, title, make in (
        ("latency.json", "Latency", _latency),
        ("scaling.json", "Batch size", _scaling),
    ):
        record = read(results / file)
        if record:
            picture = "scaling.svg" if file == "scaling.json" else ""
            rows = make(record["entries"])
            blocks.append(_section(title, rows, _under(record, file, picture)))
    device = read(results / "accelerator.json")
    if device:
        blocks.append(_section("GPU", accelerator.table(device), accelerator.facts(device)))
    for file, title in _OTHERS:
        record = read(results / file)
        rows = _rows(record) if record else "Not measured yet."
        blocks.append(_section(title, rows, _under(record, file, "") if record else ""))
    return "\n\n".join(blocks)


def _section(title: str, rows: str, under: str) -> str:
    return "\n\n".join(part for part in (f"### {title}", rows, under) if part)


def _under(record: dict[str, Any], file: str, picture: str) -> str:
    """Returns the line below a table: with what it was measured, and where the record is."""
    place = record["environment"]
    versions = ", ".join(f"{name} {value}" for name, value in place["versions"].items())
    dates = {entry["date"][:10] for entry in record.get("entries", {}).values()}
    dates |= {place["date"][:10]} if "date" in place and not dates else set()
    facts = [
        f"{place.get('processor', place.get('cpu', ''))}",
        f"{place.get('cpu_cores', place.get('cores', '?'))} cores",
        versions,
        *sorted(dates),
        f"[json](results/{file})",
    ]
    words = "; ".join(fact for fact in facts if fact)
    return f"![{picture}](results/{picture})\n\n{words}" if picture else words


def _networks(entries: dict[str, Any], names: tuple[str, ...]) -> str:
    head = ["network", *_COLUMNS, "bound", "ours / PyTorch", "ours / plain", "ours / bound"]
    lines = []
    for what, words in (("train", "training"), ("inference", "inference")):
        for name in names:
            entry = entries.get(f"{name}/{what}")
            if not entry:
                continue
            cells = [f"`{name}`, {words}, batch {entry['batch']}"]
            cells += [_rate(entry["contestants"].get(column)) for column in _COLUMNS]
            bound = entry["bound_images_per_second"]
            cells.append(_number(bound) if bound else "–")
            cells += [_ratio(entry["ratios"].get(n)) for n in ("PyTorch", "plain Flax", "bound")]
            lines.append(cells)
    return _table(head, lines) if lines else ""


def _latency(entries: dict[str, Any]) -> str:
    columns = (who.OURS, who.OURS_BFLOAT16, *reversed(who.PYTORCH))
    head = ["network, images × views", *(f"{name} (ms)" for name in columns), "PyTorch / ours"]
    lines = []
    for entry in entries.values():
        scores = entry["contestants"]
        best = min(
            (scores[n]["median_seconds"] for n in who.PYTORCH if "rate" in scores.get(n, {})),
            default=None,
        )
        ours = scores.get(who.OURS, {}).get("median_seconds")
        lines.append(
            [
                f"`{entry['network']}`, {entry['images']} × {entry['views']}",
                *(_milliseconds(scores.get(column)) for column in columns),
                _ratio(best / ours if best and ours else None),
            ]
        )
    return _table(head, lines)


def _scaling(entries: dict[str, Any]) -> str:
    head = ["batch"]
    for words in ("training", "inference"):
        head += [f"{words}: {who.OURS}", who.CHANNELS_LAST, "ratio"]
    sizes = sorted({entry["batch"] for entry in entries.values()})
    networks = sorted({entry["network"] for entry in entries.values()})
    lines = []
    for network in networks:
        for size in sizes:
            cells = [f"`{network}`, {size}"]
            for what in ("train", "inference"):
                scores = entries.get(f"{network}/{what}/{size}", {}).get("contestants", {})
                ours, theirs = (scores.get(n) for n in (who.OURS, who.CHANNELS_LAST))
                both = ours and theirs and "rate" in ours and "rate" in theirs
                cells += [_rate(ours), _rate(theirs)]
                cells.append(_ratio(ours["rate"] / theirs["rate"] if both else None))
            lines.append(cells)
    return _table(head, lines)


def _rows(record: dict[str, Any]) -> str:
    """Returns the table of a file with rows of name, value, unit, low, high and note."""
    lines = []
    for row in record["rows"]:
        value = row.get("value", row.get("images_per_second"))
        unit = row.get("unit", "images/s" if "images_per_second" in row else "")
        low, high = row.get("low", row.get("min")), row.get("high", row.get("max"))
        shown = _number(value) if isinstance(value, int | float) else value or "–"
        if low is not None and high is not None:
            shown += f" ({_number(low)}–{_number(high)})"
        note = row.get("note") or ""
        if "of_the_bound" in row:
            note = f"{row['of_the_bound']:.2f} of the bound"
        lines.append([row["name"], shown, unit, note])
    for name, reason in record.get("skipped", {}).items():
        lines.append([name, "skipped", "", reason])
    return _table(["", "median (lowest–highest)", "unit", "note"], lines)


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows
    )


def _rate(score: dict[str, Any] | None) -> str:
    if not score:
        return "–"
    if "rate" not in score:
        return score["failed"]
    if score.get("cold"):
        return f"{_number(score['rate'])} (one turn)"
    return (
        f"{_number(score['rate'])} ({_number(score['lowest_rate'])}–"
        f"{_number(score['highest_rate'])})"
    )


def _milliseconds(score: dict[str, Any] | None) -> str:
    if not score or "rate" not in score:
        return score["failed"] if score else "–"
    names = ("median_seconds", "lowest_seconds", "highest_seconds")
    median, low, high = (_number(1e3 * score[name]) for name in names)
    return f"{median} ({low}–{high})"


def _number(value: float) -> str:
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else (f"{value:.2f}")
    )


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def summary(results: Path = RESULTS) -> str:
    """Returns the table of the project's README: images per second of whole networks."""
    record = read(results / "networks.json")
    if not record:
        return "Not measured yet."
    head = ["batch 128, images/s"]
    for words in ("training", "inference"):
        head += [f"{words}: this library", "PyTorch (ratio)", "plain Flax (ratio)"]
    lines: dict[str, list[str]] = {}
    for entry in record["entries"].values():  # of each network training, then inference
        scores, ratios = entry["contestants"], entry["ratios"]
        rates = [scores[name]["rate"] for name in who.PYTORCH if "rate" in scores.get(name, {})]
        lines.setdefault(entry["network"], [f"`{entry['network']}`"]).extend(
            [
                _number(scores[who.OURS]["rate"]),
                f"{_number(max(rates)) if rates else '–'} ({_ratio(ratios.get('PyTorch'))})",
                f"{_number(scores[who.PLAIN]['rate'])} ({_ratio(ratios.get('plain Flax'))})",
            ]
        )
    blocks = [_table(head, list(lines.values())), _under(record, "networks.json", "")]
    device = read(results / "accelerator.json")
    if device:
        blocks.append(accelerator.sentence(device))
    return "\n\n".join(blocks).replace("(results/", "(experiments/benchmarks/results/")


def updated(text: str) -> str:
    """Returns this folder's README with the tables of today."""
    return with_parts(text, {"benchmarks": tables()}, "experiments.benchmarks.table")


def front(text: str) -> str:
    """Returns the project's README with its table of today."""
    return with_parts(text, {"speed": summary()}, "experiments.benchmarks.table")


PAGES = {README: updated, FRONT: front}

if __name__ == "__main__":
    rewrite(PAGES, sys.argv)
