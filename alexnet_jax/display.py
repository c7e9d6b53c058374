"""What a command shows while it works: lines, and on a terminal a live line of progress."""

import io
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO, cast

PLAIN_LINE_EVERY_SECONDS = 5.0
PLAIN_TERMINALS = ("dumb", "unknown")  # values of TERM: no line can be rewritten there


class Display:
    """Shows lines, and progress: a live line on a terminal, else a plain line every five seconds.

    When the terminal is closed or the pipe breaks, the work goes on and nothing more is shown.
    """

    def __init__(
        self,
        say: Callable[[str], object] = print,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
    ):
        """Calls `say`, or in the place of `print` writes on `stream`; `quiet`: only warnings."""
        self._stream = _LastingStream(sys.stdout if stream is None else stream)
        self._say = self._stream.write_line if say is print else say
        self._is_terminal = (
            say is print
            and self._stream.isatty()
            and os.environ.get("TERM", "").lower() not in PLAIN_TERMINALS
        )
        self.is_quiet = quiet
        self._live: Any = None
        self._plain_line_at = -math.inf

    @classmethod
    def on_stderr(cls, quiet: bool = False) -> "Display":
        """Returns a display that leaves standard output to results."""
        return cls(quiet=quiet, stream=sys.stderr)

    def say(self, line: str) -> None:
        if not self.is_quiet:
            self.warn(line)

    def warn(self, line: str) -> None:
        """Shows a line, also when the display is quiet."""
        self.close()
        self._say(line)

    def update(
        self, parts: Sequence[str], dispensable: Sequence[int] = (), last: bool = False
    ) -> None:
        """Shows the progress; a narrow terminal loses `dispensable` parts (indices), in order."""
        if self.is_quiet:
            return
        if self._is_terminal:
            self._show_live(fit_line(parts, dispensable, shutil.get_terminal_size().columns - 1))
        elif last or time.monotonic() - self._plain_line_at >= PLAIN_LINE_EVERY_SECONDS:
            self._plain_line_at = time.monotonic()
            self._say(fit_line(parts))

    def delay_plain_line(self) -> None:
        """Shows no plain line for the next five seconds: too early, an estimate says nothing."""
        self._plain_line_at = time.monotonic()

    def _show_live(self, line: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        live = self._live  # the handler of a stop may close the display between any two lines
        if live is None:
            console = Console(
                file=cast(TextIO, self._stream), force_terminal=True, force_jupyter=False
            )
            live = self._live = Live(
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            live.start()
            console.show_cursor()  # a process that is killed could not show it again
        live.update(Text(line, no_wrap=True, overflow="crop"), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _LastingStream(io.TextIOBase):
    """A stream that writes nothing more after its first error: the work is worth more than it."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._is_broken = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> int:
        if not self._is_broken:
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError:
                self._is_broken = True
        return len(text)

    def write_line(self, line: str) -> None:
        self.write(line + "\n")


class Count:
    """Shows how many of the images of a task are done."""

    def __init__(self, display: Display, task: str, total: int):
        self._display, self._task, self._total = display, task, total
        self._begin = time.monotonic()
        display.delay_plain_line()

    def show(self, good: int, bad: int = 0) -> None:
        done, seconds = good + bad, max(self.seconds(), 1e-9)
        if not done:
            return
        parts = [
            self._task,
            f"{done:,} of {self._total:,} images",
            f"{done / seconds:,.0f} images/s",
            f"{duration((self._total - done) * seconds / done)} left",
            f"{bad:,} bad" if bad else "",
        ]
        self._display.update(parts, dispensable=(2, 0, 3))

    def seconds(self) -> float:
        return time.monotonic() - self._begin

    def close(self) -> None:
        self._display.close()


def fit_line(
    parts: Sequence[str], dispensable: Sequence[int] = (), width: int | None = None
) -> str:
    """Returns the parts in one line of at most `width` characters."""
    line = ""
    for count in range(len(dispensable) + 1):
        lost = dispensable[:count]
        line = "  ".join(part for i, part in enumerate(parts) if part and i not in lost)
        if width is None or len(line) <= width:
            return line
    return line[:width]


def duration(seconds: float) -> str:
    """Returns e.g. `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if not math.isfinite(seconds) or seconds < 0:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
