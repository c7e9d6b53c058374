"""The rows of the page, from the records of all proofs."""

import json
from typing import Any

from experiments import pages
from experiments.foreign_files.proof import HERE


def proofs() -> list[dict[str, Any]]:
    """Returns the records that compare files, by program."""
    records = [json.loads(path.read_text("utf-8")) for path in (HERE / "results").glob("*.json")]
    return sorted((r for r in records if "files" in r), key=lambda r: r["program"].lower())


def table() -> str:
    rows = [
        (
            record["program"],
            f"`{row['file']}`: {row['what']}",
            f"`{row['source']}`",
            f"`{row['network']}`",
            row["image_size"],
            f"{row['difference']:.1e}",
        )
        for record in proofs()
        for row in record["files"]
    ]
    head = ("program", "file", "source", "network here", "pixels", "difference")
    return pages.table(head, rows)


def made_with() -> str:
    lines = []
    for record in proofs():
        theirs = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        lines.append(f"{record['program']}: {theirs}. Here: {pages.made_with(record)}.")
    return "\n\n".join(lines)
