"""Weights from outside become an ordinary run folder, with a record of where they came from."""

import importlib
import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.config import Config, DataConfig
from alexnet_jax.data.prepared import read_prepared
from alexnet_jax.errors import InputError, did_you_mean, printable
from alexnet_jax.files import write_text
from alexnet_jax.locations import default_data_dir
from alexnet_jax.network.layers import (
    Dense,
    Network,
    Parametric,
    parametric_layers,
    summarize,
)
from alexnet_jax.network.model import init_params
from alexnet_jax.runs import folder as run_folder
from alexnet_jax.runs.checkpoint import FOLDER, Checkpoints
from alexnet_jax.runs.state import TrainState
from alexnet_jax.weights import Source
from alexnet_jax.weights.readers.checks import Check, check_trained, warning_of
from alexnet_jax.weights.readers.labels import Labels, default_names, read_labels
from alexnet_jax.weights.readers.reading import Arrays, Reading
from alexnet_jax.weights.readers.source_file import SourceFile, check_finite, open_source

SOURCES = get_args(Source)

IMAGENET = "imagenet2012"
_IMPORTING = "importing"


class Imported(NamedTuple):
    """What was imported.

    Attributes:
      workdir: the new run folder.
      network: key in `NETWORKS`.
      imported, fresh: names of the layers from the file, and of those with fresh random values.
      sha256: of the file.
      checks: what was examined.
      warnings: what the user must know, one line each.
      told: how the file and its labels were understood, one line each, where that was a choice.
    """

    workdir: Path
    network: str
    imported: tuple[str, ...]
    fresh: tuple[str, ...]
    sha256: str
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    told: tuple[str, ...] = ()

    def summary(self) -> str:
        """Returns lines for the user: what was imported, and `told`; the warnings are not in it."""
        checks = [check for check in self.checks if check.expected]
        passed = sum(check.passed for check in checks)
        line = (
            f"imported {', '.join(self.imported)} into {self.workdir}: network '{self.network}', "
            f"SHA-256 {self.sha256[:16]}…, {passed} of {len(checks)} checks passed"
        )
        return "\n".join([line, *map(printable, self.told)])


def import_weights(
    file: str | Path,
    source: str,
    workdir: str | Path,
    *,
    labels: str | Path | None = None,
    mean: str | Path | None = None,
    network: str = "",
    seed: int = 0,
) -> Imported:
    """Makes a run folder of weights that another program has trained.

    Args:
      file: weights; of cuda-convnet also the folder of its checkpoints.
      source: one of `SOURCES`.
      workdir: folder to make; it must not hold a run.
      labels: class names, see `read_labels`; None: those of the file, else ImageNet's WordNet
        ids, else numbers. A prepared data set's folder also tells `evaluate` where to look.
      mean: mean image of the training: Caffe's `.binaryproto`, cuda-convnet's `batches.meta`;
        None: that of the file, else the means of ImageNet's channels.
      network: key in `NETWORKS`, where the file does not tell it.
      seed: of the values of layers that the file lacks.

    Raises:
      InputError: the file, the labels or the mean cannot be used, or the folder holds a run.
    """
    if source not in SOURCES:
        raise InputError(
            f"unknown --source '{source}'.{did_you_mean(source, SOURCES)} "
            f"Known: {', '.join(SOURCES)}"
        )
    workdir = Path(workdir).absolute()
    _check_free(workdir)
    opened = open_source(newest_checkpoint(file) if source == "cuda-convnet" else file)
    reader: Callable[..., Reading] = importlib.import_module(
        f"{__package__}.readers.{source.replace('-', '_')}"
    ).read
    mean_file = open_source(mean) if mean is not None else None
    reading = reader(opened, network, mean_file)
    found = read_labels(labels, reading.class_order) if labels is not None else Labels((), ())
    names, told = found.names, (*reading.told, *found.told)
    reading, fresh = _completed(reading, opened, names, seed)
    names = names or reading.class_names
    names = names or default_names(reading.network.classes, reading.class_order)
    layers = [layer.name for layer in parametric_layers(reading.network.layers)]
    imported = [layer for layer in layers if layer not in fresh]
    checks = check_trained(reading.params, reading.network, imported)
    warned = [text for text in (warning_of(checks), _trunk_warning(imported, fresh)) if text]
    config, info = _describe(reading, source, names, labels, seed)
    info["import"] = {
        "source": source,
        "file": opened.name,
        "sha256": opened.sha256(),
        "bytes": len(opened.data),
        "form": reading.form,
        "network": reading.network.name,
        "layers": {"imported": imported, "fresh": fresh},
        "class_order": reading.class_order,
        "labels": Path(labels).name if labels is not None else None,
        "mean": mean_file and {"file": mean_file.name, "sha256": mean_file.sha256()},
        "notes": [*reading.notes, *told],
        "checks": [check._asdict() for check in checks],
        "warnings": warned,
    }
    _write(workdir, config, reading, info)
    for text in warned:
        warnings.warn(text, stacklevel=1)
    return Imported(
        workdir,
        reading.network.name,
        tuple(imported),
        tuple(fresh),
        info["import"]["sha256"],
        tuple(checks),
        tuple(warned),
        told,
    )


def newest_checkpoint(path: str | Path) -> Path:
    """Returns the file to read: of a folder the checkpoint with the largest epoch and batch."""
    path = Path(path)
    if not path.is_dir():
        return path
    numbered = []
    for entry in path.iterdir():
        parts = entry.name.split(".")
        if len(parts) == 2 and all(part.isdigit() for part in parts) and entry.is_file():
            numbered.append((int(parts[0]), int(parts[1]), entry))
    if not numbered:
        raise InputError(f"{path} holds no checkpoint of cuda-convnet (files EPOCH.BATCH)")
    return max(numbered)[2]


def _broken_off(workdir: Path) -> bool:
    """Returns whether the folder holds what an import that was killed has left."""
    try:
        info = json.loads((workdir / "run.json").read_text("utf-8"))
        return info["status"] == _IMPORTING and not (workdir / "config.json").exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_free(workdir: Path) -> None:
    if _broken_off(workdir):
        return
    checkpoints = workdir / FOLDER
    if (workdir / "config.json").exists() or (checkpoints.is_dir() and any(checkpoints.iterdir())):
        raise InputError(f"{workdir} holds a run already; import into another --workdir")


def _completed(
    reading: Reading, file: SourceFile, names: tuple[str, ...], seed: int
) -> tuple[Reading, list[str]]:
    """Returns the reading with fresh values in the last layers where the file ends before them.

    Raises:
      InputError: a shape is wrong, a layer in the middle is missing, a value is not finite, or
        the number of names is not that of the outputs.
    """
    layers = [layer.name for layer in parametric_layers(reading.network.layers)]
    present = [layer in reading.params for layer in layers]
    fresh = [layer for layer in layers if layer not in reading.params]
    if fresh and names:
        network = reading.network.with_classes(len(names))
        same = len(names) == reading.network.classes
        order = reading.class_order if same else "names"
        reading = reading._replace(network=network, class_order=order)
    network = reading.network
    if names and len(names) != network.classes:
        raise InputError(
            f"{file.name} has {network.classes} classes, but there are {len(names)} labels; name "
            "the labels that it was trained with"
        )
    dense = [layer.name for layer in parametric_layers(network.layers) if isinstance(layer, Dense)]
    if present != sorted(present, reverse=True) or not set(fresh) <= set(dense):
        raise InputError(
            f"{file.name} lacks {fresh[0]}; only dense layers at the end may be missing "
            f"(network '{network.name}': {', '.join(layers)})"
        )
    shapes = jax.eval_shape(lambda: init_params(network, reading.image_size, seed))
    _check_shapes(reading.params, shapes, network, file)
    for layer, leaves in reading.params.items():
        check_finite({f"{layer}.{leaf}": array for leaf, array in leaves.items()}, file.name)
    if not fresh:
        return reading, []
    rng = np.random.default_rng(seed)
    by_name = {layer.name: layer for layer in parametric_layers(network.layers)}
    rest = {name: _fresh(by_name[name], shapes[name], rng) for name in fresh}
    return reading._replace(params=reading.params | rest), fresh


def _fresh(layer: Parametric, shapes: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns initial values of a layer, from NumPy: compiling the network's own takes longer."""
    kernel, bias = (shapes[leaf].shape for leaf in ("kernel", "bias"))
    if layer.weight_std is None:
        bound = np.float32(1 / math.sqrt(math.prod(kernel[:-1])))
        return {
            "kernel": (2 * rng.random(kernel, np.float32) - 1) * bound,
            "bias": (2 * rng.random(bias, np.float32) - 1) * bound,
        }
    return {
        "kernel": rng.standard_normal(kernel, np.float32) * np.float32(layer.weight_std),
        "bias": np.full(bias, layer.bias, np.float32),
    }


def _check_shapes(params: Arrays, shapes: Any, network: Network, file: SourceFile) -> None:
    for layer, leaves in params.items():
        for leaf, array in leaves.items():
            expected = shapes[layer][leaf].shape
            if array.shape != expected:
                raise InputError(
                    f"{file.name}: {layer}'s {leaf} is {list(array.shape)} in our layout, but "
                    f"{list(expected)} in network '{network.name}'; name the right --network"
                )


def _trunk_warning(imported: list[str], fresh: list[str]) -> str:
    if not fresh:
        return ""
    return (
        f"the file ends with {imported[-1]}: {', '.join(fresh)} HAVE FRESH RANDOM VALUES, so that "
        f"predictions mean nothing; use `features --layer {imported[-1]}`, or train a classifier "
        f"with --transfer.run and --transfer.layers {' '.join(imported)}"
    )


def _describe(
    reading: Reading,
    source: str,
    names: tuple[str, ...],
    labels: str | Path | None,
    seed: int,
) -> tuple[Config, dict[str, Any]]:
    """Returns `config.json` and `run.json` of the new run."""
    data = DataConfig(stored_size=reading.stored_size)
    folder = default_data_dir() / (reading.network.name + "-data")
    if reading.class_order != "names":
        order = reading.class_order
        data = DataConfig(
            name=IMAGENET,
            source_kind=IMAGENET,
            class_order=order,
            stored_size=reading.stored_size,
        )
        folder = default_data_dir() / IMAGENET
    if labels is not None and Path(labels).is_dir():
        folder = Path(labels).absolute()
        splits = (read_prepared(folder) or {}).get("splits", {})
        split = "validation" if "validation" in splits else "test"
        data = DataConfig(name=folder.name, validation_split=split, stored_size=reading.stored_size)
    own_size = reading.image_size == reading.network.image_size
    config = Config(
        preset=f"imported-{source}",
        network=reading.network.name,
        image_size=0 if own_size else reading.image_size,
        seed=seed,
        data=data,
        augment=reading.augment,
        preprocess=reading.preprocess,
    )
    info = run_folder.environment() | {
        "status": "imported",
        "seed": seed,
        "step": 0,
        "class_names": list(names),
        "stored_size": reading.stored_size,
        **reading.appearance._asdict(),
        "data_path": str(folder),
        "data_fingerprint": "",
        "wall_seconds": 0.0,
    }
    return config, info


def _write(workdir: Path, config: Config, reading: Reading, info: dict[str, Any]) -> None:
    summarize(reading.network, reading.image_size)
    with run_folder.locked(workdir):
        _check_free(workdir)
        # `config.json` is written last and makes the folder a run; until then this marks it.
        write_text(workdir / "run.json", json.dumps(info | {"status": _IMPORTING}))
        shutil.rmtree(workdir / FOLDER, ignore_errors=True)
        params = jax.tree.map(jnp.asarray, reading.params)
        key = jax.random.key_data(jax.random.key(config.seed))
        # Nobody trains on in this folder; Orbax saves no item without an array.
        state = TrainState(jnp.zeros((), jnp.int32), params, {"velocities": jnp.zeros(1)}, key)
        checkpoints = Checkpoints(workdir)
        try:
            meta = {"imported": info["import"]["sha256"]}
            described = {"run": run_folder.description(config, info)}
            checkpoints.save(state, meta | described, {})
        finally:
            checkpoints.close()
        run_folder.start_run(workdir, config, reading.inputs, info)
