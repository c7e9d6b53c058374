"""Darknet's `.weights` of `cfg/alexnet.cfg`: a header, then all values in the order of the layers.

A convolution has biases, then scales, means and variances if its batches are normalized, then its
kernel, OIHW; a dense layer has biases, weights `[out, in]`, and only then scales, means and
variances. Nothing names a layer or says a shape: the number of values decides. Images are RGB in
0..1, classes in the order of ILSVRC's development kit.
Source: pjreddie/darknet src/parser.c, src/blas.c, cfg/alexnet.cfg, data/imagenet.labels.list.
"""

import struct
from typing import NamedTuple

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Conv, Network, summarize
from alexnet_jax.network.networks import find_network
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, plain_inputs
from alexnet_jax.weights.readers.named_layers import NamedLayer, match_named
from alexnet_jax.weights.readers.source_file import SourceFile

NETWORK = "darknet-alexnet"
_EPSILON = 1e-6  # is added to the root of the variance, not to the variance
_MAX_CLASSES = 100_000
_MESSAGE = (
    "the file has no names and no shapes: by the number of its values it is Darknet's "
    "cfg/alexnet.cfg{}, whose activations, pooling and order were taken for granted"
)
_FOLDED = " with batch normalization {}, which was folded into the weights"
# Where people add `batch_normalize=1`.
_NORMALIZED: dict[str, tuple[str, ...]] = {
    "": (),
    "after the convolutions": ("conv1", "conv2", "conv3", "conv4", "conv5"),
    "after the hidden dense layers": ("fc6", "fc7"),
    "after all layers but the last": ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"),
}


class _Header(NamedTuple):
    size: int  # bytes
    is_transposed: bool  # dense weights are `[in, out]`


def read(file: SourceFile, network_name: str = "") -> ForeignWeights:
    network = find_network(network_name or NETWORK)
    header = _read_header(file)
    values = np.frombuffer(file.data, "<f4", offset=header.size)
    where, network = _fit(values.size, network, file)
    layers = _split(values, network, _NORMALIZED[where], header, file)
    network, params, image_size = match_named(file.name, layers, network.name)
    return ForeignWeights(
        file=file,
        network=network,
        params=params,
        image_size=image_size,
        stored_size=max(256, image_size),
        preprocess=PreprocessConfig(mean="none", scale="channel"),
        inputs=plain_inputs((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
        form="Darknet",
        class_order="ilsvrc" if network.classes == 1000 else "names",
        messages=(_MESSAGE.format(_FOLDED.format(where) if where else ""),),
    )


def _read_header(file: SourceFile) -> _Header:
    """Version 0.1 counts the images that it saw in 4 bytes, later ones in 8."""
    if len(file.data) < 20 or len(file.data) % 4:
        raise InputError(f"{file.name} is no complete .weights file of Darknet; get it again")
    major, minor, _ = struct.unpack("<3i", file.data[:12])
    is_old = major * 10 + minor < 2 or major >= 1000 or minor >= 1000
    return _Header(16 if is_old else 20, major > 1000 or minor > 1000)


def _fit(count: int, network: Network, file: SourceFile) -> tuple[str, Network]:
    """Returns the key in `_NORMALIZED`, and the network with as many classes as the file has."""
    rows = [row for row in summarize(network) if row.params]
    *hidden, last = rows
    fixed, per_class = sum(row.params for row in hidden), last.params // last.biases
    for where, normalized in _NORMALIZED.items():
        extra = sum(3 * row.biases for row in hidden if row.name in normalized)
        classes, rest = divmod(count - fixed - extra, per_class)
        if not rest and 2 <= classes <= _MAX_CLASSES:
            return where, network.with_classes(classes)
    raise InputError(
        f"{file.name} has {count:,} values, but network '{network.name}' has {fixed:,} and "
        f"{per_class:,} for each class: it is of another network, or incomplete"
    )


def _split(
    values: np.ndarray,
    network: Network,
    normalized: tuple[str, ...],
    header: _Header,
    file: SourceFile,
) -> dict[str, NamedLayer]:
    layers: dict[str, NamedLayer] = {}
    at = 0

    def take(count: int) -> np.ndarray:
        nonlocal at
        at += count
        return values[at - count : at]

    for row in summarize(network):
        if not row.params:
            continue
        is_conv, outputs = isinstance(row.layer, Conv), row.biases
        biases = take(outputs)
        statistics = take(3 * outputs) if is_conv and row.name in normalized else None
        weights = take(row.weights)
        if isinstance(row.layer, Conv):
            window = row.layer.window
            weights = weights.reshape(outputs, -1, window, window)
        else:
            weights = weights.reshape(-1, outputs).T if header.is_transposed else weights
            weights = weights.reshape(outputs, -1)
            statistics = take(3 * outputs) if row.name in normalized else None
        layer = NamedLayer(row.name, weights, biases)
        if statistics is not None:
            layer = _fold(layer, statistics.reshape(3, -1), file)
        layers[row.name] = layer
    return layers


def _fold(layer: NamedLayer, statistics: np.ndarray, file: SourceFile) -> NamedLayer:
    scale, mean, variance = statistics.astype(np.float64)
    if not (np.isfinite(statistics).all() and (variance >= 0).all()):
        raise InputError(
            f"{file.name}: {layer.name}'s variances are negative or not finite; the file is "
            "damaged, or of another network with as many values"
        )
    factor = scale / (np.sqrt(variance) + _EPSILON)
    column = factor.astype(np.float32).reshape(-1, *[1] * (layer.weights.ndim - 1))
    biases = (layer.biases - mean * factor).astype(np.float32)
    return NamedLayer(layer.name, layer.weights * column, biases)
