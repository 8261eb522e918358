"""Curves as pictures: SVG of our own, PNG where matplotlib is installed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchbench.core.errors import ArgumentError
from benchbench.leaderboard.chart import Panel, svg
from benchbench.leaderboard.training import Curve


def panels(curves: Sequence[Curve]) -> list[Panel]:
    """One panel per task and metric; the trainings that share them are its lines."""
    groups: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.task, curve.metric, curve.axis), []).append(curve)
    return [
        Panel(
            title=f"{task} {metric}",
            lines=tuple(line for curve in members for line in curve.panel.lines),
            x_label=axis,
            reference=members[0].chance,
            note=" ".join(curve.sentence for curve in members),
        )
        for (task, metric, axis), members in groups.items()
    ]


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
