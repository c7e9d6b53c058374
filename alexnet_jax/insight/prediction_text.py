"""Predictions as text: a table, CSV, JSON, or a competition's submission."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import PurePath

import numpy as np

from alexnet_jax.errors import InputError, did_you_mean, printable
from alexnet_jax.insight.classifier import Prediction

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def format_predictions(
    names: Sequence[str], predictions: Sequence[Sequence[Prediction]], form: str = "table"
) -> str:
    """Returns a row per image and answer: `table` in percent, `csv` and `json` in fractions."""
    return FORMATS[form](names, predictions)


def _table(names: Sequence[str], predictions: Sequence[Sequence[Prediction]]) -> str:
    rows = [("image", "label", "probability")]
    for name, answers in zip(names, predictions, strict=True):
        for rank, answer in enumerate(answers):
            shown = printable(name) if rank == 0 else ""
            rows.append((shown, printable(answer.label), f"{100 * answer.probability:.2f} %"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _predictions_csv(names: Sequence[str], predictions: Sequence[Sequence[Prediction]]) -> str:
    rows = [
        (safe_cell(name), rank, safe_cell(x.label), x.index, f"{x.probability:.8g}")
        for name, answers in zip(names, predictions, strict=True)
        for rank, x in enumerate(answers, 1)
    ]
    return _csv(("image", "rank", "label", "index", "probability"), rows)


def _json(names: Sequence[str], predictions: Sequence[Sequence[Prediction]]) -> str:
    rows = [
        {"image": encodable(name), "predictions": [answer._asdict() for answer in answers]}
        for name, answers in zip(names, predictions, strict=True)
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


FORMATS = {"table": _table, "csv": _predictions_csv, "json": _json}


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def safe_cell(text: str) -> str:
    """Returns `text` with a `'` in front where a spreadsheet would take it for a formula."""
    text = encodable(text)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def encodable(text: str) -> str:
    """Returns `text` with what UTF-8 cannot hold (undecodable file names) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def submission_ids(names: Sequence[str]) -> list[str]:
    """Returns the ids of images, which must differ: file names without the endings."""
    found: dict[str, str] = {}
    for name in names:
        image_id = PurePath(name).stem
        if name == "-":
            raise InputError("an image on standard input has no id for a submission; name its file")
        if image_id in found:
            raise InputError(
                f"{found[image_id]} and {name} would both have the id {image_id} in a submission; "
                "name only the folder of the test images"
            )
        found[image_id] = name
    return list(found)


def submission_column(class_names: Sequence[str], probability_of: str) -> int | None:
    """Returns the class whose probability a submission gives; None: it names classes."""
    if not probability_of:
        return None
    if probability_of not in class_names:
        raise InputError(
            f"--probability-of: the run has no class '{probability_of}'."
            f"{did_you_mean(probability_of, class_names)} --format csv shows them"
        )
    return class_names.index(probability_of)


def format_submission(
    ids: Sequence[str],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    column: int | None = None,
) -> str:
    """Returns CSV, `id,label`, numbers before names; `probabilities` is float32 `[n, classes]`.

    The label is the likeliest class (of two, 0 or 1), or the probability of class `column`.
    """
    if column is not None:
        labels = [f"{value:.8g}" for value in probabilities[:, column]]
    else:
        words = class_names if len(class_names) > 2 else ("0", "1")
        labels = [words[int(index)] for index in probabilities.argmax(axis=1)]
    return _csv(("id", "label"), sorted(zip(ids, labels, strict=True), key=_by_number))


def _by_number(row: tuple[str, str]) -> tuple[bool, int, str]:
    """Sort key: numbers by their value, however long they are, then other ids by the alphabet."""
    name = row[0]
    digits = name.lstrip("0") if name.isascii() and name.isdigit() else None
    return digits is None, len(digits or ""), digits or name
