"""The matrix of faults: what is promised, and the tests that inject the fault.

    python -m experiments.faults.matrix          # runs the tests and writes the page
    python -m experiments.faults.matrix --again  # only those that have not passed

The rows are in `faults.toml`. Writes `results/matrix.json` and the tables of the page.
"""

import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, NamedTuple

from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.pages import table

HERE = Path(__file__).parent
OUTPUT = HERE / "results" / "matrix.json"
ROOT = HERE.parents[1]
FAULTS = HERE / "faults.toml"


class Fault(NamedTuple):
    """A row: a fault, the promise, and the tests as `file::function` below `tests/`."""

    fault: str
    promise: str
    tests: list[str]


def faults() -> dict[str, list[Fault]]:
    tables = tomllib.loads(FAULTS.read_text("utf-8"))
    return {name: [Fault(**row) for row in found] for name, found in tables.items()}


def named() -> list[str]:
    return sorted({name for rows in faults().values() for row in rows for name in row.tests})


def outcomes(names: list[str]) -> dict[str, str]:
    """Runs tests and returns "passed", "skipped" or "failed" by test."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "", f"--junitxml={report}"]
        subprocess.run(
            [*command, "-o", "junit_family=xunit1", *(f"tests/{name}" for name in names)],
            cwd=ROOT,
            check=False,
        )
        cases = ElementTree.parse(report).getroot().iter("testcase")
        found: dict[str, set[str]] = {}
        for case in cases:
            file, name = case.get("file", ""), case.get("name", "").partition("[")[0]
            kinds = {child.tag for child in case}
            bad = kinds & {"failure", "error"}
            word = "failed" if bad else "skipped" if "skipped" in kinds else "passed"
            for key in (f"{file}::{name}", file):
                found.setdefault(key.removeprefix("tests/"), set()).add(word)
    ranked = ("failed", "passed", "skipped")
    return {
        name: next((w for w in ranked if w in found.get(name, ())), "missing") for name in names
    }


def table_of(found: list[Fault], record: dict[str, Any]) -> str:
    lines = []
    for number, fault in enumerate(found, start=1):
        results = {record["tests"].get(name, "missing") for name in fault.tests}
        tests = "<br>".join(f"`{name.replace('::', '` `')}`" for name in fault.tests)
        lines.append([number, fault.fault, fault.promise, tests, ", ".join(sorted(results))])
    return table(["", "fault", "promise", "tests", "result"], lines)


def main() -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("--again", action="store_true", help="only those that have not passed")
    before = (read(OUTPUT) or {"tests": {}})["tests"] if parser.parse_args().again else {}
    passed = {name: "passed" for name in named() if before.get(name) == "passed"}
    found = outcomes([name for name in named() if name not in passed])
    write(OUTPUT, {"environment": environment(), "tests": passed | found})
    pages.write("faults")


if __name__ == "__main__":
    main()
