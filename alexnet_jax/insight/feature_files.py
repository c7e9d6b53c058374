"""Activations in files: one `.npz` for a layer, or a folder of `.npy` for any number of images.

The folder holds `LAYER.npy` (float32, row i is image i; `np.load(…, mmap_mode="r")` reads a part),
`names.json` (the images, in order) and `features.json` (layers, network, run, and which images
could not be read; their rows are NaN). Until all is done the arrays are called `LAYER.npy.part`,
and the same call goes on after the last whole chunk.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.files import write_arrays, write_text
from alexnet_jax.insight.classifier import Classifier
from alexnet_jax.insight.images import Unreadable, UserImage
from alexnet_jax.insight.prediction_text import encodable

FEATURES, NAMES = "features.json", "names.json"
CHUNK = 256
"""Images after which the files are synced; a stopped call goes on after them."""


def check_features_path(path: str | Path) -> Path:
    """Returns the file that `save_features` would write; raises `InputError` if it exists."""
    target = Path(path)
    if target.suffix != ".npz":
        target = target.with_name(target.name + ".npz")
    if target.exists():
        raise InputError(f"{target} exists already; remove it or choose another --output")
    return target


def save_features(
    path: str | Path, features: np.ndarray, names: Sequence[str], layer: str, source: str = ""
) -> Path:
    """Writes `features` (float32, a row per image), `images` (names), `layer` and `source`.

    Returns the new file's path, which ends with `.npz`. Raises `InputError` if it exists.
    """
    if len(features) != len(names):
        raise ValueError(f"{len(features)} rows of features for {len(names)} names")
    target = check_features_path(path)
    arrays = {
        "features": np.ascontiguousarray(features, np.float32),
        "images": np.array([encodable(name) for name in names], np.str_),
        "layer": np.array(layer),
        "source": np.array(source),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(target, **arrays)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    return target


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
    """Writes the activations of all images, in one pass for all layers; resumes a stopped call.

    A folder with another `source` (e.g. run and checkpoint) is not resumed. `show` is called after
    each chunk with the numbers of good and bad images so far.
    """
    if len(images) != len(names):
        raise ValueError(f"{len(images)} images, {len(names)} names")
    shapes = {name: (len(images), *classifier.feature_shape(name)) for name in layers}
    about = {
        "layers": {layer: list(shape) for layer, shape in shapes.items()},
        "network": classifier.network.name,
        "source": source,
        "names_sha256": hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest(),
    }
    try:
        output = _FeatureFolder(Path(folder), shapes, about, names)
        if not output.whole:
            with output:
                while output.done < len(images):
                    chunk = images[output.done : output.done + CHUNK]
                    bad: list[Unreadable] = []
                    output.append(classifier.features(chunk, list(shapes), unreadable=bad), bad)
                    show(output.done - len(output.unreadable), len(output.unreadable))
            output.finish()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
    return [Unreadable(index, str(names[index]), why) for index, why in output.unreadable]


def layer_file(folder: Path, layer: str) -> Path:
    """Returns the file of a layer's activations; a colon in its name becomes a dot."""
    return folder / f"{layer.replace(':', '.')}.npy"


class _FeatureFolder:
    """A folder of features while it is written; the rows of `done` images are on the disk."""

    def __init__(
        self,
        folder: Path,
        shapes: Mapping[str, tuple[int, ...]],
        about: dict[str, Any],
        names: Sequence[str],
    ):
        """Opens a folder of the same features (`about`), or begins a new one."""
        self._folder, self._shapes, self._about = folder, shapes, about
        self._files: dict[str, BinaryIO] = {}
        self.done, self.whole = 0, False
        self.unreadable: list[list[Any]] = []
        if (folder / FEATURES).exists():
            self._read_state()
        else:
            self._begin(names)

    def _read_state(self) -> None:
        folder, path = self._folder, self._folder / FEATURES
        try:
            found = json.loads(path.read_text("utf-8"))
            self.done, self.unreadable = found.pop("done"), found.pop("unreadable")
            self.whole = found.pop("whole")
        except (ValueError, KeyError, AttributeError):
            raise InputError(f"{path} is damaged; remove {folder} or choose another") from None
        if found != self._about:
            other = next((k for k, v in self._about.items() if found.get(k) != v), "more")
            raise InputError(
                f"{folder} holds features of other images, layers or weights ({other} differs); "
                "remove it or choose another"
            )

    def _begin(self, names: Sequence[str]) -> None:
        folder = self._folder
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"{folder} is not empty and holds no features; choose another --output"
            )
        folder.mkdir(parents=True, exist_ok=True)
        needed = sum(4 * int(np.prod(shape)) for shape in self._shapes.values())
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"the features take {needed / 1e9:,.1f} GB and {folder} has {free / 1e9:,.1f} GB "
                "free; take fewer layers or images, or another disk"
            )
        write_text(folder / NAMES, json.dumps(list(names)))
        self._write_state()

    def _write_state(self) -> None:
        state = {"done": self.done, "unreadable": self.unreadable, "whole": self.whole}
        write_text(self._folder / FEATURES, json.dumps(self._about | state, indent=1) + "\n")

    def __enter__(self) -> None:
        for layer, shape in self._shapes.items():
            self._files[layer] = self._open(layer, shape)

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            file.close()

    def _part(self, layer: str) -> Path:
        path = layer_file(self._folder, layer)
        return path.with_name(path.name + ".part")

    def _open(self, layer: str, shape: tuple[int, ...]) -> BinaryIO:
        """Returns the file of a layer, cut after the rows that are done."""
        header = io.BytesIO()
        facts = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, facts)
        path = self._part(layer)
        if not path.exists() and layer_file(self._folder, layer).exists():
            path = layer_file(self._folder, layer)  # renamed before the others
        file = path.open("r+b" if path.exists() else "w+b")
        end = header.tell() + 4 * self.done * int(np.prod(shape[1:]))
        if self.done and os.path.getsize(path) < end:
            file.close()
            raise InputError(f"{path} is shorter than what was written; remove {self._folder}")
        file.write(header.getvalue())
        file.truncate(end)
        file.seek(end)
        return file

    def append(self, found: Mapping[str, np.ndarray], bad: Sequence[Unreadable]) -> None:
        """Writes the rows of the next images; those of the bad ones among them are NaN."""
        count = len(next(iter(found.values()))) + len(bad)
        good = np.setdiff1d(np.arange(count), [x.index for x in bad])
        for layer, file in self._files.items():
            rows = np.full((count, *self._shapes[layer][1:]), np.nan, np.float32)
            rows[good] = found[layer]
            file.write(rows.tobytes())
            file.flush()
            os.fsync(file.fileno())
        self.unreadable += [[self.done + x.index, x.reason] for x in bad]
        self.done += count
        self._write_state()

    def finish(self) -> None:
        """Gives the arrays their final names."""
        for layer in self._shapes:
            if self._part(layer).exists():
                os.replace(self._part(layer), layer_file(self._folder, layer))
        self.whole = True
        self._write_state()
