"""What keeps loggers up to date with finished runs: each row once, also after kills, and none is lost.

Beside the runs lies a ledger for each logger, `logged/<logger>-<hash>/ledger.jsonl`: a line before a row is logged, and
one after. A row with the first line alone is one that a killed process may have logged, and the logger is asked.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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
        self._logged: set[str] = set()
        self._tries: Counter[str] = Counter()
        """Run → how often rows were begun in it."""
        self._latest: dict[str, str] = {}
        """Series → the run into which its rows go."""
        for line in read_lines(path):
            self._take(line)

    def _take(self, line: Mapping[str, Json]) -> None:
        key, run = str(line.get("key")), str(line.get("run"))
        self._runs[key] = self._latest[str(line.get("series"))] = run
        if line.get("state") == "logged":
            self._logged.add(key)
        else:
            self._tries[run] += 1

    def note(self, row: LogRow, run: str, state: Literal["begun", "logged"]) -> None:
        """Writes a line of a row."""
        line: dict[str, Json] = {"state": state, "key": row.key, "series": row.series, "step": row.step, "run": run}
        self._lines.append(line)
        self._take(line)

    def is_logged(self, row: LogRow) -> bool:
        """The row is there for good."""
        return row.key in self._logged

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
            todo = [row for row in self.waiting.values() if not ledger.is_logged(row)]
            for (series, run), rows in self._by_run(todo, ledger).items():
                again = [row for row in rows if ledger.begun(row) is not None]
                batch = Batch(run, series, rows, again, tries=ledger.tries(run))
                for row in rows:
                    ledger.note(row, run, "begun")
                if self.logger.log(batch):
                    for row in rows:
                        ledger.note(row, run, "logged")
        self._sent |= self.waiting.keys()
        self.waiting.clear()

    def _by_run(self, rows: Iterable[LogRow], ledger: _Ledger) -> dict[tuple[str, str], list[LogRow]]:
        """(series, the logger's run) → rows by step. A row that was begun is ended where that was."""
        into: dict[str, str] = {}
        found: dict[tuple[str, str], list[LogRow]] = {}
        for row in sorted(rows, key=lambda row: row.step):
            if row.series not in into:
                into[row.series] = self.place.run or self.logger.run_for(row.series, ledger.latest(row.series))
            found.setdefault((row.series, ledger.begun(row) or into[row.series]), []).append(row)
        return found
