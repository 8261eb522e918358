"""Small pictures in SVG: intervals, rank intervals, curves. Colours come from the style sheet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchbench.core.chart import Panel, svg

WIDTH, HEIGHT, EDGE = 132, 16, 5


@dataclass(frozen=True, slots=True)
class Axis:
    """What all intervals of a column are drawn on."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        """Where `value` is, in pixels from the left; values beyond the ends are at the ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(EDGE + min(1.0, max(0.0, share)) * (WIDTH - 2 * EDGE), 1)


def axis_of(values: Iterable[float | None]) -> Axis | None:
    """From the smallest to the largest; None where there is nothing to draw."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    room = (high - low) * 0.03 or abs(high) * 0.05 or 1.0
    return Axis(low - room, high + room)


def strip(
    axis: Axis | None, value: float | None, low: float | None, high: float | None, mark: float | None = None
) -> str:
    """A dot with its interval as a line; `mark` is a level such as chance, dashed. The numbers stand beside it."""
    if axis is None or value is None:
        return ""
    parts = [f'<svg class="strip" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">']
    middle = HEIGHT // 2
    if mark is not None and axis.low <= mark <= axis.high:
        at = axis(mark)
        parts.append(f'<line class="mark" x1="{at}" y1="0" x2="{at}" y2="{HEIGHT}"/>')
    if low is not None and high is not None:
        left, right = axis(low), axis(high)
        parts.append(f'<line class="bar" x1="{left}" y1="{middle}" x2="{right}" y2="{middle}"/>')
        parts += [f'<line class="end" x1="{x}" y1="{middle - 3}" x2="{x}" y2="{middle + 3}"/>' for x in (left, right)]
    parts.append(f'<circle class="dot" cx="{axis(value)}" cy="{middle}" r="3"/></svg>')
    return "".join(parts)


def rank_strip(low: int, high: int, count: int) -> str:
    """Which of `count` places, from the left, a model may hold."""
    width = 84
    unit = width / count
    at, wide = round((low - 1) * unit, 1), round(max(2.0, (high - low + 1) * unit), 1)
    return (
        f'<svg class="strip" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" aria-hidden="true">'
        f'<line class="base" x1="0" y1="8" x2="{width}" y2="8"/>'
        f'<rect class="places" x="{at}" y="4" width="{wide}" height="8"/></svg>'
    )


def curve(panel: Panel) -> str:
    """A curve with its band."""
    return svg([panel], columns=1)
