"""Charts as SVG text: curves with intervals, in small multiples, and strips that stand in a row of a table.

Pure: data in, text out. No scripts, no style attributes and no fonts to load, so a page with a strict content policy
can hold it as it is; what colours mean is also said by shape and text. PNG where matplotlib is installed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from benchbench.core.errors import ArgumentError
from benchbench.core.format import magnitude, visible

WIDTH, HEIGHT = 360, 230
"""Size of a panel in pixels."""
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 34, 38
LINES = ("#1f5fa8", "#b4431c", "#2b7a3f", "#7a3f9d", "#8a6d00")
"""One per series of a panel, readable on white."""
SHAPES = ("circle", "square", "diamond")


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval, where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A series of dots, by x."""

    name: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart."""

    title: str
    lines: tuple[Line, ...]
    x_label: str = "step"
    reference: float | None = None
    """A level to compare with, such as that of a guesser."""
    reference_name: str = "chance"
    note: str = ""
    """A sentence for those who do not see the picture, and for the pointer's tip."""
    log_x: bool = False
    """Steps stand at log(step + 1): for checkpoints that lie closer early in training."""


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        at = math.log1p(value) if self.log else value
        return self.start + (at - self.low) / (self.high - self.low) * (self.end - self.start)


def svg(panels: Sequence[Panel], *, columns: int = 2) -> str:
    """All panels in one SVG document, `columns` beside each other."""
    across = max(1, min(columns, len(panels)))
    width, height = WIDTH * across, HEIGHT * math.ceil(len(panels) / across)
    titles = _text("; ".join(panel.title for panel in panels))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="system-ui, sans-serif" font-size="11" role="img" aria-label="{titles}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for place, panel in enumerate(panels):
        at = f"translate({place % across * WIDTH} {place // across * HEIGHT})"
        parts += [f'<g transform="{at}">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel) -> Iterable[str]:
    dots = [dot for line in panel.lines for dot in line.dots]
    yield f"<title>{_text(panel.title)}</title>"
    if panel.note:
        yield f"<desc>{_text(panel.note)}</desc>"
    yield f'<text x="{LEFT}" y="18" font-weight="600" font-size="12">{_text(panel.title)}</text>'
    if not dots:
        yield f'<text x="{LEFT}" y="{HEIGHT // 2}" fill="#555555">no value yet</text>'
        return
    x = _scale([dot.x for dot in dots], LEFT + 6, WIDTH - RIGHT - 6, log=panel.log_x)
    levels = [level for dot in dots for level in (dot.y, dot.low, dot.high) if level is not None]
    reference = [] if panel.reference is None else [panel.reference]
    y = _scale([*levels, *reference], HEIGHT - BOTTOM, TOP)
    yield from _axes(panel, dots, x, y)
    for number, line in enumerate(panel.lines):
        yield from _line(line, x, y, number)
    if len(panel.lines) > 1:
        yield from _legend(panel.lines)


def _axes(panel: Panel, dots: Sequence[Dot], x: _Scale, y: _Scale) -> Iterable[str]:
    for value in ticks(y.low, y.high):
        at = _n(y(value))
        yield f'<line x1="{LEFT}" y1="{at}" x2="{WIDTH - RIGHT}" y2="{at}" stroke="#e3e3e3"/>'
        yield _label(LEFT - 6, at, magnitude(value), anchor="end", dy=4)
    if panel.reference is not None:
        at = _n(y(panel.reference))
        yield f'<line x1="{LEFT}" y1="{at}" x2="{WIDTH - RIGHT}" y2="{at}" stroke="#777777" stroke-dasharray="4 3"/>'
        yield _label(WIDTH - RIGHT, at, panel.reference_name, anchor="end", dy=-3)
    first, last = min(dot.x for dot in dots), max(dot.x for dot in dots)
    for value in dict.fromkeys([first, *(_decades(first, last) if panel.log_x else ()), last]):
        yield _label(_n(x(value)), HEIGHT - BOTTOM + 16, magnitude(value))
    yield _label((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 8, panel.x_label)


def _decades(first: float, last: float) -> list[float]:
    """Powers of ten with room for their labels between the ends of a logarithmic axis."""
    powers = [10.0**k for k in range(12)]
    return [value for value in powers if 3 * (first + 1) < value < last / 3]


def _label(x: object, y: object, text: str, *, anchor: str = "middle", dy: int = 0) -> str:
    return f'<text x="{x}" y="{y}" dy="{dy}" text-anchor="{anchor}" fill="#555555">{_text(text)}</text>'


def _line(line: Line, x: _Scale, y: _Scale, number: int) -> Iterable[str]:
    colour = LINES[number % len(LINES)]
    banded = [dot for dot in line.dots if dot.low is not None and dot.high is not None]
    if len(banded) > 1:
        upper = [f"{_n(x(dot.x))},{_n(y(dot.high or 0.0))}" for dot in banded]
        lower = [f"{_n(x(dot.x))},{_n(y(dot.low or 0.0))}" for dot in reversed(banded)]
        yield f'<polygon points="{" ".join([*upper, *lower])}" fill="{colour}" fill-opacity="0.15"/>'
    if len(line.dots) > 1:
        places = " ".join(f"{_n(x(dot.x))},{_n(y(dot.y))}" for dot in line.dots)
        yield f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
    for dot in line.dots:
        yield _mark(x(dot.x), y(dot.y), SHAPES[number % len(SHAPES)], colour, _tip(line, dot))


def _mark(x: float, y: float, shape: str, colour: str, tip: str) -> str:
    title = f"<title>{_text(tip)}</title>"
    if shape == "circle":
        return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="3" fill="{colour}">{title}</circle>'
    turn = f' transform="rotate(45 {_n(x)} {_n(y)})"' if shape == "diamond" else ""
    return f'<rect x="{_n(x - 3)}" y="{_n(y - 3)}" width="6" height="6" fill="{colour}"{turn}>{title}</rect>'


def _legend(lines: Sequence[Line]) -> Iterable[str]:
    for number, line in enumerate(lines):
        y = TOP + 6 + 14 * number
        yield _mark(LEFT + 12, y, SHAPES[number % len(SHAPES)], LINES[number % len(LINES)], line.name)
        yield f'<text x="{LEFT + 20}" y="{y}" dy="4">{_text(line.name)}</text>'


def _tip(line: Line, dot: Dot) -> str:
    spread = "" if dot.low is None or dot.high is None else f" [{dot.low:.4g}, {dot.high:.4g}]"
    return f"{line.name} {dot.x:g}: {dot.y:.4g}{spread}"


def _scale(values: Sequence[float], start: float, end: float, *, log: bool = False) -> _Scale:
    low, high = min(values), max(values)
    if log:
        low, high = math.log1p(low), math.log1p(high)
    if low == high:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    return _Scale(low, high, start, end, log)


def ticks(low: float, high: float, *, about: int = 4) -> list[float]:
    """Round values between `low` and `high`, some `about` of them.

    >>> ticks(0.21, 0.79), ticks(0, 26500)
    ([0.4, 0.6], [0.0, 10000.0, 20000.0])
    """
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    width = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.ceil(low / width - 1e-9)
    return [round(k * width, 12) for k in range(first, math.floor(high / width + 1e-9) + 1)]


def _n(value: float) -> str:
    return f"{value:.1f}"


def _text(value: str) -> str:
    """Text that can do nothing: markup as text, control and invisible characters as visible marks."""
    return escape(visible(value))


def picture(found: Sequence[Panel], suffix: str) -> bytes:
    """The panels as a file of this kind: `.svg` or `.png`. ArgumentError for others, or without matplotlib."""
    if suffix == ".svg":
        return svg(found).encode()
    if suffix == ".png":
        return _png(found)
    raise ArgumentError(f"--to a file that ends in {suffix or 'nothing'}: pictures are .svg or .png.")


def _png(found: Sequence[Panel]) -> bytes:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ArgumentError("PNG needs matplotlib: `pip install matplotlib`, or write an .svg.") from None
    rows = (len(found) + 1) // 2
    figure = Figure(figsize=(9 if len(found) > 1 else 4.5, 2.9 * rows), layout="constrained")
    for place, panel in enumerate(found):
        axes = figure.add_subplot(rows, min(2, len(found)), place + 1)
        for line in panel.lines:
            x, y = [dot.x for dot in line.dots], [dot.y for dot in line.dots]
            axes.plot(x, y, marker="o", markersize=3, label=line.name)
            low = [dot.y if dot.low is None else dot.low for dot in line.dots]
            axes.fill_between(x, low, [dot.y if dot.high is None else dot.high for dot in line.dots], alpha=0.15)
        if panel.reference is not None:
            axes.axhline(panel.reference, linestyle="--", color="0.5", linewidth=1, label=panel.reference_name)
        axes.set(title=panel.title, xlabel=panel.x_label)
        axes.legend(fontsize=7)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    return data.getvalue()


STRIP_WIDTH, STRIP_HEIGHT, EDGE = 132, 16, 5


@dataclass(frozen=True, slots=True)
class StripScale:
    """What all intervals of a column are drawn on."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        """Where `value` is, in pixels from the left; values beyond the ends are at the ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(EDGE + min(1.0, max(0.0, share)) * (STRIP_WIDTH - 2 * EDGE), 1)


def axis_of(values: Iterable[float | None]) -> StripScale | None:
    """From the smallest to the largest; None where there is nothing to draw."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    room = (high - low) * 0.03 or abs(high) * 0.05 or 1.0
    return StripScale(low - room, high + room)


def strip(
    axis: StripScale | None, value: float | None, low: float | None, high: float | None, mark: float | None = None
) -> str:
    """A dot with its interval as a line; `mark` is a level such as chance, dashed. The numbers stand beside it."""
    if axis is None or value is None:
        return ""
    parts = [_strip_start(STRIP_WIDTH)]
    middle = STRIP_HEIGHT // 2
    if mark is not None and axis.low <= mark <= axis.high:
        at = axis(mark)
        parts.append(f'<line class="mark" x1="{at}" y1="0" x2="{at}" y2="{STRIP_HEIGHT}"/>')
    if low is not None and high is not None:
        left, right = axis(low), axis(high)
        parts.append(f'<line class="bar" x1="{left}" y1="{middle}" x2="{right}" y2="{middle}"/>')
        parts += [f'<line class="end" x1="{x}" y1="{middle - 3}" x2="{x}" y2="{middle + 3}"/>' for x in (left, right)]
    parts.append(f'<circle class="dot" cx="{axis(value)}" cy="{middle}" r="3"/></svg>')
    return "".join(parts)


def _strip_start(width: int) -> str:
    size = f'width="{width}" height="{STRIP_HEIGHT}" viewBox="0 0 {width} {STRIP_HEIGHT}"'
    return f'<svg class="strip" {size} aria-hidden="true">'


def rank_strip(low: int, high: int, count: int) -> str:
    """Which of `count` places, from the left, a model may hold."""
    width = 84
    unit = width / count
    at, wide = round((low - 1) * unit, 1), round(max(2.0, (high - low + 1) * unit), 1)
    return (
        f"{_strip_start(width)}"
        f'<line class="base" x1="0" y1="8" x2="{width}" y2="8"/>'
        f'<rect class="places" x="{at}" y="4" width="{wide}" height="8"/></svg>'
    )


SPARK_WIDTH = 96


def sparkline(panel: Panel) -> str:
    """The first line of a panel, small and without axes; the reference is dashed. The numbers stand beside it."""
    dots = panel.lines[0].dots if panel.lines else ()
    if not dots:
        return ""
    x = _scale([dot.x for dot in dots], EDGE, SPARK_WIDTH - EDGE, log=panel.log_x)
    levels = [dot.y for dot in dots] + ([] if panel.reference is None else [panel.reference])
    y = _scale(levels, STRIP_HEIGHT - 2, 2)
    at = [(round(x(dot.x), 1), round(y(dot.y), 1)) for dot in dots]
    parts = [_strip_start(SPARK_WIDTH)]
    if panel.reference is not None:
        level = round(y(panel.reference), 1)
        parts.append(f'<line class="mark" x1="0" y1="{level}" x2="{SPARK_WIDTH}" y2="{level}"/>')
    if len(at) > 1:
        points = " ".join(f"{left},{top}" for left, top in at)
        parts.append(f'<polyline class="curve-line" points="{points}"/>')
    parts.append(f'<circle class="dot" cx="{at[-1][0]}" cy="{at[-1][1]}" r="2"/></svg>')
    return "".join(parts)
