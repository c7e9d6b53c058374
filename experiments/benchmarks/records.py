"""The result files: written whole or not at all, and never mixed from different machines."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

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
        """Adds or replaces an entry, and writes the file."""
        here = self.content["environment"]
        entry = {"date": here["date"], "commit": here["commit"], **entry}
        self.content["entries"][name] = entry
        write(self.path, self.content)


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
