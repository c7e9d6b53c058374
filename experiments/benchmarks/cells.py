"""Cells of the tables of this folder, from its result files."""

from typing import Any

from experiments.benchmarks.records import RESULTS, read


def found(name: str) -> dict[str, Any] | None:
    """Returns the record `results/NAME.json`; None: nothing was measured."""
    return read(RESULTS / f"{name}.json")


def number(value: float | None) -> str:
    """Returns three digits of a number."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{1 if abs(value) >= 10 else 2}f}"


def ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def rate(score: dict[str, Any] | None) -> str:
    """Returns the median rate of a contestant with the lowest and the highest, or why it failed."""
    if not score or "rate" not in score:
        return score["failed"] if score else "–"
    if score.get("cold"):
        return f"{number(score['rate'])} (one turn)"
    ends = f"{number(score['lowest_rate'])}–{number(score['highest_rate'])}"
    return f"{number(score['rate'])} ({ends})"


def milliseconds(score: dict[str, Any] | None) -> str:
    """Returns the median time of a contestant with the lowest and the highest, in ms."""
    if not score or "rate" not in score:
        return score["failed"] if score else "–"
    median, low, high = (
        number(1e3 * score[f"{end}_seconds"]) for end in ("median", "lowest", "highest")
    )
    return f"{median} ({low}–{high})"


def measurement(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Returns name, median with its ends, unit and note of a row."""
    value = row.get("value", row.get("images_per_second"))
    low, high = row.get("low", row.get("min")), row.get("high", row.get("max"))
    shown = number(value) if isinstance(value, int | float) else value or "–"
    if low is not None and high is not None:
        shown += f" ({number(low)}–{number(high)})"
    unit = row.get("unit", "images/s" if "images_per_second" in row else "")
    bound = row.get("of_the_bound")
    note = (row.get("note") or "") if bound is None else f"{bound:.2f} of the bound"
    return row["name"].replace("|", "/"), shown, unit, note.replace("|", "/")


def measured_with(record: dict[str, Any]) -> str:
    """Returns processor, cores, versions and dates of a record."""
    place = record["environment"]
    versions = ", ".join(f"{name} {value}" for name, value in place["versions"].items())
    dates = {entry["date"][:10] for entry in record.get("entries", {}).values()}
    if "date" in place and not dates:
        dates = {place["date"][:10]}
    return "; ".join((place["processor"], f"{place['cpu_cores']} cores", versions, *sorted(dates)))
