"""Keeps each notebook as two files that say the same: a script, and the notebook made from it.

python -m experiments.notebooks.pair          # writes NAME.ipynb from NAME.py, and the badges
python -m experiments.notebooks.pair --check  # exits with 1 and a line per file that is out of date
python -m experiments.notebooks.pair --run    # runs the notebooks too, and keeps what they show

The script is in the percent format (`# %%` begins a cell of code, `# %% [markdown]` one of text),
runs from top to bottom, and has the commands of a notebook as comments (`# !pip …`). What stands
before the first cell belongs to the script alone. A cell keeps its outputs until its code changes;
`--run` needs `pip install nbclient ipykernel`.
"""

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
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


def notebook(script: str, outputs: Mapping[tuple[str, str], list] | None = None) -> dict[str, Any]:
    """Returns the notebook (nbformat 4.5) of a script.

    Args:
      script: in the percent format.
      outputs: what its cells have shown, by their id and source.
    """
    script = script.replace(_PLACEHOLDER, REPOSITORY)
    made = []
    for cell, identity in _with_ids(cells(script)):
        source = cell.source.splitlines(keepends=True)
        entry = {"cell_type": cell.kind, "id": identity, "metadata": {}, "source": source}
        if cell.kind == "code":
            shown = (outputs or {}).get((identity, cell.source), [])
            entry |= {"execution_count": None, "outputs": shown}
        made.append(entry)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def outputs_of(made: Mapping[str, Any]) -> dict[tuple[str, str], list]:
    """Returns what the cells of a notebook show, by their id and source."""
    code = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
    return {(cell["id"], "".join(cell["source"])): cell["outputs"] for cell in code}


def run_all(folder: Path) -> None:
    """Runs every notebook in `folder`, one after another, and keeps what the cells show.

    Pictures and text are kept, but no progress, and nothing of the machine's paths.

    Args:
      folder: in which they work; what an earlier one has trained there, a later one uses.
    """
    import nbclient  # pyright: ignore[reportMissingImports]
    import nbformat  # pyright: ignore[reportMissingImports]

    for name in NAMES:
        path = FOLDER / f"{name}.ipynb"
        made = json.loads(path.read_text("utf-8"))
        live = nbformat.reads(json.dumps(made), as_version=4)
        nbclient.NotebookClient(live, resources={"metadata": {"path": str(folder)}}).execute()
        for cell, ran in zip(made["cells"], live.cells, strict=True):
            if cell["cell_type"] == "code":
                cell["outputs"] = _kept(ran.outputs, folder)
        text = json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
        print(f"ran {path.name}")


def _kept(outputs: list[Any], folder: Path) -> list[dict[str, Any]]:
    """Returns outputs in nbformat's form: text as one stream, then pictures."""
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("step ")]
    text = "".join(lines).replace(f"{folder}/", "")
    kept: list[dict[str, Any]] = []
    if text:
        text_lines = text.splitlines(keepends=True)
        kept.append({"name": "stdout", "output_type": "stream", "text": text_lines})
    for output in outputs:
        if "image/png" in output.get("data", {}):
            data = {"image/png": output.data["image/png"].strip()}
            kept.append({"data": data, "metadata": {}, "output_type": "display_data"})
    return kept


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
        path = FOLDER / f"{name}.ipynb"
        shown = outputs_of(json.loads(path.read_text("utf-8"))) if path.exists() else {}
        made = json.dumps(notebook(script, shown), indent=1, ensure_ascii=False, sort_keys=True)
        texts[path] = made + "\n"
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
        if "--run" in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as folder:
                os.environ["ALEXNET_DATA_DIR"] = str(Path(folder) / "data")
                run_all(Path(folder))
        return 0
    for path, _ in stale:
        print(f"error: {path.name} does not say what its script does; type: {COMMAND}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
