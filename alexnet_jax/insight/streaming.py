"""Activations of more images than memory holds: one `.npy` file a layer, written as they come.

The folder holds `LAYER.npy` (float32, row i is image i; `np.load(…, mmap_mode="r")` reads a part),
`names.json` (the images, in order) and `features.json` (layers, network, run, which images could
not be read; their rows are NaN). Until all is done the arrays are called `LAYER.npy.part`, and the
same call goes on after the last whole chunk.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.files import write_text
from alexnet_jax.insight.classifier import Classifier
from alexnet_jax.insight.images import Unreadable, UserImage

FEATURES, NAMES = "features.json", "names.json"
CHUNK = 256
"""Images after which what is written is synced, and counts as done."""


def stream_features(
    classifier: Classifier,
    images: Sequence[UserImage],
    names: Sequence[str],
    folder: str | Path,
    layers: Sequence[str],
    *,
    source: str = "",
    show: Callable[[int, int], None] = lambda good, bad: None,
) -> list[Unreadable]:
    """Writes the activations of all images, in one pass for all layers; goes on where it stopped.

    Args:
      classifier: from `load`.
      images: paths, bytes or Pillow images; read chunk by chunk.
      names: one per image.
      folder: to write to; made when absent, and otherwise a folder of the same features.
      layers: see `Classifier.features`.
      source: e.g. run and checkpoint; with the layers and names it says what the features are.
      show: called after each chunk with the numbers of good and bad images so far.

    Returns:
      The images that could not be read; their rows are NaN.

    Raises:
      InputError: the folder holds something else, there is no room, or nothing can be written.
    """
    folder, layers = Path(folder), list(dict.fromkeys(layers))
    if len(images) != len(names):
        raise ValueError(f"{len(images)} images, {len(names)} names")
    shapes = {layer: (len(images), *classifier.feature_shape(layer)) for layer in layers}
    about: dict[str, Any] = {
        "layers": {layer: list(shape) for layer, shape in shapes.items()},
        "network": classifier.network.name,
        "source": source,
        "names_sha256": hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest(),
    }
    try:
        state = _begun(folder, about, names, shapes)
        if state["done"] < len(images) or not state["whole"]:
            _write(classifier, images, folder, shapes, state, about, show)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
    return [Unreadable(i, str(names[i]), why) for i, why in state["unreadable"]]


def file_of(folder: Path, layer: str) -> Path:
    """Returns the file of a layer's activations; a colon is no part of its name."""
    return folder / f"{layer.replace(':', '.')}.npy"


def _begun(
    folder: Path, about: dict[str, Any], names: Sequence[str], shapes: dict[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Returns what is done already; a new folder is begun where there is room for all of it."""
    path = folder / FEATURES
    if path.exists():
        try:
            found = json.loads(path.read_text("utf-8"))
            state = {key: found.pop(key) for key in ("done", "unreadable", "whole")}
        except (ValueError, KeyError, AttributeError):
            raise InputError(f"{path} is damaged; remove {folder} or choose another") from None
        if found != about:
            other = next((k for k in about if found.get(k) != about[k]), "more")
            raise InputError(
                f"{folder} holds features of other images, layers or weights ({other} differs); "
                "remove it or choose another"
            )
        return state
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and holds no features; choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    needed = sum(4 * int(np.prod(shape)) for shape in shapes.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"the features take {needed / 1e9:,.1f} GB and {folder} has {free / 1e9:,.1f} GB free; "
            "take fewer layers or images, or another disk"
        )
    write_text(folder / NAMES, json.dumps(list(names)))
    state = {"done": 0, "unreadable": [], "whole": False}
    write_text(path, json.dumps(about | state, indent=1) + "\n")
    return state


def _write(
    classifier: Classifier,
    images: Sequence[UserImage],
    folder: Path,
    shapes: dict[str, tuple[int, ...]],
    state: dict[str, Any],
    about: dict[str, Any],
    show: Callable[[int, int], None],
) -> None:
    files = {layer: _opened(folder, layer, shape, state["done"]) for layer, shape in shapes.items()}
    try:
        while state["done"] < len(images):
            first = state["done"]
            chunk = images[first : first + CHUNK]
            bad: list[Unreadable] = []
            found = classifier.features(chunk, list(shapes), unreadable=bad)
            good = np.setdiff1d(np.arange(len(chunk)), [one.index for one in bad])
            for layer, file in files.items():
                rows = np.full((len(chunk), *shapes[layer][1:]), np.nan, np.float32)
                rows[good] = found[layer]
                file.write(rows.tobytes())
                file.flush()
                os.fsync(file.fileno())
            state["unreadable"] += [[first + one.index, one.reason] for one in bad]
            state["done"] = first + len(chunk)
            write_text(folder / FEATURES, json.dumps(about | state, indent=1) + "\n")
            show(state["done"] - len(state["unreadable"]), len(state["unreadable"]))
    finally:
        for file in files.values():
            file.close()
    for layer in shapes:
        part = _part(folder, layer)
        if part.exists():
            os.replace(part, file_of(folder, layer))
    state["whole"] = True
    write_text(folder / FEATURES, json.dumps(about | state, indent=1) + "\n")


def _part(folder: Path, layer: str) -> Path:
    path = file_of(folder, layer)
    return path.with_name(path.name + ".part")


def _opened(folder: Path, layer: str, shape: tuple[int, ...], done: int) -> BinaryIO:
    """Returns the file of a layer, cut to the rows that are done, ready for the next."""
    header = io.BytesIO()
    facts = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, facts)
    path = _part(folder, layer)
    if not path.exists() and file_of(folder, layer).exists():
        path = file_of(folder, layer)  # renamed before the others
    file = path.open("r+b" if path.exists() else "w+b")
    wanted = header.tell() + 4 * done * int(np.prod(shape[1:]))
    if done and os.path.getsize(path) < wanted:
        file.close()
        raise InputError(f"{path} is shorter than what was written; remove {folder}")
    file.write(header.getvalue())
    file.truncate(wanted)
    file.seek(wanted)
    return file
