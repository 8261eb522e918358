"""One training against another on a task: the verdict as a sentence, as pictures and as figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchbench.core.format import magnitude
from benchbench.core.format import number as shown_number
from benchbench.core.types import Json
from benchbench.leaderboard.chart import Dot, Line, Panel
from benchbench.leaderboard.training import is_log
from benchbench.stats.curve_pair import CurvePair, PairVerdict, Saved

By = Literal["step", "tokens", "flops"]
ALL = "mean of all tasks"


@dataclass(frozen=True, slots=True)
class PairRow:
    """b against a on one task, or on the mean of all."""

    a: str
    b: str
    task: str
    metric: str
    axis: By
    pair: CurvePair
    verdict: PairVerdict
    higher_is_better: bool
    is_share: bool
    """Differences are percentage points."""
    is_log: bool = False
    has_items: bool = True
    """Compared doc by doc; else from standard errors, as if the docs were others."""

    @property
    def sign(self) -> float:
        """From the metric's own direction to "higher is better"."""
        return 1.0 if self.higher_is_better and not self.is_log else -1.0

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return " ".join(part for part in (_claim(self), _saving(self), _noise(self)) if part)

    @property
    def panels(self) -> tuple[Panel, Panel]:
        """Both curves, and the difference with its band."""
        cut, values = len(self.pair.a), self.sign * self.pair.joint.values
        errors = 1.96 * self.pair.joint.covariance.diagonal() ** 0.5
        lines = []
        for name, places, start in ((self.a, self.pair.a, 0), (self.b, self.pair.b, cut)):
            dots = (
                Dot(
                    place,
                    values[start + k],
                    values[start + k] - errors[start + k],
                    values[start + k] + errors[start + k],
                )
                for k, place in enumerate(places)
            )
            lines.append(Line(name, tuple(dots)))
        log = is_log([*self.pair.a, *self.pair.b])
        label = f"{self.axis} (log)" if log else self.axis
        curves = Panel(f"{self.task} {self.metric}", tuple(lines), label, note=self.sentence, log_x=log)
        band = tuple(
            Dot(p.place, self.sign * p.value, *sorted((self.sign * p.low, self.sign * p.high)))
            for p in self.verdict.points
        )
        title = f"{self.task}: {self.b} less {self.a}"
        return curves, Panel(title, (Line("difference", band),), label, 0.0, "no difference", self.sentence, log)


def _at(row: PairRow, place: float) -> str:
    unit = {"step": "step ", "tokens": "", "flops": ""}[row.axis]
    after = {"step": "", "tokens": " tokens", "flops": " FLOPs"}[row.axis]
    return f"{unit}{magnitude(place)}{after}"


def _size(row: PairRow, value: float) -> str:
    """A difference with the metric's own sign."""
    turned = row.sign * value
    return f"{shown_number(100 * turned, 2, sign=True)} pp" if row.is_share else shown_number(turned, 4, sign=True)


def _claim(row: PairRow) -> str:
    found, what = row.verdict, f"{row.task}{'' if row.task == ALL else f' {row.metric}'}"
    if found.last is None:
        return f"{what}: too little data: {found.reason}."
    low, high = sorted((row.sign * found.last.low, row.sign * found.last.high))
    ends = f"{_size(row, row.sign * low).removesuffix(' pp')}…{_size(row, row.sign * high).removesuffix(' pp')}"
    sure = shown_number(100 * (1 - found.level), 0 if found.level in (0.05, 0.01) else 1)
    figures = f"{_size(row, found.last.value)} at {_at(row, found.last.place)}, {sure} % CI {ends}"
    if found.outcome in ("better", "worse"):
        return f"{what}: {row.b} is {found.outcome} than {row.a} from {_at(row, found.since or 0)} on ({figures})."
    if found.outcome == "equivalent":
        return f"{what}: {row.b} and {row.a} end alike, within ±{_size(row, row.sign * found.delta)[1:]} ({figures})."
    return f"{what}: no difference of {row.b} from {row.a} is shown ({figures})."


def _saving(row: PairRow) -> str:
    found, unit = row.verdict.saved, {"step": "steps", "tokens": "tokens", "flops": "FLOPs"}[row.axis]
    if found is None or row.verdict.outcome not in ("better", "worse"):
        return ""
    faster, other = (row.b, row.a) if found.faster == "b" else (row.a, row.b)
    if found.share is None:
        return f"{faster} does not reach {other}'s final score."
    return f"{faster} reaches {other}'s final score at {found.share:.0%} of {other}'s {unit} ({_reach(found)})."


def _reach(found: Saved) -> str:
    if found.low is not None and found.high is not None:
        return f"95 % CI {100 * found.low:.0f}–{100 * found.high:.0f} %"
    if found.low is None and found.high is None:
        return "95 % CI: anywhere, these checkpoints do not tell"
    if found.high is None:
        return f"95 % CI from {100 * (found.low or 0):.0f} % on, without an upper end"
    return f"95 % CI up to {100 * found.high:.0f} %, without a lower end"


def _noise(row: PairRow) -> str:
    few = [name for name, places in ((row.a, row.pair.a), (row.b, row.pair.b)) if len(places) < 4]
    said = f"Too few checkpoints of {' and '.join(few)} to tell their noise, which is allowed for." if few else ""
    wide = "Without items the docs of the two count as different ones: the intervals are wider than they need be."
    return said if row.has_items else f"{said} {wide}".strip()


def figures(row: PairRow) -> dict[str, Json]:
    """The row as JSON, with the metric's own signs."""
    found = row.verdict
    return {
        "a": row.a,
        "b": row.b,
        "task": row.task,
        "metric": row.metric,
        "axis": row.axis,
        "n": row.pair.joint.n,
        "has_items": row.has_items,
        "outcome": found.outcome,
        "since": found.since,
        "level": found.level,
        "delta": found.delta,
        "noise": list(found.noise),
        "end": None if found.last is None else point_figures(row, len(found.points) - 1),
        "points": [point_figures(row, k) for k in range(len(found.points))],
        "saved": _saved(found.saved),
        "sentence": row.sentence,
    }


def point_figures(row: PairRow, number: int) -> dict[str, Json]:
    """The difference at a common point, with the metric's own signs."""
    point = row.verdict.points[number]
    low, high = sorted((row.sign * point.low, row.sign * point.high))
    return {
        "place": point.place,
        "difference": row.sign * point.value,
        "ci_low": low,
        "ci_high": high,
        "p": point.p,
        "interpolated": point.interpolated,
        "interpolation_error": point.bend,
    }


def _saved(found: Saved | None) -> Json:
    if found is None:
        return None
    return {"faster": found.faster, "share": found.share, "ci_low": found.low, "ci_high": found.high}
