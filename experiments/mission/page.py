"""Writes this folder's README: a row for every statement of the paper, of courses, of the card.

python -m experiments.mission.page          # rewrites the tables
python -m experiments.mission.page --check  # exits with 1 if the README is out of date

The rows stand in `rows.toml`; numbers come from the committed records, by `FIGURES`.
"""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from alexnet_jax.network.layers import summarize
from alexnet_jax.network.networks import NETWORKS
from experiments import reproduction
from experiments.benchmarks.records import read
from experiments.generated import rewrite, table, with_parts
from experiments.imagenet import ready
from experiments.parity.page import largest

HERE = Path(__file__).parent
README = HERE / "README.md"
ROWS = HERE / "rows.toml"
ROOT = HERE.parent
STATUSES = {
    "run": "the command was run here; its number is of the committed record, at the scale of the "
    "page named",
    "tested": "nothing to measure: it is so by construction, and a test fails where it is not",
    "ready": "complete, and rehearsed in small; not run, as it needs data that are not here",
    "differs": "done, and not as it is said: in another way, another length, another outcome",
    "open": "not done",
}


class Row(NamedTuple):
    """A line; `rows.toml` explains the fields."""

    said: str
    at: str
    status: str
    do: str = ""
    figure: str = ""
    note: str = ""
    see: tuple[str, ...] = ()


def sections() -> dict[str, list[Row]]:
    """Returns the rows by the title of their table."""
    found = tomllib.loads(ROWS.read_text("utf-8"))["section"]
    return {part["title"]: [Row(**row) for row in part["row"]] for part in found}


def _record(place: str) -> Any:
    folder, name = place.split("/")
    record = read(ROOT / folder / "results" / f"{name}.json")
    if record is None:
        raise ValueError(f"there is no record {place}")
    return record


def _claim(words: str) -> str:
    """Returns what the first part of a row of the reproduction table tells."""
    [row] = [row for row in reproduction.ROWS if row.claim.startswith(words)]
    ours = row.ours() or "not run yet"
    return ours.partition("; *")[0].partition("; whole epochs")[0]


def _final(place: str) -> str:
    rows = sorted(_record(place)["final"], key=lambda row: row["test_views"])
    errors = " / ".join(f"{100 * row['final/top1_error']:.1f}" for row in rows)
    return f"{errors} % top-1 error, centre / all views"


def _value(words: str) -> str:
    """Returns a number of a record: `place > key > … | form`.

    A key is one of a dictionary, or the name that an entry of a list has.
    """
    path, form = words.split(" | ")
    place, *keys = path.split(" > ")
    value = _record(place)
    for key in keys:
        if isinstance(value, list):
            value = next(row for row in value if key in (row.get("name"), row.get("network")))
        else:
            value = value[key]
    return form.format(value).replace("%", " %")


def _share(layers: str) -> str:
    """Returns the shares of layers in the weights of `paper`."""
    found = {row.name: row.params for row in summarize(NETWORKS["paper"])}
    whole = sum(found.values())
    return ", ".join(f"{name} has {100 * found[name] / whole:.2f} %" for name in layers.split())


def _parity(network: str) -> str:
    rows = _record("parity/parity")["networks"]
    found = [largest(row["float32"]) for row in rows if network in (row["network"], "all")]
    return f"{max(found):.1e}"


def _towers(_: str) -> str:
    rows = _record("two_towers/two_towers")["rows"]
    return f"{max(row['float64']['param_difference']['largest'] for row in rows):.1e}"


def _faults(_: str) -> str:
    outcomes = list(_record("faults/matrix")["tests"].values())
    passed, skipped = outcomes.count("passed"), outcomes.count("skipped")
    return f"{passed} of {len(outcomes)} tests of faults passed, {skipped} skipped"


def _two_devices(_: str) -> str:
    found = _record("benchmarks/towers")["contestants"]
    return f"{found['two towers']['rate'] / found['one device']['rate']:.2f} times the rate of one"


def _ratios(_: str) -> str:
    entries = _record("benchmarks/networks")["entries"].values()
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
"""What makes the text of a number, by the first word of a row's `figure`."""


def figure(row: Row) -> str:
    """Returns the number of a row."""
    kind, _, words = row.figure.partition(": ")
    return FIGURES[kind](words) if kind else ""


def _link(path: str) -> str:
    name = Path(path).parent.name if path.endswith("README.md") else Path(path).name
    base = "../" if path.startswith("experiments/") else "../../"
    return f"[{name}]({base}{path.removeprefix('experiments/')})"


def _cells(row: Row) -> list[str]:
    command = f"`{row.do}`" if row.do else "–"
    outcome = ": ".join(part for part in (row.note, figure(row)) if part)
    links = ", ".join(_link(path) for path in row.see)
    told = "; ".join(part for part in (outcome, links) if part)
    return [row.said, row.at, command, row.status, told or "–"]


def rows() -> str:
    """Returns all tables."""
    head = ["what is said", "where", "what does it here", "status", "outcome, evidence"]
    return "\n\n".join(
        f"## {title}\n\n{table(head, [_cells(row) for row in found])}"
        for title, found in sections().items()
    )


def counts() -> str:
    """Returns how many rows have which status."""
    found = [row.status for part in sections().values() for row in part]
    lines = [[f"**{word}**", str(found.count(word)), text] for word, text in STATUSES.items()]
    done = len(found) - found.count("open")
    lines.append(["", str(len(found)), f"in all, {done} of them with a command"])
    return table(["status", "rows", "it means"], lines)


def updated(text: str) -> str:
    """Returns the README with the tables of today's rows and records."""
    return with_parts(text, {"counts": counts(), "rows": rows()}, "experiments.mission.page")


if __name__ == "__main__":
    rewrite({README: updated}, sys.argv)
