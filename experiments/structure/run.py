"""Counts lines (code, docstrings, comments) and compares names of tests, at two commits."""

import ast
import io
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments import programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = Path(__file__).with_name("results") / "structure.json"
REASONS = Path(__file__).with_name("tests_that_went.toml")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
"""Without the docstring."""
TOTALS = {"package": "alexnet_jax", "experiments": "experiments", "tests": "tests"}
"""Title and beginning of the rooms' names."""

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Lines(NamedTuple):
    """Numbers of lines; those that are neither are blank."""

    all: int
    code: int
    docstrings: int
    comments: int


def sources(commit: str, endings: tuple[str, ...] = (".py",)) -> Iterator[tuple[str, str]]:
    """Yields path and text of the files of a commit that have one of the endings."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        for member in files:
            file = files.extractfile(member) if member.name.endswith(endings) else None
            if file is not None:
                yield member.name, file.read().decode()


def room_of(path: str) -> str:
    """Returns `experiments`, `tests`, a package of `alexnet_jax`, or `alexnet_jax` itself."""
    top, *rest = path.split("/")
    return f"{top}/{rest[0]}" if top == "alexnet_jax" and len(rest) > 1 else top


def docstring_of(node: ast.AST) -> ast.Expr | None:
    if not isinstance(node, _DOCUMENTED) or ast.get_docstring(node) is None:
        return None
    first = node.body[0]
    return first if isinstance(first, ast.Expr) else None


def count_lines(text: str) -> Lines:
    lines, docstring_lines = text.splitlines(), set()
    for node in ast.walk(ast.parse(text)):
        if (docstring := docstring_of(node)) is not None:
            docstring_lines |= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    others = [line.strip() for i, line in enumerate(lines, 1) if i not in docstring_lines]
    comments = sum(line.startswith("#") for line in others)
    return Lines(len(lines), sum(map(bool, others)) - comments, len(docstring_lines), comments)


def long_functions(text: str) -> Iterator[tuple[str, int]]:
    """Yields name and number of lines, without the docstring, of each function above the limit."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if (docstring := docstring_of(node)) is not None:
                lines -= (docstring.end_lineno or 0) - docstring.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield node.name, lines


def names_of_tests(commit: str) -> set[str]:
    nodes = (
        node
        for path, text in sources(commit)
        if path.startswith("tests/")
        for node in ast.walk(ast.parse(text))
    )
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def compare_tests(before: str, after: str) -> dict[str, Any]:
    old, new = names_of_tests(before), names_of_tests(after)
    counts = {"before": len(old), "after": len(new), "new": len(new - old)}
    return counts | {"gone": sorted(old - new)}


def tests_that_went(record: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Returns reasons and tests; the last row has those without a reason, if there are any."""
    gone = set(record["tests"]["gone"])
    rows = []
    for entry in tomllib.loads(REASONS.read_text("utf-8"))["reasons"]:
        rows.append((entry["why"], [name for name in entry["tests"] if name in gone]))
        gone -= set(entry["tests"])
    return [*rows, ("No reason is noted", sorted(gone))] if gone else rows


def total(rooms: dict[str, dict[str, int]], prefix: str, column: str) -> int:
    return sum(counts[column] for room, counts in rooms.items() if room.startswith(prefix))


def measure(commit: str) -> dict[str, Any]:
    rooms: dict[str, list[Lines]] = {}
    files, functions = {}, {}
    for path, text in sources(commit):
        lines = count_lines(text)
        rooms.setdefault(room_of(path), []).append(lines)
        if lines.all > MAX_FILE_LINES:
            files[path] = lines.all
        functions |= {f"{path}: {name}": length for name, length in long_functions(text)}
    return {
        "rooms": {
            room: {"files": len(found)}
            | {name: sum(getattr(lines, name) for lines in found) for name in Lines._fields}
            for room, found in sorted(rooms.items())
        },
        "templates": sum(len(text.splitlines()) for _, text in sources(commit, (".jinja",))),
        "long_files": dict(sorted(files.items())),
        "long_functions": dict(sorted(functions.items())),
    }


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("commits", nargs=2, help="before and after")
    arguments = parser.parse_args()
    record: dict[str, Any] = {"environment": environment()}
    for when, commit in zip(("before", "after"), arguments.commits, strict=True):
        name = subprocess.run(
            ["git", "rev-parse", "--short=12", commit],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        record[when] = {"commit": name} | measure(commit)
    record["tests"] = compare_tests(*arguments.commits)
    write(arguments.output, record)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
