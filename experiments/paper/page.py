"""Writes the tables of this folder's README: the paper's numbers, and ours from the records.

python -m experiments.paper.page          # rewrites the tables
python -m experiments.paper.page --check  # exits with 1 if the README is out of date
"""

import re
import sys
from pathlib import Path

from alexnet_jax.insight.published import BEFORE_2009, BEFORE_2010, BEFORE_2012, Rival
from experiments import reproduction
from experiments.generated import rewrite, table, with_parts
from experiments.imagenet import ready

README = Path(__file__).with_name("README.md")
CLAIMS = {
    "network": ("figure1", "towers", "normalization", "overlapping"),
    "recipe": (
        "augmentation",
        "colour",
        "dropout",
        "convergence",
        "convergence-photos",
        "velocity",
        "weight-decay",
        "initial-weights",
    ),
    "seen": ("ensembles", "depth", "specialise", "retrieval"),
}
"""Folders of the claims of each table."""
_BEFORE = (
    ("table 1", BEFORE_2010), ("table 2", BEFORE_2012), ("§6", BEFORE_2009),
)  # fmt: skip


def claims(*folders: str) -> str:
    """Returns the rows of some claims, with links from this folder."""
    rows = tuple(row for folder in folders for row in reproduction.ROWS if row.folder == folder)
    lines = [
        [claim, paper, ours, scale, evidence]
        for claim, paper, ours, scale, _, evidence in reproduction.lines(rows, "")
    ]
    text = table(["claim", "the paper", "ours", "scale", "evidence"], lines)
    return re.sub(r"\]\((?!\w+:)", "](../", text)


def results() -> str:
    """Returns the paper's errors with those of its rivals, and the presets that are ready."""
    lines = []
    for place, rivals in _BEFORE:
        lines += [[place, rival.who, rival.where, _errors(rival), "–"] for rival in rivals]
        lines += [
            [place, line.who, line.test, line.errors, _runs(line)]
            for line in ready.LINES
            if line.place == place
        ]
    head = ["where", "who", "tested on", "top-1 / top-5 (%)", "ours: not run, ready"]
    return table(head, lines)


def _errors(rival: Rival) -> str:
    first = "–" if rival.top1_error is None else f"{100 * rival.top1_error:.1f}"
    return f"{first} / {100 * rival.top5_error:.1f}"


def _runs(line: ready.Line) -> str:
    counts = {name: line.runs.count(name) for name in dict.fromkeys(line.runs)}
    names = [f"{count} × `{name}`" if count > 1 else f"`{name}`" for name, count in counts.items()]
    return ", ".join(names)


def updated(text: str) -> str:
    """Returns the README with the tables of today's records."""
    parts = {name: claims(*folders) for name, folders in CLAIMS.items()}
    return with_parts(text, parts | {"results": results()}, "experiments.paper.page")


if __name__ == "__main__":
    rewrite({README: updated}, sys.argv)
