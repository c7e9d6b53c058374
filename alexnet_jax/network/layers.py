"""A network as data, without arrays: names, shapes and costs of its layers, and edits of it."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.network.kinds import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Gather,
    Layer,
    Local,
    Lrn,
    MaxPool,
    Parametric,
    ResponseNorm,
    padding_of,
)
from alexnet_jax.network.layer_rules import Shape

__all__ = [
    "Activation",
    "AdaptiveAvgPool",
    "AvgPool",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "Gather",
    "Layer",
    "LayerSummary",
    "Local",
    "Lrn",
    "MaxPool",
    "Network",
    "Parametric",
    "ResponseNorm",
    "Size",
    "height_and_width",
    "layer_names",
    "layers_with_parameters",
    "padding_of",
    "parametric_layers",
    "summarize",
    "with_changes",
    "with_fan_in_weights",
    "with_features",
    "with_named",
    "without",
]


Size = int | tuple[int, int]
"""Of images, in pixels: a side of squares, or (height, width)."""


@dataclass(frozen=True)
class Network:
    """Layers from the image to the logits; `source` is a paper section or 2012 file."""

    name: str
    layers: tuple[Layer, ...]
    image_size: int
    source: str
    is_cut: bool = False  # by `until`

    @property
    def classes(self) -> int:
        return parametric_layers(self.layers)[-1].features

    @property
    def classifier(self) -> Parametric | None:
        """The layer of the logits; a network that was cut has none."""
        return None if self.is_cut else parametric_layers(self.layers)[-1]

    @property
    def towers(self) -> int:
        """The most groups that any layer has: 2 for the paper's two GPUs."""
        return max(layer.groups for layer in self.layers)

    def with_classes(self, classes: int) -> "Network":
        if classes < 2:
            raise InputError(f"a classifier needs at least 2 classes, not {classes}")
        if self.classifier is None:
            raise InputError(f"network '{self.name}' has no classes; set them before it is cut")
        layers = with_features(self.layers, {self.classifier.name: classes})
        return dataclasses.replace(self, layers=layers)

    def place(self, layer: str) -> int:
        """Returns the index of a layer of `layer_names`; an unknown one raises `InputError`."""
        names = layer_names(self.layers)
        if layer not in names:
            raise InputError(
                f"network '{self.name}' has no layer '{layer}'.{did_you_mean(layer, names)} "
                f"Layers: {', '.join(names)}"
            )
        return names.index(layer)

    def until(self, layer: str) -> "Network":
        """Returns the network whose output is that of `layer`; parameters of others are ignored.

        It takes images of every size that fits its layers. An unknown layer raises `InputError`.

        >>> trunk = NETWORKS["one-weird-trick"].until("relu5")
        >>> summarize(trunk, (100, 150))[-1].output_shape
        (5, 8, 256)
        """
        layers = self.layers[: self.place(layer) + 1]
        name = f"{self.name} until {layer}"
        return dataclasses.replace(self, name=name, layers=layers, is_cut=True)


@dataclass(frozen=True)
class LayerSummary:
    """Shapes without the batch axis, numbers of parameters, multiply-adds for one image."""

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    weights: int = 0
    biases: int = 0
    macs: int = 0

    @property
    def params(self) -> int:
        return self.weights + self.biases

    @property
    def neurons(self) -> int:
        """Outputs of a parametric layer (the paper's count), else 0."""
        return math.prod(self.output_shape) if isinstance(self.layer, Parametric) else 0


def parametric_layers(layers: tuple[Layer, ...]) -> list[Parametric]:
    return [layer for layer in layers if isinstance(layer, Parametric)]


def layers_with_parameters(network: Network) -> list[str]:
    """Returns the names of all layers with parameters, `Parametric` or not."""
    return [summary.name for summary in summarize(network) if summary.params]


def layer_names(layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """Returns unique names: `conv1`, `relu1`, `norm1`, …; a repeated one gets a letter."""
    names: list[str] = []
    depth = "0"
    for layer in layers:
        if isinstance(layer, Parametric):
            match = re.search(r"\d+$", layer.name)
            depth = match.group() if match else layer.name
            name = layer.name
        else:
            name = layer.prefix() + depth
        taken = [name] + [name + letter for letter in "bcdefgh"]
        names.append(next(candidate for candidate in taken if candidate not in names))
    return tuple(names)


def height_and_width(network: Network, image_size: Size | None) -> tuple[int, int]:
    size = network.image_size if image_size is None else image_size
    return (size, size) if isinstance(size, int) else size


def summarize(network: Network, image_size: Size | None = None) -> tuple[LayerSummary, ...]:
    """A size that does not fit raises `InputError`, with the smallest size that would do."""
    height, width = height_and_width(network, image_size)
    try:
        return _summarize(network, height, width)
    except InputError as error:
        larger = range(min(height, width) + 1, 1025)
        fits = next((size for size in larger if _fits(network, size)), None)
        hint = f"; the smallest that fits is {fits}x{fits}" if fits else ""
        raise InputError(f"network '{network.name}' at {height}x{width}: {error}{hint}") from None


def _summarize(network: Network, height: int, width: int) -> tuple[LayerSummary, ...]:
    shape: Shape = (height, width, 3)
    summaries = []
    for name, layer in zip(layer_names(network.layers), network.layers, strict=True):
        try:
            output = layer.output_shape(shape)
        except InputError as error:
            raise InputError(f"layer '{name}' {error}") from None
        kernel, bias = map(math.prod, layer.parameter_shapes(shape) or ((0,), (0,)))
        summaries.append(LayerSummary(name, layer, shape, output, kernel, bias, layer.macs(shape)))
        shape = output
    return tuple(summaries)


def _fits(network: Network, size: int) -> bool:
    try:
        _summarize(network, size, size)
    except InputError:
        return False
    return True


def without(layers: tuple[Layer, ...], *kinds: type) -> tuple[Layer, ...]:
    return tuple(layer for layer in layers if not isinstance(layer, kinds))


def with_changes(layers: tuple[Layer, ...], kind: type, /, **changes) -> tuple[Layer, ...]:
    return tuple(
        dataclasses.replace(layer, **changes) if isinstance(layer, kind) else layer
        for layer in layers
    )


def with_named(layers: tuple[Layer, ...], name: str, /, **changes) -> tuple[Layer, ...]:
    if name not in [layer.name for layer in parametric_layers(layers)]:
        raise ValueError(f"no layer is called '{name}'")
    return tuple(
        dataclasses.replace(layer, **changes)
        if isinstance(layer, Parametric) and layer.name == name
        else layer
        for layer in layers
    )


def with_features(layers: tuple[Layer, ...], features: Mapping[str, int]) -> tuple[Layer, ...]:
    for name, count in features.items():
        layers = with_named(layers, name, features=count)
    return layers


def with_fan_in_weights(network: Network, image_size: int) -> Network:
    """Returns the network for images of standard deviation 1: its weights keep a signal's size.

    The variance is 2 / fan_in where a ReLU follows (He et al., 2015, "Delving deep into
    rectifiers"), and 1 / fan_in in the last layer; biases are 0.
    """
    rows = summarize(network, image_size)
    *hidden, last = (row for row in rows if isinstance(row.layer, Parametric))
    layers = network.layers
    for row in (*hidden, last):
        gain = 1 if row is last else 2
        std = math.sqrt(gain * row.biases / row.weights)  # weights / biases is the fan_in
        layers = with_named(layers, row.name, weight_std=std, bias=0.0)
    return dataclasses.replace(network, layers=layers)
