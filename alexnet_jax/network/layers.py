"""Layer specifications: a network is a tuple of these, and `model.AlexNet` interprets it.

Every spec is a small frozen dataclass without arrays, so that a network can be read, compared,
hashed and edited (`without`, `with_changes`, `with_features`) as data. Array layouts are
`[batch, height, width, channels]`; kernels `[height, width, channels_in / groups, channels_out]`.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from alexnet_jax.errors import InputError


@dataclass(frozen=True)
class Conv:
    """A convolution with shared weights and one bias per filter.

    Attributes:
      name: layer name; trailing digits give the depth (`conv1`).
      features: filters over all groups.
      window: height and width of the filter in pixels.
      stride: pixels between neighbouring windows.
      padding: zero rows and columns on each side.
      groups: independent filter groups; 2 is the paper's two towers.
      weight_std: standard deviation of the normal initial weights; None is PyTorch's default
        (uniform within 1/sqrt(fan_in), for weights and biases).
      bias: initial value of the biases.
      overhang: count windows by rounding up, as the 2012 code does, so that the last window may
        reach over the edge and reads zeros there (2012 file `layer.py`); else round down.
    """

    name: str
    features: int
    window: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    weight_std: float | None = 0.01
    bias: float = 0.0
    overhang: bool = True


@dataclass(frozen=True)
class Local:
    """An unshared convolution: a filter bank and a bias of its own for each position.

    Attributes as for `Conv`. Source: 2012 code, layer type `local`; CIFAR-10 nets.
    """

    name: str
    features: int
    window: int
    padding: int = 0
    weight_std: float = 0.01
    bias: float = 0.0


@dataclass(frozen=True)
class Dense:
    """A fully connected layer; with `groups`, each group of outputs sees its group of inputs."""

    name: str
    features: int
    groups: int = 1
    weight_std: float | None = 0.01
    bias: float = 0.0


@dataclass(frozen=True)
class Activation:
    """A pointwise nonlinearity. Paper §3.1; `sigmoid`, 1 / (1 + exp(-x)), is what came before."""

    kind: Literal["relu", "tanh", "sigmoid"] = "relu"


@dataclass(frozen=True)
class Lrn:
    """Local response normalization across channels: `b = a / (bias + alpha * sum a^2) ** beta`.

    Attributes:
      depth: channels in the (centred, truncated) window, n of the paper; odd.
      alpha: factor of the sum as it stands. The paper prints 1e-4; the 2012 code divides the
        configured 1e-4 by the window size, so what ran is 2e-5.
      beta: exponent.
      bias: k of the paper.
      groups: the sum never crosses the border between groups of channels (the towers).

    Paper: §3.3, k=2, n=5, alpha=1e-4, beta=0.75.
    """

    depth: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 2.0
    groups: int = 1


@dataclass(frozen=True)
class ResponseNorm:
    """Response normalization over a spatial window within each map (2012 code, `rnorm`).

    `b = a / (bias + alpha * sum a^2) ** beta`, the sum over `window` x `window` neighbours of the
    same channel, truncated at the border without rescaling. `alpha` is the configured scale
    divided by window^2. Not mentioned in the paper.
    """

    window: int = 5
    alpha: float = 1e-3 / 25
    beta: float = 0.75
    bias: float = 1.0


@dataclass(frozen=True)
class MaxPool:
    """Max pooling; `overhang` rounds the number of windows up (2012, Caffe). Paper: §3.4."""

    window: int = 3
    stride: int = 2
    overhang: bool = True


@dataclass(frozen=True)
class AvgPool:
    """Average pooling; overhanging windows divide by the pixels that they really cover."""

    window: int = 3
    stride: int = 2
    overhang: bool = True


@dataclass(frozen=True)
class AdaptiveAvgPool:
    """Average pooling to `size` x `size`, windows as in PyTorch's AdaptiveAvgPool2d."""

    size: int = 6


@dataclass(frozen=True)
class Flatten:
    """`[batch, height, width, channels]` to `[batch, height * width * channels]`.

    Attributes:
      groups: channels are split into so many groups, which follow one another in the result, so
        that a `Dense` with as many groups sees one tower in each; 1 is plain order.
    """

    groups: int = 1


@dataclass(frozen=True)
class Dropout:
    """Dropout with two conventions. Paper: §4.2.

    Attributes:
      rate: probability of dropping a unit.
      inverted: True scales the kept units by 1/(1-rate) in training and nothing at test; False
        (2012) only masks in training and multiplies by 1-rate in every other pass.
      towers: the units are the share of one of so many towers, whose masks are slices of those
        of the whole layer.
    """

    rate: float = 0.5
    inverted: bool = False
    towers: int = 1


@dataclass(frozen=True)
class Gather:
    """The towers send their channels to one another: here the paper's two GPUs talk (§3.5).

    Only the network of a single tower has such layers, see `towers.tower_network`.

    Attributes:
      towers: how many there are; the channels of the first one come first.
      invariant: what follows is the same on every tower, so that no gradient comes back.
    """

    towers: int
    invariant: bool = False


Layer = (
    Conv
    | Local
    | Dense
    | Activation
    | Lrn
    | ResponseNorm
    | MaxPool
    | AvgPool
    | AdaptiveAvgPool
    | Flatten
    | Dropout
    | Gather
)
Parametric = Conv | Local | Dense

_PREFIX = {
    Lrn: "norm",
    ResponseNorm: "rnorm",
    MaxPool: "pool",
    AvgPool: "pool",
    AdaptiveAvgPool: "pool",
    Flatten: "flatten",
    Dropout: "dropout",
    Gather: "gather",
}


@dataclass(frozen=True)
class Network:
    """A named network.

    Attributes:
      name: key in `NETWORKS`.
      layers: the specs, from the image to the logits; the last one is the classifier.
      image_size: height and width of the training crop in pixels.
      source: where the network is defined (paper section or 2012 file).
    """

    name: str
    layers: tuple[Layer, ...]
    image_size: int
    source: str

    @property
    def classes(self) -> int:
        """Number of outputs of the last parametric layer."""
        return parametric_layers(self.layers)[-1].features

    @property
    def towers(self) -> int:
        """The most groups that any layer has: 2 for the paper's two GPUs, 1 for one tower."""
        return max(getattr(layer, "groups", 1) for layer in self.layers)

    def with_classes(self, classes: int) -> "Network":
        """Returns the network with `classes` outputs in its last parametric layer."""
        if classes < 2:
            raise InputError(f"a classifier needs at least 2 classes, not {classes}")
        last = parametric_layers(self.layers)[-1].name
        return dataclasses.replace(self, layers=with_features(self.layers, {last: classes}))


@dataclass(frozen=True)
class LayerSummary:
    """What one layer makes of its input, for one image.

    Attributes:
      name: unique name within the network (`conv1`, `relu1`, `norm1`, `pool1`, `fc6`, …).
      layer: the spec.
      input_shape, output_shape: without the batch axis.
      weights, biases: numbers of parameters.
      macs: multiply-accumulate operations of convolutions and matrix products.
    """

    name: str
    layer: Layer
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weights: int = 0
    biases: int = 0
    macs: int = 0

    @property
    def params(self) -> int:
        """Weights and biases together."""
        return self.weights + self.biases

    @property
    def neurons(self) -> int:
        """Outputs of a parametric layer (the paper's count), else 0."""
        return math.prod(self.output_shape) if isinstance(self.layer, Parametric) else 0


def parametric_layers(layers: tuple[Layer, ...]) -> list[Parametric]:
    """Returns the layers that hold parameters, in order."""
    return [layer for layer in layers if isinstance(layer, Parametric)]


def layer_names(layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """Returns one unique name per layer.

    Parametric layers keep their own. Others are called after the depth of the parametric layer
    before them: `relu1`, `norm1`, `pool1`, …, `dropout6`; a repeated one gets a letter.
    """
    names: list[str] = []
    depth = "0"
    for layer in layers:
        if isinstance(layer, Parametric):
            match = re.search(r"\d+$", layer.name)
            depth = match.group() if match else layer.name
            name = layer.name
        else:
            prefix = layer.kind if isinstance(layer, Activation) else _PREFIX[type(layer)]
            name = prefix + depth
        taken = [name] + [name + letter for letter in "bcdefgh"]
        names.append(next(candidate for candidate in taken if candidate not in names))
    return tuple(names)


def window_count(size: int, window: int, stride: int, padding: int, overhang: bool) -> int:
    """Returns the number of windows along one axis (0 or less: none fits).

    `1 + (size + 2 padding - window) / stride`, rounded up with `overhang` (2012 file `layer.py`)
    and down without.

    Args:
      size: of the input along one axis, pixels.
      window: of the layer, pixels.
      stride: pixels between windows.
      padding: zeros on either side, pixels.
      overhang: a last window may lie partly outside, as in cuda-convnet and Caffe.
    """
    room = size + 2 * padding - window
    if room < 0:
        return 0
    return 1 + (-(-room // stride) if overhang else room // stride)


def padding_of(size: int, layer: Conv | MaxPool | AvgPool | Local) -> tuple[int, int]:
    """Returns the pixels to add before and after one axis of `size` so that VALID windows fit."""
    before = layer.padding if isinstance(layer, Conv | Local) else 0
    stride = 1 if isinstance(layer, Local) else layer.stride
    overhang = not isinstance(layer, Local) and layer.overhang
    count = window_count(size, layer.window, stride, before, overhang)
    needed = (count - 1) * stride + layer.window
    return before, max(needed - size - before, 0)


def _summarize_layer(name: str, layer: Layer, shape: tuple[int, ...]) -> LayerSummary:
    """Returns the summary of one layer; raises `InputError` when the layer cannot take `shape`."""
    match layer:
        case Conv() | Local() | MaxPool() | AvgPool():
            return _summarize_windows(name, layer, shape)
        case AdaptiveAvgPool(size=size):
            return LayerSummary(name, layer, shape, (size, size, shape[-1]))
        case Flatten(groups=groups):
            if shape[-1] % groups:
                raise InputError(
                    f"layer '{name}' flattens {groups} groups, but has {shape[-1]} channels"
                )
            return LayerSummary(name, layer, shape, (math.prod(shape),))
        case Gather(towers=towers):
            return LayerSummary(name, layer, shape, (*shape[:-1], shape[-1] * towers))
        case Dense(features=features, groups=groups):
            if len(shape) != 1:
                raise InputError(f"layer '{name}' is dense and needs a Flatten before it")
            _check_groups(name, groups, shape[0], features)
            weights = shape[0] * features // groups
            return LayerSummary(name, layer, shape, (features,), weights, features, weights)
        case Lrn(groups=groups):
            if shape[-1] % groups:
                raise InputError(
                    f"layer '{name}' normalizes in {groups} groups, but has {shape[-1]} channels"
                )
            return LayerSummary(name, layer, shape, shape)
        case _:
            return LayerSummary(name, layer, shape, shape)


def _summarize_windows(
    name: str, layer: Conv | Local | MaxPool | AvgPool, shape: tuple[int, ...]
) -> LayerSummary:
    """Returns the summary of a layer that slides a window over the image."""
    height, width, channels = shape
    padding = layer.padding if isinstance(layer, Conv | Local) else 0
    stride = 1 if isinstance(layer, Local) else layer.stride
    overhang = not isinstance(layer, Local) and layer.overhang
    out_height, out_width = (
        window_count(size, layer.window, stride, padding, overhang) for size in (height, width)
    )
    if min(out_height, out_width) < 1:
        raise InputError(
            f"layer '{name}' has {layer.window}x{layer.window} windows but gets only "
            f"{height}x{width} pixels"
        )
    if isinstance(layer, MaxPool | AvgPool):
        return LayerSummary(name, layer, shape, (out_height, out_width, channels))
    positions = out_height * out_width
    output = (out_height, out_width, layer.features)
    groups = layer.groups if isinstance(layer, Conv) else 1
    _check_groups(name, groups, channels, layer.features)
    bank = layer.window**2 * (channels // groups) * layer.features
    if isinstance(layer, Local):
        weights, biases = positions * bank, positions * layer.features
    else:
        weights, biases = bank, layer.features
    return LayerSummary(name, layer, shape, output, weights, biases, positions * bank)


def _check_groups(name: str, groups: int, channels: int, features: int) -> None:
    if channels % groups or features % groups:
        raise InputError(
            f"layer '{name}' has {groups} groups, which must divide its {channels} inputs "
            f"and its {features} outputs"
        )


def summarize(network: Network, image_size: int | None = None) -> tuple[LayerSummary, ...]:
    """Returns what every layer does with an image of `image_size` (default: the network's own).

    Raises:
      InputError: the size does not fit; names the first layer that fails and the smallest size
        that would do.
    """
    size = network.image_size if image_size is None else image_size
    try:
        return _summarize(network, size)
    except InputError as error:
        fits = next((s for s in range(size + 1, 1025) if _fits(network, s)), None)
        hint = f"; the smallest that fits is {fits}x{fits}" if fits else ""
        raise InputError(f"network '{network.name}' at {size}x{size}: {error}{hint}") from None


def _summarize(network: Network, size: int) -> tuple[LayerSummary, ...]:
    shape: tuple[int, ...] = (size, size, 3)
    summaries = []
    for name, layer in zip(layer_names(network.layers), network.layers, strict=True):
        summary = _summarize_layer(name, layer, shape)
        summaries.append(summary)
        shape = summary.output_shape
    return tuple(summaries)


def _fits(network: Network, size: int) -> bool:
    try:
        _summarize(network, size)
    except InputError:
        return False
    return True


def without(layers: tuple[Layer, ...], *kinds: type) -> tuple[Layer, ...]:
    """Returns the layers that are of none of `kinds`."""
    return tuple(layer for layer in layers if not isinstance(layer, kinds))


def with_changes(layers: tuple[Layer, ...], kind: type, /, **changes) -> tuple[Layer, ...]:
    """Returns the layers with `changes` made in every layer of type `kind`."""
    return tuple(
        dataclasses.replace(layer, **changes) if isinstance(layer, kind) else layer
        for layer in layers
    )


def with_named(layers: tuple[Layer, ...], name: str, /, **changes) -> tuple[Layer, ...]:
    """Returns the layers with `changes` made in the parametric layer called `name`."""
    if name not in [layer.name for layer in parametric_layers(layers)]:
        raise ValueError(f"no layer is called '{name}'")
    return tuple(
        dataclasses.replace(layer, **changes)
        if isinstance(layer, Parametric) and layer.name == name
        else layer
        for layer in layers
    )


def with_features(layers: tuple[Layer, ...], features: Mapping[str, int]) -> tuple[Layer, ...]:
    """Returns the layers with the number of features changed where `features` names a layer."""
    for name, count in features.items():
        layers = with_named(layers, name, features=count)
    return layers


def with_fan_in_weights(network: Network, image_size: int) -> Network:
    """Returns the network with initial weights that keep a signal's size, and biases of 0.

    The variance is 2 / fan_in where a ReLU follows (He et al., 2015, "Delving deep into
    rectifiers"), and 1 / fan_in in the last layer. It suits images of standard deviation 1.

    Args:
      network: to edit; its fan_in depends on the size of the images.
      image_size: height and width, pixels.
    """
    *hidden, last = (row for row in summarize(network, image_size) if row.weights)
    layers = network.layers
    for row in (*hidden, last):
        outputs = row.neurons if isinstance(row.layer, Local) else row.biases
        gain = 1 if row is last else 2
        std = math.sqrt(gain * outputs / row.weights)
        layers = with_named(layers, row.name, weight_std=std, bias=0.0)
    return dataclasses.replace(network, layers=layers)
