"""Training curves as inline SVG; CSS variables give colours that suit paper and dark screens."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alexnet_jax.insight import markup
from alexnet_jax.insight.series import Series, smoothed, thinned

WIDTH, HEIGHT = 480.0, 290.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 124.0, 30.0, 40.0
MAX_MARKED_RATES, MAX_MARKED_POINTS = 40, 60


@dataclass(frozen=True)
class CurveLine:
    """One curve; `style` is its CSS class; `smooth`: a moving average over faint raw values."""

    name: str
    series: Series
    style: str
    smooth: bool = False

    def drawn(self) -> np.ndarray:
        return smoothed(self.series.values) if self.smooth else self.series.values


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns about `count` round numbers (1, 2 or 5 times a power of ten) within [low, high]."""
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
    """Returns a fraction as text in percent, `12.3 %`, with one digit more below 1 %."""
    digits = 2 if 0 < abs(value) < 0.00995 else 1
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def number(value: float) -> str:
    """Returns a short number: three digits below a thousand, `12,300` above, `1e-5`."""
    if abs(value) >= 999.5:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}".replace("e-0", "e-")


def three_digits(value: float) -> str:
    """Returns a number with three digits, including zeros at the end."""
    return f"{value:#.3g}".rstrip(".")


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves label positions (pixels) apart to at least `gap`, in order, within [low, high]."""
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


def draw_curves(
    title: str,
    lines: Sequence[CurveLine],
    *,
    rates: Sequence[tuple[float, float]] = (),
    chance: float | None = None,
    stuck: Sequence[tuple[float, float]] = (),
    as_percent: bool = False,
) -> str:
    """Returns an `<svg>` element, or "" if no line has a point.

    `rates` are (epoch, learning rate), `stuck` (first, last) epochs in which nothing was learnt,
    `chance` the level of guessing. `as_percent`: fractions, written in percent, axis from zero.
    """
    lines = [line for line in lines if len(line.series.values)]
    if not lines:
        return ""
    scale = _scale(lines, chance, as_percent)
    write = percent if as_percent else three_digits
    parts = [*_stuck_marks(scale, stuck), *_axes(scale, as_percent), *_rate_marks(scale, rates)]
    labels = [
        _Label(line.name, float(line.series.epochs[-1]), float(line.drawn()[-1]), line.style)
        for line in lines
    ]
    if chance is not None and scale.low <= chance <= scale.high:
        y, end = scale.y(chance), scale.x(scale.last)
        parts.append(markup.line(LEFT, y, end, y, "chance"))
        labels.append(_Label("guessing", scale.last, chance, "soft"))
    for line in lines:
        parts += _curve(scale, line, write)
    parts += _draw_labels(scale, labels, write)
    return markup.drawing(WIDTH, HEIGHT, title, parts)


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

    def curve(self, epochs: np.ndarray, values: np.ndarray, style: str) -> str:
        points = (f"{self.x(e):.1f} {self.y(v):.1f}" for e, v in zip(epochs, values, strict=True))
        return markup.element("path", d="M" + "L".join(points), class_=style)


def _scale(lines: Sequence[CurveLine], chance: float | None, as_percent: bool) -> _Scale:
    high = max(float(line.drawn().max()) for line in lines)
    low = min(float(line.drawn().min()) for line in lines)
    logarithmic = not as_percent and low > 0 and high / low > 30
    if chance is not None and 0.9 * chance <= high <= 3 * chance:
        high = max(high, chance)
    low = low * 0.9 if logarithmic else 0.0
    high = high * (1.05 if high > 0 else 1) or 1.0
    if as_percent:
        high = min(high, 1.0)
    last = max(float(line.series.epochs.max()) for line in lines) or 1.0
    return _Scale(last, low, high, logarithmic)


def _axes(scale: _Scale, as_percent: bool) -> list[str]:
    base, end, parts = HEIGHT - BOTTOM + 6, scale.x(scale.last), []
    parts.append(markup.line(scale.x(0), base, end, base, "axis"))
    for tick in ticks(0, scale.last, 6):
        x = scale.x(tick)
        parts.append(markup.line(x, base, x, base + 4, "axis"))
        parts.append(markup.text(x, base + 18, number(tick), "tick", "middle"))
    # The unit is at the right end of the axis, where the labels leave room.
    parts.append(markup.text(end + 12, base + 18, "epochs", "tick"))
    marks = log_ticks(scale.low, scale.high) if scale.logarithmic else ticks(scale.low, scale.high)
    for tick in marks:
        words = number(tick)
        if as_percent:
            words = f"{100 * tick:g}" + ("\N{NO-BREAK SPACE}%" if tick == marks[-1] else "")
        y = scale.y(tick)
        parts.append(markup.line(LEFT, y, end, y, "grid"))
        parts.append(markup.text(LEFT - 7, y + 4.5, words, "tick", "end"))
    return parts


def _stuck_marks(scale: _Scale, stuck: Sequence[tuple[float, float]]) -> list[str]:
    return [
        markup.element(
            "rect",
            markup.title(f"epochs {number(first)} to {number(last)}: nothing learnt"),
            x=scale.x(first),
            y=TOP,
            width=scale.x(last) - scale.x(first),
            height=HEIGHT - TOP - BOTTOM,
            class_="stuck",
        )
        for first, last in stuck
    ]


def _rate_marks(scale: _Scale, rates: Sequence[tuple[float, float]]) -> list[str]:
    parts, free = [], -math.inf  # `free`: where the next word may begin
    for index, (epoch, rate) in enumerate(rates):
        # The first row is logged a few steps into the run, but its rate holds from the start.
        x = scale.x(epoch if index else 0)
        if index and len(rates) <= MAX_MARKED_RATES:
            parts.append(markup.line(x, TOP - 10, x, HEIGHT - BOTTOM + 6, "rate"))
        if x >= free:
            words = number(rate) if index else f"rate {number(rate)}"
            parts.append(markup.text(x + (4 if index else 0), TOP - 12, words, "tick"))
            free = x + 7.5 * len(words) + 10
    return parts


def _dot(x: float, y: float, radius: float, style: str, title: str = "") -> str:
    content = markup.title(title) if title else ""
    return markup.element("circle", content, cx=x, cy=y, r=radius, class_=f"dot {style}")


def _curve(scale: _Scale, line: CurveLine, write: Callable[[float], str]) -> list[str]:
    series, drawn, parts = line.series, line.drawn(), []
    if line.smooth and len(series.values) > 2:
        parts.append(scale.curve(*thinned(series), f"line raw {line.style}"))
    parts.append(scale.curve(*thinned(Series(series.epochs, drawn)), f"line {line.style}"))
    if not line.smooth and len(series.values) <= MAX_MARKED_POINTS:
        for epoch, value in zip(*series, strict=True):
            words = f"epoch {number(epoch)}: {line.name} {write(value)}"
            parts.append(_dot(scale.x(epoch), scale.y(value), 2.1, line.style, words))
    parts.append(_dot(scale.x(series.epochs[-1]), scale.y(drawn[-1]), 3.2, line.style))
    return parts


class _Label(NamedTuple):
    name: str
    epoch: float
    value: float
    style: str


def _draw_labels(
    scale: _Scale, labels: Sequence[_Label], write: Callable[[float], str]
) -> list[str]:
    parts, right = [], WIDTH - RIGHT + 14
    ends = [scale.y(label.value) for label in labels]
    places = spread(ends, 38, TOP + 7, HEIGHT - BOTTOM - 14)
    for label, y, place in zip(labels, ends, places, strict=True):
        x = scale.x(label.epoch) + 5
        parts.append(markup.line(x, y, right - 3, place, f"leader {label.style}"))
        parts.append(markup.text(right, place + 1, label.name, f"label {label.style}"))
        value = write(label.value)
        parts.append(markup.text(right, place + 18, value, f"label value {label.style}"))
    return parts
