"""A network drawn as the paper's Figure 2 draws it: its towers one above the other, with sizes.

The picture is inline SVG whose colours come from the page's style sheet, as those of `curves`.
"""

import html
import math
from typing import NamedTuple

from alexnet_jax.network.layers import (
    AvgPool,
    Conv,
    Lrn,
    MaxPool,
    Network,
    Parametric,
    ResponseNorm,
    summarize,
)

COLUMN, ROW, LINE = 112.0, 122.0, 15.0
_TALLEST, _LEAST = 100.0, 12.0


class _Column(NamedTuple):
    """What stands above one another: a layer's output in every tower.

    Attributes:
      name: of the layer.
      side: units along a side; 0 for dense layers.
      features: over all towers.
      split: lies in towers; False: one box in the middle.
      crosses: reads all towers.
      notes: lines below it.
    """

    name: str
    side: int
    features: int
    split: bool
    crosses: bool
    notes: tuple[str, ...]


def draw(network: Network, image_size: int | None = None) -> str:
    """Returns the drawing as an SVG element.

    Every layer but the classifier lies in the towers, as it does when the network is spread over
    two devices; a line between towers says that a layer reads both.

    Args:
      network: e.g. `NETWORKS["paper"]`.
      image_size: height and width of the input, pixels; None: the network's own.

    Raises:
      InputError: the size does not fit the network.
    """
    columns = _columns(network, image_size or network.image_size)
    towers = network.towers
    notes = max(len(column.notes) for column in columns)
    height, width = towers * ROW + (notes + 2) * LINE, len(columns) * COLUMN
    middle = towers * ROW / 2
    lines, boxes, words = [], [], []
    for place, column in enumerate(columns):
        x = (place + 0.5) * COLUMN
        here = _heights(column, towers, middle)
        if place:
            before = _heights(columns[place - 1], towers, middle)
            reach = _width(columns[place - 1]) / 2
            ends = x - COLUMN + reach + 3, x - _width(column) / 2 - 3
            for i, start in enumerate(before):
                for j, stop in enumerate(here):
                    alone = len(before) == 1 or len(here) == 1
                    if i == j or alone or column.crosses:
                        kind = "cross" if i != j and not alone else "wire"
                        lines.append(
                            f'<path class="{kind}" d="M{ends[0]:.1f} {start:.1f}'
                            f'L{ends[1]:.1f} {stop:.1f}"/>'
                        )
        side, across = _height(column), _width(column)
        for tower, y in enumerate(here):
            style = f"tower{tower + 1}" if len(here) > 1 else "whole"
            boxes.append(
                f'<rect class="box {style}" x="{x - across / 2:.1f}" y="{y - side / 2:.1f}" '
                f'width="{across:.1f}" height="{side:.1f}" rx="2"/>'
            )
        for row, note in enumerate((column.name, *column.notes)):
            kind = "layer" if not row else "size"
            words.append(
                f'<text class="{kind}" x="{x:.1f}" y="{towers * ROW + 16 + LINE * row:.1f}" '
                f'text-anchor="middle">{html.escape(note)}</text>'
            )
    title = f"{network.name}: {len(columns) - 1} layers with weights, " + (
        f"{towers} towers" if towers > 1 else "one tower"
    )
    return (
        f'<svg class="network" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{html.escape(title, quote=True)}">{"".join(lines + boxes + words)}</svg>'
    )


def _columns(network: Network, image_size: int) -> list[_Column]:
    columns = [_Column("image", image_size, 3, False, True, (f"{image_size} × {image_size} × 3",))]
    summaries = summarize(network, image_size)
    last = [s.name for s in summaries if isinstance(s.layer, Parametric)][-1]
    for summary in summaries:
        layer, shape = summary.layer, summary.output_shape
        if isinstance(layer, Parametric):
            side, features = (shape[0], shape[-1]) if len(shape) == 3 else (0, shape[-1])
            split = network.towers > 1 and summary.name != last
            parts = network.towers if split else 1
            each = f"{parts} × {features // parts:,}" if split else f"{features:,}"
            notes = []
            if isinstance(layer, Conv):
                stride = f", stride {layer.stride}" if layer.stride > 1 else ""
                notes.append(f"{layer.window} × {layer.window}{stride}")
            notes.append(f"{each} maps" if side else f"{each} units")
            if side:
                notes.append(f"of {side} × {side}")
            crosses = getattr(layer, "groups", 1) == 1
            columns.append(_Column(summary.name, side, features, split, crosses, tuple(notes)))
        elif isinstance(layer, MaxPool | AvgPool | Lrn | ResponseNorm) and len(columns) > 1:
            norm = isinstance(layer, Lrn | ResponseNorm)
            what = "norm" if norm else f"pool {shape[0]} × {shape[0]}"
            columns[-1] = columns[-1]._replace(notes=(*columns[-1].notes, what))
    return columns


def _height(column: _Column) -> float:
    size = column.side or math.sqrt(column.features)
    return max(_LEAST, _TALLEST * min(1.0, math.log2(1 + size) / math.log2(257)))


def _width(column: _Column) -> float:
    return 7.0 if not column.side else 5.0 + 3.5 * math.log2(max(2, column.features))


def _heights(column: _Column, towers: int, middle: float) -> list[float]:
    if not column.split and towers > 1:
        return [middle]
    return [(tower + 0.5) * ROW for tower in range(towers)]
