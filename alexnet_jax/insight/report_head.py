"""The head of the report: test errors, progress, time and hardware of a run."""

import math
import shlex
from typing import Any

import numpy as np

from alexnet_jax.evaluation.metrics import MAIN_ERROR, table_columns
from alexnet_jax.insight.published import published_for
from alexnet_jax.insight.report_data import ReportData


def head(data: ReportData) -> dict[str, Any]:
    return {
        "name": str(data.run.get("name") or data.workdir.resolve().name or "run"),
        "results": _results(data),
        "progress": _progress(data),
        "commands": _commands(data),
    }


def _results(data: ReportData) -> dict[str, Any] | None:
    """Returns the table of test errors, most views first, or None before the first test."""
    evaluation = _final_rows(data) if data.evaluation is None else data.evaluation
    rows = [
        {"views": views, "name": data.views_name(views), "values": values}
        for views, values in sorted(((int(k), v) for k, v in evaluation.items()), reverse=True)
    ] or _validation_row(data)
    if not rows:
        return None
    count = rows[0]["values"].get("count") or data.run.get("validation_images")
    published = published_for(data.config, len(data.class_names), count)
    for row in rows:
        row["published"] = published.errors.get(row["views"]) if published else None
    error = rows[0]["values"].get(MAIN_ERROR)
    spread = None
    if error is not None and 0 <= error <= 1 and count:
        spread = math.sqrt(error * (1 - error) / count)
    return {
        "rows": rows,
        "columns": table_columns(max(1, len(data.class_names))),
        "main": MAIN_ERROR,
        "count": count,
        "published": published,
        "standard_error": spread,
    }


def _final_rows(data: ReportData) -> dict[int, dict[str, float]]:
    found = {}
    for row in data.metrics:
        values = {k.removeprefix("final/"): v for k, v in row.items() if k.startswith("final/")}
        views = row.get("test_views", 1)
        if values and views in (1, 10):
            found[views] = values
    return found


def _validation_row(data: ReportData) -> list[dict[str, Any]]:
    """Returns the last validation, which replaces the test until there is one."""
    for row in reversed(data.metrics):
        if row.get(f"validation/{MAIN_ERROR}") is not None:
            prefix = "validation/"
            values = {k.removeprefix(prefix): v for k, v in row.items() if k.startswith(prefix)}
            epoch = f", epoch {row['epoch']:.3g}" if row.get("epoch") is not None else ""
            return [{"views": 1, "name": f"centre view{epoch}", "values": values}]
    return []


def _progress(data: ReportData) -> dict[str, Any]:
    epochs = [row["epoch"] for row in data.metrics if row.get("epoch") is not None]
    rates = [row["images_per_second"] for row in data.metrics if row.get("images_per_second")]
    return {
        "finished": data.run.get("status") == "finished",
        "epoch": max(epochs, default=0),
        "epochs": data.config.epochs,
        "images": data.run.get("train_images"),
        "time": _duration(data.run.get("wall_seconds")),
        "rate": float(np.median(rates)) if rates else None,
        "hardware": _hardware(data),
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


def _hardware(data: ReportData) -> str | None:
    devices = data.run.get("devices") or []
    devices = [devices] if isinstance(devices, str) else [str(device) for device in devices]
    if not devices:
        return None
    if all("cpu" in device.lower() for device in devices):
        processor, cores = data.run.get("processor") or "CPU", data.run.get("cpu_cores")
        plural = "s" if cores and cores > 1 else ""
        return f"{processor}, {cores}\N{NO-BREAK SPACE}core{plural}" if cores else processor
    kinds = list(dict.fromkeys(devices))
    return ", ".join(f"{devices.count(k)} × {k}" if devices.count(k) > 1 else k for k in kinds)


def _commands(data: ReportData) -> list[tuple[str, str]]:
    """Returns (purpose, command) in the order in which a reader would want them."""
    program, workdir = "python -m alexnet_jax.main", shlex.quote(str(data.workdir))
    commands = []
    if data.run.get("status") != "finished" and data.run.get("command"):
        commands.append(("Go on training", str(data.run["command"])))
    test = f"{program} evaluate --workdir {workdir} --views 10"
    commands.append((f"Test it with {data.views_name(10)}", test))
    commands.append(("Use it on your images", f"{program} predict --workdir {workdir} IMAGE.jpg"))
    return commands
