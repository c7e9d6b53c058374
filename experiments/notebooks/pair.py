"""Keeps each notebook as two files that say the same: a script, and the notebook made from it.

python -m experiments.notebooks.pair          # writes NAME.ipynb from NAME.py, and the badges
python -m experiments.notebooks.pair --check  # exits with 1 and a line per file that is out of date
python -m experiments.notebooks.pair --run    # runs the notebooks too, and keeps what they show
python -m experiments.notebooks.pair --repository ACCOUNT/NAME  # once, by who publishes a copy

The script is in the percent format (`# %%` begins a cell of code, `# %% [markdown]` one of text),
runs from top to bottom, and has the commands of a notebook as comments (`# !pip …`). What stands
before the first cell belongs to the script alone; the button of Colab and the cell that installs
the library belong to the notebook alone. A cell keeps its outputs until its code changes; `--run`
needs `pip install nbclient ipykernel`.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.notebooks import address

FOLDER = Path(__file__).parent
NAMES = ("alexnet", "augmentation", "layers", "own_photos", "two_towers")
COMMAND = "python -m experiments.notebooks.pair"
BEGIN, END = f"<!-- badges: {COMMAND} -->", "<!-- end of badges -->"
_LARGE = 100_000  # characters of a PNG


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


def _opening(name: str, first: Cell) -> list[Cell]:
    """Returns the first cell with the button of Colab below its title, and the cell that installs.

    In a clone that cell takes the clone; elsewhere it clones, or says that there is no address yet.
    """
    title, _, text = first.source.partition("\n")
    return [
        Cell(first.kind, f"{title}\n\n{address.badge(name)}\n{text}"),
        Cell("code", address.install()),
    ]


def notebook(
    name: str, script: str, outputs: Mapping[tuple[str, str], list] | None = None
) -> dict[str, Any]:
    """Returns the notebook (nbformat 4.5) of a script.

    Args:
      name: of the file, without ending.
      script: in the percent format; it begins with a cell of text.
      outputs: what its cells have shown, by their id and source.
    """
    first, *others = cells(script)
    made = []
    for cell, identity in _with_ids([*_opening(name, first), *others]):
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
        shown = output.get("data", {})
        if "image/png" in shown:
            # Photos are kept as JPEG, or a notebook would have megabytes.
            large = len(shown["image/png"]) > _LARGE and "image/jpeg" in shown
            form = "image/jpeg" if large else "image/png"
            data = {form: shown[form].strip()}
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


def expected() -> dict[Path, str]:
    """Returns what every generated file must hold: the notebooks, and the README's badges."""
    texts = {}
    for name in NAMES:
        script = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        path = FOLDER / f"{name}.ipynb"
        shown = outputs_of(json.loads(path.read_text("utf-8"))) if path.exists() else {}
        made = notebook(name, script, shown)
        texts[path] = json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    readme = FOLDER / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    texts[readme] = f"{before}{BEGIN}\n{address.badges(NAMES, COMMAND)}\n{END}{after}"
    return texts


def main() -> int:
    """Writes or checks; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--run", action="store_true", help="run the notebooks, too")
    parser.add_argument("--repository", metavar="ACCOUNT/NAME", help="where Colab finds them")
    arguments = parser.parse_args()
    if arguments.repository:
        try:
            address.publish(arguments.repository)
        except ValueError as error:
            parser.error(str(error))
    stale = [
        (path, text)
        for path, text in expected().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if not arguments.check:
        for path, text in stale:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.name}")
        if arguments.run:
            with tempfile.TemporaryDirectory() as folder:
                os.environ["ALEXNET_DATA_DIR"] = str(Path(folder) / "data")
                run_all(Path(folder))
        return 0
    for path, _ in stale:
        print(f"error: {path.name} does not say what its script does; type: {COMMAND}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
