"""The tables of the page."""

import re
from typing import Any

from experiments.pages import record, table
from experiments.runtimes.precision import entries
from experiments.runtimes.run import is_right

FORMS = {
    ("onnx", "whole", "free"): "ONNX",
    ("onnx", "network", "1"): "ONNX, network only, batch 1",
    ("stablehlo", "whole", "free"): "StableHLO",
    ("stablehlo", "network", "1"): "StableHLO, network only, batch 1",
}


def runtimes() -> str:
    """Returns the table of runtimes: what they made of the files before and now."""
    before = {_key(row): row for row in record("runtimes", "before")["rows"]}
    rows = [
        [
            " ".join(filter(None, (row["runtime"], row["version"], row["option"]))),
            FORMS[row["kind"], row["form"], row["batch"]],
            _cell(before.get(_key(row))),
            _cell(row),
        ]
        for row in record("runtimes")["rows"]
    ]
    return table(("runtime", "file", "before", "now"), rows)


def exported_by(name: str) -> str:
    """Returns the commits whose files a record has."""
    return ", ".join(sorted({row["commit"] for row in record("runtimes", name)["rows"]}))


def refusals() -> list[tuple[str, str]]:
    """Returns runtime and words of every kind of refusal, or of wrong logits, of today's files."""
    found = []
    for row in record("runtimes")["rows"]:
        name = f"{row['runtime']} {row['version']} {row['option']}".strip()
        name += f", {FORMS[row['kind'], row['form'], row['batch']]}"
        kinds: dict[str, list[str]] = {}
        for network in (network for network in row["networks"] if not is_right(row, network)):
            kinds.setdefault(re.sub(r"\d+", "", _why(row, network)), []).append(network)
        for networks in kinds.values():
            names = ", ".join(f"`{network}`" for network in networks)
            found.append((f"{name}, {names}", _why(row, networks[0])))
    return found


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("runtime", "version", "option", "kind", "form", "batch"))


def _why(row: dict[str, Any], network: str) -> str:
    outcome = row["networks"][network]
    if "no_file" in outcome:
        return f"export refuses: {outcome['no_file']}"
    if "error" in outcome:
        return f"logits off by {outcome['error']:.0e}"
    return outcome["refusal"].replace("|", "\\|").replace("`", "'")


def _cell(row: dict[str, Any] | None) -> str:
    """Returns how many networks are right, and the largest error of those."""
    if row is None:
        return "–"
    if "missing" in row:
        return f"not installed: {row['missing']}"
    outcomes = row["networks"]
    right = [outcome["error"] for name, outcome in outcomes.items() if is_right(row, name)]
    text = f"{len(right)} of {len(outcomes)}"
    return f"{text} ({max(right):.0e})" if right else text


def precision() -> str:
    """Returns the table of precisions."""
    sets = record("runtimes", "precision")["sets"]
    head = ["", *(f"`{name}`: error, top-1 (%), same answer (%)" for name in sets), "advice"]
    advice = {entry["name"]: entry["advice"] for entry in entries()}
    rows = []
    for i, first in enumerate(next(iter(sets.values()))["rows"]):
        cells = [_precision_cell(found["rows"][i]) for found in sets.values()]
        rows.append([f"{first['runtime']} ({first['version']})", *cells, advice[first["runtime"]]])
    return table(head, rows)


def _precision_cell(row: dict[str, Any]) -> str:
    if "error" not in row:
        return row.get("missing") or row["refusal"]
    return f"{row['error']:.0e}, {100 * row['top1']:.1f}, {100 * row['same_answer']:.1f}"
