"""The metrics of a run: `metrics.jsonl`, `metrics.csv`, TensorBoard."""

import contextlib
import csv
import io
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.files import write_text


class MetricsLog:
    """The metrics of one run, appended row by row.

    A resumed run drops the rows after its step, so that its curves equal those of an unbroken run,
    and the rows of the final test, which is repeated.
    """

    def __init__(self, workdir: Path, step: int, writes: bool = True):
        """Goes on after `step`; without `writes` it does nothing."""
        self.path = workdir / "metrics.jsonl"
        self._writes = writes
        if not writes:
            return
        self.rows = [
            row for row in read_rows(self.path) if row["step"] <= step and "test_views" not in row
        ]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._file = self.path.open("a", encoding="utf-8")
        self._tensorboard: _TensorBoard | None = None
        self._step = step

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row with `step` and `epoch`; `InputError`: the work folder has vanished."""
        if not self._writes:
            return
        if not self.path.exists():
            raise InputError(
                f"the work folder {self.path.parent} was moved or removed while the run wrote to "
                "it; the same command continues where the folder is, or starts from the beginning"
            )
        row = {name: _rounded(value) for name, value in row.items()}
        self.rows.append(row)
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        self._opened_tensorboard().add(row)

    def add_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Shows a picture, uint8 `[height, width, 3]`, in TensorBoard."""
        if self._writes:
            self._opened_tensorboard().add_picture(step, name, picture)

    def _opened_tensorboard(self) -> "_TensorBoard":
        if self._tensorboard is None:
            self._tensorboard = _TensorBoard(self.path.with_name("tensorboard"), self._step)
        return self._tensorboard

    def values(self, name: str) -> list[float]:
        """Returns the finite values of a metric up to now."""
        found = [row.get(name) for row in self.rows] if self._writes else []
        return [value for value in found if value is not None and math.isfinite(value)]

    def write_csv(self) -> None:
        if not self._writes:
            return
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path.with_suffix(".csv"), text.getvalue())

    def close(self) -> None:
        if not self._writes:
            return
        if self.path.exists():  # the work folder may have vanished
            self.write_csv()
        if self._tensorboard is not None:
            self._tensorboard.close()
        self._file.close()


class _TensorBoard:
    """Writes TensorBoard's files at once, so that a full disk is an error here, not in a thread."""

    def __init__(self, folder: Path, step: int):
        """Hides what `folder` holds from after `step`."""
        # tensorboardX imports PyTorch where it is installed, for tensors that we never pass: this
        # takes seconds and hundreds of megabytes. None makes that import fail, which is allowed.
        absent = "torch" not in sys.modules
        if absent:
            sys.modules["torch"] = None  # type: ignore[assignment]
        try:
            from tensorboardX import event_file_writer, summary
            from tensorboardX.proto import event_pb2, summary_pb2
        finally:
            if absent:
                del sys.modules["torch"]
        messages: Any = event_pb2
        self._summaries: Any = summary_pb2
        self._scalar, self._event = summary.scalar, messages.Event
        folder.mkdir(parents=True, exist_ok=True)
        # By itself the name has whole seconds: two files of one second would be one.
        self._writer = event_file_writer.EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        begin = messages.SessionLog(status=messages.SessionLog.START)
        self._write(step + 1, session_log=begin)

    def add(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name not in ("step", "epoch") and isinstance(value, int | float):
                self._write(row["step"], summary=self._scalar(name, value))
        self._writer.flush()

    def add_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        image = self._summaries.Summary.Image(
            height=picture.shape[0],
            width=picture.shape[1],
            colorspace=3,
            encoded_image_string=file.getvalue(),
        )
        value = self._summaries.Summary.Value(tag=name, image=image)
        self._write(step, summary=self._summaries.Summary(value=[value]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(self._event(step=step, wall_time=time.time(), **content))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a `metrics.jsonl`; lines that a crash has damaged are left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and all(map(_is_number, row.values())):
                if type(row.get("step")) is int and row["step"] >= 0:
                    rows.append(row)
    return rows


def _is_number(value: Any) -> bool:
    return value is None or type(value) in (int, float)


def damaged_lines(path: Path, expected: bool) -> str:
    """Returns what is wrong with a `metrics.jsonl`, if anything; `expected`: there must be rows."""
    if not path.exists():
        return "is missing: the curves up to now are lost" if expected else ""
    text = path.read_text(encoding="utf-8", errors="replace")
    count, whole = sum(map(bool, text.splitlines())), len(read_rows(path))
    if expected and not count:
        return "is empty: the curves up to now are lost"
    return f"has {count - whole} damaged lines of {count}" if whole < count else ""


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.7g}")
    return value
