"""Curves as pictures: SVG of our own, PNG where matplotlib is installed."""

from __future__ import annotations

import io
from collections.abc import Sequence

from benchbench.core.chart import Panel, svg
from benchbench.core.errors import ArgumentError
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
