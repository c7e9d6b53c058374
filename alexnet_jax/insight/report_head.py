"""The head of the report: test errors, progress, time and hardware of a run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alexnet_jax.config import Config
from alexnet_jax.evaluation.views import averaged_views
from alexnet_jax.insight.published import published_for
from alexnet_jax.network.layers import Network
from alexnet_jax.network.networks import NETWORKS

Metrics = Sequence[Mapping[str, Any]]


def summarize_results(
    config: Config,
    run: Mapping[str, Any],
    metrics: Metrics,
    evaluation: Mapping[Any, Mapping[str, float]] | None,
    classes: int,
    network: Network | None = None,
) -> dict[str, Any] | None:
    """Returns the table of test errors, most views first, or None before the first test.

    Args:
      config: the experiment.
      run: `run.json`.
      metrics: rows of `metrics.jsonl`.
      evaluation: results by number of views (1, 10), fractions; None: no test was made.
      classes: number of classes.
      network: of the run; None: the configuration's.
    """
    if evaluation is None:
        evaluation = _final_rows(metrics)
    rows = []
    for views, values in sorted(((int(k), v) for k, v in evaluation.items()), reverse=True):
        name = view_name(config, run, views, network)
        rows.append({"views": views, "name": name, "values": values})
    if not rows:
        rows = _validation_row(metrics)
    if not rows:
        return None
    count = rows[0]["values"].get("count") or run.get("validation_images")
    published = published_for(config, classes, count)
    for row in rows:
        row["published"] = published.errors.get(row["views"]) if published else None
    error = rows[0]["values"].get("top1_error")
    spread = None
    if error is not None and 0 <= error <= 1 and count:
        spread = math.sqrt(error * (1 - error) / count)
    return {"rows": rows, "count": count, "published": published, "standard_error": spread}


def view_name(
    config: Config, run: Mapping[str, Any], views: int, network: Network | None = None
) -> str:
    """Returns what the views that a run's test averages are called, e.g. "five crops".

    Args:
      config: the experiment.
      run: `run.json`.
      views: 1 or 10, that are asked for.
      network: of the run; None: the configuration's.
    """
    stored_size = run.get("stored_size") or config.data.stored_size
    image_size = config.image_size or (network or NETWORKS[config.network]).image_size
    return averaged_views(stored_size, image_size, views, config.augment.mirror).name


def _final_rows(metrics: Metrics) -> dict[int, dict[str, float]]:
    found = {}
    for row in metrics:
        values = {k.removeprefix("final/"): v for k, v in row.items() if k.startswith("final/")}
        views = row.get("test_views", 1)
        if values and views in (1, 10):
            found[views] = values
    return found


def _validation_row(metrics: Metrics) -> list[dict[str, Any]]:
    """Before the first whole test, the last validation stands in for it."""
    for row in reversed(metrics):
        if row.get("validation/top1_error") is not None:
            prefix = "validation/"
            values = {k.removeprefix(prefix): v for k, v in row.items() if k.startswith(prefix)}
            epoch = f", epoch {row['epoch']:.3g}" if row.get("epoch") is not None else ""
            return [{"views": 1, "name": f"centre view{epoch}", "values": values}]
    return []


def summarize_progress(config: Config, run: Mapping[str, Any], metrics: Metrics) -> dict[str, Any]:
    """Returns how far the run is, how long it took, how fast it was, and on what.

    Args:
      config: the experiment.
      run: `run.json`.
      metrics: rows of `metrics.jsonl`.
    """
    epochs = [row["epoch"] for row in metrics if row.get("epoch") is not None]
    rates = [row["images_per_second"] for row in metrics if row.get("images_per_second")]
    return {
        "finished": run.get("status") == "finished",
        "epoch": max(epochs, default=0),
        "epochs": config.epochs,
        "images": run.get("train_images"),
        "time": _duration(run.get("wall_seconds")),
        "rate": float(np.median(rates)) if rates else None,
        "hardware": _hardware(run),
    }


def _duration(seconds: Any) -> str | None:
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds <= 0:
        return None
    minutes = round(seconds / 60)
    if seconds < 100:
        text = f"{seconds:.0f} s"
    else:
        text = f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _hardware(run: Mapping[str, Any]) -> str | None:
    devices = run.get("devices") or []
    devices = [devices] if isinstance(devices, str) else [str(device) for device in devices]
    if not devices:
        return None
    if all("cpu" in device.lower() for device in devices):
        cores = run.get("cpu_cores")
        return f"{run.get('processor') or 'CPU'}" + (
            f", {cores}\N{NO-BREAK SPACE}core{'s' * (cores > 1)}" if cores else ""
        )
    kinds = list(dict.fromkeys(devices))
    return ", ".join(f"{devices.count(k)} × {k}" if devices.count(k) > 1 else k for k in kinds)
