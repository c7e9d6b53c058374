"""The sections of the report. A section is one function here and one template of the same name.

A function returns the values of `report_templates/NAME.html.jinja` (there `section`), or None
where there is nothing to show. To add a section, add both and a line to `SECTIONS`.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from alexnet_jax.evaluation.metrics import MAIN_ERROR, table_columns
from alexnet_jax.fields import differing_fields
from alexnet_jax.insight import curves
from alexnet_jax.insight.confusion import class_errors, confused_pairs, heat_map, row_shares
from alexnet_jax.insight.curves import draw_curves
from alexnet_jax.insight.drawing import draw_network
from alexnet_jax.insight.examples import top_answers
from alexnet_jax.insight.markup import is_tiny, photo_uri, png_uri
from alexnet_jax.insight.report_data import ReportData
from alexnet_jax.insight.series import rate_changes, read_series
from alexnet_jax.network.filters import (
    FILTERS_PER_ROW,
    colour_shares,
    filter_picture,
    tower_pictures,
)
from alexnet_jax.presets import PRESETS

Values = dict[str, Any]
MAX_MATRIX_CLASSES = 20
MAX_CLASS_ROWS, LAST_CLASS_ROWS = 60, 20
MAX_PAIRS = 20
NEIGHBOUR_SIDE, TRAINING_SIDE = 160, 112  # of pictures, pixels
FILTERS_WIDTH = 1800  # of the picture of filters: two dots per CSS pixel


def training_curves(data: ReportData) -> Values:
    classes, stuck = len(data.class_names), data.stuck_epochs()
    rates = rate_changes(data.metrics)
    columns = table_columns(max(1, classes))

    def training(metric: str) -> curves.CurveLine:
        series = read_series(data.metrics, f"train/{metric}")
        return curves.CurveLine("training", series, "training", smooth=True)

    def validation(metric: str, suffix: str = "", style: str = "validation") -> curves.CurveLine:
        series = read_series(data.metrics, f"validation/{metric}")
        return curves.CurveLine("validation" + suffix, series, style)

    charts, error_lines = [], [training(MAIN_ERROR), validation(MAIN_ERROR)]
    for name, metric in columns.items():
        if metric.is_error and name != MAIN_ERROR:
            suffix = f", {metric.label.replace('-', ' ')}"
            error_lines.append(validation(name, suffix, "second"))
        elif not metric.is_error:
            title, unit = metric.label.capitalize(), f", {metric.unit}" * bool(metric.unit)
            is_loss = name == "loss"
            chart = draw_curves(
                f"{title} against epochs",
                [training(name), validation(name)],
                rates=rates,
                chance=math.log(classes) if is_loss and classes > 1 else None,
                stuck=stuck if is_loss else (),
            )
            charts.append((title + unit, chart))
    errors = draw_curves(
        "Error rates against epochs",
        error_lines,
        rates=rates,
        chance=1 - 1 / classes if classes > 1 else None,
        as_percent=True,
    )
    charts.insert(1, ("Error, share of images", errors))
    return {"charts": [chart for chart in charts if chart[1]], "stuck": stuck}


def network(data: ReportData) -> Values | None:
    """The network as the paper's Figure 2 draws it."""
    if data.network is None:
        return None
    drawing = draw_network(data.network, data.config.image_size or None)
    return {"drawing": drawing, "towers": data.towers}


def filters(data: ReportData) -> Values | None:
    kernel, towers = data.conv1_kernel, data.towers
    if kernel is None:
        return None
    width, per_tower = kernel.shape[1], kernel.shape[3] // towers
    # Whole pixels for each weight; the browser only makes the picture smaller.
    magnify = max(1, round(FILTERS_WIDTH / (FILTERS_PER_ROW * (width + 1))))
    pictures = tower_pictures(kernel, towers, magnify=magnify)
    shares = colour_shares(kernel, towers)
    return {
        "towers": [
            {
                "first": index * per_tower + 1,
                "last": (index + 1) * per_tower,
                "uri": png_uri(picture),
                "width": 100 * min(FILTERS_PER_ROW, per_tower) / FILTERS_PER_ROW,
                "size": (picture.shape[1], picture.shape[0]),
                "colour": share,
                "filter": f"{kernel.shape[0]} × {width}",
            }
            for index, (picture, share) in enumerate(zip(pictures, shares, strict=True))
        ],
        "shares": _colour_chart(data),
        "earlier": [
            {"name": name, "uri": png_uri(filter_picture(earlier, towers, magnify=3))}
            for name, earlier in (data.earlier_kernels or {}).items()
        ],
    }


def _colour_chart(data: ReportData) -> str:
    styles = ("training", "second")
    lines = [
        curves.CurveLine(
            f"tower {tower}" if data.towers > 1 else "all filters",
            read_series(data.metrics, f"validation/colour_share_{tower}"),
            styles[(tower - 1) % 2],
        )
        for tower in range(1, data.towers + 1)
    ]
    if not any(np.ptp(line.series.values) for line in lines if len(line.series.values)):
        return ""  # the layer is frozen, or was seen once
    return draw_curves("Colour share of conv1's filters against epochs", lines, as_percent=True)


def training(data: ReportData) -> Values | None:
    """What training shows of the first image; no rows where the data set is not here."""
    if data.training is None:
        return None
    rows = [
        {
            "name": row.name,
            "note": row.note,
            "pictures": [
                _picture(x.image, TRAINING_SIDE, caption=x.caption, hue=x.hue) for x in row.pictures
            ],
        }
        for row in data.training
    ]
    return {"rows": rows, "short_run": data.config.epochs <= 5}


def _picture(image: np.ndarray, side: int = 256, **more: Any) -> Values:
    return {"uri": photo_uri(image, side), "tiny": is_tiny(image)} | more


def examples(data: ReportData) -> Values | None:
    """Test images with their best answers: some drawn at random, and the worst mistakes."""
    headings = {"random": "Drawn at random", "mistake": "The most confident mistakes"}
    groups = []
    for kind, heading in headings.items():
        cards = [
            _picture(
                example.image,
                label=data.class_names[example.label],
                file_name=example.file_name,
                answers=top_answers(example, data.class_names),
                own=float(example.probabilities[example.label]),
            )
            for example in data.examples
            if example.kind == kind
        ]
        if cards:
            groups.append({"heading": heading, "cards": cards})
    return {"groups": groups} if groups else None


def neighbours(data: ReportData) -> Values | None:
    """Test images with the training images that are nearest in the last hidden layer."""

    def picture(image: np.ndarray, label: int, right: bool) -> Values:
        return _picture(image, NEIGHBOUR_SIDE, label=data.class_names[label], right=right)

    rows = [
        {
            "query": picture(row.image, row.label, True),
            "nearest": [
                picture(image, label, label == row.label)
                for image, label in zip(row.nearest, row.nearest_labels, strict=True)
            ],
        }
        for row in data.neighbours
    ]
    return {"rows": rows} if rows else None


def confusions(data: ReportData) -> Values | None:
    """The confusion matrix: as a table, or for many classes as a picture with the worst pairs."""
    matrix, names = data.confusion, data.class_names
    if matrix is None or not np.any(matrix):
        return None
    if len(names) > MAX_MATRIX_CLASSES:
        pairs = confused_pairs(matrix, names, MAX_PAIRS)
        return {"rows": [], "pairs": pairs, "heat_map": png_uri(heat_map(matrix))}
    rows = [
        {
            "name": name,
            "cells": [
                {"count": int(count), "share": float(share), "right": column == index}
                for column, (count, share) in enumerate(zip(counts, shares, strict=True))
            ],
        }
        for index, (name, counts, shares) in enumerate(
            zip(names, matrix, row_shares(matrix), strict=True)
        )
    ]
    return {"names": names, "rows": rows}


def errors(data: ReportData) -> Values | None:
    """Errors by class, worst first; of many classes those in the middle are left out."""
    if data.confusion is None or not np.any(data.confusion):
        return None
    rows = class_errors(data.confusion, data.class_names)
    left_out = max(0, len(rows) - MAX_CLASS_ROWS)
    first = MAX_CLASS_ROWS - LAST_CLASS_ROWS
    if left_out:
        rows = rows[:first] + rows[-LAST_CLASS_ROWS:]
    return {"rows": rows, "left_out": left_out, "gap": first if left_out else None}


def origin(data: ReportData) -> Values:
    preset = PRESETS.get(data.config.preset)
    changed = differing_fields(preset, data.config) if preset else {}
    settings = [
        (name, _plain(value), _plain(changed[name][0]) if name in changed else None)
        for name, value in _flat(dataclasses.asdict(data.config)).items()
    ]
    hidden = {"class_names", "name", "workdir", "command"}
    environment = {
        name: _plain(value)
        for name, value in _flat(data.run).items()
        if name not in hidden and value is not None
    }
    return {
        "command": data.run.get("command"),
        "settings": settings,
        "changes": sum(was is not None for _, _, was in settings),
        "environment": environment,
        "bad_images": data.bad_images,
        "near_duplicates": data.near_duplicates,
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        nested = isinstance(item, Mapping)
        flat |= _flat(item, f"{prefix}{name}.") if nested else {f"{prefix}{name}": item}
    return flat


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    return value if isinstance(value, str) else json.dumps(value, default=str)


SECTIONS = (
    training_curves,
    network,
    filters,
    training,
    examples,
    neighbours,
    confusions,
    errors,
    origin,
)
"""In the order of the page."""
