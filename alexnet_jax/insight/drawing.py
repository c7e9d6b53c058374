"""A network drawn as in the paper's Figure 2: its towers one above the other, with sizes."""

import math
from typing import NamedTuple

from alexnet_jax.insight import markup
from alexnet_jax.network.layers import (
    LayerSummary,
    Network,
    Parametric,
    parametric_layers,
    summarize,
)

COLUMN, ROW, LINE = 112.0, 122.0, 15.0
"""Width of a layer's place, height of a tower's and of a line of text."""
MAX_BOX, MIN_BOX = 100.0, 12.0


class _Column(NamedTuple):
    """One layer; `side` is in units, 0 for dense layers; `features` are those of all towers."""

    name: str
    side: int
    features: int
    boxes: int
    reads_all: bool
    notes: tuple[str, ...]

    @property
    def height(self) -> float:
        size = self.side or math.sqrt(self.features)
        return max(MIN_BOX, MAX_BOX * min(1.0, math.log2(1 + size) / math.log2(257)))

    @property
    def width(self) -> float:
        return 5.0 + 3.5 * math.log2(max(2, self.features)) if self.side else 7.0

    def middles(self, towers: int) -> list[float]:
        """Returns the height at which each box is centred, pixels."""
        if self.boxes < towers:
            return [towers * ROW / 2]
        return [(tower + 0.5) * ROW for tower in range(towers)]


def draw_network(network: Network, image_size: int | None = None) -> str:
    """Returns an SVG element; a line between towers: a layer reads both. `image_size`: pixels."""
    columns = _columns(network, image_size or network.image_size)
    towers = network.towers
    lines, boxes, words = [], [], []
    for place, column in enumerate(columns):
        x = (place + 0.5) * COLUMN
        if place:
            lines += _wires(columns[place - 1], column, x, towers)
        middles = column.middles(towers)
        for tower, y in enumerate(middles, 1):
            style = f"box tower{tower}" if len(middles) > 1 else "box whole"
            boxes.append(_box(x, y, column.width, column.height, style))
        for row, note in enumerate((column.name, *column.notes)):
            y = towers * ROW + 16 + LINE * row
            words.append(markup.text(x, y, note, "size" if row else "layer", "middle"))
    notes = max(len(column.notes) for column in columns)
    title = f"{network.name}: {len(columns) - 1} layers with weights, " + (
        f"{towers} towers" if towers > 1 else "one tower"
    )
    height = towers * ROW + (notes + 2) * LINE
    parts = lines + boxes + words  # boxes lie over the lines
    return markup.drawing(len(columns) * COLUMN, height, title, parts, class_="network")


def _box(x: float, y: float, width: float, height: float, style: str) -> str:
    left, top = x - width / 2, y - height / 2
    return markup.element("rect", class_=style, x=left, y=top, width=width, height=height, rx=2)


def _wires(before: _Column, column: _Column, x: float, towers: int) -> list[str]:
    start = x - COLUMN + before.width / 2 + 3
    end = x - column.width / 2 - 3
    sources, targets = before.middles(towers), column.middles(towers)
    alone = len(sources) == 1 or len(targets) == 1
    wires = []
    for i, source in enumerate(sources):
        for j, target in enumerate(targets):
            if i == j or alone:
                wires.append(markup.line(start, source, end, target, "wire"))
            elif column.reads_all:
                wires.append(markup.line(start, source, end, target, "cross"))
    return wires


def _columns(network: Network, image_size: int) -> list[_Column]:
    columns = [_Column("image", image_size, 3, 1, True, (f"{image_size} × {image_size} × 3",))]
    classifier = parametric_layers(network.layers)[-1]
    for summary in summarize(network, image_size):
        layer, note = summary.layer, summary.layer.drawing_note(summary.output_shape)
        if isinstance(layer, Parametric):
            boxes = 1 if layer is classifier else network.towers
            columns.append(_column(summary, boxes, layer.reads_all_towers(), note))
        elif note and len(columns) > 1:
            columns[-1] = columns[-1]._replace(notes=(*columns[-1].notes, note))
    return columns


def _column(summary: LayerSummary, boxes: int, reads_all: bool, note: str) -> _Column:
    shape, features = summary.output_shape, summary.output_shape[-1]
    side = shape[0] if len(shape) == 3 else 0
    each = f"{boxes} × {features // boxes:,}" if boxes > 1 else f"{features:,}"
    sizes = (f"{each} maps", f"of {side} × {side}") if side else (f"{each} units",)
    notes = (note, *sizes) if note else sizes
    return _Column(summary.name, side, features, boxes, reads_all, notes)
