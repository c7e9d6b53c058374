"""Predictions and features as files and text: table, csv, json, npz."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alexnet_jax.errors import InputError, printable
from alexnet_jax.evaluation.ensemble import Ensemble
from alexnet_jax.files import write_arrays
from alexnet_jax.insight.classifier import Prediction

FORMATS = ("table", "csv", "json")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def format_evaluation(result: Ensemble, checkpoint: str) -> str:
    """Returns a tested run, or ensemble of runs, as text.

    Args:
      result: of a test.
      checkpoint: that was tested.
    """
    test, tuning = result.evaluation, result.tuning
    many = len(result.names) > 1
    who = f"{len(result.names)} runs averaged" if many else result.names[0]
    views = dict.fromkeys(str(averaged) for averaged in result.averaged if averaged)
    lines = [
        f"{who}, checkpoint {checkpoint}",
        ", ".join([f"{test.count:,} images", *views]),
        f"loss         {test.loss:.4f}",
        f"top-1 error  {100 * test.top1_error:.2f} %",
    ]
    if test.top5_error is not None:
        lines.append(f"top-5 error  {100 * test.top5_error:.2f} %")
    if many:
        pairs = zip(result.coefficients, result.names, strict=True)
        lines += [f"weight       {value:.2f}  {name}" for value, name in pairs]
    if tuning is not None:
        equal = f"{100 * result.equal.top1_error:.2f} % top-1"
        if result.equal.top5_error is not None:
            equal += f", {100 * result.equal.top5_error:.2f} % top-5"
        lines += [
            f"equal        {equal} with equal weights",
            f"tuned        top-{tuning.answers} error {100 * tuning.equal_error:.2f} -> "
            f"{100 * tuning.error:.2f} % on {tuning.count:,} images, "
            + (
                "those of the test: its error is optimistic (--tune-on half is not)"
                if result.optimistic
                else "none of them in the test"
            ),
        ]
    return "\n".join(lines)


def format_predictions(
    names: Sequence[str], predictions: Sequence[Sequence[Prediction]], form: str = "table"
) -> str:
    """Returns predictions as text, one row per image and answer.

    Args:
      names: one per image, e.g. its path.
      predictions: from `Classifier.predict`.
      form: `table` for people (percent), `csv` or `json` (fractions) for programs.

    Raises:
      InputError: another form.
    """
    match form:
        case "table":
            return _table(names, predictions)
        case "csv":
            return _csv(names, predictions)
        case "json":
            return _json(names, predictions)
    raise InputError(f"--format should be one of {', '.join(FORMATS)}, not '{form}'")


def _table(names: Sequence[str], predictions: Sequence[Sequence[Prediction]]) -> str:
    """Aligned columns; an image's name stands beside its first answer only."""
    rows = [("image", "label", "probability")]
    for name, answers in zip(names, predictions, strict=True):
        for rank, answer in enumerate(answers):
            shown = printable(name) if rank == 0 else ""
            rows.append((shown, printable(answer.label), f"{100 * answer.probability:.2f} %"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _csv(names: Sequence[str], predictions: Sequence[Sequence[Prediction]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("image", "rank", "label", "index", "probability"))
    for name, answers in zip(names, predictions, strict=True):
        for rank, answer in enumerate(answers, 1):
            row = (safe_cell(name), rank, safe_cell(answer.label), answer.index)
            writer.writerow((*row, f"{answer.probability:.8g}"))
    return buffer.getvalue()


def _json(names: Sequence[str], predictions: Sequence[Sequence[Prediction]]) -> str:
    rows = [
        {"image": _encodable(name), "predictions": [answer._asdict() for answer in answers]}
        for name, answers in zip(names, predictions, strict=True)
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def safe_cell(text: str) -> str:
    """Returns `text` so that a spreadsheet does not take it for a formula.

    A cell that begins with `= + - @`, a tab or a return gets a `'` in front.
    """
    text = _encodable(text)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _encodable(text: str) -> str:
    """Returns `text` with what UTF-8 cannot hold (undecodable file names) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_features_path(path: str | Path) -> Path:
    """Returns the file that `save_features` would write; raises `InputError` where one is."""
    target = Path(path)
    if target.suffix != ".npz":
        target = target.with_name(target.name + ".npz")
    if target.exists():
        raise InputError(f"{target} exists already; remove it or choose another --output")
    return target


def save_features(
    path: str | Path, features: np.ndarray, names: Sequence[str], layer: str, source: str = ""
) -> Path:
    """Writes features with the names of their images; `np.load(path)` reads it without pickles.

    The file holds `features` (float32, one row per image), `images` (their names), `layer` and
    `source`.

    Args:
      path: the file; `.npz` is added where the name has another ending. Nothing may exist there.
      features: float32 `[n, …]`.
      names: one per row.
      layer: which layer they come from.
      source: e.g. the run folder and its checkpoint.

    Returns:
      The path that was written.

    Raises:
      InputError: the file exists, or cannot be written.
    """
    if len(features) != len(names):
        raise ValueError(f"{len(features)} rows of features for {len(names)} names")
    target = check_features_path(path)
    arrays = {
        "features": np.ascontiguousarray(features, np.float32),
        "images": np.array([_encodable(name) for name in names], np.str_),
        "layer": np.array(layer),
        "source": np.array(source),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(target, **arrays)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    return target
