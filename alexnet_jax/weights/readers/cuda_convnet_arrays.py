"""The weights of a cuda-convnet checkpoint in our layouts: towers are joined on the last axis."""

import math
from typing import Any

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Conv, Dense, Local, Network, Parametric, parametric_layers
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.cuda_convnet_graph import Graph, Tower, is_grouped
from alexnet_jax.weights.readers.foreign_weights import LayerArrays
from alexnet_jax.weights.readers.pickled_values import PickledArray


def to_params(graph: Graph, network: Network, file_name: str) -> LayerArrays:
    """Raises `InputError` for what groups cannot express."""
    layers = parametric_layers(network.layers)
    kinds = [type(layer) for layer in parametric_layers(graph.layers)]
    if kinds != [type(layer) for layer in layers]:
        raise InputError(
            f"{file_name} has {len(kinds)} layers with weights, of other kinds than the "
            f"{len(layers)} of network '{network.name}'; name the right --network"
        )
    params: LayerArrays = {}
    below: list[Tower] = []
    for layer, level in zip(layers, graph.levels, strict=True):
        try:
            seen = [tower.sources[0][0] for tower in level] if is_grouped(level) else []
            if seen and seen != [tower.name for tower in below]:
                raise ValueError("its towers are in another order than those below")
            kernels = [_kernel(tower, below, level, layer) for tower in level]
            biases = [_bias(tower, layer, kernels[0]) for tower in level]
            kernel, bias = (np.concatenate(parts, axis=-1) for parts in (kernels, biases))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(
                f"{file_name}: the weights of {level[0].name} do not fit: {str(error)[:120]}"
            ) from None
        params[layer.name] = {
            "kernel": np.ascontiguousarray(kernel, np.float32),
            "bias": np.ascontiguousarray(bias, np.float32),
        }
        arrays = {f"{layer.name}.{leaf}": array for leaf, array in params[layer.name].items()}
        check_floats(arrays, file_name)
        below = level
    return params


def _kernel(tower: Tower, below: list[Tower], level: list[Tower], layer: Parametric) -> np.ndarray:
    values = tower.values
    pieces: dict[str, np.ndarray] = {}  # the rows of each tower below
    for matrix, sources in zip(_matrices(values), tower.sources, strict=True):
        # Several sources of one input are one after another, channel by channel.
        channels = [_channels(name, below) for name in sources] or [3]
        ends = np.cumsum(channels)[:-1] * (matrix.shape[0] // _positions(values) // sum(channels))
        if isinstance(layer, Local) and len(sources) > 1:
            raise ValueError("an unshared layer of several towers")
        pieces |= zip(sources or ("",), np.split(matrix, ends), strict=True)
    order = [source.name for source in below if source.name in pieces] or [""]
    sees_all = len(order) == len(pieces) and (len(order) == len(below) or is_grouped(level))
    if below and not sees_all:
        raise ValueError("it sees some of the towers below, but not all")
    blocks = [_block(pieces[name], values, _channels(name, below)) for name in order]
    if isinstance(layer, Dense):
        joined = np.concatenate(blocks, axis=0)  # [channels, height, width, out]
        return joined.transpose(1, 2, 0, 3).reshape(-1, joined.shape[-1])
    return np.concatenate(blocks, axis=-2)


def _block(matrix: np.ndarray, values: dict[str, Any], channels: int) -> np.ndarray:
    """`[channels, height, width, out]`, `[k, k, in, out]` or `[height, width, k, k, in, out]`."""
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


def _channels(name: str, below: list[Tower]) -> int:
    if not name:
        return 3
    for tower in below:
        if tower.name == name:
            key = "outputs" if tower.values["type"] == "fc" else "filters"
            return int(tower.values[key])
    raise ValueError(f"it sees {name}, which is not the layer below")


def _matrices(values: dict[str, Any]) -> list[np.ndarray]:
    arrays = values["weights"]
    if not isinstance(arrays, list) or not all(isinstance(a, PickledArray) for a in arrays):
        raise ValueError("weights that are no arrays")
    matrices = [array.numpy() for array in arrays]
    if any(matrix.ndim != 2 or matrix.dtype.kind != "f" for matrix in matrices):
        raise ValueError("weights that are no matrices")
    return matrices


def _bias(tower: Tower, layer: Parametric, kernel: np.ndarray) -> np.ndarray:
    bias = tower.values["biases"]
    if not isinstance(bias, PickledArray):
        raise ValueError("biases that are no array")
    array = bias.numpy()
    if isinstance(layer, Local):  # filter by filter
        return array.reshape(-1, *kernel.shape[:2]).transpose(1, 2, 0)
    if isinstance(layer, Conv) and array.size != kernel.shape[-1]:
        raise ValueError("a bias for each position")
    return array.reshape(-1)
