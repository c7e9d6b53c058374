"""Compares the runs of the default preset at two commits, seed by seed.

    python -m experiments.structure.seeds BEFORE AFTER

`python -m experiments.sweep seeds --output FOLDER` makes each of the two folders, in a checkout of
its commit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import pages, programs
from experiments.benchmarks.records import read, write

OUTPUT = Path(__file__).with_name("results") / "seeds.json"
_COMMAND = "python -m experiments.sweep seeds --output OUTPUT, in a checkout of each commit"
_KEPT = ("error", "error_ten_views", "loss", "params_sha256", "commit")


def compare(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Returns the runs of two records of the claim `seeds` in pairs; `ValueError`: other seeds."""
    first, second = (
        {run["seed"]: {name: run.get(name) for name in _KEPT} for run in record["runs"]}
        for record in (before, after)
    )
    if first.keys() != second.keys():
        raise ValueError(f"seeds {sorted(first)} before and {sorted(second)} after; run the others")
    pairs = [{"seed": s, "before": first[s], "after": second[s]} for s in sorted(first)]
    return {"environment": after["environment"], "command": _COMMAND, "runs": pairs}


def main(words: Sequence[str] | None = None) -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("folders", nargs=2, type=Path, help="before and after")
    arguments = parser.parse_args(words)
    paths = [folder / "seeds" / "results" / "seeds.json" for folder in arguments.folders]
    records = [read(path) or parser.error(f"there is no {path}") for path in paths]
    try:
        write(arguments.output, compare(*records))
    except ValueError as error:
        parser.error(str(error))
    if arguments.output == OUTPUT:
        pages.write("structure")


if __name__ == "__main__":
    main()
