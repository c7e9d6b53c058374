"""The runtimes in which files of each kind were tried; `tried_runtimes.json` holds the outcomes.

`python -m experiments.tried_runtimes` makes that file from the records of experiments/runtimes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

_TABLE = Path(__file__).with_name("tried_runtimes.json")


class TriedRuntime(NamedTuple):
    """One runtime on files of one kind."""

    runtime: str
    versions: tuple[str, ...]
    right: int  # networks that gave our logits in every version
    networks: int


def tried_runtimes(format: str, form: str, batch: int | None) -> list[TriedRuntime]:
    kind = {"format": format, "form": form, "batch": "free" if batch is None else "fixed"}
    return [
        TriedRuntime(row["runtime"], tuple(row["versions"]), row["right"], row["networks"])
        for row in _table()["rows"]
        if kind.items() <= row.items()
    ]


def jax_readers(batch: int | None, version: str = jax.__version__) -> str:
    """Returns a sentence: the versions of JAX that read a StableHLO file of that version."""
    rows = _table()["jax"]
    older = [row for row in rows if _order(row["written_by"]) <= _order(version)]
    row = older[-1] if older else rows[0]
    read = row["read_by"]["free" if batch is None else "fixed"]
    text = f"Files of JAX {row['written_by']} {_batches(batch)} are read by JAX {_list(read)}"
    refused = [one for one in row["read_by"]["fixed"] if one not in read]
    if refused:
        text += f"; {_list(refused)} refuse them at the call and read those of one batch size"
    return f"{text} (all that were tried)."


def _table() -> dict:
    return json.loads(_TABLE.read_text(encoding="utf-8"))


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _batches(batch: int | None) -> str:
    return "for any batch" if batch is None else "of one batch size"


def _list(versions: Sequence[str]) -> str:
    *first, last = versions
    return f"{', '.join(first)} and {last}" if first else last
