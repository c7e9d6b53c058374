"""A network as a table: kind, shapes, receptive field, parameters, cost and tower of each layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alexnet_jax.network.layers import (
    Flatten,
    Layer,
    LayerSummary,
    Network,
    Parametric,
    Size,
    height_and_width,
    summarize,
)
from alexnet_jax.network.networks import find_network
from alexnet_jax.network.receptive_fields import receptive_fields
from alexnet_jax.network.summary_text import format_summary


@dataclass(frozen=True)
class LayerRow:
    """One layer of a `NetworkSummary`, for one image; shapes are without the batch axis."""

    layer: str
    kind: str
    kernel_shape: tuple[int, ...]  # empty: it has no parameters
    window: int | None  # pixels along a side, as `receptive_field`
    stride: int | None
    output_shape: tuple[int, ...]
    receptive_field: int  # along the longer side of the image
    params: int
    macs: int
    neurons: int
    # Channels on each tower; one number: all of them on every tower; empty: one tower.
    tower_units: tuple[int, ...]
    reads: str  # channels of its `own` tower, of `both` (`all`), or those of the `image`


@dataclass(frozen=True, repr=False)
class NetworkSummary:
    """The table of a network; `print` and notebooks show it."""

    network: Network
    image_size: Size
    rows: tuple[LayerRow, ...]
    params: int  # paper §3.5: 60 million
    macs: int  # without those of normalization and pooling
    neurons: int  # of layers with parameters, not of the image (paper §3.5: 650,000)

    def __repr__(self) -> str:
        return format_summary(self)

    def _repr_markdown_(self) -> str:
        return format_summary(self, "markdown")


def summary(network: Network | str, image_size: Size | None = None) -> NetworkSummary:
    """Returns the table of a network, or of the one of that name; `image_size` is in pixels.

    Raises `InputError` for an unknown name, or a size that does not fit.

    >>> paper = summary("paper")
    >>> paper.params, paper.macs, paper.neurons
    (60965224, 724406816, 659272)
    >>> paper.rows[0].output_shape, paper.rows[0].tower_units
    ((55, 55, 96), (48, 48))
    """
    if isinstance(network, str):
        network = find_network(network)
    size = network.image_size if image_size is None else image_size
    layers = summarize(network, size)
    height, width = height_and_width(network, size)
    fields = receptive_fields(network, size, axis=int(width > height))
    rows = tuple(
        LayerRow(
            layer.name,
            layer.layer.label(),
            (layer.layer.parameter_shapes(layer.input_shape) or ((),))[0],
            *_window(layer.layer),
            layer.output_shape,
            field.size,
            layer.params,
            layer.macs,
            layer.neurons,
            *place,
        )
        for layer, field, place in zip(layers, fields, _places(network, layers), strict=True)
    )
    totals = (sum(getattr(row, name) for row in rows) for name in ("params", "macs", "neurons"))
    return NetworkSummary(network, size, rows, *totals)


def _window(layer: Layer) -> tuple[int | None, int | None]:
    windows = layer.windows()
    return (windows.size, windows.stride) if windows else (None, None)


def _places(
    network: Network, summaries: Sequence[LayerSummary]
) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yields each layer's `tower_units` and `reads`."""
    towers, classifier = network.towers, network.classifier
    divided = mixed = False  # whether each tower has its own channels; whether these are shuffled
    for summary in summaries:
        layer, units = summary.layer, summary.output_shape[-1]
        reads = ""
        if isinstance(layer, Flatten):
            mixed = layer.groups == 1
        elif layer.combines_channels():
            apart = layer.groups % towers == 0 and layer is not classifier
            everyone = "both" if towers == 2 else "all"
            reads = ("own" if apart and not mixed else everyone) if divided else "image"
        if isinstance(layer, Parametric):
            divided, mixed = layer is not classifier and units % towers == 0, False
        if towers == 1:
            yield (), ""
        else:
            yield (units // towers,) * towers if divided and not mixed else (units,), reads
