"""What keeps loggers up to date with finished runs: each row once, also after kills, and none is lost.

Beside the runs lies a ledger for each logger, `logged/<logger>-<hash>/ledger.jsonl`: a line before a row is logged, and
one after. A row with the first line alone is one that a killed process may have logged, and the logger is asked.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchbench.core.errors import StoreError
from benchbench.core.format import clean, several
from benchbench.core.ids import content_hash
from benchbench.core.types import Json
from benchbench.runner.logs.loggers import Batch, Logger, Place, open_logger
from benchbench.runner.logs.rows import LogRow, row_of
from benchbench.store.files import make_folder
from benchbench.store.folder import RunFolder
from benchbench.store.lines import LineLog, read_lines
from benchbench.store.lock import shortly

LOGGED = "logged"
"""The folder in a results folder that holds the ledgers."""
PATIENCE = 60.0
"""Seconds to wait for another process that logs to the same place."""
PAUSE = 120.0
"""Seconds before a logger that did not work is tried again, unless it is the last time."""
MOST_REASON = 300
"""Characters of a logger's own reason in a sentence."""


class Logs:
    """The loggers of one command. What they cannot take stays, and is tried again; nothing here ends a run."""

    def __init__(self, asked: Sequence[str], output: Path, tell: Callable[[str], None]) -> None:
        """Opens what the `--log` options in `asked` name. ArgumentError where one cannot work.

        `tell` gets a sentence where a logger does not work, and where it does again.
        """
        places = dict.fromkeys(map(Place.read, asked))
        self._followers = [_Follower(place, open_logger(place, output), output, tell) for place in places]
        self._tell = tell

    def __bool__(self) -> bool:
        return bool(self._followers)

    def add(self, runs: Iterable[RunFolder]) -> None:
        """Logs finished runs, in the order of their steps; those that are logged already are passed over."""
        rows = []
        for run in runs if self._followers else ():
            try:
                rows.append(row_of(run))
            except StoreError as error:
                self._tell(f"Not logged: {error}")
        for follower in self._followers:
            follower.add(rows)

    def retry(self) -> None:
        """Tries again what a logger could not take, if it is time."""
        for follower in self._followers:
            follower.add(())

    def finish(self) -> None:
        """Tries for the last time, and says what is left."""
        for follower in self._followers:
            follower.finish()


class _Ledger:
    """What was logged, and what may have been. One process at a time holds it."""

    def __init__(self, path: Path) -> None:
        self._lines = LineLog(path)
        self._runs: dict[str, str] = {}
        """Row's key → the logger's run into which it went, or may have gone."""
        self._values: dict[str, dict[str, float]] = {}
        """Row's key → what it had of its own."""
        self._logged: set[str] = set()
        self._held: defaultdict[tuple[str, int], dict[str, float]] = defaultdict(dict)
        """Series and step → curve → the value that is there for good."""
        self._tries: Counter[str] = Counter()
        """Run → how often rows were begun in it."""
        self._latest: dict[str, str] = {}
        """Series → the run into which its rows go."""
        for line in read_lines(path):
            self._take(line)

    def _take(self, line: Mapping[str, Json]) -> None:
        key, run, series = (str(line.get(name)) for name in ("key", "run", "series"))
        self._runs[key] = self._latest[series] = run
        values, step = line.get("values"), line.get("step")
        if isinstance(values, dict):
            self._values[key] = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
        if line.get("state") == "begun":
            self._tries[run] += 1
        elif isinstance(step, int):
            self._logged.add(key)
            self._held[series, step] |= self._values.get(key, {})

    def begin(self, row: LogRow, run: str) -> None:
        """Writes that a row is about to go into a run; its values the first time."""
        values: dict[str, Json] = {} if self._values.get(row.key) == row.values else {"values": dict(row.values)}
        self._append({"state": "begun", **self._about(row, run), **values})

    def end(self, row: LogRow, run: str) -> None:
        """Writes that it is there for good."""
        self._append({"state": "logged", **self._about(row, run)})

    @staticmethod
    def _about(row: LogRow, run: str) -> dict[str, Json]:
        return {"key": row.key, "series": row.series, "step": row.step, "run": run}

    def _append(self, line: Mapping[str, Json]) -> None:
        self._lines.append(line)
        self._take(line)

    def lacking(self, rows: Iterable[LogRow]) -> Iterator[LogRow]:
        """What is not there of the rows. A value that another run had at that step is not drawn again: groups of tasks
        that overlap, docs that were asked again.
        """
        held: dict[tuple[str, int], dict[str, float]] = {}
        for row in rows:
            if row.key in self._logged:
                continue
            known = held.setdefault((row.series, row.step), dict(self._held[row.series, row.step]))
            values = {name: value for name, value in row.values.items() if known.get(name) != value}
            known |= values
            if values:
                yield replace(row, values=values, ends=row.ends & values.keys())

    def begun(self, row: LogRow) -> str | None:
        """The run in which the row may be."""
        return self._runs.get(row.key)

    def tries(self, run: str) -> int:
        """How often rows were begun in a run."""
        return self._tries[run]

    def latest(self, series: str) -> str | None:
        """The run of the series so far."""
        return self._latest.get(series)

    def __enter__(self) -> _Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()


@dataclass(slots=True)
class _Follower:
    """One logger, its ledger, and the rows that it has not got."""

    place: Place
    logger: Logger
    output: Path
    tell: Callable[[str], None]
    waiting: dict[str, LogRow] = field(default_factory=dict)
    """By their keys."""
    _sent: set[str] = field(default_factory=set)
    """Keys that this process has brought to an end."""
    _trouble: str = ""
    """What was said last of why it does not work; empty while it does."""
    _tried: float = 0.0

    @property
    def folder(self) -> Path:
        """Where its ledger lies."""
        name = f"{self.place.logger}-{content_hash([self.logger.address, self.place.run], digits=8)}"
        return self.output / LOGGED / name

    def add(self, rows: Iterable[LogRow]) -> None:
        """Logs the rows and those that wait, unless it did not work a moment ago."""
        self.waiting |= {row.key: row for row in rows if row.key not in self._sent}
        if self.waiting and not (self._trouble and time.monotonic() < self._tried + PAUSE):
            self._try()

    def finish(self) -> None:
        """Tries once more and says what is left."""
        if self.waiting:
            self._try()
        if self.waiting:
            self.tell(
                f"{several(len(self.waiting), 'result')} could not be logged to {self.place}. Nothing is lost: give "
                "the same command again when it works."
            )

    def _try(self) -> None:
        try:
            self._log()
        except Exception as error:  # noqa: BLE001 - a logger is a stranger's code and network: it must not end a run
            reason = clean(" ".join(str(error).split()))[:MOST_REASON] or type(error).__name__
            if reason != self._trouble:
                self.tell(
                    f"{self.place} does not take results now: {reason} They are kept in {self.output} and logged when "
                    "it works again."
                )
            self._trouble = reason
        else:
            if self._trouble:
                self.tell(f"{self.place} works again: what had waited is logged.")
            self._trouble = ""
        self._tried = time.monotonic()

    def _log(self) -> None:
        make_folder(self.folder)
        with shortly(self.folder, PATIENCE), _Ledger(self.folder / "ledger.jsonl") as ledger:
            for (series, run), rows in self._by_run(ledger).items():
                again = [row for row in rows if ledger.begun(row) is not None]
                batch = Batch(run, series, rows, again, tries=ledger.tries(run))
                for row in rows:
                    ledger.begin(row, run)
                if self.logger.log(batch):
                    for row in rows:
                        ledger.end(row, run)
        self._sent |= self.waiting.keys()
        self.waiting.clear()

    def _by_run(self, ledger: _Ledger) -> dict[tuple[str, str], list[LogRow]]:
        """(series, the logger's run) → what is lacking, by step. A row that was begun is ended where that was."""
        into: dict[str, str] = {}
        found: dict[tuple[str, str], list[LogRow]] = {}
        for row in ledger.lacking(sorted(self.waiting.values(), key=lambda row: row.step)):
            if row.series not in into:
                into[row.series] = self.place.run or self.logger.run_for(row.series, ledger.latest(row.series))
            found.setdefault((row.series, ledger.begun(row) or into[row.series]), []).append(row)
        return found
