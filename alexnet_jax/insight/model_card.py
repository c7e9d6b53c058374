"""A run's model card for Hugging Face; its YAML holds JSON values, so that no text changes it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet_jax.display import duration
from alexnet_jax.errors import printable
from alexnet_jax.evaluation.metrics import MAIN_ERROR, metrics_of, table_columns
from alexnet_jax.evaluation.views import averaged_by
from alexnet_jax.runs.run_folder import Run

MAX_CLASSES_SHOWN = 20
Results = Mapping[int, Mapping[str, float]]
"""Of a test, by number of views: its metrics by name; errors are fractions."""


def model_card(run: Run, results: Results, readers: Mapping[str, Any] | None = None) -> str:
    """Returns the text of the card; `results` is empty where the weights were not tested here.

    `readers`: of an exported program, what its sidecar says of the runtimes that were tried.
    """
    name = " on ".join(filter(None, (run.network.name, _set_name(run))))
    head = {
        "library_name": "alexnet_jax",
        "pipeline_tag": "image-classification",
        "tags": ["alexnet", "jax", "flax", "image-classification"],
        "license": "other",
        "license_name": "that-of-the-training-data",
    }
    if results:
        head["model-index"] = [{"name": name, "results": [_result(run, results)]}]
    lines = [f"{key}: {json.dumps(value)}" for key, value in head.items()]
    sections = [
        ("What it is", _description(run)),
        ("How good it is", _table(run, results)),
        ("Data", _data(run)),
        ("Recipe", _recipe(run)),
        ("Limits", _LIMITS.format(classes=f"{len(run.class_names):,}")),
        *([("Runtimes", _runtimes(readers))] if readers else []),
        ("Use", _USE),
        ("Licence", _LICENCE),
    ]
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections)
    return "---\n" + "\n".join(lines) + f"\n---\n\n# {_plain(name)}\n\n{text}\n"


def is_card(path: Path) -> bool:
    """Returns whether a file is a model card that this program has written."""
    begin = b'---\nlibrary_name: "alexnet_jax"\n'
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(begin)) == begin


def _result(run: Run, results: Results) -> dict[str, Any]:
    metrics = []
    for views, values in sorted(results.items()):
        for metric, error in metrics_of(values, errors=True):
            title = f"{metric.label} accuracy, {averaged_by(run, views).name}"
            metrics.append({"type": "accuracy", "value": round(1 - error, 6), "name": title})
    name = _set_name(run) or "unknown"
    return {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {"name": name, "type": name, "split": run.config.data.validation_split},
        "metrics": metrics,
    }


def _set_name(run: Run) -> str:
    if run.config.data.name or "import" in run.info:
        return run.config.data.name
    return Path(run.info.get("data_path", "")).name


def _description(run: Run) -> str:
    if run.config.transfer.run:
        layers = ", ".join(run.config.transfer.layers)
        origin = f"Its layers {layers} were copied from another run, and it was trained on"
    elif "import" in run.info:
        origin = "Its weights were imported from another program's file"
    else:
        origin = f"It was trained from zero with the preset `{run.config.preset}`"
    names = ", ".join(_plain(label) for label in run.class_names[:MAX_CLASSES_SHOWN])
    more = len(run.class_names) - MAX_CLASSES_SHOWN
    names += f" and {more:,} more" if more > 0 else ""
    return (
        f"An AlexNet (Krizhevsky, Sutskever, Hinton, 2012): the network `{run.network.name}` of "
        f"alexnet_jax ({_plain(run.network.source)}), {run.image_size}x{run.image_size} pixels. "
        f"{origin}. It names the class of a photo, one of {len(run.class_names):,}: {names}."
    )


def _table(run: Run, results: Results) -> str:
    if not results:
        return "These weights were not tested here."
    count = run.info.get("validation_images")
    columns = table_columns()
    titles = [metric.title + " (%)" * metric.is_error for metric in columns.values()]
    rows = [f"| test | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
    for views, values in sorted(results.items()):
        cells = {name: "–" for name in columns}
        for name in columns.keys() & values.keys():
            error = columns[name].is_error
            cells[name] = f"{100 * values[name]:.1f}" if error else f"{values[name]:.3f}"
        error = values[MAIN_ERROR]
        if count and 0 <= error <= 1:
            cells[MAIN_ERROR] += f" ± {100 * math.sqrt(error * (1 - error) / count):.1f}"
        rows.append(f"| {averaged_by(run, views).name} | {' | '.join(cells.values())} |")
    images = f"{count:,} test images" if count else "the test images"
    return (
        "\n".join(rows) + f"\n\nOn {images}; ± is the standard error of a test of that size. This "
        "is one run with one seed: it does not show how much runs differ."
    )


def _data(run: Run) -> str:
    info = run.info
    counts = [
        f"{info[key]:,} {what} images"
        for key, what in (("train_images", "training"), ("validation_images", "test"))
        if info.get(key)
    ]
    name = f"`{_plain(_set_name(run))}`" if _set_name(run) else "Its training set"
    fingerprint = info.get("data_fingerprint")
    identity = f" Fingerprint `{fingerprint[:16]}`." if fingerprint else ""
    return (
        f"{name}: {', '.join(counts) or 'not known here'}, stored at "
        f"{run.stored_size}x{run.stored_size} pixels, {run.appearance.orientation}, "
        f"colours {run.appearance.colours}.{identity}"
    )


def _recipe(run: Run) -> str:
    if "import" in run.info:
        return "Not known here: the weights were imported."
    config, info = run.config, run.info
    rule = config.optimizer
    devices = f"{len(info.get('devices', []))} x {info.get('platform', 'unknown')}"
    return (
        f"Stochastic gradient descent with momentum {rule.momentum:g}, weight decay "
        f"{rule.weight_decay:g}, rates {rule.learning_rate:g} (weights) and "
        f"{rule.bias_learning_rate:g} (biases) at first, schedule `{config.schedule.kind}`; "
        f"batches of {config.batch_size}, {config.epochs:g} epochs, {info.get('step', 0):,} steps, "
        f"seed {config.seed}, in {duration(info.get('wall_seconds', 0))} on {devices}. "
        "`config.json` and `run.json` of the run hold all of it."
    )


def _runtimes(readers: Mapping[str, Any]) -> str:
    rows = [
        f"| {_plain(row['runtime'])} | {', '.join(row['versions'])} | "
        f"{row['right']} of {row['networks']} |"
        for row in readers["runtimes_tried"]
    ]
    table = "\n".join(
        ["| runtime | versions | networks that give our logits |", "|---|---|---|", *rows]
    )
    parts = [
        "Files of this kind were tried with networks of this library in:" if rows else "",
        table if rows else "No other runtime was tried with files of this kind.",
        readers.get("jax_versions", ""),
    ]
    return "\n\n".join(filter(None, parts))


_LIMITS = (
    "It always answers one of its {classes} classes, and its probabilities are not calibrated. It "
    "has seen only photos like those of its training set: on photos of other cameras, places and "
    "times it may make more errors than the table shows. Wrong or one-sided photos and labels in "
    "the training set affect its answers. Not for decisions about people."
)
_USE = (
    "```python\nimport alexnet_jax\n\n"
    'classifier = alexnet_jax.load("RUN")\n'
    'classifier.predict(["photo.jpg"], top_k=5, views=10)\n```'
)
_LICENCE = (
    "The program is under Apache-2.0. Weights are made from their training data, whose licence "
    "governs their use."
)


def _plain(text: str) -> str:
    """Returns other people's text with all that Markdown or a terminal would act on escaped."""
    return "".join("\\" + c if c in "\\`*_[]<>#|" else c for c in printable(text))
