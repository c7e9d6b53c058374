"""How far a preparation is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time

_LINE_EVERY_SECONDS = 10.0


class ProgressLine:
    """Shows `done of total`, images per second and the time left, on standard error."""

    def __init__(self, what: str, total: int, enabled: bool = True):
        self._what, self._total, self._enabled = what, total, enabled
        self._begin = self._shown = time.monotonic()
        self._bar = None
        self._last = (0, 0)
        if enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(what, total=total, rate="")
            self._bar.start()

    def show(self, good: int, bad: int) -> None:
        """Updates the display with the images done since the beginning."""
        self._last = (good, bad)
        if not self._enabled:
            return
        now = time.monotonic()
        done, seconds = good + bad, max(now - self._begin, 1e-9)
        if self._bar:
            rate = f"{done / seconds:,.0f} images/s" + (f", {bad} bad" if bad else "")
            self._bar.update(self._task, completed=done, rate=rate)
        elif now - self._shown >= _LINE_EVERY_SECONDS and done:
            self._shown = now
            left = (self._total - done) * seconds / done
            print(
                f"{self._what}: {done:,} of {self._total:,} images, "
                f"{done / seconds:,.0f} images/s, {left:,.0f} s left"
                + (f", {bad} bad" if bad else ""),
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Ends the display; what was printed stays."""
        if self._bar:
            self._bar.stop()

    def seconds(self) -> float:
        """Returns the time since the beginning."""
        return time.monotonic() - self._begin


def say(text: str, enabled: bool = True) -> None:
    """Prints one line on standard error."""
    if enabled:
        print(text, file=sys.stderr, flush=True)
