"""The page that ends every run: one self-contained HTML file, without scripts.

`write_report` takes plain arguments, so that it needs neither checkpoints nor data, and leaves out
what is not there: a report can be written at any time of a run. Class names, file names and
commands are other people's text; the template escapes them, and the page's own policy forbids
scripts and requests.
"""

import dataclasses
import functools
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.config import Config, differing_fields
from alexnet_jax.errors import InputError
from alexnet_jax.evaluation.guessing import Guess, watched
from alexnet_jax.files import write_text
from alexnet_jax.insight import curves
from alexnet_jax.insight.augmentations import Row
from alexnet_jax.insight.confusion import class_errors, confused_pairs, heat_map, row_shares
from alexnet_jax.insight.drawing import draw
from alexnet_jax.insight.examples import Example, photo_uri, png_uri, top_answers
from alexnet_jax.insight.neighbours import Neighbours
from alexnet_jax.insight.report_head import (
    Metrics,
    summarize_progress,
    summarize_results,
    view_name,
)
from alexnet_jax.insight.series import rate_changes, read_series
from alexnet_jax.network.filters import (
    FILTERS_PER_ROW,
    colour_shares,
    filter_picture,
    tower_pictures,
)
from alexnet_jax.network.layers import Network
from alexnet_jax.presets import PRESETS

MATRIX_CLASSES = 20
CLASS_ROWS = 60
PAIRS = 20


def write_report(
    path: str | Path,
    *,
    config: Config,
    run: Mapping[str, Any],
    metrics: Metrics = (),
    conv1_kernel: np.ndarray | None = None,
    earlier_kernels: Mapping[str, np.ndarray] | None = None,
    network: Network | None = None,
    evaluation: Mapping[Any, Mapping[str, float]] | None = None,
    confusion: np.ndarray | None = None,
    class_names: Sequence[str] = (),
    examples: Sequence[Example] = (),
    neighbours: Sequence[Neighbours] = (),
    training: Sequence[Row] | None = None,
    bad_images: int | None = None,
    near_duplicates: int = 0,
) -> Path:
    """Writes the report of a run; an older one stays whole until the new one is.

    Args:
      path: the HTML file; its folder is the run folder unless `run["workdir"]` says otherwise.
      config: resolved configuration.
      run: `run.json`.
      metrics: rows of `metrics.jsonl`.
      conv1_kernel: float32 `[height, width, 3, filters]`.
      earlier_kernels: conv1 at other checkpoints, by what to call them.
      network: to be drawn; its towers part the filters. None: they are of one tower.
      evaluation: per number of views (1, 10), `loss`, `top1_error`, `top5_error` as fractions, and
        `count` of images if known; None: taken from the metrics' last `final/` rows.
      confusion: int `[classes, classes]`, rows are true classes.
      class_names: one per class; empty: from `run`, else numbers.
      examples: test images to show.
      neighbours: test images with the nearest training images.
      training: what training shows of an image; empty: its set is not here; None: it is not known.
      bad_images: how many files were rejected in `prepare`; None: not known.
      near_duplicates: how many test images show what a training image shows.

    Returns:
      The path written.

    Raises:
      InputError: the file cannot be written, or class names and confusion matrix do not fit.
    """
    path = Path(path)
    names = _class_names(class_names or run.get("class_names") or (), confusion, examples)
    results = summarize_results(config, run, metrics, evaluation, len(names), network)
    towers = network.towers if network else 1
    stuck = _stuck({"class_names": names, **run}, metrics)
    context = {
        "config": config,
        "run": run,
        "name": _run_name(path, run),
        "classes": len(names),
        "results": results,
        "progress": summarize_progress(config, run, metrics),
        "commands": _commands(path, run, view_name(config, run, 10, network)),
        "charts": _charts(metrics, len(names), stuck),
        "stuck": stuck,
        "drawing": draw(network, config.image_size or None) if network else "",
        "config_towers": towers,
        "towers": _towers(conv1_kernel, towers),
        "shares": _colour_chart(metrics, towers),
        "earlier": [
            {"name": name, "uri": png_uri(filter_picture(kernel, towers, magnify=3))}
            for name, kernel in (earlier_kernels or {}).items()
        ],
        "confusion": _confusion(confusion, names),
        "errors": _class_table(confusion, names),
        "example_groups": _examples(examples, names),
        "neighbours": _neighbours(neighbours, names),
        "training": None if training is None else _training(training),
        "settings": _settings(config),
        "environment": _environment(run),
        "bad_images": bad_images,
        "near_duplicates": near_duplicates,
    }
    _write(path, _template().render(context))
    return path


@functools.cache
def _template():
    import jinja2

    text = resources.files("alexnet_jax.insight").joinpath("report.html.jinja").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = curves.percent
    environment.filters["short"] = curves.number
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment.from_string(text)


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"cannot write the report {path}: {error.strerror or error}") from None


def _class_names(
    names: Sequence[str], confusion: np.ndarray | None, examples: Sequence[Example]
) -> list[str]:
    sizes = {len(confusion)} if confusion is not None else set()
    sizes |= {len(example.probabilities) for example in examples}
    if not names and sizes:
        return [str(index) for index in range(max(sizes))]
    if sizes - {len(names)}:
        raise InputError(
            f"the report has {len(names)} class names, but results for {sorted(sizes)} classes; "
            "give the names of the run"
        )
    return [str(name) for name in names]


def _run_name(path: Path, run: Mapping[str, Any]) -> str:
    return str(run.get("name") or _workdir(path, run).resolve().name or "run")


def _workdir(path: Path, run: Mapping[str, Any]) -> Path:
    return Path(run["workdir"]) if run.get("workdir") else path.parent


def _commands(path: Path, run: Mapping[str, Any], views: str) -> list[tuple[str, str]]:
    """Returns (what for, command) in the order in which a reader would want them."""
    verb, workdir = "python -m alexnet_jax.main", shlex.quote(str(_workdir(path, run)))
    commands = []
    if run.get("status") != "finished" and run.get("command"):
        commands.append(("Go on training", str(run["command"])))
    commands.append((f"Test it with {views}", f"{verb} evaluate --workdir {workdir} --views 10"))
    commands.append(("Use it on your images", f"{verb} predict --workdir {workdir} IMAGE.jpg"))
    return commands


def _stuck(run: Mapping[str, Any], metrics: Metrics) -> list[tuple[float, float]]:
    """Returns the (first, last) epochs of the stretches in which nothing was learnt."""
    watch = watched(Guess.of_run(run), metrics)
    epochs = {row["step"]: row["epoch"] for row in metrics if row.get("epoch") is not None}
    return [(epochs.get(first, 0.0), epochs[last]) for first, last in watch.stretches]


def _charts(
    metrics: Metrics, classes: int, stuck: Sequence[tuple[float, float]]
) -> list[dict[str, str]]:
    """Returns the charts that have something to show: heading and SVG."""
    rates = rate_changes(metrics)

    def line(name: str, key: str, style: str) -> curves.Line:
        return curves.Line(name, read_series(metrics, key), style, key.startswith("train/"))

    top5 = [line("validation, top 5", "validation/top5_error", "second")] if classes > 5 else []
    loss = curves.draw(
        "Loss against epochs",
        [
            line("training", "train/loss", "training"),
            line("validation", "validation/loss", "validation"),
        ],
        rates=rates,
        chance=math.log(classes) if classes > 1 else None,
        stuck=stuck,
    )
    error = curves.draw(
        "Error rates against epochs",
        [
            line("training", "train/top1_error", "training"),
            line("validation", "validation/top1_error", "validation"),
            *top5,
        ],
        rates=rates,
        chance=1 - 1 / classes if classes > 1 else None,
        as_percent=True,
    )
    charts = [("Loss, nats per image", loss), ("Error, share of images", error)]
    return [{"heading": heading, "svg": svg} for heading, svg in charts if svg]


def _colour_chart(metrics: Metrics, groups: int) -> str:
    """Returns how the colour share of conv1's filters went in each tower."""
    styles = ("training", "second")
    lines = [
        curves.Line(
            f"tower {tower}" if groups > 1 else "all filters",
            read_series(metrics, f"validation/colour_share_{tower}"),
            styles[(tower - 1) % 2],
        )
        for tower in range(1, groups + 1)
    ]
    if not any(np.ptp(line.series.values) for line in lines if len(line.series.values)):
        return ""  # frozen, or seen once
    return curves.draw("Colour share of conv1's filters against epochs", lines, as_percent=True)


def _towers(kernel: np.ndarray | None, groups: int) -> list[dict[str, Any]]:
    if kernel is None:
        return []
    width, per_tower = kernel.shape[1], kernel.shape[3] // max(groups, 1)
    columns = min(FILTERS_PER_ROW, per_tower)
    # Whole pixels on a screen with two dots per CSS pixel; the browser only ever makes it smaller.
    magnify = max(1, round(1800 / (FILTERS_PER_ROW * (width + 1))))
    pictures = tower_pictures(kernel, groups, magnify=magnify)
    return [
        {
            "first": index * per_tower + 1,
            "last": (index + 1) * per_tower,
            "uri": png_uri(picture),
            "width": 100 * columns / FILTERS_PER_ROW,
            "size": (picture.shape[1], picture.shape[0]),
            "colour": share,
            "filter": f"{kernel.shape[0]} × {width}",
        }
        for index, (picture, share) in enumerate(
            zip(pictures, colour_shares(kernel, groups), strict=True)
        )
    ]


def _confusion(confusion: np.ndarray | None, names: list[str]) -> dict[str, Any] | None:
    if confusion is None or not np.any(confusion):
        return None
    large = len(names) > MATRIX_CLASSES
    shares = row_shares(confusion)
    rows = []
    if not large:
        for index, (counts, parts) in enumerate(zip(confusion, shares, strict=True)):
            cells = [
                {"count": int(n), "share": float(s), "right": column == index}
                for column, (n, s) in enumerate(zip(counts, parts, strict=True))
            ]
            rows.append({"name": names[index], "cells": cells})
    return {
        "names": names,
        "rows": rows,
        "pairs": confused_pairs(confusion, names, PAIRS) if large else [],
        "heat_map": png_uri(heat_map(confusion)) if large else "",
    }


def _class_table(confusion: np.ndarray | None, names: list[str]) -> dict[str, Any] | None:
    if confusion is None or not np.any(confusion):
        return None
    rows = class_errors(confusion, names)
    left_out = max(0, len(rows) - CLASS_ROWS)
    if left_out:
        rows = rows[: CLASS_ROWS - 20] + rows[-20:]
    return {"rows": rows, "left_out": left_out, "break": CLASS_ROWS - 20 if left_out else None}


def _examples(examples: Sequence[Example], names: list[str]) -> list[dict[str, Any]]:
    headings = {"random": "Drawn at random", "mistake": "The most confident mistakes"}
    groups = []
    for kind, heading in headings.items():
        cards = [
            {
                "uri": photo_uri(example.image),
                "tiny": max(example.image.shape[:2]) <= 64,
                "label": names[example.label],
                "file_name": example.file_name,
                "answers": top_answers(example, names),
                "own": float(example.probabilities[example.label]),
            }
            for example in examples
            if example.kind == kind
        ]
        if cards:
            groups.append({"heading": heading, "cards": cards})
    return groups


def _neighbours(neighbours: Sequence[Neighbours], names: list[str]) -> list[dict[str, Any]]:
    def picture(image: np.ndarray, label: int, right: bool) -> dict[str, Any]:
        tiny = max(image.shape[:2]) <= 64
        return {"uri": photo_uri(image, 160), "tiny": tiny, "label": names[label], "right": right}

    return [
        {
            "query": picture(row.image, row.label, True),
            "nearest": [
                picture(image, label, label == row.label)
                for image, label in zip(row.nearest, row.nearest_labels, strict=True)
            ],
        }
        for row in neighbours
    ]


def _training(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "note": row.note,
            "pictures": [
                {
                    "uri": photo_uri(picture.image, 112),
                    "tiny": max(picture.image.shape[:2]) <= 64,
                    "caption": picture.caption,
                    "hue": picture.hue,
                }
                for picture in row.pictures
            ],
        }
        for row in rows
    ]


def _settings(config: Config) -> list[dict[str, Any]]:
    """Returns every field of the configuration, marking those that differ from the preset."""
    preset = PRESETS.get(config.preset)
    changed = differing_fields(preset, config) if preset else {}
    return [
        {"name": name, "value": _plain(value), "was": _plain(changed[name][0])}
        if name in changed
        else {"name": name, "value": _plain(value), "was": None}
        for name, value in _flat(dataclasses.asdict(config)).items()
    ]


def _environment(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    hidden = {"class_names", "name", "workdir", "command"}
    return [(k, _plain(v)) for k, v in _flat(run).items() if k not in hidden and v is not None]


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
