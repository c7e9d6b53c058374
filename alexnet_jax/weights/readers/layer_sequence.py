"""A file's sequence of layers, matched to a network of ours that computes the same.

A reader describes each layer by our own kinds (`FileLayer`), and `match_layers` finds the network
and puts the arrays into our layouts. A run keeps its network by its name in `NETWORKS`; so a file
whose sequence no network has needs a new one there (`network/descendants.py`), with its numbers in
`tests/network/test_networks.py`, and no change here.

Compared is what changes an output: the order of the layers, windows, strides, groups, widths, the
constants of normalizations, padding and the number of windows at the file's image size. Not
compared are initial values, and dropout, which only scales: the weights above it take a factor.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerSummary,
    Local,
    MaxPool,
    Network,
    Parametric,
    padding_of,
    parametric_layers,
    summarize,
)
from alexnet_jax.network.networks import NETWORKS, find_network
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.foreign_weights import LayerArrays

SOFTMAX = "Softmax"
"""The kind of a last layer that is left out: our networks end with the logits."""
# `_difference` compares padding by its effect, and names and initial values mean nothing.
_NOT_COMPARED = {"name", "weight_std", "padding", "overhang"}
_WINDOWED = (Conv, MaxPool, AvgPool, Local)


class FileLayer(NamedTuple):
    """A layer of a file, from the image to the classes; a ReLU is a layer of its own."""

    name: str  # in the file
    # Ours, with any name and padding; `overhang`: the file rounds the number of windows up. A text:
    # a kind there that we lack.
    layer: Layer | str
    padding: tuple[int, int] = (0, 0)  # of windows: pixels before and after, on both axes
    weights: np.ndarray | None = None  # `[height, width, in / groups, out]`, dense `[in, out]`
    bias: np.ndarray | None = None  # any shape; None: zeros


class Matched(NamedTuple):
    """A network with the file's classes, and its parameters; `image_size` is in pixels."""

    network: Network
    params: LayerArrays
    image_size: int


class _Comparison(NamedTuple):
    network: Network
    pairs: list[tuple[FileLayer, LayerSummary]]  # equal ones, from the image on
    difference: str  # what comes after them, for "layer 'pool1' …"; empty: nothing
    is_complete: bool


def match_layers(
    file_name: str,
    layers: Sequence[FileLayer],
    image_size: int = 0,
    network_name: str = "",
    *,
    flattened: Literal["chw", "hwc"] = "chw",
    is_bgr: bool = False,
) -> Matched:
    """Returns the first network that computes the same, and the file's parameters in our layouts.

    Args:
      image_size: side in pixels; 0: the file takes any, and the network's own is used.
      network_name: key in `NETWORKS`; empty: all are compared.
      flattened: the order in which the first dense layer sees an image.
      is_bgr: the file's images are BGR; ours are RGB.

    Raises:
      InputError: names the layer that no network has, or that differs from the nearest network's;
        or an array of a wrong type or shape.
    """
    if layers and layers[-1].layer == SOFTMAX:
        layers = layers[:-1]
    for item in layers:
        if isinstance(item.layer, str):
            raise InputError(
                f"{file_name}: layer '{item.name}' ({item.layer}) is no part of an AlexNet; only "
                "networks of this library can be imported (see `alexnet presets`)"
            )
    candidates = [find_network(network_name)] if network_name else list(NETWORKS.values())
    comparisons = [_compare(layers, network, image_size) for network in candidates]
    found = max(comparisons, key=lambda comparison: _rank(comparison, layers))
    if found.difference:
        which = "" if network_name else "the nearest "
        raise InputError(
            f"{file_name}: {found.difference} in {which}network '{found.network.name}'; "
            + ("name the right --network" if network_name else "no network here computes the same")
        )
    factors = dropout_factors(_layers_of(layers), found.network.layers)
    params = _to_params(file_name, found, factors, flattened == "chw", is_bgr)
    network, last = found.network, parametric_layers(found.network.layers)[-1].name
    if last in params:
        network = network.with_classes(params[last]["bias"].size)
    return Matched(network, params, image_size or network.image_size)


def _rank(comparison: _Comparison, layers: Sequence[FileLayer]) -> tuple[bool, bool, int, int]:
    """Higher for the nearer network; among those without a difference the first wins."""
    equal = not comparison.difference
    ours = [_kind(layer) for layer in comparison.network.layers if not isinstance(layer, Dropout)]
    theirs = [_kind(item.layer) for item in layers if not isinstance(item.layer, Dropout)]
    same = 0 if equal else sum(a == b for a, b in zip(ours, theirs, strict=False))
    return equal, comparison.is_complete, len(comparison.pairs), same


def _kind(layer: Layer | str) -> tuple[type, int]:
    return type(layer), layer.features if isinstance(layer, Parametric) else 0


def _compare(layers: Sequence[FileLayer], network: Network, image_size: int) -> _Comparison:
    size = image_size or network.image_size
    try:
        summaries = summarize(network, size)
    except InputError:
        return _Comparison(network, [], f"the image of {size} pixels does not fit", False)
    rest = [s for s in summaries if not _is_nothing(s.layer, s.input_shape)]
    last = parametric_layers(network.layers)[-1]
    pairs: list[tuple[FileLayer, LayerSummary]] = []
    shape = (size, size, 3)
    for item in layers:
        assert isinstance(item.layer, Layer)
        if _is_nothing(item.layer, shape):
            continue
        if not rest:
            return _Comparison(network, pairs, f"layer '{item.name}' follows the last one", False)
        if difference := _difference(item, item.layer, rest[0], rest[0].layer is last):
            return _Comparison(network, pairs, f"layer '{item.name}' {difference}", False)
        shape = rest[0].output_shape
        pairs.append((item, rest.pop(0)))
    missing = next((s.name for s in rest if isinstance(s.layer, Conv | Local)), "")
    return _Comparison(network, pairs, missing and f"it ends before {missing}", not rest)


def _is_nothing(layer: Layer, shape: tuple[int, ...]) -> bool:
    """Whether it changes no value of such an input at test, up to dropout's factor."""
    if isinstance(layer, AdaptiveAvgPool):
        return shape[:2] == (layer.size, layer.size)
    is_unit = isinstance(layer, MaxPool | AvgPool) and layer.window == layer.stride == 1
    return is_unit or isinstance(layer, Dropout)


def _difference(item: FileLayer, theirs: Layer, row: LayerSummary, is_last: bool) -> str:
    """Says what differs, to be read before "in network …"; empty: nothing."""
    ours = row.layer
    if type(theirs) is not type(ours):
        return f"({theirs.label()}) stands where {row.name} ({ours.label()}) is"
    skipped = _NOT_COMPARED | ({"bias"} if isinstance(ours, Parametric) else set())
    skipped |= {"features"} if is_last else set()
    for field in dataclasses.fields(ours):
        if field.name in skipped:
            continue
        a, b = getattr(theirs, field.name), getattr(ours, field.name)
        same = math.isclose(a, b, rel_tol=1e-4) if isinstance(b, float) else a == b
        if not same:
            what = "k" if field.name == "bias" else field.name
            a, b = (f"{x:g}" if isinstance(x, float) else x for x in (a, b))
            return f"has {what} {a}, but {row.name} has {b}"
    if isinstance(ours, _WINDOWED):
        assert isinstance(theirs, _WINDOWED)
        extent, (before, after) = row.input_shape[0], item.padding
        # As if the image had the padding's difference more, and the same padding on both sides.
        windows = theirs.windows()._replace(padding=before)
        count = windows.along(extent + after - before)
        if (before, count) != (padding_of(extent, ours)[0], row.output_shape[0]):
            return (
                f"makes {count} windows of {extent} pixels, {before} of padding before, but "
                f"{row.name} makes {row.output_shape[0]} with {padding_of(extent, ours)[0]}"
            )
    return ""


def _layers_of(layers: Sequence[FileLayer]) -> tuple[Layer, ...]:
    return tuple(item.layer for item in layers if isinstance(item.layer, Layer))


def dropout_factors(theirs: tuple[Layer, ...], ours: tuple[Layer, ...]) -> dict[str, float]:
    """Returns what our weights, by layer, must be multiplied by, where that is not 1."""
    names = [layer.name for layer in parametric_layers(ours)]
    pairs = zip(names, _test_factors(theirs), _test_factors(ours), strict=False)
    return {name: a / b for name, a, b in pairs if a != b}


def _test_factors(layers: tuple[Layer, ...]) -> list[float]:
    """Returns what the input of each layer with weights is multiplied by at test."""
    factors, factor = [], 1.0
    for layer in layers:
        if isinstance(layer, Dropout) and not layer.inverted:
            factor *= 1 - layer.rate
        elif isinstance(layer, Parametric):
            factors.append(factor)
            factor = 1.0
    return factors


def _to_params(
    file_name: str, found: _Comparison, factors: dict[str, float], is_chw: bool, is_bgr: bool
) -> LayerArrays:
    params: LayerArrays = {}
    for i, (item, row) in enumerate(found.pairs):
        shapes = row.layer.parameter_shapes(row.input_shape)
        if shapes is None:
            continue
        weights, bias = item.weights, item.bias
        if weights is None:
            raise InputError(f"{file_name}: layer '{item.name}' has no weights; get the whole file")
        features = weights.shape[-1] if weights.ndim else 0
        bias = np.zeros(features, np.float32) if bias is None else bias
        check_floats({f"{item.name} weights": weights, f"{item.name} biases": bias}, file_name)
        expected = (*shapes[0][:-1], features)  # of the last layer, any number
        if weights.shape != expected or bias.size != features:
            raise InputError(
                f"{file_name}: layer '{item.name}' has weights {list(weights.shape)[:8]} in our "
                f"layout and {bias.size:,} biases, but network '{found.network.name}' needs "
                f"{list(expected)} and {features:,}"
            )
        before = found.pairs[i - 1][1]
        if isinstance(row.layer, Dense) and isinstance(before.layer, Flatten) and is_chw:
            channels = before.input_shape[-1] // before.layer.groups
            image = weights.reshape(before.layer.groups // row.layer.groups, channels, -1, features)
            weights = image.transpose(0, 2, 1, 3).reshape(expected)
        if is_bgr and not params:
            weights = weights[..., ::-1, :]
        if row.name in factors:
            weights = weights * np.float32(factors[row.name])
        params[row.name] = {
            "kernel": np.ascontiguousarray(weights, np.float32),
            "bias": np.array(bias.reshape(-1), np.float32),
        }
    return params
