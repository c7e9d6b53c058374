"""The rows of the page: a row for every statement of the paper, of courses, of the card.

The rows are in `rows.toml`; numbers come from the committed records, by `FIGURES`.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from alexnet_jax.network.layers import summarize
from alexnet_jax.network.networks import NETWORKS
from experiments import reproduction
from experiments.imagenet import ready
from experiments.pages import record
from experiments.parity.compare import largest
from experiments.results import test_errors

ROWS = Path(__file__).parent / "rows.toml"
STATUSES = {
    "run": "the command was run here; its number is from the committed record, at the scale of the "
    "linked page",
    "tested": "there is nothing to measure: it is true by construction, and a test checks it",
    "ready": "complete, and tested with small data; not run, because the data are not here",
    "differs": "done, but not as in the statement: another way, another length, or another result",
    "open": "not done",
}


class Statement(NamedTuple):
    """A line; `rows.toml` explains the fields."""

    said: str
    at: str
    status: str
    do: str = ""
    figure: str = ""
    note: str = ""
    see: tuple[str, ...] = ()


def sections() -> dict[str, list[Statement]]:
    """Returns the rows by the title of their table."""
    found = tomllib.loads(ROWS.read_text("utf-8"))["section"]
    return {part["title"]: [Statement(**row) for row in part["row"]] for part in found}


def _claim(words: str) -> str:
    """Returns the first part of our result for a claim of the reproduction table."""
    [row] = [row for row in reproduction.ROWS if row.claim.startswith(words)]
    ours = row.ours() or "not run yet"
    return ours.partition("; *")[0].partition("; whole epochs")[0]


def _final(place: str) -> str:
    errors = " / ".join(f"{error:.1f}" for error in test_errors(record(*place.split("/"))).values())
    return f"{errors} % top-1 error, centre / all views"


def _value(words: str) -> str:
    """Returns a number of a record: `place > key > … | form`.

    A key is a key of a dictionary, or the name of an entry in a list.
    """
    path, form = words.split(" | ")
    place, *keys = path.split(" > ")
    value: Any = record(*place.split("/"))
    for key in keys:
        if isinstance(value, list):
            value = next(row for row in value if key in (row.get("name"), row.get("network")))
        else:
            value = value[key]
    return form.format(value).replace("%", " %")


def _share(layers: str) -> str:
    found = {row.name: row.params for row in summarize(NETWORKS["paper"])}
    whole = sum(found.values())
    return ", ".join(f"{name} has {100 * found[name] / whole:.2f} %" for name in layers.split())


def _parity(network: str) -> str:
    rows = record("parity")["networks"]
    found = [largest(row["float32"]) for row in rows if network in (row["network"], "all")]
    return f"{max(found):.1e}"


def _towers(_: str) -> str:
    rows = record("two_towers")["rows"]
    return f"{max(row['float64']['param_difference']['largest'] for row in rows):.1e}"


def _faults(_: str) -> str:
    outcomes = list(record("faults", "matrix")["tests"].values())
    passed, skipped = outcomes.count("passed"), outcomes.count("skipped")
    return f"{passed} of {len(outcomes)} tests of faults passed, {skipped} skipped"


def _two_devices(_: str) -> str:
    found = record("benchmarks", "towers")["contestants"]
    return f"{found['two towers']['rate'] / found['one device']['rate']:.2f} times the rate of one"


def _ratios(_: str) -> str:
    entries = record("benchmarks", "networks")["entries"].values()
    found = [entry["ratios"]["PyTorch"] for entry in entries if entry["what"] == "train"]
    return f"{min(found):.2f} to {max(found):.2f} times PyTorch's rate in training"


def _counted(field: str, unit: str) -> Callable[[str], str]:
    def text(network: str) -> str:
        return f"{sum(getattr(row, field) for row in summarize(NETWORKS[network])):,} {unit}"

    return text


FIGURES: dict[str, Callable[[str], str]] = {
    "claim": _claim,
    "final": _final,
    "value": _value,
    "parity": _parity,
    "share": _share,
    "towers": _towers,
    "faults": _faults,
    "ratios": _ratios,
    "two devices": _two_devices,
    "device": lambda _: f"{ready.rates()[1]:,.0f} images/s in training on one H200",
    "parameters": _counted("params", "weights"),
    "units": _counted("neurons", "units"),
}
"""Functions that return the text of a number, by the first word of a row's `figure`."""


def figure(row: Statement) -> str:
    kind, _, words = row.figure.partition(": ")
    return FIGURES[kind](words) if kind else ""
