"""Checkpoints of cuda-convnet, 2011, 2012 and 2014, whose towers become groups.

A checkpoint is a pickle of Python 2 (or a zip that holds one as `data`), read by `safe_pickle`.
Convolution weights are `[in * k * k, out]` and dense ones `[in, out]`, rows in the order channel,
y, x, one matrix per input layer; unshared ones have a position's rows one after another. Images are
RGB in 0..255, less the centre window of the mean image. Where dropout multiplied by its keeping
probability at test (2012) and ours does not, or the other way around, the weights above it take
that factor. Source: 2012 files `layer.py`, `convnet.py`; cuda-convnet2 `layer.py`.
"""

import dataclasses
import math
import zipfile
import zlib
from typing import Any

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    Conv,
    Dense,
    Dropout,
    Layer,
    Local,
    Network,
    Parametric,
    parametric_layers,
)
from alexnet_jax.network.networks import NETWORKS, find_network
from alexnet_jax.weights.readers.cuda_convnet_graph import Graph, Member, is_grouped, read_graph
from alexnet_jax.weights.readers.kinds import check_kind
from alexnet_jax.weights.readers.pickled_values import Array
from alexnet_jax.weights.readers.reading import Arrays, Reading, make_arrays
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from alexnet_jax.weights.readers.source_file import LARGEST_BYTES, SourceFile, check_finite

CHANNEL_MEAN = (127.30, 119.72, 104.91)
"""RGB, of cuda-convnet2's ILSVRC-2012 (make-data/input_meta)."""
_LARGEST_RATIO = 20  # of a zip: numbers hardly shrink, but velocities may all be zero


def read(file: SourceFile, network_name: str = "", mean: SourceFile | None = None) -> Reading:
    """Reads a checkpoint.

    Args:
      file: the file `EPOCH.BATCH`.
      network_name: key in `NETWORKS`; empty: that which has the file's layers.
      mean: `batches.meta` of the training images; None: ImageNet's channel means.

    Raises:
      InputError: the file is damaged, wants to run something, or is of no known network.
    """
    state = _unpickle(file)
    state = state.get("model_state") if isinstance(state, dict) else None
    if not isinstance(state, dict) or "layers" not in state:
        raise InputError(f"{file.name} is no checkpoint of cuda-convnet: it has no model_state")
    graph = read_graph(state["layers"], file.name)
    classes = parametric_layers(graph.layers)[-1].features
    name = network_name or _network_of(graph, file)
    network = find_network(name, classes)
    params = _to_params(graph, network, file)
    factors = _dropout_factors(graph, network)
    for layer, factor in factors.items():
        params[layer]["kernel"] *= np.float32(factor)
    notes = [
        f"{layer}'s weights times {f:g} (dropout's convention)" for layer, f in factors.items()
    ]
    mean_image, names = _read_meta(mean, graph.image_size, network)
    stored = 256 if mean_image is None else mean_image.shape[0]
    return Reading(
        network=network,
        params=params,
        image_size=graph.image_size,
        stored_size=max(stored, graph.image_size),
        preprocess=PreprocessConfig(mean="channel" if mean_image is None else "image"),
        inputs=make_arrays(CHANNEL_MEAN if mean_image is None else _centre(mean_image, graph)),
        form="cuda-convnet checkpoint",
        class_order="ilsvrc" if classes == 1000 else "names",
        class_names=names if len(names) == classes else (),
        notes=tuple(notes),
    )


def _unpickle(file: SourceFile) -> Any:
    check_kind(file, "pickle", "cuda-convnet")
    data = file.data
    if bytes(data[:4]) == b"PK\x03\x04":
        data = memoryview(_unzipped(file))
    return read_pickle(data, file.name)[0]


def _unzipped(file: SourceFile) -> bytes:
    """Returns the pickle in a zip, which may be compressed, but not out of all proportion."""
    try:
        with zipfile.ZipFile(file.stream()) as archive:
            info = archive.getinfo("data")
            limit = min(LARGEST_BYTES, _LARGEST_RATIO * len(file.data))
            if info.file_size > limit:
                raise InputError(
                    f"{file.name} would unpack to {info.file_size:,} bytes, more than weights do"
                )
            return archive.read(info)
    except KeyError:
        raise InputError(f"{file.name} is a zip without the entry 'data'") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        why = str(error)[:100]  # it may quote much of the file
        raise InputError(f"{file.name} is not a whole zip archive: {why}") from None


def _network_of(graph: Graph, file: SourceFile) -> str:
    """Returns the name of the network that has the file's layers."""
    for name, network in NETWORKS.items():
        if _same(graph.layers, network.layers):
            return name
    kinds = " ".join(type(layer).__name__ for layer in graph.layers)
    raise InputError(
        f"{file.name} is of none of our networks; it has {kinds}: name the nearest with --network"
    )


def _same(first: tuple[Layer, ...], second: tuple[Layer, ...]) -> bool:
    """Returns whether two networks compute the same, up to dropout's convention and classes."""
    a, b = (_anonymous(layers) for layers in (first, second))
    if [type(layer) for layer in a] != [type(layer) for layer in b]:
        return False
    return all(
        math.isclose(x, y, rel_tol=1e-4) if isinstance(x, float) else x == y
        for one, other in zip(a, b, strict=True)
        for x, y in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    )


def _anonymous(layers: tuple[Layer, ...]) -> list[Layer]:
    classifier = parametric_layers(layers)[-1]
    found: list[Layer] = []
    for layer in layers:
        if isinstance(layer, Parametric):
            features = 0 if layer is classifier else layer.features
            layer = dataclasses.replace(layer, name="", features=features, weight_std=0, bias=0)
        elif isinstance(layer, Dropout):
            layer = dataclasses.replace(layer, inverted=False)
        found.append(layer)
    return found


def _dropout_factors(graph: Graph, network: Network) -> dict[str, float]:
    """Returns by what the weights of a layer above a dropout must be multiplied, where not by 1.

    Without the inverted convention the layer below is multiplied by `1 - rate` at test.
    """
    names = [layer.name for layer in parametric_layers(network.layers)]
    there, here = (_test_factors(layers) for layers in (graph.layers, network.layers))
    factors = {name: a / b for name, a, b in zip(names, there, here, strict=False)}
    return {name: factor for name, factor in factors.items() if factor != 1}


def _test_factors(layers: tuple[Layer, ...]) -> list[float]:
    factors, factor = [], 1.0
    for layer in layers:
        if isinstance(layer, Dropout) and not layer.inverted:
            factor *= 1 - layer.rate
        elif isinstance(layer, Parametric):
            factors.append(factor)
            factor = 1.0
    return factors


def _to_params(graph: Graph, network: Network, file: SourceFile) -> Arrays:
    layers = parametric_layers(network.layers)
    kinds = [type(layer) for layer in parametric_layers(graph.layers)]
    if kinds != [type(layer) for layer in layers]:
        raise InputError(
            f"{file.name} has {len(kinds)} layers with weights, of other kinds than the "
            f"{len(layers)} of network '{network.name}'"
        )
    params: Arrays = {}
    below: list[Member] = []
    for layer, level in zip(layers, graph.levels, strict=True):
        try:
            seen = [member.sources[0][0] for member in level] if is_grouped(level) else []
            if seen and seen != [member.name for member in below]:
                raise ValueError("its towers lie in another order than those below")
            kernels = [_kernel(member, below, level, layer) for member in level]
            biases = [_bias(member, layer, kernels[0]) for member in level]
            kernel, bias = (np.concatenate(parts, axis=-1) for parts in (kernels, biases))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(
                f"{file.name}: the weights of {level[0].name} do not fit: {str(error)[:120]}"
            ) from None
        leaves = {
            "kernel": np.ascontiguousarray(kernel, np.float32),
            "bias": np.ascontiguousarray(bias, np.float32),
        }
        check_finite({f"{layer.name}.{leaf}": array for leaf, array in leaves.items()}, file.name)
        params[layer.name] = leaves
        below = level
    return params


def _kernel(
    member: Member, below: list[Member], level: list[Member], layer: Parametric
) -> np.ndarray:
    """Returns the kernel of one tower, its inputs in the order of the towers below."""
    values = member.values
    pieces: dict[str, np.ndarray] = {}
    for matrix, sources in zip(_matrices(values), member.sources, strict=True):
        # Several sources of one input were laid one behind the other, channel by channel.
        channels = [_channels(name, below) for name in sources] or [3]
        ends = np.cumsum(channels)[:-1] * (matrix.shape[0] // _positions(values) // sum(channels))
        if isinstance(layer, Local) and len(sources) > 1:
            raise ValueError("an unshared layer of several towers")
        pieces |= zip(sources or ("",), np.split(matrix, ends), strict=True)
    order = [tower.name for tower in below if tower.name in pieces] or [""]
    if len(order) != len(pieces) or (len(order) != len(below) and not is_grouped(level)):
        if below:
            raise ValueError("it sees some of the towers below, but not all")
    blocks = [_block(pieces[name], values, _channels(name, below)) for name in order]
    if isinstance(layer, Dense):
        joined = np.concatenate(blocks, axis=0)  # [channels, height, width, out]
        return joined.transpose(1, 2, 0, 3).reshape(-1, joined.shape[-1])
    return np.concatenate(blocks, axis=-2)


def _block(matrix: np.ndarray, values: dict[str, Any], channels: int) -> np.ndarray:
    """Returns what one tower below contributes.

    Returns:
      Dense: `[channels, height, width, out]`; convolution `[k, k, in, out]`; unshared
      `[height, width, k, k, in, out]`.
    """
    out = matrix.shape[-1]
    if values["type"] == "fc":
        side = math.isqrt(matrix.shape[0] // channels)
        return matrix.reshape(channels, side, side, out)
    window = values["filterSize"]
    window = window[0] if isinstance(window, list) else window
    if values["type"] == "conv":
        return matrix.reshape(-1, window, window, out).transpose(1, 2, 0, 3)
    side = math.isqrt(_positions(values))
    bank = matrix.reshape(side, side, -1, window, window, out)
    return bank.transpose(0, 1, 3, 4, 2, 5)


def _positions(values: dict[str, Any]) -> int:
    return int(values["modules"]) if values["type"] == "local" else 1


def _channels(name: str, below: list[Member]) -> int:
    """Returns the number of channels of a tower below; 3 of the images."""
    for member in below:
        if member.name == name:
            dense = member.values["type"] == "fc"
            return int(member.values["outputs" if dense else "filters"])
    if name:
        raise ValueError(f"it sees {name}, which is not the layer below")
    return 3


def _matrices(values: dict[str, Any]) -> list[np.ndarray]:
    found = values["weights"]
    if not isinstance(found, list) or not all(isinstance(item, Array) for item in found):
        raise ValueError("weights that are no arrays")
    matrices = [item.numpy() for item in found]
    if any(matrix.ndim != 2 or matrix.dtype.kind != "f" for matrix in matrices):
        raise ValueError("weights that are no matrices")
    return matrices


def _bias(member: Member, layer: Parametric, kernel: np.ndarray) -> np.ndarray:
    bias = member.values["biases"]
    if not isinstance(bias, Array):
        raise ValueError("biases that are no array")
    array = bias.numpy()
    if isinstance(layer, Local):  # filter by filter
        return array.reshape(-1, *kernel.shape[:2]).transpose(1, 2, 0)
    if isinstance(layer, Conv) and array.size != kernel.shape[-1]:
        raise ValueError("biases of its own for each position")
    return array.reshape(-1)


def _read_meta(
    file: SourceFile | None, image_size: int, network: Network
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Returns the mean image `[size, size, 3]` and the class names of `batches.meta`."""
    if file is None:
        if image_size < 224:
            raise InputError(
                f"network '{network.name}' needs the mean image of its training: name its "
                "batches.meta with --mean"
            )
        return None, ()
    meta = _unpickle(file)
    mean = meta.get("data_mean") if isinstance(meta, dict) else None
    names = meta.get("label_names", []) if isinstance(meta, dict) else []
    try:
        array = mean.numpy().reshape(3, -1) if isinstance(mean, Array) else np.empty((3, 0))
    except ValueError as error:
        raise InputError(f"{file.name}: data_mean is {error}") from None
    side = math.isqrt(array.shape[1])
    if side * side != array.shape[1] or side < image_size:
        raise InputError(f"{file.name} has no mean image of {image_size} pixels or more")
    check_finite({"data_mean": np.asarray(array, np.float32)}, file.name)
    image = array.reshape(3, side, side).transpose(1, 2, 0)
    plain = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return np.asarray(image, np.float32), tuple(names) if plain else ()


def _centre(image: np.ndarray, graph: Graph) -> np.ndarray:
    start = (image.shape[0] - graph.image_size) // 2
    return image[start : start + graph.image_size, start : start + graph.image_size]
