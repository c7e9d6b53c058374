"""Figures of the records: equal numbers give equal files, which name their source."""

import hashlib
import json
from pathlib import Path
from typing import Any


def blank(width: float, height: float) -> Any:
    """Returns an empty Matplotlib figure; sizes are in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, path: Path, source: Any, dpi: int = 100) -> None:
    """Writes a figure as SVG, or as PNG with `dpi` pixels per inch; makes its folder.

    The file keeps a digest of `source`, from which it was drawn, or all of a text.
    """
    import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Description": _describe(source)} | (
        {"Date": None} if path.suffix == ".svg" else {}
    )
    with matplotlib.rc_context({"svg.hashsalt": "alexnet_jax"}):
        figure.savefig(path, dpi=dpi, metadata=metadata)


def is_of(path: Path, source: Any) -> bool:
    """Returns whether a file was drawn from these values."""
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            return image.info.get("Description") == _describe(source)
    begin, end = "<dc:description>", "</dc:description>"
    return path.read_text("utf-8").partition(begin)[2].partition(end)[0] == _describe(source)


def _describe(source: Any) -> str:
    if isinstance(source, str):
        return source
    text = json.dumps(source, sort_keys=True)
    return f"drawn from values with the digest {hashlib.sha256(text.encode()).hexdigest()[:16]}"
