"""How a sweep looks in a terminal: a table that grows while it runs, curves and verdicts when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from benchbench.cli.console import cell, figure_table, interval, number, print_table, say, stderr, stdout, tell
from benchbench.cli.progress import Watcher, Work, duration
from benchbench.core.format import magnitude, several
from benchbench.core.record import Row, RunRecord
from benchbench.runner import events
from benchbench.runner.sweep import session

if TYPE_CHECKING:
    from benchbench.leaderboard.training import Curve, Point, Training, VerdictOptions
    from benchbench.runner.sweep.session import OnSweepEvent, SweepEvent
    from benchbench.store.find import SweepFolder

BLOCKS = "▁▂▃▄▅▆▇█"
MOST_ROWS, MOST_TASKS, MOST_BLOCKS = 12, 4, 24


@dataclass(slots=True)
class _Row:
    """A checkpoint, as far as it was scored."""

    step: int | None = None
    tokens: int | None = None
    seconds: float = 0.0
    values: dict[str, float | None] = field(default_factory=dict)
    """By task or group."""


class SweepWatcher(Watcher):
    """Shows a sweep on stderr: on a terminal a growing table above a bar, elsewhere a line per checkpoint."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rows: dict[tuple[str, int], _Row] = {}
        self._tasks: list[str] = []
        self._said: set[str] = set()
        self._now = ""
        """The checkpoint that is worked on."""
        self._units, self._place = 0, 0
        """How many there are, and which of them is worked on, from 1."""
        self._waiting = False
        """A line says already that it waits."""
        self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=4, transient=True)

    def __call__(self, event: SweepEvent) -> None:
        """Shows one event."""
        match event:
            case events.Note(text):
                if text not in self._said:
                    self._said.add(text)
                    self.say(text)
            case events.RunStarted():
                self._count(event)
            case session.SweepStarted(path, checkpoints, units, done):
                self._units, self._place = units, done
                count = "No checkpoints yet" if checkpoints == 0 else several(checkpoints, "checkpoint")
                kept = f", {done} of {units} units done before" if done else ""
                self.say(f"{count}{kept}. Stop at any time: the same command goes on. {path}")
            case session.CheckpointStarted(checkpoint):
                self._now, self._waiting = checkpoint.name, False
                self._place += 1
                self._turn_to(Work(f"{self.place()}loading"))
            case events.OpeningModel():
                pass
            case session.CheckpointFinished():
                self._finished(event)
            case session.CheckpointSkipped(checkpoint, why):
                self.say(f"{checkpoint.name} is passed over: {why}")
            case session.Underway(checkpoints):
                self._now = ""
                self._turn_to(Work(f"{several(len(checkpoints), 'checkpoint')} at once, each on a worker"))
                self._bar.update(self._id, total=None)
            case session.Waiting(seconds, newest):
                self._wait(seconds, newest)
            case _:
                super().__call__(event)

    def _finished(self, event: session.CheckpointFinished) -> None:
        main = main_rows(event.result.record)
        self._tasks += [task for task in main if task not in self._tasks]
        done = event.done
        row = self._rows.setdefault((done.series, done.position), _Row())
        row.step, row.tokens = done.step, done.tokens_seen
        row.seconds += done.timing["run"] or 0.0
        row.values |= {task: found.value for task, found in main.items()}
        if not self._console.is_terminal:
            scores = ", ".join(f"{t} {v.metric} {number(v.value)}" for t, v in list(main.items())[:MOST_TASKS])
            took = done.timing["run"] or 0.0
            self.say(f"{self.place()}{scores} ({duration(took) if took >= 60 else f'{took:.1f} s'})")

    def place(self) -> str:
        """See Watcher: the checkpoint, which it is, and of how many where that was known when the sweep began."""
        of = f" of {self._units}" if self._place <= self._units else ""
        return f"{self._now} ({self._place}{of}), " if self._now else ""

    def tell_task(self, text: str) -> None:
        """See Watcher. A checkpoint has one line, when it is done."""

    def _wait(self, seconds: float, newest: int | None) -> None:
        if self._waiting:
            return
        self._waiting = True
        text = "waiting for a checkpoint" if newest is None else f"waiting for a checkpoint after step {newest}"
        self._now = ""
        self._turn_to(Work(text, is_idle=True))
        self._bar.update(self._id, total=None)
        if not self._console.is_terminal:
            self.say(f"Waiting for checkpoints, looking every {seconds:g} s.")

    def _picture(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        tasks = self._tasks[:MOST_TASKS]
        for name in ("step", "tokens", *tasks, "seconds"):
            table.add_column(cell(name), justify="right", overflow="ellipsis", no_wrap=True)
        for _, row in sorted(self._rows.items())[-MOST_ROWS:]:
            tokens = "" if row.tokens is None else magnitude(row.tokens)
            scores = [number(row.values[task]) if task in row.values else "" for task in tasks]
            table.add_row(*map(cell, (row.step, tokens, *scores, f"{row.seconds:.1f}")))
        return Group(table, self._bar) if self._rows else Group(self._bar)

    def __enter__(self) -> SweepWatcher:
        if self._console.is_terminal:
            self._live.start()
        else:
            super().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._console.is_terminal:
            self._live.stop()
        else:
            super().__exit__(kind, *rest)


@contextmanager
def watching_sweep() -> Iterator[OnSweepEvent]:
    """A sweep watcher on stderr."""
    with SweepWatcher(stderr()) as watcher:
        yield watcher


def main_rows(record: RunRecord) -> dict[str, Row]:
    """Task or group → its first row; groups first, members of groups that have one left out."""
    shown = {row.task for row in record.rows if row.is_group}
    members = {task for group in record.groups if group.name in shown for task in group.tasks}
    found: dict[str, Row] = {}
    for row in sorted(record.rows, key=lambda row: not row.is_group):
        if row.is_group or row.task not in members:
            found.setdefault(row.task, row)
    return found


def trainings_of(folder: SweepFolder, options: VerdictOptions | None = None) -> list[Training]:
    """The trainings of a sweep, from its finished units."""
    from benchbench.leaderboard.paired import ItemScores
    from benchbench.leaderboard.records import records_of
    from benchbench.leaderboard.trainings import make_training

    records = records_of(folder.runs())
    for sentence in records.skipped:
        say(f"passed over: {sentence}", "dim")
    items = ItemScores()
    return [make_training(name, entries, items, options) for name, entries in records.trainings().items()]


def as_json_value(folder: SweepFolder, found: Sequence[Training]) -> dict[str, object]:
    """Curves and verdicts of a sweep, for `--json`."""
    curves = [curve for training in found for curve in training.curves]
    return {
        "sweep": str(folder.path),
        "curves": [
            {
                "series": curve.training,
                **{name: getattr(curve, name) for name in ("task", "metric", "n", "chance", "is_group")},
                "points": [_point(point, has_steps=curve.axis == "step") for point in curve.points],
            }
            for curve in curves
        ],
        "verdicts": [_verdict(training, curve) for training in found for curve in training.headline_curves],
    }


def _verdict(training: Training, curve: Curve) -> dict[str, object]:
    """The verdict as figures and as its sentence; signs are those of the metric."""
    from benchbench.leaderboard.trainings import figures

    names = {"series": curve.training, "task": curve.task, "metric": curve.metric}
    return {**names, **figures(curve), "sentence": curve.sentence, "beside": training.beside(curve)}


def _point(point: Point, *, has_steps: bool) -> dict[str, object]:
    known = {"tokens_seen": point.entry.tokens_seen, "value": point.value, "low": point.low, "high": point.high}
    return {"step": point.step if has_steps else None, **known, "run": point.run}


def show_training(training: Training) -> None:
    """A table with a line per task, then the verdicts, on stdout."""
    from benchbench.leaderboard.training import about, sentences

    console = stdout()
    steps, axis = training.axis.places, training.axis.name
    unit = "step" if axis == "step" else axis
    reach = f"{steps[0]:,} to {steps[-1]:,}" if len(steps) > 1 else f"{steps[0]:,}"
    where = f"{unit} {reach}" if axis == "step" else f"{reach} {unit}; ordered by tokens, for their names tell no steps"
    count = f"{len(steps)} checkpoints, " if len(steps) > 1 else ""
    tell(f"{training.name}  {count}{where}", "bold")
    print_table(_table(training.main_curves))
    for sentence in sentences(training):
        console.print()
        console.print(cell(sentence))
    for line in about(training):
        console.print()
        console.print(cell(line))


def _table(found: Sequence[Curve]) -> Table:
    table = figure_table("task", "metric", "curve", "first", "last", "95%", "n", fold=("metric",), left=("curve",))
    for curve in found:
        values, last = [point.value for point in curve.points], curve.points[-1]
        cells = (curve.task, curve.metric, sparkline(values), number(values[0]), number(values[-1]))
        table.add_row(*map(cell, (*cells, interval(last.value, last.low, last.high), curve.n)))
    return table


def sparkline(values: Sequence[float | None]) -> str:
    """One block per value, low to high; a dot where there is none. Long curves are thinned out, the last stays."""
    if len(values) > MOST_BLOCKS:
        values = [values[round(k * (len(values) - 1) / (MOST_BLOCKS - 1))] for k in range(MOST_BLOCKS)]
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    width = (high - low) or 1.0
    return "".join("·" if v is None else BLOCKS[min(7, int(8 * (v - low) / width))] for v in values)


def text_chart(curve: Curve) -> str:
    """The curve with its intervals in characters, values on the left and steps below."""
    width, height = 64, 12
    dots = [point for point in curve.points if point.value is not None]
    if not dots:
        return "no value yet"
    levels = [v for p in dots for v in (p.value, p.low, p.high, curve.chance) if v is not None]
    low, high = min(levels), max(levels)
    span, first = (high - low) or 1.0, dots[0].step
    steps = (dots[-1].step - first) or 1

    def row(value: float) -> int:
        return round((high - value) / span * (height - 1))

    grid = [[" "] * width for _ in range(height)]
    if curve.chance is not None:
        grid[row(curve.chance)] = ["┄"] * width
    for point in dots:
        column = round((point.step - first) / steps * (width - 1))
        if point.low is not None and point.high is not None:
            for line in range(row(point.high), row(point.low) + 1):
                grid[line][column] = "│"
        grid[row(point.value or 0.0)][column] = "●"
    names = {0: number(high), height - 1: number(low)}
    if curve.chance is not None:
        names[row(curve.chance)] = f"chance {number(curve.chance)}"
    edge = max(map(len, names.values()))
    lines = [f"{names.get(n, ''):>{edge}} {''.join(cells).rstrip()}" for n, cells in enumerate(grid)]
    ends = f"{magnitude(first)}{magnitude(dots[-1].step):>{width - len(magnitude(first))}}"
    return "\n".join([*lines, " " * (edge + 1) + ends])
