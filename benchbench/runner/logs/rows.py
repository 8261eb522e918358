"""A finished run as points of curves: what they are called, and at which step they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from benchbench.core.ids import content_hash
from benchbench.core.record import Row, RunRecord
from benchbench.store.folder import RunFolder

PREFIX = "benchbench"
"""The first part of every curve's name: a training has curves of its own."""
TOKENS, STEP = f"{PREFIX}/tokens", f"{PREFIX}/step"
LOW, HIGH = "_low", "_high"
"""What follows a curve's name in those of the ends of its 95 % interval. After a `/` the curve's own name would be a
folder, which loggers that keep one file a curve cannot have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """One finished run: a point of each of its curves, all at one step."""

    key: str
    """Hash over the run and its values: a run whose failed docs were asked again is another row."""
    series: str
    """The training that the model is a checkpoint of."""
    step: int
    """Its optimizer step; where no step is known the tokens seen, and 0 where those are not known either."""
    tokens: int | None
    values: Mapping[str, float]
    """Curve → value. All are finite; the tokens are a curve where they are known."""
    ends: frozenset[str]
    """Those of the curves that are ends of intervals."""
    finished: datetime


def row_of(folder: RunFolder) -> LogRow:
    """The row of a finished run. StoreError if it is not finished or damaged."""
    record = folder.record()
    values, ends = _values(record)
    if record.tokens_seen is not None:
        values[TOKENS] = float(record.tokens_seen)
    step = record.step if record.step is not None else record.tokens_seen or 0
    return LogRow(
        key=content_hash({"run": folder.name, "step": step, "values": values}),
        series=record.series,
        step=step,
        tokens=record.tokens_seen,
        values=values,
        ends=ends,
        finished=_time(record.date),
    )


def curve_name(row: Row, record: RunRecord) -> str:
    """`benchbench/TASK/METRIC`; a group that has the name of one of its tasks is told from it."""
    task = f"{row.task}.group" if row.is_group and row.task in record.tasks else row.task
    return f"{PREFIX}/{task}/{row.metric}"


def scores_of(record: RunRecord) -> dict[str, float]:
    """Curve → value, of every metric that has one."""
    return {curve_name(row, record): row.value for row in record.rows if row.value is not None}


def _values(record: RunRecord) -> tuple[dict[str, float], frozenset[str]]:
    """Every metric of every task and group with the ends of its interval; what has no value is left out."""
    values, ends = scores_of(record), []
    for row in record.rows:
        name = curve_name(row, record)
        if name not in values:
            continue
        for end, value in ((LOW, row.ci_low), (HIGH, row.ci_high)):
            if value is not None:
                values[name + end] = value
                ends.append(name + end)
    return values, frozenset(ends)


def _time(date: str) -> datetime:
    """When the run was finished; the epoch where its record does not say."""
    try:
        found = datetime.fromisoformat(date)
    except ValueError:
        found = datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
