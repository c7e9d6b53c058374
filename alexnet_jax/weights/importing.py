"""Weights from outside become an ordinary run folder, with a record of their origin."""

import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from alexnet_jax.errors import InputError, did_you_mean, printable
from alexnet_jax.network.layers import Dense, Parametric, parametric_layers
from alexnet_jax.network.model import init_params
from alexnet_jax.weights import READERS
from alexnet_jax.weights.imported_run import check_free, make_config, run_info, write_imported_run
from alexnet_jax.weights.readers.array_checks import (
    ArrayCheck,
    check_floats,
    check_trained,
    random_weights_warning,
)
from alexnet_jax.weights.readers.file_kinds import find_source
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights
from alexnet_jax.weights.readers.labels import ClassNames, default_names, read_labels
from alexnet_jax.weights.readers.source_file import open_source


class ImportResult(NamedTuple):
    """What was imported; `fresh` layers have random values, since the file lacks them."""

    workdir: Path
    network: str
    imported: tuple[str, ...]
    fresh: tuple[str, ...]
    sha256: str
    checks: tuple[ArrayCheck, ...]
    warnings: tuple[str, ...]
    messages: tuple[str, ...] = ()

    def summary(self) -> str:
        checks = [check for check in self.checks if check.expected]
        passed = sum(check.passed for check in checks)
        line = (
            f"imported {', '.join(self.imported)} into {self.workdir}: network '{self.network}', "
            f"SHA-256 {self.sha256[:16]}…, {passed} of {len(checks)} checks passed"
        )
        return "\n".join([line, *map(printable, self.messages)])


def import_weights(
    file: str | Path,
    source: str = "",
    workdir: str | Path = "",
    *,
    labels: str | Path | None = None,
    mean: str | Path | None = None,
    network: str = "",
    seed: int = 0,
) -> ImportResult:
    """Makes a run folder of weights that another program has trained.

    Args:
      file: for cuda-convnet also the folder of its checkpoints.
      source: key in `READERS`; empty: found by looking at the file.
      labels: as of `read_labels`; None: the file's, else ImageNet's WordNet ids, else numbers.
      mean: `.binaryproto` or `batches.meta`; None: the file's, else ImageNet's channel means.
      network: key in `NETWORKS`, if the file does not say it.

    Raises:
      InputError: the file, the labels or the mean cannot be used, or the folder holds a run.
    """
    if source and source not in READERS:
        known = f"Known: {', '.join(READERS)}"
        raise InputError(f"unknown --source '{source}'.{did_you_mean(source, READERS)} {known}")
    if not str(workdir):
        raise InputError("no run folder is named; name one with workdir")
    workdir = Path(workdir).absolute()
    check_free(workdir)
    source, found = (source, ()) if source else _look(file)
    foreign = READERS[source].read(file, network, mean)
    named = ClassNames((), ()) if labels is None else read_labels(labels, foreign.class_order)
    foreign, fresh = _complete(foreign, named.names, seed)
    layers = [layer.name for layer in parametric_layers(foreign.network.layers)]
    imported = [name for name in layers if name not in fresh]
    checks = check_trained(foreign.params, foreign.network, imported)
    warning_lines = (random_weights_warning(checks), _fresh_warning(imported, fresh))
    result = ImportResult(
        workdir,
        foreign.network.name,
        tuple(imported),
        tuple(fresh),
        foreign.file.sha256(),
        tuple(checks),
        tuple(line for line in warning_lines if line),
        (*found, *foreign.messages, *named.messages),
    )
    names = named.names or foreign.class_names
    names = names or default_names(foreign.network.classes, foreign.class_order)
    record = _make_record(foreign, result, source, labels, mean)
    config, data_path = make_config(foreign, source, labels, seed)
    write_imported_run(config, foreign, run_info(foreign, names, data_path, seed, record), workdir)
    for line in result.warnings:
        warnings.warn(line, stacklevel=1)
    return result


def _look(file: str | Path) -> tuple[str, tuple[str]]:
    source = find_source(file)
    return source, (f"read as --source {source}, by what is in the file",)


def _complete(
    foreign: ForeignWeights, names: tuple[str, ...], seed: int
) -> tuple[ForeignWeights, list[str]]:
    params, network, file = foreign.params, foreign.network, foreign.file.name
    layers = {layer.name: layer for layer in parametric_layers(network.layers)}
    fresh = [name for name in layers if name not in params]
    if fresh and names:
        order = foreign.class_order if len(names) == network.classes else "names"
        network = network.with_classes(len(names))
        layers = {layer.name: layer for layer in parametric_layers(network.layers)}
        foreign = foreign._replace(network=network, class_order=order)
    if names and len(names) != network.classes:
        raise InputError(
            f"{file} has {network.classes} classes, but there are {len(names)} labels; name "
            "the labels of its training"
        )
    is_end = fresh == list(layers)[len(layers) - len(fresh) :]
    if not is_end or not all(isinstance(layers[name], Dense) for name in fresh):
        raise InputError(
            f"{file} lacks {fresh[0]}; only dense layers at the end may be missing "
            f"(network '{network.name}': {', '.join(layers)}); get the complete file"
        )
    shapes = jax.eval_shape(lambda: init_params(network, foreign.image_size, seed))
    _check_shapes(foreign, shapes)
    for layer, leaves in params.items():
        check_floats({f"{layer}.{leaf}": array for leaf, array in leaves.items()}, file)
    rng = np.random.default_rng(seed)
    rest = {name: _initial_values(layers[name], shapes[name], rng) for name in fresh}
    return foreign._replace(params=params | rest), fresh


def _initial_values(
    layer: Parametric, shapes: Any, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """From NumPy: compiling the network's own initializers takes longer."""
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


def _check_shapes(foreign: ForeignWeights, shapes: Any) -> None:
    for layer, leaves in foreign.params.items():
        for leaf, array in leaves.items():
            expected = shapes[layer][leaf].shape
            if array.shape != expected:
                raise InputError(
                    f"{foreign.file.name}: {layer}'s {leaf} has shape {list(array.shape)} in our "
                    f"layout, but {list(expected)} in network '{foreign.network.name}'; name the "
                    "right --network"
                )


def _fresh_warning(imported: list[str], fresh: list[str]) -> str:
    if not fresh:
        return ""
    return (
        f"the file ends with {imported[-1]}: {', '.join(fresh)} HAVE FRESH RANDOM VALUES, so that "
        f"predictions mean nothing; use `features --layer {imported[-1]}`, or train a classifier "
        f"with --transfer.run and --transfer.layers {' '.join(imported)}"
    )


def _make_record(
    foreign: ForeignWeights,
    result: ImportResult,
    source: str,
    labels: str | Path | None,
    mean: str | Path | None,
) -> dict[str, Any]:
    return {
        "source": source,
        "file": foreign.file.name,
        "sha256": result.sha256,
        "bytes": len(foreign.file.data),
        "form": foreign.form,
        "network": result.network,
        "layers": {"imported": list(result.imported), "fresh": list(result.fresh)},
        "class_order": foreign.class_order,
        "labels": Path(labels).name if labels is not None else None,
        "mean": mean and {"file": Path(mean).name, "sha256": open_source(mean).sha256()},
        "notes": [*foreign.notes, *result.messages],
        "checks": [check._asdict() for check in result.checks],
        "warnings": list(result.warnings),
    }
