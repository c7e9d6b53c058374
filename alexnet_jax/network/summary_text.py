"""The table of a network as text: for people, and for programs."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import height_and_width, parametric_layers

if TYPE_CHECKING:
    from alexnet_jax.network.summary import NetworkSummary

FORMATS = ("table", "markdown", "csv", "json")


def format_summary(summary: "NetworkSummary", form: str = "table") -> str:
    match form:
        case "table":
            return _page(summary, _aligned(_cells(summary)))
        case "markdown":
            return _page(summary, _piped(_cells(summary)))
        case "csv":
            return _csv(summary)
        case "json":
            facts = dataclasses.asdict(summary)
            facts |= {"network": summary.network.name, "source": summary.network.source}
            facts |= {"classes": summary.network.classes, "towers": summary.network.towers}
            return json.dumps(facts, indent=2, ensure_ascii=False)
    raise InputError(f"--format should be one of {', '.join(FORMATS)}, not '{form}'")


def _page(summary: "NetworkSummary", table: list[str]) -> str:
    network = summary.network
    height, width = height_and_width(network, summary.image_size)
    layers = len(parametric_layers(network.layers))
    towers = f"{network.towers} towers" if network.towers > 1 else "one tower"
    title = (
        f"{network.name}: {layers} layers with weights, {towers}, {network.classes:,} "
        f"{'channels' if network.is_cut else 'classes'}, images of {height}x{width}x3"
    )
    notes = [
        "Field: pixels that a unit sees, along a side. Neurons: outputs of layers with weights.",
        "Mult-adds: multiply-adds for one image, of convolutions and matrix products.",
    ]
    if network.towers > 1:
        notes.append(
            "Towers: channels or units on each; the last layer is complete on each. "
            "Reads: its own tower's, or those of all."
        )
    return "\n".join((title, network.source, "", *table, "", *notes))


def _cells(summary: "NetworkSummary") -> list[tuple[str, ...]]:
    """Returns the rows as text, heading first, without empty columns."""
    heading = "layer kind kernel stride output field parameters mult-adds neurons towers reads"
    cells: list[Sequence[str]] = [heading.split()]
    for row in summary.rows:
        window = () if row.window is None else (row.window, row.window)
        numbers = (row.params, row.macs, row.neurons)
        cells.append(
            (
                *(row.layer, row.kind, _by(row.kernel_shape or window), str(row.stride or "")),
                *(_by(row.output_shape), str(row.receptive_field)),
                *(f"{number:,}" if number else "" for number in numbers),
                *(" + ".join(map(str, row.tower_units)), row.reads),
            )
        )
    totals = (f"{number:,}" for number in (summary.params, summary.macs, summary.neurons))
    cells.append(("total", *[""] * 5, *totals, "", ""))
    columns = [column for column in zip(*cells, strict=True) if any(column[1:])]
    return list(zip(*columns, strict=True))


def _by(shape: Sequence[object]) -> str:
    return "x".join(map(str, shape))


_RIGHT = ("stride", "field", "parameters", "mult-adds", "neurons")


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [name in _RIGHT for name in cells[0]]
    return [
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]


def _piped(cells: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---:" if name in _RIGHT else "---" for name in cells[0]]
    return [f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:])]


def _csv(summary: "NetworkSummary") -> str:
    rows = [dataclasses.asdict(row) for row in summary.rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shapes = {name: _by(row[name]) for name in ("kernel_shape", "output_shape")}
        units = "+".join(map(str, row["tower_units"]))
        writer.writerow(row | shapes | {"tower_units": units})
    return buffer.getvalue().removesuffix("\n")
