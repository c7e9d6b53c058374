"""Training curves as inline SVG: range axes, direct labels, colours from the page's style sheet.

The pictures hold numbers and fixed words only, no text from users, and their colours are CSS
variables, so that one file reads well on paper, on a dark screen and on a phone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alexnet_jax.insight.series import Series, smoothed, thinned

WIDTH, HEIGHT = 480.0, 290.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 124.0, 30.0, 40.0


@dataclass(frozen=True)
class Line:
    """One curve of a chart.

    Attributes:
      name: words of the label at its end.
      series: what is drawn.
      style: CSS class that gives the colour (`training`, `validation`, `second`).
      smooth: draw the raw values faint, and a centred moving average over them.
    """

    name: str
    series: Series
    style: str
    smooth: bool = False


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns about `count` round numbers (1, 2 or 5 times a power of ten) within [low, high].

    Args:
      low: smallest value.
      high: largest value.
      count: about how many.
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((m * power for m in (1, 2, 5) if m * power >= rough * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Returns 1, 2 and 5 times powers of ten within [low, high]; only powers if those are many."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    every = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    found = [t for t in every if low * 0.999 <= t <= high * 1.001]
    return found if len(found) <= 6 else [t for t in found if math.log10(t) % 1 < 1e-6] or found


def percent(value: float) -> str:
    """Returns a fraction as text in percent, `12.3 %`, with two digits more below 1 %."""
    digits = 2 if 0 < abs(value) < 0.00995 else 1
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def number(value: float) -> str:
    """Returns a short number: three digits below a thousand, `12,300` above, `1e-5`."""
    if abs(value) >= 999.5:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}".replace("e-0", "e-")


def measured(value: float) -> str:
    """Returns a number with three digits, zeros at the end too."""
    return f"{value:#.3g}".rstrip(".")


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves label positions apart to at least `gap`, in order, within [low, high] if they fit.

    Args:
      positions: wished for, pixels.
      gap: least distance, pixels.
      low: first allowed position.
      high: last allowed position.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed = list(positions)
    floor = low
    for i in order:
        placed[i] = max(positions[i], floor)
        floor = placed[i] + gap
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed


def draw(
    title: str,
    lines: Sequence[Line],
    *,
    rates: Sequence[tuple[float, float]] = (),
    chance: float | None = None,
    stuck: Sequence[tuple[float, float]] = (),
    as_percent: bool = False,
) -> str:
    """Returns one chart as an `<svg>` element, or "" if no line has a point.

    Args:
      title: short description for screen readers.
      lines: the curves; the last value of each is written at its end.
      rates: (epoch, learning rate) where the rate changes, marked by vertical hairlines.
      stuck: (first, last) epochs in which nothing was learnt, shaded.
      chance: level of guessing, drawn as a dashed line if the curves come near it.
      as_percent: values are fractions to be written in percent, and the axis starts at zero.
    """
    lines = [line for line in lines if len(line.series.values)]
    if not lines:
        return ""
    ends = [smoothed(line.series.values) if line.smooth else line.series.values for line in lines]
    high = max(float(end.max()) for end in ends)
    low = min(float(end.min()) for end in ends)
    logarithmic = not as_percent and low > 0 and high / low > 30
    if chance is not None and 0.9 * chance <= high <= 3 * chance:
        high = max(high, chance)
    low = low * 0.9 if logarithmic else 0.0
    high = high * (1.05 if high > 0 else 1) or 1.0
    if as_percent:
        high = min(high, 1.0)
    last = max(float(line.series.epochs.max()) for line in lines) or 1.0
    scale = _Scale(last, low, high, logarithmic)
    write = percent if as_percent else measured
    parts = [*_stuck_marks(scale, stuck), *_axes(scale, as_percent), *_rate_marks(scale, rates)]
    seen = chance is not None and low <= chance <= high
    if chance is not None and seen:
        parts.append(_stroke(LEFT, scale.y(chance), scale.x(last), scale.y(chance), "chance"))
    for line, end in zip(lines, ends, strict=True):
        parts += _curve(scale, line, end, write)
    labels = [
        _Label(line.name, float(line.series.epochs[-1]), float(end[-1]), line.style)
        for line, end in zip(lines, ends, strict=True)
    ]
    if chance is not None and seen:
        labels.append(_Label("guessing", last, chance, "soft"))
    parts += _draw_labels(scale, labels, write)
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{title}">'
        f"{''.join(parts)}</svg>"
    )


@dataclass(frozen=True)
class _Scale:
    """From epochs and values to picture coordinates; values outside the axis are clamped."""

    last: float
    low: float
    high: float
    logarithmic: bool

    def x(self, epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * epoch / self.last

    def y(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def path(self, epochs: np.ndarray, values: np.ndarray) -> str:
        points = (f"{self.x(e):.1f} {self.y(v):.1f}" for e, v in zip(epochs, values, strict=True))
        return "M" + "L".join(points)


def _text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{words}</text>'


def _stroke(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" class="{style}"/>'


def _axes(scale: _Scale, as_percent: bool) -> list[str]:
    base, parts = HEIGHT - BOTTOM + 6, []
    parts.append(_stroke(scale.x(0), base, scale.x(scale.last), base, "axis"))
    for tick in ticks(0, scale.last, 6):
        x = scale.x(tick)
        parts.append(_stroke(x, base, x, base + 4, "axis"))
        parts.append(_text(x, base + 18, number(tick), "tick", "middle"))
    # The unit stands at the right end of the axis, where the labels leave room.
    parts.append(_text(scale.x(scale.last) + 12, base + 18, "epochs", "tick"))
    if scale.logarithmic:
        marks = log_ticks(scale.low, scale.high)
    else:
        marks = ticks(scale.low, scale.high)
    for tick in marks:
        words = f"{100 * tick:g}" + ("\N{NO-BREAK SPACE}%" if tick == marks[-1] else "")
        words = words if as_percent else number(tick)
        y = scale.y(tick)
        parts.append(_stroke(LEFT, y, scale.x(scale.last), y, "grid"))
        parts.append(_text(LEFT - 7, y + 4.5, words, "tick", "end"))
    return parts


def _stuck_marks(scale: _Scale, stuck: Sequence[tuple[float, float]]) -> list[str]:
    parts = []
    for first, last in stuck:
        x, width = scale.x(first), scale.x(last) - scale.x(first)
        parts.append(
            f'<rect x="{x:.1f}" y="{TOP:g}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM:g}" '
            f'class="stuck"><title>epochs {number(first)} to {number(last)}: nothing learnt</title>'
            "</rect>"
        )
    return parts


def _rate_marks(scale: _Scale, rates: Sequence[tuple[float, float]]) -> list[str]:
    parts, free = [], -math.inf
    for index, (epoch, rate) in enumerate(rates):
        # The first row is logged a few steps into the run, but its rate holds from the start.
        x = scale.x(epoch if index else 0)
        if index and len(rates) <= 40:
            parts.append(_stroke(x, TOP - 10, x, HEIGHT - BOTTOM + 6, "rate"))
        if x >= free:
            words = f"rate {number(rate)}" if not index else number(rate)
            parts.append(_text(x + (4 if index else 0), TOP - 12, words, "tick"))
            free = x + 7.5 * len(words) + 10
    return parts


def _curve(scale: _Scale, line: Line, end: np.ndarray, write: Callable[[float], str]) -> list[str]:
    series, parts = line.series, []
    if line.smooth and len(series.values) > 2:
        raw = thinned(series)
        parts.append(f'<path d="{scale.path(*raw)}" class="line raw {line.style}"/>')
    shown = thinned(Series(series.epochs, end))
    parts.append(f'<path d="{scale.path(*shown)}" class="line {line.style}"/>')
    if not line.smooth and len(series.values) <= 60:
        for epoch, value in zip(*series, strict=True):
            parts.append(
                f'<circle cx="{scale.x(epoch):.1f}" cy="{scale.y(value):.1f}" r="2.1" '
                f'class="dot {line.style}"><title>epoch {number(epoch)}: {line.name} '
                f"{write(value)}</title></circle>"
            )
    parts.append(
        f'<circle cx="{scale.x(series.epochs[-1]):.1f}" cy="{scale.y(end[-1]):.1f}" r="3.2" '
        f'class="dot {line.style}"/>'
    )
    return parts


class _Label(NamedTuple):
    name: str
    epoch: float
    value: float
    style: str


def _draw_labels(
    scale: _Scale, labels: Sequence[_Label], write: Callable[[float], str]
) -> list[str]:
    """Writes name and value beside the end of each curve, moved apart where they would touch."""
    parts, right = [], WIDTH - RIGHT + 14
    wanted = [scale.y(label.value) for label in labels]
    places = spread(wanted, 38, TOP + 7, HEIGHT - BOTTOM - 14)
    for label, y, place in zip(labels, wanted, places, strict=True):
        x = scale.x(label.epoch) + 5
        parts.append(_stroke(x, y, right - 3, place, f"leader {label.style}"))
        parts.append(_text(right, place + 1, label.name, f"label {label.style}"))
        parts.append(_text(right, place + 18, write(label.value), f"label value {label.style}"))
    return parts
