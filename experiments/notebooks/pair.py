"""Keeps each notebook as two files that say the same: a script, and the notebook made from it.

python -m experiments.notebooks.pair          # writes NAME.ipynb from NAME.py, and the badges
python -m experiments.notebooks.pair --check  # exits with 1 and a line per file that is out of date

The script is in the percent format (`# %%` begins a cell of code, `# %% [markdown]` one of text),
runs from top to bottom, and has the commands of a notebook as comments (`# !pip …`). What stands
before the first cell belongs to the script alone.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

# The one line to change where the repository has an address.
REPOSITORY = "OWNER/alexnet_jax"

FOLDER = Path(__file__).parent
NAMES = ("alexnet", "layers", "own_photos", "two_towers")
COMMAND = "python -m experiments.notebooks.pair"
BEGIN, END = f"<!-- badges: {COMMAND} -->", "<!-- end of badges -->"
_PLACEHOLDER = "OWNER/alexnet_jax"  # as the scripts and the README's first version have it
_COLAB = "https://colab.research.google.com"


class Cell(NamedTuple):
    """One cell: `kind` is markdown or code, `source` the text as a notebook has it."""

    kind: str
    source: str


def cells(script: str) -> list[Cell]:
    """Returns the cells of a script in the percent format.

    Raises:
      ValueError: a cell of another kind, or a line of text that is no comment.
    """
    _, *parts = re.split(r"^# %%", script, flags=re.MULTILINE)
    found = []
    for part in parts:
        title, _, body = part.partition("\n")
        if title not in ("", " [markdown]"):
            raise ValueError(f"cells begin with '# %%' or '# %% [markdown]', not '# %%{title}'")
        lines = body.strip("\n").splitlines()
        read = _text if title else _command
        source = "\n".join(map(read, lines))
        found.append(Cell("markdown" if title else "code", source))
    return found


def _text(line: str) -> str:
    if line != "#" and not line.startswith("# "):
        raise ValueError(f"a line of text must begin with '# ': {line!r}")
    return line[2:]


def _command(line: str) -> str:
    """Returns a line of code; `# !` and `# %` begin a command that only a notebook runs."""
    return re.sub(r"^(\s*)# ([!%])", r"\1\2", line)


def notebook(script: str) -> dict[str, Any]:
    """Returns the notebook (nbformat 4.5) of a script, without outputs."""
    script = script.replace(_PLACEHOLDER, REPOSITORY)
    made = []
    for cell, identity in _with_ids(cells(script)):
        source = cell.source.splitlines(keepends=True)
        entry = {"cell_type": cell.kind, "id": identity, "metadata": {}, "source": source}
        if cell.kind == "code":
            entry |= {"execution_count": None, "outputs": []}
        made.append(entry)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _with_ids(found: list[Cell]) -> Iterator[tuple[Cell, str]]:
    """Yields each cell with an id from its first line, which edits of other cells leave alone."""
    taken: set[str] = set()
    for cell in found:
        first = cell.source.partition("\n")[0]
        number = 0
        while True:
            text = f"{cell.kind} {number} {first}"
            identity = hashlib.sha256(text.encode()).hexdigest()[:8]
            if identity not in taken:
                break
            number += 1
        taken.add(identity)
        yield cell, identity


def badge(name: str) -> str:
    """Returns the Markdown of the button that opens a notebook in Colab."""
    place = f"{_COLAB}/github/{REPOSITORY}/blob/main/experiments/notebooks/{name}.ipynb"
    return f"[![Colab]({_COLAB}/assets/colab-badge.svg)]({place})"


def expected() -> dict[Path, str]:
    """Returns what every generated file must hold: the notebooks, and the README's badges."""
    texts = {}
    for name in NAMES:
        script = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        made = json.dumps(notebook(script), indent=1, ensure_ascii=False, sort_keys=True)
        texts[FOLDER / f"{name}.ipynb"] = made + "\n"
    readme = FOLDER / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    badges = "\n".join(f"- {badge(name)} [{name}]({name}.ipynb)" for name in NAMES)
    texts[readme] = f"{before}{BEGIN}\n{badges}\n{END}{after}"
    return texts


def main() -> int:
    """Writes or checks; returns the exit code."""
    stale = [
        (path, text)
        for path, text in expected().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" not in sys.argv[1:]:
        for path, text in stale:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.name}")
        return 0
    for path, _ in stale:
        print(f"error: {path.name} does not say what its script does; type: {COMMAND}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
