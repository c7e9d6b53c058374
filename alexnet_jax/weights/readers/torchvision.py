"""torchvision's AlexNet: its keys and layouts to ours and back.

Kernels are OIHW, dense weights `[out, in]`; fc6 sees an image flattened as channel, height, width.
The network is `one-weird-trick`; images are RGB in 0..1, less ImageNet's mean, divided by its
deviation, 224 pixels from the centre of 256; classes in the order of their WordNet ids.
Source: pytorch/vision torchvision/models/alexnet.py.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import AdaptiveAvgPool, Conv, Dense, Flatten, Layer, Network
from alexnet_jax.network.networks import NETWORKS, find_network
from alexnet_jax.preparation.sources.listing import unique_names
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.file_kinds import detect_kind
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, LayerArrays, plain_inputs
from alexnet_jax.weights.readers.safetensors import FORMAT, read_safetensors
from alexnet_jax.weights.readers.source_file import SourceFile
from alexnet_jax.weights.readers.torch_file import open_torch
from alexnet_jax.weights.readers.torch_modules import check_modules
from alexnet_jax.weights.readers.torchvision_search import find_arrays

NETWORK = "one-weird-trick"
# torchvision's own files, whose names end with the first digits of their SHA-256.
_PUBLISHED = {"7be5be79": "alexnet-owt-7be5be79.pth", "4df8aa71": "alexnet-owt-4df8aa71.pth"}
_SCRIPT_MESSAGE = (
    "the file holds a TorchScript program: its arrays were taken by their names, but whether it "
    "computes what torchvision's AlexNet does (strides, padding, activations) was not checked"
)


_Shapes = dict[str, tuple[int, ...]]
_Found = tuple[dict[str, np.ndarray], tuple[str, ...], tuple[str, ...]]
"""The network's arrays by torchvision's keys, messages, and class names."""


class LayerKey(NamedTuple):
    """Where torchvision keeps a layer."""

    prefix: str  # of its keys, such as `features.0`
    layer: Conv | Dense
    weight_shape: tuple[int, ...]  # of torchvision's weight
    channels: int = 1  # of the flattened image; 1: its input was none


def read(file: SourceFile, network_name: str = "") -> ForeignWeights:
    """The layers `features.*` alone are enough."""
    network = find_network(network_name or NETWORK)
    shapes = {key.prefix: key.weight_shape for key in layer_keys(network)}
    is_torch = detect_kind(file) != "safetensors"
    find = _find_in_torch if is_torch else _find_in_safetensors
    arrays, messages, names = find(file, network, shapes)
    shape = arrays.get(f"{list(shapes)[-1]}.weight", np.zeros(0)).shape
    has_classifier = len(shape) == 2
    if has_classifier:
        network = network.with_classes(shape[0])
    check_floats(arrays, file.name)
    try:
        params = from_torchvision(arrays, network)
    except InputError as error:
        raise InputError(f"{file.name}: {error}") from None
    if not has_classifier or len(names) != network.classes:
        names = ()
    if names:
        messages = (
            f"the file names its classes, output 0 '{names[0]}'; --labels replaces them",
            *messages,
        )
    published = _PUBLISHED.get(file.sha256()[:8])
    return ForeignWeights(
        file=file,
        network=network,
        params=params,
        image_size=network.image_size,
        stored_size=max(256, network.image_size),
        preprocess=PreprocessConfig(mean="imagenet", scale="imagenet"),
        inputs=plain_inputs(IMAGENET_MEAN, IMAGENET_STD),
        form="PyTorch" if is_torch else "safetensors",
        class_order="wordnet" if network.classes == NETWORKS[NETWORK].classes else "names",
        class_names=unique_names(list(names), [str(i) for i in range(len(names))]),
        notes=(f"this is torchvision's {published}",) if published else (),
        messages=messages,
    )


def _find_in_safetensors(file: SourceFile, network: Network, shapes: _Shapes) -> _Found:
    del network  # the format holds no modules to compare it with
    tensors, metadata = read_safetensors(file.path)
    if metadata.get("format") == FORMAT:
        raise InputError(f"{file.name} was written by `export`; name --source safetensors")
    arrays = {tuple(name.split(".")): array for name, array in tensors.items()}
    found = find_arrays(arrays, shapes, file.name)
    return {key: arrays[path] for key, path in found.paths.items()}, found.messages, ()


def _find_in_torch(file: SourceFile, network: Network, shapes: _Shapes) -> _Found:
    opened = open_torch(file)
    found = find_arrays(opened.tensors, shapes, file.name)
    arrays = {key: opened.array(path) for key, path in found.paths.items()}
    messages = (_SCRIPT_MESSAGE,) if detect_kind(file) == "torchscript" else ()
    if programs := {opened.program_of(path) for path in found.paths.values()} - {""}:
        names = ", ".join(sorted(programs))
        messages += (
            f"the file holds a complete program object ({names[:200]}): its arrays were taken by "
            "their names, its modules compared with this network's, and none of its code was run",
        )
    messages += check_modules(opened.modules, found.paths, network.layers, file.name)
    return arrays, (*messages, *found.messages), opened.class_names


def to_torchvision(params: Any, network: Network) -> dict[str, np.ndarray]:
    """Contiguous float32, in torchvision's layouts."""
    arrays = {}
    for key in layer_keys(network):
        leaves = params.get(key.layer.name)
        if leaves is None:
            raise InputError(f"the parameters have no layer '{key.layer.name}'")
        kernel = np.asarray(leaves["kernel"], np.float32)
        arrays[f"{key.prefix}.weight"] = np.ascontiguousarray(_to_weight(kernel, key.channels))
        arrays[f"{key.prefix}.bias"] = np.array(leaves["bias"], np.float32)
    return arrays


def from_torchvision(arrays: Mapping[str, np.ndarray], network: Network) -> LayerArrays:
    """Contiguous float32; a layer may be absent, but not half of one."""
    params: LayerArrays = {}
    keys = layer_keys(network)
    known = {f"{key.prefix}.{leaf}" for key in keys for leaf in ("weight", "bias")}
    if unknown := sorted(set(arrays) - known):
        raise InputError(
            f"'{unknown[0]}' is no array of torchvision's AlexNet, which has "
            f"{', '.join(key.prefix for key in keys)}, each .weight and .bias"
        )
    for key in keys:
        shapes = {
            f"{key.prefix}.weight": key.weight_shape,
            f"{key.prefix}.bias": (key.layer.features,),
        }
        missing = [name for name in shapes if name not in arrays]
        if len(missing) == 2:
            continue
        if missing:
            raise InputError(f"'{missing[0]}' is missing; half of a layer cannot be used")
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise InputError(
                    f"'{name}' should be {list(shape)} in network '{network.name}', not "
                    f"{list(arrays[name].shape)}"
                )
        weight, bias = (np.asarray(arrays[name], np.float32) for name in shapes)
        kernel = np.ascontiguousarray(_to_kernel(weight, key.channels))
        params[key.layer.name] = {"kernel": kernel, "bias": np.array(bias)}
    return params


def layer_keys(network: Network) -> list[LayerKey]:
    """Raises `InputError` for another network."""
    if _without_widths(network) != _without_widths(NETWORKS[NETWORK]):
        raise InputError(
            f"network '{network.name}' is not torchvision's AlexNet, which is '{NETWORK}'; only "
            "that has torchvision's keys"
        )
    flat = next(i for i, layer in enumerate(network.layers) if isinstance(layer, Flatten))
    keys: list[LayerKey] = []
    inputs, channels = 3, 1
    for i, layer in enumerate(network.layers):
        if isinstance(layer, AdaptiveAvgPool):
            inputs, channels = inputs * layer.size**2, inputs
        elif isinstance(layer, Conv):
            shape = (layer.features, inputs, layer.window, layer.window)
            keys.append(LayerKey(f"features.{i}", layer, shape))
            inputs = layer.features
        elif isinstance(layer, Dense):
            shape = (layer.features, inputs)
            keys.append(LayerKey(f"classifier.{i - flat - 1}", layer, shape, channels))
            inputs, channels = layer.features, 1
    return keys


def _without_widths(network: Network) -> list[Layer]:
    anonymous = {"features": 0, "weight_std": None, "bias": 0.0}
    return [
        dataclasses.replace(layer, **anonymous) if isinstance(layer, Conv | Dense) else layer
        for layer in network.layers
    ]


def _to_kernel(weight: np.ndarray, channels: int) -> np.ndarray:
    if weight.ndim == 4:
        return weight.transpose(2, 3, 1, 0)  # OIHW to HWIO
    outputs, inputs = weight.shape
    image = weight.reshape(outputs, channels, -1)  # [out, channel, height * width]
    return image.transpose(2, 1, 0).reshape(inputs, outputs)


def _to_weight(kernel: np.ndarray, channels: int) -> np.ndarray:
    if kernel.ndim == 4:
        return kernel.transpose(3, 2, 0, 1)  # HWIO to OIHW
    inputs, outputs = kernel.shape
    image = kernel.reshape(-1, channels, outputs)  # [height * width, channel, out]
    return image.transpose(2, 1, 0).reshape(outputs, inputs)
