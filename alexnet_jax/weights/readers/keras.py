"""The AlexNet that Keras users of the Theano days had: `alexnet_weights.h5`, weights of Keras 1.

Kernels are OIHW and, as Theano convolves, turned by 180 degrees; dense weights are `[in, out]`; the
groups of a convolution are layers of their own (`conv_2_1`, `conv_2_2`). The normalization follows
pooling, across all channels, and does not divide alpha by the window. Images are RGB in 0..255
less a mean for each channel, 227 pixels of 256.
Source: heuritech/convnets-keras convnetskeras/convnets.py, customlayers.py; keras-team/keras 1.2.2
keras/engine/topology.py.
"""

from typing import Any

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, plain_inputs
from alexnet_jax.weights.readers.named_layers import NamedLayer, match_named
from alexnet_jax.weights.readers.source_file import SourceFile

NETWORK = "keras-alexnet"
CHANNEL_MEAN = (123.68, 116.779, 103.939)
_PARTS = {
    "conv1": ("conv_1",),
    "conv2": ("conv_2_1", "conv_2_2"),
    "conv3": ("conv_3",),
    "conv4": ("conv_4_1", "conv_4_2"),
    "conv5": ("conv_5_1", "conv_5_2"),
    "fc6": ("dense_1",),
    "fc7": ("dense_2",),
    "fc8": ("dense_3",),
}
_KNOWN = ", ".join(name for names in _PARTS.values() for name in names)
_MAX_LAYERS = 1000
_MAX_DEPTH = 4
_MESSAGE = (
    "Keras's file does not say how its layers compute: read as convnets-keras's AlexNet under "
    "Theano, with kernels turned by 180 degrees and normalization after pooling"
)

_Layer = tuple[np.ndarray, np.ndarray]
"""Weights, as the file has them, and biases."""


def read(file: SourceFile, network_name: str = "") -> ForeignWeights:
    layers = _join(_read_layers(file), file)
    network, params, image_size = match_named(file.name, layers, network_name or NETWORK)
    return ForeignWeights(
        file=file,
        network=network,
        params=params,
        image_size=image_size,
        stored_size=max(256, image_size),
        preprocess=PreprocessConfig(mean="channel"),
        inputs=plain_inputs(CHANNEL_MEAN),
        form="Keras",
        class_order="wordnet" if network.classes == 1000 else "names",
        messages=(_MESSAGE,),
    )


def _read_layers(file: SourceFile) -> dict[str, _Layer]:
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{file.name} is an HDF5 file, which needs h5py; type: pip install h5py"
        ) from None
    try:
        with h5py.File(file.path, "r") as opened:
            top: Any = opened["model_weights"] if "model_weights" in opened else opened
            if len(top) > _MAX_LAYERS:
                raise InputError(f"{file.name} has {len(top):,} layers, too many for an AlexNet")
            found = {str(name): _arrays_in(top, name, h5py, file) for name in top}
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{file.name} cannot be read as HDF5: {reason}; get it again") from None
    layers: dict[str, _Layer] = {}
    for name, arrays in found.items():
        if not arrays:  # pooling, dropout
            continue
        weights, biases = (([a for a in arrays if (a.ndim == 1) == is_bias]) for is_bias in (0, 1))
        known = any(name in names for names in _PARTS.values())
        if not known or len(weights) != 1 or len(biases) != 1:
            raise InputError(
                f"{file.name}: its layer '{name[:80]}' of {len(arrays)} arrays is no part of the "
                f"AlexNet of convnets-keras, which has {_KNOWN}; export other networks to ONNX"
            )
        layers[name] = weights[0], biases[0]
    return layers


def _arrays_in(
    group: Any, name: str, h5py: Any, file: SourceFile, depth: int = 0
) -> list[np.ndarray]:
    """Only what lies in the file itself, and no more than the file has bytes for."""
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink) or depth > _MAX_DEPTH:
        raise InputError(f"{file.name}: '{name[:80]}' is a link, which Keras never writes")
    value = group[name]
    if isinstance(value, h5py.Group):
        if len(value) > _MAX_LAYERS:
            raise InputError(f"{file.name}: '{name[:80]}' has {len(value):,} members")
        return [array for n in value for array in _arrays_in(value, n, h5py, file, depth + 1)]
    is_plain = isinstance(value, h5py.Dataset) and value.external is None and not value.is_virtual
    if not is_plain or value.dtype.kind != "f" or value.nbytes > len(file.data):
        raise InputError(
            f"{file.name}: '{name[:80]}' is no array of numbers as Keras writes them; save the "
            "weights again with model.save_weights(FILE)"
        )
    return [value[()]]


def _join(layers: dict[str, _Layer], file: SourceFile) -> dict[str, NamedLayer]:
    if not layers:
        raise InputError(f"{file.name} holds no layers with weights; Keras's AlexNet has {_KNOWN}")
    joined: dict[str, NamedLayer] = {}
    for layer, names in _PARTS.items():
        parts = [layers[name] for name in names if name in layers]
        if not parts:
            continue
        if len(parts) != len(names):
            raise InputError(f"{file.name} has only one of {' and '.join(names)}; get it again")
        axes = 2 if layer.startswith("fc") else 4
        if (
            any(weights.ndim != axes for weights, _ in parts)
            or len({w.shape for w, _ in parts}) > 1
        ):
            shapes = ", ".join(str(list(weights.shape)) for weights, _ in parts)
            raise InputError(f"{file.name}: {', '.join(names)} has weights of shape {shapes}")
        weights = np.concatenate([weights for weights, _ in parts])
        biases = np.concatenate([biases for _, biases in parts])
        weights = weights.T if axes == 2 else weights[:, :, ::-1, ::-1]
        joined[layer] = NamedLayer(", ".join(names), weights, biases)
    return joined
