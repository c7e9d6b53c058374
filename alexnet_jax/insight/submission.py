"""Answers as competitions want them: a CSV of `id,label` with a row for every image."""

import csv
import io
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from alexnet_jax.errors import InputError, did_you_mean


def submission_ids(names: Sequence[str]) -> list[str]:
    """Returns the ids of images: the names of their files without their endings.

    Args:
      names: of the files.

    Raises:
      InputError: two would have one id, or an image has no name.
    """
    found: dict[str, str] = {}
    for name in names:
        key = PurePath(name).stem
        if name == "-":
            raise InputError("an image on standard input has no id for a submission; name its file")
        if key in found:
            raise InputError(
                f"{found[key]} and {name} would both have the id {key} in a submission; name the "
                "folder of the test images alone"
            )
        found[key] = name
    return list(found)


def submission_column(class_names: Sequence[str], probability_of: str) -> int | None:
    """Returns the class whose probability a submission tells; None: it tells the likeliest class.

    Args:
      class_names: by label.
      probability_of: name of a class; empty: none.

    Raises:
      InputError: there is no such class.
    """
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
    """Returns the rows of a submission; ids that are numbers come first, in their order.

    Args:
      ids: one per image.
      probabilities: float32 `[n, classes]`, rows in the same order.
      class_names: by label; of two the label is told as 0 or 1, of more the name.
      column: see `submission_column`.
    """
    if column is not None:
        labels = [f"{value:.8g}" for value in probabilities[:, column]]
    else:
        words = class_names if len(class_names) > 2 else ("0", "1")
        labels = [words[int(index)] for index in probabilities.argmax(axis=1)]
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(("id", "label"))
    table.writerows(sorted(zip(ids, labels, strict=True), key=_in_order))
    return buffer.getvalue()


def _in_order(row: tuple[str, str]) -> tuple[bool, int, str]:
    name = row[0]
    digits = name.lstrip("0") if name.isascii() and name.isdigit() else None
    return digits is None, len(digits or ""), digits or name
