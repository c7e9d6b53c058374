"""Writes what README.md tells of the walk from its record.

python -m experiments.own_photos.page          # rewrites it
python -m experiments.own_photos.page --check  # exits with 1 if it is out of date
"""

import json
import sys
from pathlib import Path
from typing import Any

from experiments.generated import made_with, rewrite, table, with_parts

README = Path(__file__).parent / "README.md"
RECORD = Path(__file__).parent / "results" / "own_photos.json"
KINDS = ("trunk", "alone")
VERBS = {"import-weights": "`import-weights` (once)", "train": "`train`", "predict": "`predict`"}
VIEWS = {"1": "test error, centre", "10": "test error, ten views"}


def updated(text: str) -> str:
    """Returns the README's text with the walk as the record has it."""
    record = json.loads(RECORD.read_text("utf-8"))
    return with_parts(text, {"walk": _walk(record)}, "experiments.own_photos.page")


def _walk(record: dict[str, Any]) -> str:
    def seconds(kind: str, verb: str) -> str:
        for step in record["walks"].get(kind, []):
            if f"alexnet_jax.main {verb} " in step["command"]:
                return f"{step['seconds']:.0f} s"
        return "–"

    def error(kind: str, views: str) -> str:
        found = record["errors"].get(kind)
        return "–" if found is None else f"{found[views]:.1f} %"

    lines = [[name, *(seconds(kind, verb) for kind in KINDS)] for verb, name in VERBS.items()]
    lines += [[name, *(error(kind, views) for kind in KINDS)] for views, name in VIEWS.items()]
    photos = {split: sum(counts.values()) for split, counts in record["photos"].items()}
    parts = [
        table(["", "on a trunk", "without"], lines),
        f"{photos['train']} training photos of {len(record['photos']['train'])} classes, "
        f"{photos['test']} of the test, one seed. " + made_with(record, RECORD.name),
    ]
    for kind in KINDS:
        for step in record["walks"].get(kind, []):
            if " train " in step["command"]:
                text = "\n".join([f"$ {step['command']}", *step["said"]])
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts)


def updated_readme(text: str) -> str:
    """Returns the project's README with its line on the walk."""
    record = json.loads(RECORD.read_text("utf-8"))
    minutes = {
        kind: sum(step["seconds"] for step in steps) / 60 for kind, steps in record["walks"].items()
    }
    texts = {"trunk": "on torchvision's convolutions", "alone": "from nothing"}
    found = ", ".join(
        f"{record['errors'][kind]['10']:.1f} % {texts[kind]} ({minutes[kind]:.0f} min)"
        for kind in KINDS
        if kind in record["errors"]
    )
    line = f"2 x 300 cats and dogs, error on 800 others, ten views, two CPU cores: {found}."
    return with_parts(text, {"walk": line}, "experiments.own_photos.page")


PAGES = {README: updated, README.parents[2] / "README.md": updated_readme}

if __name__ == "__main__":
    rewrite(PAGES, sys.argv[1:])
