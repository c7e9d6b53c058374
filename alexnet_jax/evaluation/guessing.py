"""Whether anything is being learnt yet: a training loss that stays at the loss of guessing.

AlexNets often start on a plateau. With small initial weights or an unlucky rate they never leave
it. The loss there is ln(classes), or that of knowing the classes' sizes and nothing else.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

STEPS = 100
"""Steps that are judged together."""

MARGIN = 0.01
"""Share of the loss of guessing by which a loss may differ and still be that."""


class Guess(NamedTuple):
    """Losses of guessing, in nats: by the sizes of the classes, and by their number alone."""

    by_size: float
    by_number: float

    @classmethod
    def of(cls, counts: np.ndarray) -> "Guess":
        """`counts` are images per class, int `[classes]`."""
        shares = counts[counts > 0] / counts.sum()
        return cls(float(-(shares * np.log(shares)).sum()), math.log(len(counts)))

    @classmethod
    def of_run(cls, info: Mapping[str, Any]) -> "Guess":
        """Returns the losses in `run.json`; without them, those of classes of equal size."""
        equal = math.log(max(1, len(info["class_names"])))
        return cls(*info.get("guess_loss", (equal, equal)))


class Watch:
    """Finds the stretches (first step, last step) in which nothing is learnt; `stuck`: in one now.

    A stretch begins with `STEPS` steps, if both halves of them lie at the level of guessing (a loss
    that falls through it is learning). It ends when the mean of `STEPS` steps lies below. "At"
    means within `MARGIN` or three standard errors: on the plateau the loss of one image has a
    standard deviation of 0.08 for two classes, so the mean of `STEPS` batches of 4 has 0.004.
    """

    def __init__(self, guess: Guess):
        self.guess = guess
        self.stretches: list[tuple[int, int]] = []
        self.stuck = False
        self._losses: list[float] = []
        self._first = 0

    def add(self, step: int, loss: float, steps: int) -> None:
        """Counts the mean loss, in nats, of the last `steps` steps up to `step`."""
        if not self._losses:
            self._first = step - steps
        self._losses.append(loss)
        if step - self._first < STEPS:
            return
        first, before = self._first, self.stuck
        self.stuck = self._guessed(np.array(self._losses), before)
        self._losses = []
        if self.stuck and before:
            first = self.stretches.pop()[0]
        if self.stuck:
            self.stretches.append((first, step))

    def _guessed(self, losses: np.ndarray, before: bool) -> bool:
        # The standard deviation of a row, from second differences, in which a slope is no noise.
        noise = np.abs(np.diff(losses, 2)).mean() / 2 if len(losses) >= 4 else 0.0
        parts = np.array_split(losses, 2 if len(losses) >= 4 and not before else 1)
        error = 3 * noise / math.sqrt(len(parts[-1]))
        means = np.array([part.mean() for part in parts])
        low, high = (max(MARGIN * level, error) for level in self.guess)
        above = means >= self.guess.by_size - low
        below = means <= self.guess.by_number + high
        return bool(above.all() and (before or below.all()))

    def close(self, step: int) -> None:
        """A last stretch reaches `step` unless the steps in between say otherwise."""
        rest = np.array(self._losses)
        if self.stuck and len(rest) and self._guessed(rest, before=True):
            self.stretches.append((self.stretches.pop()[0], step))


def watch_rows(guess: Guess, rows: Iterable[Mapping[str, Any]]) -> Watch:
    """Follows the rows of a `metrics.jsonl`."""
    watch, last = Watch(guess), 0
    for row in rows:
        loss = row.get("train/loss")
        if isinstance(loss, int | float) and math.isfinite(loss) and row["step"] > last:
            watch.add(row["step"], loss, row["step"] - last)
            last = row["step"]
    watch.close(last)
    return watch
