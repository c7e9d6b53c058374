"""torchvision's AlexNet: its key layout to ours and back.

Its `state_dict` numbers the modules of two sequences, `features` and `classifier`, activations
and poolings included. Kernels are OIHW, dense weights `[out, in]`, and the image that fc6 sees
was flattened in the order channel, height, width. The network is `one-weird-trick`; its images are
RGB in 0..1, less ImageNet's mean, divided by its standard deviation, 224 pixels from the centre of
256, and its classes lie in the order of their WordNet ids.
Source: pytorch/vision torchvision/models/alexnet.py.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    AdaptiveAvgPool,
    Conv,
    Dense,
    Flatten,
    Layer,
    Network,
)
from alexnet_jax.network.networks import NETWORKS, find_network
from alexnet_jax.preparation.sources.listing import unique_names
from alexnet_jax.weights.readers.kinds import check_kind, kind_of
from alexnet_jax.weights.readers.reading import Reading, make_arrays
from alexnet_jax.weights.readers.safetensors import FORMAT, read_safetensors
from alexnet_jax.weights.readers.source_file import SourceFile, check_finite
from alexnet_jax.weights.readers.torch_file import open_torch
from alexnet_jax.weights.readers.torch_modules import check_modules
from alexnet_jax.weights.readers.torchvision_layout import find_layout

NETWORK = "one-weird-trick"


_PUBLISHED = {"7be5be79": "alexnet-owt-7be5be79.pth", "4df8aa71": "alexnet-owt-4df8aa71.pth"}
"""torchvision's own files, whose names end with the first digits of their SHA-256."""

_SCRIPT = (
    "the file holds a TorchScript program: its arrays were taken by their names, but whether it "
    "computes what torchvision's AlexNet does (strides, padding, activations) was not looked at"
)


class Key(NamedTuple):
    """Where torchvision keeps a layer.

    Attributes:
      prefix: of its keys, such as `features.0`.
      layer: our layer.
      weight_shape: of torchvision's weight.
      channels: of the image that its input was flattened from; 1 where it was none.
    """

    prefix: str
    layer: Conv | Dense
    weight_shape: tuple[int, ...]
    channels: int = 1


def read(file: SourceFile, network_name: str = "", mean: SourceFile | None = None) -> Reading:
    """Reads torchvision's AlexNet from a `.pth` or `.safetensors` file, without PyTorch.

    The layers `features.*` alone will do (a convolutional trunk). Where the arrays lie, and under
    what names, see `find_layout`.

    Args:
      file: the file; its contents say which of the containers it is.
      network_name: key in `NETWORKS`; empty: `one-weird-trick`.
      mean: must be None: torchvision's constants are part of its networks.

    Raises:
      InputError: the file is of another kind, damaged, wants to run something, or holds no such
        network.
    """
    if mean is not None:
        raise InputError("torchvision's networks come with their own mean; leave --mean out")
    check_kind(file, "pytorch", "torchscript", "pickle", "safetensors")
    network = find_network(network_name or NETWORK)
    known = keys(network)
    shapes = {key.prefix: key.weight_shape for key in known}
    if bytes(file.data[8:9]) == b"{":
        form, told, names = "safetensors", (), ()
        tensors, metadata = read_safetensors(file.path)
        if metadata.get("format") == FORMAT:
            raise InputError(f"{file.name} was written by `export`; name --source safetensors")
        named = {tuple(name.split(".")): array for name, array in tensors.items()}
        layout = find_layout(named, shapes, file.name)
        arrays = {key: named[path] for key, path in layout.paths.items()}
    else:
        form, opened = "PyTorch", open_torch(file)
        layout = find_layout(opened.tensors, shapes, file.name)
        arrays = {key: opened.array(path) for key, path in layout.paths.items()}
        kind = kind_of(file)
        told = (_SCRIPT,) if kind is not None and kind.key == "torchscript" else ()
        told += _about_program({opened.programs[path] for path in layout.paths.values()})
        told += check_modules(opened.modules, layout.paths, network.layers, file.name)
        names = opened.class_names
    shape = arrays.get(f"{known[-1].prefix}.weight", np.zeros(0)).shape
    network = network.with_classes(shape[0]) if len(shape) == 2 else network
    check_finite(arrays, file.name)
    try:
        params = from_torchvision(arrays, network)
    except InputError as error:
        raise InputError(f"{file.name}: {error}") from None
    if names and len(names) == network.classes and len(shape) == 2:
        told += (f"the file names its classes, output 0 '{names[0]}'; --labels replaces them",)
    else:
        names = ()
    published = _PUBLISHED.get(file.sha256()[:8])
    return Reading(
        network=network,
        params=params,
        image_size=network.image_size,
        stored_size=max(256, network.image_size),
        preprocess=PreprocessConfig(mean="imagenet", scale="imagenet"),
        inputs=make_arrays(IMAGENET_MEAN, IMAGENET_STD),
        form=form,
        class_order="wordnet" if network.classes == NETWORKS[NETWORK].classes else "names",
        class_names=unique_names(list(names), [str(i) for i in range(len(names))]),
        notes=(f"this is torchvision's {published}",) if published else (),
        told=(*told, *layout.told),
    )


def _about_program(programs: set[str]) -> tuple[str, ...]:
    """Returns what to say where the file holds modules instead of a `state_dict`."""
    names = ", ".join(sorted(programs - {""}))
    if not names:
        return ()
    return (
        f"the file holds a whole program object ({names[:200]}): its arrays were taken by their "
        "names, its modules compared with this network's, and none of its code was run",
    )


def to_torchvision(params: Any, network: Network) -> dict[str, np.ndarray]:
    """Returns the parameters under torchvision's keys and in its layouts, contiguous float32.

    Args:
      params: `{layer: {"kernel": …, "bias": …}}`.
      network: `one-weird-trick`, with any numbers of filters, units and classes.

    Raises:
      InputError: the network is another one, or its layers have no parameters in `params`.
    """
    arrays = {}
    for key in keys(network):
        leaves = params.get(key.layer.name)
        if leaves is None:
            raise InputError(f"the parameters have no layer '{key.layer.name}'")
        kernel = np.asarray(leaves["kernel"], np.float32)
        weight = _to_weight(kernel, key.weight_shape, key.channels)
        arrays[f"{key.prefix}.weight"] = np.ascontiguousarray(weight)
        arrays[f"{key.prefix}.bias"] = np.array(leaves["bias"], np.float32)
    return arrays


def from_torchvision(
    arrays: Mapping[str, np.ndarray], network: Network
) -> dict[str, dict[str, np.ndarray]]:
    """Returns our parameters, contiguous float32, for the layers that `arrays` holds.

    Args:
      arrays: by torchvision's keys; a layer may be absent, but not half of one.
      network: `one-weird-trick`, with any numbers of filters, units and classes.

    Raises:
      InputError: the network is another one, a key is unknown or half a layer, or a shape differs.
    """
    params: dict[str, dict[str, np.ndarray]] = {}
    known = keys(network)
    expected = {f"{key.prefix}.{leaf}" for key in known for leaf in ("weight", "bias")}
    if unknown := sorted(set(arrays) - expected):
        raise InputError(
            f"'{unknown[0]}' is no array of torchvision's AlexNet, which has "
            f"{', '.join(key.prefix for key in known)}, each .weight and .bias"
        )
    for key in known:
        names = [f"{key.prefix}.{leaf}" for leaf in ("weight", "bias")]
        present = [name for name in names if name in arrays]
        if not present:
            continue
        if len(present) == 1:
            missing = next(name for name in names if name not in arrays)
            raise InputError(f"'{missing}' is missing beside '{present[0]}'")
        shapes = key.weight_shape, (key.layer.features,)
        for name, shape in zip(names, shapes, strict=True):
            if arrays[name].shape != shape:
                raise InputError(
                    f"'{name}' should be {list(shape)} in network '{network.name}', not "
                    f"{list(arrays[name].shape)}"
                )
        weight, bias = (np.asarray(arrays[name], np.float32) for name in names)
        kernel = np.ascontiguousarray(_to_kernel(weight, key.weight_shape, key.channels))
        params[key.layer.name] = {"kernel": kernel, "bias": np.array(bias)}
    return params


def keys(network: Network) -> list[Key]:
    """Returns the keys of the layers with parameters, in order; see `to_torchvision` for errors."""
    _check_network(network)
    flat = next(i for i, layer in enumerate(network.layers) if isinstance(layer, Flatten))
    found: list[Key] = []
    inputs, channels = 3, 1
    for i, layer in enumerate(network.layers):
        if isinstance(layer, AdaptiveAvgPool):
            inputs, channels = inputs * layer.size**2, inputs
        elif isinstance(layer, Conv):
            shape = (layer.features, inputs, layer.window, layer.window)
            found.append(Key(f"features.{i}", layer, shape))
            inputs = layer.features
        elif isinstance(layer, Dense):
            shape = (layer.features, inputs)
            found.append(Key(f"classifier.{i - flat - 1}", layer, shape, channels))
            inputs, channels = layer.features, 1
    return found


def _check_network(network: Network) -> None:
    """Raises `InputError` unless the network is torchvision's in all but its widths."""
    if _shape_of(network) != _shape_of(NETWORKS[NETWORK]):
        raise InputError(
            f"network '{network.name}' is not torchvision's AlexNet, which is '{NETWORK}'; only "
            "that has torchvision's key layout"
        )


def _shape_of(network: Network) -> list[Layer]:
    """Returns the layers without widths and initial values."""
    anonymous = {"features": 0, "weight_std": None, "bias": 0.0}
    return [
        dataclasses.replace(layer, **anonymous) if isinstance(layer, Conv | Dense) else layer
        for layer in network.layers
    ]


def _to_kernel(weight: np.ndarray, shape: tuple[int, ...], channels: int) -> np.ndarray:
    if len(shape) == 4:
        return weight.transpose(2, 3, 1, 0)  # OIHW to HWIO
    if channels == 1:
        return weight.T
    outputs, inputs = shape
    side = round((inputs // channels) ** 0.5)
    return weight.reshape(outputs, channels, side, side).transpose(2, 3, 1, 0).reshape(inputs, -1)


def _to_weight(kernel: np.ndarray, shape: tuple[int, ...], channels: int) -> np.ndarray:
    if kernel.ndim == 4:
        return kernel.transpose(3, 2, 0, 1)
    if channels == 1:
        return kernel.T
    outputs, inputs = shape
    side = round((inputs // channels) ** 0.5)
    return kernel.reshape(side, side, channels, outputs).transpose(3, 2, 0, 1).reshape(shape)
