"""Runs the notebooks and keeps what their cells show; needs `pip install jupytext nbclient ipykernel`.

python -m experiments.notebooks.run
"""

import os
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NAMES = ("alexnet", "augmentation", "layers", "own_photos", "two_towers")
_MAX_PNG_CHARACTERS = 100_000


def main() -> None:
    import nbclient
    import nbformat

    with tempfile.TemporaryDirectory() as folder:  # a later one uses what an earlier one trained
        os.environ["ALEXNET_DATA_DIR"] = str(Path(folder) / "data")
        for name in NAMES:
            path = FOLDER / f"{name}.ipynb"
            notebook = nbformat.read(path, as_version=4)
            nbclient.NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
            for cell in notebook.cells:
                cell.metadata.pop("execution", None)
                if cell.cell_type == "code":
                    cell.execution_count = None
                    cell.outputs = _cleaned(cell.outputs, folder)
            nbformat.write(notebook, path)
            print(f"ran {path.name}")


def _cleaned(outputs: list[Any], folder: str) -> list[Any]:
    """Returns the text as one stream, then the pictures: no progress, no paths of the machine."""
    from nbformat.v4 import new_output

    text = "".join(output.text for output in outputs if output.output_type == "stream")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("step ")]
    text = "".join(lines).replace(f"{folder}/", "")
    kept = [new_output("stream", name="stdout", text=text)] if text else []
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            # Photos are kept as JPEG, or a notebook would have megabytes.
            is_large = len(data["image/png"]) > _MAX_PNG_CHARACTERS and "image/jpeg" in data
            kind = "image/jpeg" if is_large else "image/png"
            kept.append(new_output("display_data", {kind: data[kind].strip()}))
    return kept


if __name__ == "__main__":
    main()
