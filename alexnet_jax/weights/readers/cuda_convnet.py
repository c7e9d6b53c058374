"""Checkpoints of cuda-convnet, 2011, 2012 and 2014, whose towers become groups.

A Python 2 pickle (or a zip with it as `data`). Convolutions are `[in * k * k, out]`, dense
`[in, out]`, rows in the order channel, y, x, one matrix per input layer; unshared ones position by
position. Images are RGB in 0..255, less the centre window of the mean image. If only one of the
file's network and ours scales by dropout's keeping probability at test (2012), the weights above
the dropout take that factor. Source: 2012 `layer.py`, `convnet.py`; cuda-convnet2 `layer.py`.
"""

import dataclasses
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Dropout, Layer, Parametric, parametric_layers
from alexnet_jax.network.networks import NETWORKS, find_network
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.cuda_convnet_arrays import to_params
from alexnet_jax.weights.readers.cuda_convnet_graph import Graph, read_graph
from alexnet_jax.weights.readers.file_kinds import check_file_kind
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, plain_inputs
from alexnet_jax.weights.readers.layer_sequence import dropout_factors
from alexnet_jax.weights.readers.pickled_values import PickledArray
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from alexnet_jax.weights.readers.source_file import MAX_BYTES, SourceFile

CHANNEL_MEAN = (127.30, 119.72, 104.91)
"""RGB, of cuda-convnet2's ILSVRC-2012 (make-data/input_meta)."""
_MAX_ZIP_RATIO = 20  # numbers hardly shrink, but velocities may all be zero


def recognizes(file: SourceFile) -> bool:
    """Raises `InputError` for what is no pickle of arrays."""
    state = _unpickle(file)
    return isinstance(state, dict) and "model_state" in state


def read(
    file: SourceFile, network_name: str = "", mean_file: SourceFile | None = None
) -> ForeignWeights:
    """`mean_file` is `batches.meta`; None: the means of ImageNet's channels."""
    state = _unpickle(file)
    state = state.get("model_state") if isinstance(state, dict) else None
    if not isinstance(state, dict) or "layers" not in state:
        raise InputError(f"{file.name} is no checkpoint of cuda-convnet: it has no model_state")
    graph = read_graph(state["layers"], file.name)
    size, classes = graph.image_size, parametric_layers(graph.layers)[-1].features
    network = find_network(network_name or _detect_network(graph, file), classes)
    params = to_params(graph, network, file.name)
    factors = dropout_factors(graph.layers, network.layers)
    for layer, factor in factors.items():
        params[layer]["kernel"] *= np.float32(factor)
    mean, names = (None, ()) if mean_file is None else _read_meta(mean_file, size)
    start = 0 if mean is None else (mean.shape[0] - size) // 2
    window = slice(start, start + size)
    if mean is None and size < 224:
        raise InputError(
            f"network '{network.name}' needs the mean image of its training; name its "
            "batches.meta with --mean"
        )
    return ForeignWeights(
        file=file,
        network=network,
        params=params,
        image_size=size,
        stored_size=max(256 if mean is None else mean.shape[0], size),
        preprocess=PreprocessConfig(mean="channel" if mean is None else "image"),
        inputs=plain_inputs(CHANNEL_MEAN if mean is None else mean[window, window]),
        form="cuda-convnet checkpoint",
        class_order="ilsvrc" if classes == 1000 else "names",
        class_names=names if len(names) == classes else (),
        notes=tuple(
            f"{layer}'s weights times {factor:g} (dropout's convention)"
            for layer, factor in factors.items()
        ),
    )


def find_file(folder: Path) -> Path:
    """Returns the checkpoint with the largest epoch and batch, files `EPOCH.BATCH`."""
    numbered = []
    for entry in folder.iterdir():
        parts = entry.name.split(".")
        if len(parts) == 2 and all(part.isdigit() for part in parts) and entry.is_file():
            numbered.append((int(parts[0]), int(parts[1]), entry))
    if not numbered:
        raise InputError(
            f"{folder} holds no checkpoint of cuda-convnet (files EPOCH.BATCH); name another folder"
        )
    return max(numbered)[2]


def _unpickle(file: SourceFile) -> Any:
    check_file_kind(file, "pickle", "cuda-convnet")
    is_zip = bytes(file.data[:4]) == b"PK\x03\x04"
    return read_pickle(memoryview(_unzip(file)) if is_zip else file.data, file.name)[0]


def _unzip(file: SourceFile) -> bytes:
    try:
        with zipfile.ZipFile(file.stream) as archive:
            info = archive.getinfo("data")
            if info.file_size > min(MAX_BYTES, _MAX_ZIP_RATIO * len(file.data)):
                raise InputError(
                    f"{file.name} would unpack to {info.file_size:,} bytes, more than weights do"
                )
            return archive.read(info)
    except KeyError:
        raise InputError(f"{file.name} is a zip without the entry 'data'") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        reason = str(error)[:100]  # it may quote much of the file
        raise InputError(f"{file.name} is not a complete zip archive: {reason}") from None


def _detect_network(graph: Graph, file: SourceFile) -> str:
    for name, network in NETWORKS.items():
        if _same_layers(graph.layers, network.layers):
            return name
    kinds = " ".join(type(layer).__name__ for layer in graph.layers)
    raise InputError(
        f"{file.name} has layers that no known network has: {kinds}; name the nearest network with "
        "--network"
    )


def _same_layers(first: tuple[Layer, ...], second: tuple[Layer, ...]) -> bool:
    """Whether two networks are equal, up to dropout's convention and classes."""
    first, second = _anonymous(first), _anonymous(second)
    return [type(layer) for layer in first] == [type(layer) for layer in second] and all(
        math.isclose(x, y, rel_tol=1e-4) if isinstance(x, float) else x == y
        for one, other in zip(first, second, strict=True)
        for x, y in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    )


def _anonymous(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    classifier = parametric_layers(layers)[-1]
    found: list[Layer] = []
    for layer in layers:
        if isinstance(layer, Parametric):
            features = 0 if layer is classifier else layer.features
            layer = dataclasses.replace(layer, name="", features=features, weight_std=0, bias=0)
        elif isinstance(layer, Dropout):
            layer = dataclasses.replace(layer, inverted=False)
        found.append(layer)
    return tuple(found)


def _read_meta(file: SourceFile, image_size: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the mean image `[size, size, 3]` and the class names of `batches.meta`."""
    meta = _unpickle(file)
    mean = meta.get("data_mean") if isinstance(meta, dict) else None
    names = meta.get("label_names", []) if isinstance(meta, dict) else []
    try:
        array = mean.numpy().reshape(3, -1) if isinstance(mean, PickledArray) else np.empty((3, 0))
    except ValueError as error:
        raise InputError(f"{file.name}: data_mean is {error}") from None
    side = math.isqrt(array.shape[1])
    if side * side != array.shape[1] or side < image_size:
        raise InputError(f"{file.name} has no mean image of {image_size} pixels or more")
    image = np.asarray(array.reshape(3, side, side).transpose(1, 2, 0), np.float32)
    check_floats({"data_mean": image}, file.name)
    are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return image, tuple(names) if are_names else ()
