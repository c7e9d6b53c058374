"""The result files: written whole or not at all, and never mixed from different machines."""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks.contest import Contestant, Rules, hold
from experiments.benchmarks.environment import environment

RESULTS = Path(__file__).parent / "results"
_SAME = ("versions", "processor", "cpu_cores")


class Record:
    """One result file, `{"environment": …, "entries": {name: …}}`.

    A later run replaces the entries that it measures and keeps the others, each with date and
    commit of its own; entries of other versions or of other hardware are dropped.
    """

    def __init__(self, path: Path, question: str):
        """Opens the file at `path`; it is written at the first `put`."""
        self.path = path
        self.content: dict[str, Any] = {
            "question": question,
            "environment": environment(),
            "entries": {},
        }
        old = read(path)
        if old and all(
            old["environment"].get(name) == self.content["environment"][name] for name in _SAME
        ):
            self.content["entries"] = old["entries"]

    def put(self, name: str, entry: dict[str, Any]) -> None:
        here = self.content["environment"]
        entry = {"date": here["date"], "commit": here["commit"], **entry}
        self.content["entries"][name] = entry
        write(self.path, self.content)

    def put_contest(
        self,
        name: str,
        facts: dict[str, Any],
        contestants: Sequence[Contestant],
        rules: Rules,
        conclude: Callable[[dict[str, Any]], dict[str, Any]] = lambda contestants: {},
    ) -> None:
        """Holds a contest, prints its course and puts its result.

        `conclude` returns further facts from the records of the contestants.
        """
        start = time.monotonic()
        print(name, flush=True)
        scores = hold(contestants, rules, lambda line: print(line, flush=True))
        found = {name: score.record() for name, score in scores.items()}
        entry = {**facts, "rounds": rules.rounds, **conclude(found), "contestants": found}
        self.put(name, entry | {"wall_seconds": round(time.monotonic() - start, 1)})


def row(name: str, values: Sequence[float], unit: str = "s", note: str = "") -> dict[str, Any]:
    """Returns a row of a table: median, lowest and highest value."""
    ends = {"low": min(values), "high": max(values)}
    middle = round(statistics.median(values), 2)
    return {"name": name, "value": middle, "unit": unit, **ends, "note": note}


def write_rows(
    path: Path,
    question: str,
    rows: Sequence[dict[str, Any]],
    packages: tuple[str, ...] = (),
    **more: Any,
) -> None:
    """Prints rows and writes them as a result file, with further contents."""
    for one in rows:
        low, high = one.get("low", one["value"]), one.get("high", one["value"])
        print(
            f"{one['name']:44} {one['value']:9.2f} {one['unit']} ({low:.2f} to {high:.2f}) "
            f"{one['note']}",
            flush=True,
        )
    content = {"question": question, "environment": environment(packages), "rows": list(rows)}
    write(path, content | more)


def read(path: Path) -> dict[str, Any] | None:
    """Returns the content of a result file, or None if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes a result file in one step, so that a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8"
    ) as file:
        file.write(json.dumps(content, indent=1) + "\n")
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
