"""Caffe's weights: `.caffemodel` of both generations, `.npy`, and the mean `.binaryproto`.

Images are BGR in 0..255 less the mean's window under the crop, 227 pixels of 256. LRN divides
alpha by the window's size, as the 2012 code does, and adds k = 1, not 2. `.npy` has our layouts,
`.caffemodel` convolutions `[out, in / groups, height, width]` and dense weights `[out, in]`; fc6
sees an image flattened in the order channel, height, width.
Source: BVLC/caffe src/caffe/proto/caffe.proto, models/bvlc_{alexnet,reference_caffenet}.
"""

from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    Conv,
    Dense,
    Lrn,
    MaxPool,
    Network,
    parametric_layers,
    summarize,
)
from alexnet_jax.network.networks import find_network
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.caffe_npy import read_layers, read_npy
from alexnet_jax.weights.readers.caffe_proto import LAYER, LRN, NET, OLD_LAYER, blob_array
from alexnet_jax.weights.readers.file_kinds import check_file_kind, detect_kind
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, LayerArrays, plain_inputs
from alexnet_jax.weights.readers.messages import parse_message
from alexnet_jax.weights.readers.source_file import SourceFile

CHANNEL_MEAN = (122.679, 116.669, 104.007)
"""RGB; of the mean image that Caffe ships."""
STORED_SIZE = 256
_MAX_LAYERS = 1000
_MAX_BLOBS = 8
_OLD_TYPES = {4: "Convolution", 14: "InnerProduct", 15: "LRN", 17: "Pooling"}
_LRN_DEFAULTS = {"size": 5, "alpha": 1.0, "beta": 0.75, "region": 0, "k": 1.0}
_NPY_MESSAGE = (
    "a NumPy file with Caffe's layers: read as a conversion that left the input BGR, and, unless "
    "--network says caffenet, as bvlc-alexnet, which normalizes before it pools"
)

_Pairs = dict[str, tuple[np.ndarray, np.ndarray]]
"""Weights and biases by the name of the layer."""


class _Layer(NamedTuple):
    name: str
    kind: str
    blobs: list[np.ndarray]
    lrn: Any


def read(
    file: SourceFile, network_name: str = "", mean_file: SourceFile | None = None
) -> ForeignWeights:
    """Reads a `.caffemodel`, or the same layers in a `.npy` file (by default `bvlc-alexnet`)."""
    is_npy = detect_kind(file) == "npy"
    if is_npy:
        pairs = read_layers(file)
        network = find_network(network_name or "bvlc-alexnet")
    else:
        layers = _read_layers(file)
        network = find_network(network_name or _detect_network(layers, file))
        pairs = _weights_of(layers, network, file)
        _check_lrn(layers, network, file)
    classifier = parametric_layers(network.layers)[-1].name
    if classifier in pairs:
        weight = pairs[classifier][0]
        if weight.ndim < 2:
            raise InputError(f"{file.name}: {classifier}'s weights are no matrix")
        network = network.with_classes(weight.shape[1 if is_npy else -2])
    mean = None if mean_file is None else read_mean(mean_file, network.image_size)
    return ForeignWeights(
        file=file,
        network=network,
        params=_to_params(pairs, network, file, is_npy),
        image_size=network.image_size,
        stored_size=max(STORED_SIZE if mean is None else mean.shape[0], network.image_size),
        preprocess=PreprocessConfig(mean="channel" if mean is None else "image-aligned"),
        inputs=plain_inputs(CHANNEL_MEAN if mean is None else mean),
        form="npy" if is_npy else "caffemodel",
        class_order="wordnet" if network.classes == 1000 else "names",
        notes=(
            "conv1's input channels turned from BGR to RGB",
            "Caffe's recipe warps images to 256x256; here the centre square is taken",
            f"SHA-1 {file.sha1()}",
        ),
        messages=(_NPY_MESSAGE,) if is_npy else (),
    )


def read_mean(file: SourceFile, image_size: int) -> np.ndarray:
    """Returns RGB float32 `[size, size, 3]` of a file with BGR `[3, size, size]`."""
    check_file_kind(file, "binaryproto", "npy")
    array = read_npy(file) if detect_kind(file) == "npy" else blob_array(file, file.data)
    shape = array.shape[-3:] if isinstance(array, np.ndarray) else ()
    if len(shape) != 3 or array.size != np.prod(shape) or shape[0] != 3 or shape[1] != shape[2]:
        raise InputError(
            f"{file.name} is no mean image: its shape is {list(shape)}, not [3, size, size]"
        )
    if shape[1] < image_size:
        raise InputError(
            f"{file.name} has {shape[1]} pixels a side, fewer than the network's {image_size}"
        )
    check_floats({"mean": array}, file.name)
    bgr = array.reshape(shape).astype(np.float32)
    return np.ascontiguousarray(bgr[::-1].transpose(1, 2, 0))


def _read_layers(file: SourceFile) -> list[_Layer]:
    net = parse_message(file, file.data, NET)
    fields, raw = (LAYER, net.layers) if net.layers else (OLD_LAYER, net.old_layers)
    if not 0 < len(raw) <= _MAX_LAYERS:
        raise InputError(
            f"{file.name} is no .caffemodel: it has {len(raw):,} layers; upgrade models from "
            "before 2014 with Caffe's tools"
        )
    layers = []
    for item in raw:
        layer = parse_message(file, item, fields)
        if len(layer.blobs) > _MAX_BLOBS:
            raise InputError(f"{file.name}: a layer has {len(layer.blobs):,} blobs")
        kind = layer.type if net.layers else _OLD_TYPES.get(layer.type, "")
        lrn = parse_message(file, layer.lrn or b"", LRN)
        layers.append(
            _Layer(layer.name or "", kind or "", [blob_array(file, b) for b in layer.blobs], lrn)
        )
    return layers


def _weights_of(layers: list[_Layer], network: Network, file: SourceFile) -> _Pairs:
    names = {layer.name for layer in parametric_layers(network.layers)}
    pairs = {}
    for layer in layers:
        if layer.name in names and layer.blobs:
            if len(layer.blobs) != 2:
                raise InputError(
                    f"{file.name}: {layer.name} has {len(layer.blobs)} arrays, not two"
                )
            pairs[layer.name] = layer.blobs[0], layer.blobs[1]
    return pairs


def _detect_network(layers: list[_Layer], file: SourceFile) -> str:
    order = [layer.kind for layer in layers if layer.kind in ("LRN", "Pooling")][:2]
    if sorted(order) != ["LRN", "Pooling"]:
        raise InputError(
            f"{file.name} does not say in which order it pools and normalizes; name --network "
            "caffenet (pools first) or --network bvlc-alexnet"
        )
    return "bvlc-alexnet" if order[0] == "LRN" else "caffenet"


def _check_lrn(layers: list[_Layer], network: Network, file: SourceFile) -> None:
    expected = [layer for layer in network.layers if isinstance(layer, Lrn)]
    found = [layer for layer in layers if layer.kind == "LRN"]
    if found and len(found) != len(expected):
        raise InputError(
            f"{file.name} normalizes {len(found)} times, network '{network.name}' "
            f"{len(expected)}; name the right --network"
        )
    for layer, norm in zip(found, expected, strict=False):
        stored = {name: value for name, value in vars(layer.lrn).items() if value is not None}
        constants = _LRN_DEFAULTS | stored
        size = max(constants["size"], 1)
        alpha = constants["alpha"] / size
        theirs = size, alpha, constants["beta"], constants["k"], constants["region"]
        ours = norm.depth, norm.alpha, norm.beta, norm.bias, 0
        if not np.allclose(theirs, ours, rtol=1e-4):
            theirs_text, ours_text = (", ".join(f"{x:g}" for x in xs[:4]) for xs in (theirs, ours))
            raise InputError(
                f"{file.name}: {layer.name} has window, alpha / window, beta, k {theirs_text}, "
                f"but network '{network.name}' has {ours_text}; name the right --network"
            )


def _to_params(pairs: _Pairs, network: Network, file: SourceFile, is_npy: bool) -> LayerArrays:
    params: LayerArrays = {}
    channels = 3
    for summary in summarize(network):
        layer = summary.layer
        if isinstance(layer, Conv | MaxPool):
            channels = summary.output_shape[-1]
        if not isinstance(layer, Conv | Dense) or layer.name not in pairs:
            continue
        weight, bias = pairs[layer.name]
        check_floats({f"{layer.name} weights": weight, f"{layer.name} biases": bias}, file.name)
        if (weight.size, bias.size) != (summary.weights, summary.biases):
            raise InputError(
                f"{file.name}: {layer.name} has {weight.size:,} weights and {bias.size:,} biases, "
                f"but network '{network.name}' has {summary.weights:,} and {summary.biases:,}"
            )
        features, inputs = layer.features, summary.weights // layer.features
        if isinstance(layer, Conv):
            window, depth = layer.window, inputs // layer.window**2
            theirs, ours = (features, depth, window, window), (window, window, depth, features)
            expected = ours if is_npy else theirs
        else:
            expected = (inputs, features) if is_npy else weight.shape
        if weight.shape != expected:
            raise InputError(
                f"{file.name}: {layer.name}'s shape is {list(weight.shape)[:8]}, but should be "
                f"{list(expected)}"
            )
        if is_npy:
            kernel = weight
        elif isinstance(layer, Conv):
            kernel = weight.transpose(2, 3, 1, 0)
        else:
            image = weight.reshape(features, channels if inputs % channels == 0 else 1, -1)
            kernel = image.transpose(2, 1, 0).reshape(inputs, features)
            channels = 1  # only the first dense layer sees an image
        if isinstance(layer, Conv) and not params:
            kernel = kernel[:, :, ::-1]  # BGR to RGB
        params[layer.name] = {
            "kernel": np.ascontiguousarray(kernel, np.float32),
            "bias": np.array(bias.reshape(-1), np.float32),
        }
    return params
