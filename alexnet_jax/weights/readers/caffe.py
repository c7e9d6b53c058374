"""Caffe's weights: `.caffemodel` of both generations, and the mean `.binaryproto`.

Caffe's networks read BGR in 0..255 less the mean image's window under the crop, 227 pixels of 256.
Kernels are `[out, in / group, height, width]`, dense weights `[out, in]`, and fc6 sees an image
that was flattened in the order channel, height, width. Its LRN divides alpha by the window's size,
as the 2012 code does, and adds k = 1, not 2. Source: BVLC/caffe src/caffe/proto/caffe.proto,
models/bvlc_alexnet and models/bvlc_reference_caffenet.
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
from alexnet_jax.weights.readers import caffe_npy
from alexnet_jax.weights.readers.caffe_proto import blob_array, parse
from alexnet_jax.weights.readers.kinds import check_kind, kind_of
from alexnet_jax.weights.readers.reading import Arrays, Reading, make_arrays
from alexnet_jax.weights.readers.source_file import SourceFile, check_finite

CHANNEL_MEAN = (122.679, 116.669, 104.007)
"""RGB; of the mean image that Caffe ships."""
STORED_SIZE = 256
_MOST_LAYERS = 1000
_MOST_BLOBS = 8

_OLD_TYPES = {4: "Convolution", 14: "InnerProduct", 15: "LRN", 17: "Pooling"}
_LRN_DEFAULTS = {"size": 5, "alpha": 1.0, "beta": 0.75, "region": 0, "k": 1.0}


class _Layer(NamedTuple):
    """One layer of the file."""

    name: str
    kind: str
    blobs: list[np.ndarray]
    lrn: Any


def read(file: SourceFile, network_name: str = "", mean: SourceFile | None = None) -> Reading:
    """Reads a `.caffemodel`, or the same layers in a `.npy` file.

    Args:
      file: the file.
      network_name: key in `NETWORKS`; empty: `caffenet` or `bvlc-alexnet`, whichever order of
        pooling and normalization the file has; `bvlc-alexnet` where it does not say.
      mean: the mean image, `.binaryproto` or `.npy`; None: the channel means of ImageNet.

    Raises:
      InputError: the file is of another kind, damaged, or holds other layers than the network.
    """
    check_kind(file, "caffemodel", "npy")
    kind = kind_of(file)
    form = "npy" if kind is not None and kind.key == "npy" else "caffemodel"
    read_params = _read_npy if form == "npy" else _read_caffemodel
    network, params = read_params(file, network_name)
    mean_image = None if mean is None else read_mean(mean, network.image_size)
    stored = STORED_SIZE if mean_image is None else mean_image.shape[0]
    return Reading(
        network=network,
        params=params,
        image_size=network.image_size,
        stored_size=max(stored, network.image_size),
        preprocess=PreprocessConfig(mean="channel" if mean_image is None else "image-aligned"),
        inputs=make_arrays(CHANNEL_MEAN if mean_image is None else mean_image),
        form=form,
        class_order="wordnet" if network.classes == 1000 else "names",
        notes=(
            "conv1's input channels turned from BGR to RGB",
            "Caffe's recipe warps images to 256x256; here the centre square is taken",
            f"SHA-1 {file.sha1()}",
        ),
        told=_ABOUT_NPY if form == "npy" else (),
    )


_ABOUT_NPY = (
    "a NumPy file with Caffe's layers: taken as a conversion that left the input BGR, and, unless "
    "--network says caffenet, as bvlc-alexnet, which normalizes before it pools",
)


def _read_npy(file: SourceFile, network_name: str) -> tuple[Network, Arrays]:
    layers = caffe_npy.read_layers(file)
    network = find_network(network_name or "bvlc-alexnet")
    classifier = parametric_layers(network.layers)[-1].name
    if classifier in layers and layers[classifier][0].ndim == 2:
        network = network.with_classes(layers[classifier][0].shape[1])
    return network, caffe_npy.to_params(layers, network, file)


def _read_caffemodel(file: SourceFile, network_name: str) -> tuple[Network, Arrays]:
    layers = _read_layers(file)
    network = find_network(network_name or _network_of(layers, file))
    by_name = {layer.name: layer for layer in layers if layer.blobs}
    classifier = parametric_layers(network.layers)[-1].name
    if classifier in by_name:
        kernel = by_name[classifier].blobs[0]
        if kernel.ndim < 2:
            raise InputError(f"{file.name}: {classifier}'s weights are no matrix")
        network = network.with_classes(kernel.shape[-2])
    _check_lrn(layers, network, file)
    return network, _to_params(by_name, network, file)


def read_mean(file: SourceFile, image_size: int) -> np.ndarray:
    """Returns the mean image of a `.binaryproto` or `.npy`, float32 `[size, size, 3]`, RGB.

    Args:
      file: BGR, `[3, size, size]`, as Caffe keeps it.
      image_size: of the network.

    Raises:
      InputError: of another kind, damaged, not square, not of three channels, or smaller than
        `image_size`.
    """
    check_kind(file, "binaryproto", "npy")
    kind = kind_of(file)
    npy = kind is not None and kind.key == "npy"
    array = caffe_npy.read_array(file) if npy else blob_array(file, file.data)
    if not isinstance(array, np.ndarray) or array.ndim < 3:
        raise InputError(f"{file.name} is no mean image of 3 x height x width")
    shape = array.shape[-3:]
    if array.size != np.prod(shape) or len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise InputError(
            f"{file.name} is no mean image of 3 x size x size: its shape is {list(array.shape)}"
        )
    if shape[1] < image_size:
        raise InputError(
            f"{file.name} has {shape[1]} pixels a side, fewer than the network's {image_size}"
        )
    check_finite({"mean": array}, file.name)
    bgr = array.reshape(shape).astype(np.float32)
    return np.ascontiguousarray(bgr[::-1].transpose(1, 2, 0))


def _read_layers(file: SourceFile) -> list[_Layer]:
    net = parse("Net", file.data, file)
    if net.layers:
        kind, raw = "Layer", net.layers
    else:
        kind, raw = "OldLayer", net.old_layers
    if not 0 < len(raw) <= _MOST_LAYERS:
        raise InputError(
            f"{file.name} is no .caffemodel: it has {len(raw):,} layers; prototxt files hold no "
            "weights, and models from before 2014 must be brought up to date by Caffe's tools"
        )
    layers = []
    for item in raw:
        layer = parse(kind, item, file)
        if len(layer.blobs) > _MOST_BLOBS:
            raise InputError(f"{file.name}: a layer has {len(layer.blobs):,} blobs")
        kinds = layer.type if kind == "Layer" else _OLD_TYPES.get(layer.type, "")
        lrn = parse("Lrn", layer.lrn, file)
        layers.append(_Layer(layer.name, kinds, [blob_array(file, b) for b in layer.blobs], lrn))
    return layers


def _network_of(layers: list[_Layer], file: SourceFile) -> str:
    """Returns which of Caffe's two networks has this order of layers."""
    order = [layer.kind for layer in layers if layer.kind in ("LRN", "Pooling")][:2]
    if sorted(order) != ["LRN", "Pooling"]:
        raise InputError(
            f"{file.name} does not say in which order it pools and normalizes; name --network "
            "caffenet (pools first) or bvlc-alexnet"
        )
    return "bvlc-alexnet" if order[0] == "LRN" else "caffenet"


def _check_lrn(layers: list[_Layer], network: Network, file: SourceFile) -> None:
    """Raises `InputError` where the file normalizes by other constants than the network."""
    norms = [layer for layer in network.layers if isinstance(layer, Lrn)]
    found = [layer for layer in layers if layer.kind == "LRN"]
    if found and len(found) != len(norms):
        raise InputError(
            f"{file.name} normalizes {len(found)} times, network '{network.name}' {len(norms)}"
        )
    for layer, norm in zip(found, norms, strict=False):
        values = {n: getattr(layer.lrn, n) if layer.lrn.HasField(n) else _LRN_DEFAULTS[n]
                  for n in _LRN_DEFAULTS}  # fmt: skip
        size = max(values["size"], 1)
        there = (size, values["alpha"] / size, values["beta"], values["k"], values["region"])
        here = (norm.depth, norm.alpha, norm.beta, norm.bias, 0)
        if not np.allclose(there, here, rtol=1e-4):
            raise InputError(
                f"{file.name}: {layer.name} has window, alpha / window, beta, k "
                f"{_list(there[:4])}, but network '{network.name}' {_list(here[:4])}; name the "
                "right --network"
            )


def _list(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _to_params(by_name: dict[str, _Layer], network: Network, file: SourceFile) -> Arrays:
    """Returns the parameters in our layouts."""
    params: Arrays = {}
    channels = 3
    for summary in summarize(network):
        layer = summary.layer
        if isinstance(layer, Conv | MaxPool):
            channels = summary.output_shape[-1]
        if not isinstance(layer, Conv | Dense) or layer.name not in by_name:
            continue
        blobs = by_name[layer.name].blobs
        if len(blobs) != 2:
            raise InputError(f"{file.name}: {layer.name} has {len(blobs)} blobs, not two")
        weight, bias = blobs
        check_finite({f"{layer.name} weights": weight, f"{layer.name} biases": bias}, file.name)
        wanted = summary.weights, summary.biases
        if (weight.size, bias.size) != wanted:
            raise InputError(
                f"{file.name}: {layer.name} has {weight.size:,} weights and {bias.size:,} biases, "
                f"but network '{network.name}' {wanted[0]:,} and {wanted[1]:,}"
            )
        if isinstance(layer, Conv):
            kernel = _conv_kernel(weight, layer, file)
            if not params:
                kernel = kernel[:, :, ::-1]  # BGR to RGB
        else:
            flat = summary.input_shape[0]
            kernel = _dense_kernel(weight, layer, flat, channels if flat % channels == 0 else 1)
            channels = 1  # only the first dense layer sees an image
        params[layer.name] = {
            "kernel": np.ascontiguousarray(kernel, np.float32),
            "bias": np.array(bias.reshape(-1), np.float32),
        }
    return params


def _conv_kernel(weight: np.ndarray, layer: Conv, file: SourceFile) -> np.ndarray:
    depth = weight.size // (layer.features * layer.window**2)
    expected = (layer.features, depth, layer.window, layer.window)
    if weight.shape != expected:
        raise InputError(
            f"{file.name}: {layer.name} is {list(weight.shape)}, but should be {list(expected)}"
        )
    return weight.transpose(2, 3, 1, 0)


def _dense_kernel(weight: np.ndarray, layer: Dense, inputs: int, channels: int) -> np.ndarray:
    weight = weight.reshape(layer.features, inputs)
    if channels == 1:
        return weight.T
    side = round((inputs // channels) ** 0.5)
    image = weight.reshape(layer.features, channels, side, side)
    return image.transpose(2, 3, 1, 0).reshape(inputs, layer.features)
