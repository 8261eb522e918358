"""What quantisation costs each checkpoint of a training: the same docs, the same weights in fewer bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchbench.core.errors import ArgumentError, StoreError
from benchbench.core.format import number, probability, step_name
from benchbench.core.types import Json
from benchbench.leaderboard.chart import Dot, Line, Panel
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import Entry, Variant
from benchbench.leaderboard.training import is_log
from benchbench.leaderboard.trainings import series_of_cells
from benchbench.stats.intervals import Interval
from benchbench.stats.sentence import Verdict
from benchbench.stats.series import Series
from benchbench.stats.sweep import series_verdict
from benchbench.stats.testing import ALPHA, DELTA, Family


@dataclass(frozen=True, slots=True)
class TwinRow:
    """A variant against the plain checkpoints, on one task. Positive is better than the plain one."""

    plain: str
    variant: str
    task: str
    metric: str
    series: Series
    """Variant less plain at every step that both have."""
    verdict: Verdict
    """On the differences: "regressed" says that the loss grows. One look, shared by all tasks and variants."""
    is_share: bool

    def interval(self, place: int) -> Interval | None:
        """95 % interval of the difference at one checkpoint, of the docs alone."""
        weights = np.zeros(len(self.series.steps))
        weights[place] = 1.0
        return self.series.contrast(weights).interval()

    @property
    def grows(self) -> bool | None:
        """The loss grows over the training; None where there is too little to say."""
        return None if self.verdict.findings is None else self.verdict.outcome == "regressed"

    @property
    def sentence(self) -> str:
        """What the bits cost, first and last, and whether it grows."""
        first, last = (self._cost(place) for place in (0, -1))
        found = self.verdict.findings
        if found is None:
            end = f"whether it changes is not known: {self.verdict.reason}"
        elif self.verdict.outcome == "regressed":
            end = f"the loss grows (adjusted p {_p(found.fall.p)})"
        elif min(found.ever.p, found.lately.p) < ALPHA:
            end = f"the loss shrinks (adjusted p {_p(min(found.ever.p, found.lately.p))})"
        else:
            end = f"no change of the loss is shown (adjusted p {_p(min(found.fall.p, found.ever.p))})"
        return f"{self.task} {self.metric}: {self.variant} costs {first} and {last}: {end}."

    def _cost(self, place: int) -> str:
        known, value = self.interval(place), float(self.series.values[place])
        ends = "" if known is None else f" (95 % CI {self._size(known.low)}…{self._size(known.high)})"
        return f"{self._size(value)}{' pp' if self.is_share else ''}{ends} at {step_name(self.series.steps[place])}"

    def _size(self, value: float) -> str:
        return number(100 * value, 2, sign=True) if self.is_share else number(value, 4, sign=True)

    @property
    def panel(self) -> Panel:
        """The differences over the steps."""
        dots = []
        for place, step in enumerate(self.series.steps):
            known = self.interval(place)
            ends = (None, None) if known is None else known
            dots.append(Dot(step, float(self.series.values[place]), *ends))
        title = f"{self.task} {self.metric}: {self.variant} less {self.plain}"
        log = is_log(self.series.steps)
        return Panel(title, (Line(self.variant, tuple(dots)),), "step", 0.0, "no loss", self.sentence, log)


def _p(p: float) -> str:
    shown = probability(p)
    return shown if shown.startswith("<") else f"= {shown}"


def twin_rows(plain: tuple[str, Sequence[Entry]], variants: Sequence[tuple[str, Sequence[Entry]]]) -> list[TwinRow]:
    """Every variant on every task that it shares with the plain training; metrics that are means over docs, or ratios.

    Raises:
        ArgumentError: no step and task in common.
    """
    items, made = ItemScores(), []
    for variant in variants:
        shared = sorted({v for e in plain[1] for v in e.cells} & {v for e in variant[1] for v in e.cells})
        made += [(variant[0], asked, one) for asked in shared if (one := _series(plain[1], variant[1], asked, items))]
    if not made:
        names = ", ".join(name for name, _ in variants) or "nothing"
        raise ArgumentError(f"{plain[0]} and {names} share no task at the same steps, with items or standard errors.")
    return [_row(plain[0], name, asked, one, len(made)) for name, asked, one in made]


def _series(plain: Sequence[Entry], variant: Sequence[Entry], asked: Variant, items: ItemScores) -> Series | None:
    cells = [
        {e.step: e.cells[asked] for e in side if e.step is not None and asked in e.cells} for side in (plain, variant)
    ]
    steps = sorted(cells[0].keys() & cells[1].keys())
    if not steps:
        return None
    count = len(steps)
    try:
        joint, _ = series_of_cells(
            range(2 * count), [*(cells[0][s] for s in steps), *(cells[1][s] for s in steps)], items
        )
    except (StoreError, ValueError):
        return None
    less = np.hstack([-np.eye(count), np.eye(count)])
    return replace(
        joint,
        steps=tuple(steps),
        values=less @ joint.values,
        covariance=less @ joint.covariance @ less.T,
        pulls=None if joint.pulls is None else less @ joint.pulls,
        right=None,
    )


def _row(plain: str, name: str, asked: Variant, series: Series, claims: int) -> TwinRow:
    family = Family(looks=1, tasks=claims, share=1 / claims)
    verdict = series_verdict(series, delta=DELTA * series.scale, family=family)
    return TwinRow(plain, name, asked.task, asked.metric, series, verdict, series.scale == 1.0)


def as_json_row(row: TwinRow) -> dict[str, Json]:
    """A row for `--json`."""
    points: list[Json] = []
    for place, step in enumerate(row.series.steps):
        known = row.interval(place)
        low, high = (None, None) if known is None else known
        points.append({"step": step, "difference": float(row.series.values[place]), "ci_low": low, "ci_high": high})
    names = ("plain", "variant", "task", "metric", "grows", "sentence")
    facts: dict[str, Json] = {name: getattr(row, name) for name in names}
    return {**facts, "n": row.series.n, "outcome": row.verdict.outcome, "points": points}
