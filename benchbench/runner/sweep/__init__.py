"""Every checkpoint of a training run, scored as it appears: find, wait until whole, run, remember, draw.

Here: the local engine. One process, one model in memory, checkpoint after checkpoint, as they become ready; or many
workers, see `many`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchbench.backends.models.adapter import holds_adapter, needs_base, read_adapter
from benchbench.backends.models.identity import tokenizer_identity
from benchbench.backends.models.layouts import tokenizer_hint
from benchbench.core.errors import (
    ArgumentError,
    BackendError,
    DamageError,
    ModelError,
    RunInUse,
    StoreError,
    VersionError,
)
from benchbench.runner.checkpoint import Checkpoint, Look, Readiness
from benchbench.runner.events import ignore
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep.find import find_all
from benchbench.runner.sweep.folder import SweepWriter, Unit
from benchbench.runner.sweep.many import Many, patiently
from benchbench.runner.sweep.session import (
    CheckpointSkipped,
    OnSweepEvent,
    SweepSession,
    SweepStarted,
    Waiting,
    other_tokenizer,
    run_unit,
)
from benchbench.store.find import Done
from benchbench.store.names import find_home, find_location, real_path
from benchbench.store.reuse import refuse_other_training


def refuse_taken_name(settings: SweepSettings, checkpoints: Iterable[Checkpoint]) -> None:
    """ArgumentError where --name stands for another training in the results folder. A sweep that began may go on."""
    if settings.name is None or (SweepWriter.of(settings).path / "sweep.json").is_file():
        return
    own = {find_home(checkpoint.location, checkpoint.revision) for checkpoint in checkpoints}
    homes = own | {real_path(find_location(model)) for model in settings.models}
    refuse_other_training(settings.run.output, settings.name, homes)


def refuse_no_base(settings: SweepSettings, checkpoints: Iterable[Checkpoint]) -> None:
    """ArgumentError where the checkpoints are adapters, and nothing says on which model they stand."""
    if settings.run.model.base is not None:
        return
    for checkpoint in checkpoints:
        folder = Path(checkpoint.location)
        if checkpoint.revision is None and holds_adapter(folder):
            raise needs_base(folder, _base_named_in(folder))


def _base_named_in(adapter: Path) -> str | None:
    try:
        return read_adapter(adapter).base
    except ModelError:
        return None


def units_of(settings: SweepSettings, checkpoints: Iterable[Checkpoint]) -> list[Unit]:
    """All units, in the order in which they are wanted."""
    ordered = sorted(checkpoints, key=lambda c: c.position, reverse=settings.order == "newest")
    series = list(dict.fromkeys(checkpoint.series for checkpoint in checkpoints))
    groups = range(len(settings.task_groups))
    return [Unit(c, g) for name in series for c in ordered if c.series == name for g in groups]


def is_done(folder: SweepWriter, unit: Unit, session: SweepSession, readiness: Readiness) -> bool:
    """Its done.json is there, files and tasks are those of then, and its run needs nothing that it has not got here."""
    done = folder.done(unit)
    if done is None or done.asked != session.asked(unit.group):
        return False
    return done.stamp == readiness.look(unit.checkpoint).stamp and not session.is_wanting(folder, unit, done)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep has when it ends."""

    folder: SweepWriter
    done: tuple[Done, ...]
    skipped: tuple[tuple[Checkpoint, str], ...]
    """Checkpoints without results, and why."""
    failed: tuple[tuple[Checkpoint, str], ...] = ()
    """Those of them that were tried."""
    left_out: tuple[str, ...] = ()
    """Tasks of the default suite whose data the data root lacks."""


def sweep(
    settings: SweepSettings,
    *,
    on_event: OnSweepEvent = ignore,
    keep_watching: Callable[[], bool] = lambda: True,
    readiness: Readiness | None = None,
) -> SweepResult:
    """Scores every checkpoint that has no results yet; with `watch`, also those that come later.

    `keep_watching` is asked when nothing is ready; False ends the sweep after a last look. The same settings find the
    same sweep again: what is done stays done, and a unit that was broken off goes on at the item where it was.
    Raises ArgumentError where there are no checkpoints, two with one step or two tokenizers in a series; StoreError
    where the results folder cannot be written.
    """
    left_out: dict[str, CheckpointSkipped] = {}

    def note(checkpoint: Checkpoint, why: str) -> None:
        left_out.setdefault(checkpoint.target, CheckpointSkipped(checkpoint, why))

    session = SweepSession(settings, on_event)
    looks, scored = readiness or Readiness(), _scored(settings)
    first = find_all(settings, scored=scored, on_left_out=note)
    refuse_taken_name(settings, first)
    refuse_no_base(settings, first)
    refuse_other_tokenizers(settings, first, looks)
    for group in range(len(settings.task_groups)):
        session.plan(group)
    folder = SweepWriter.create(settings)
    local = _Local(settings, folder, session, on_event, looks, left_out=left_out)
    units = units_of(settings, first)
    on_event(SweepStarted(folder.path, len(first), len(units), sum(local.is_done(unit) for unit in units)))
    for event in left_out.values():
        on_event(event)
    session.logs.add(folder.run_of(done) for done in folder.all_done())
    try:
        if settings.run.model.on_workers:
            local.many = Many.start(folder, session, on_event)
        local.work(first, keep_watching)
    finally:
        local.close()
    session.logs.finish()
    failed = tuple(local.skipped[target] for target in local.failed if target in local.skipped)
    lacking = tuple(name for group in range(len(settings.task_groups)) for name in session.plan(group).left_out)
    return SweepResult(folder, tuple(folder.all_done()), tuple(local.skipped.values()), failed, lacking)


def _scored(settings: SweepSettings) -> frozenset[str]:
    """Targets that this sweep has results of."""
    folder = SweepWriter.of(settings)
    return frozenset(done.target for done in folder.all_done()) if folder.path.is_dir() else frozenset()


@dataclass(slots=True)
class _Local:
    """The loop and what it remembers."""

    settings: SweepSettings
    folder: SweepWriter
    session: SweepSession
    on_event: OnSweepEvent
    readiness: Readiness
    skipped: dict[str, tuple[Checkpoint, str]] = field(default_factory=dict)
    """Target → checkpoint that is skipped, and why."""
    failed: set[str] = field(default_factory=set)
    """Targets that were tried in vain."""
    left_out: dict[str, CheckpointSkipped] = field(default_factory=dict)
    """Target → why another checkpoint of its step is scored instead."""
    many: Many | None = None
    """The workers, where there are some."""
    _given_up: dict[str, str] = field(default_factory=dict)
    """Unit → stamp of the files with which it failed."""

    def is_done(self, unit: Unit) -> bool:
        return is_done(self.folder, unit, self.session, self.readiness)

    def work(self, checkpoints: list[Checkpoint], keep_watching: Callable[[], bool]) -> None:
        last_look = False
        while True:
            waiting = [unit for unit in units_of(self.settings, checkpoints) if not self.is_done(unit)]
            looks = {unit.id: self.readiness.look(unit.checkpoint) for unit in waiting}
            self._report_broken(waiting, looks)
            ready = [unit for unit in waiting if self._is_ready(unit, looks[unit.id])]
            chosen, is_busy = self._next(ready, looks)
            if chosen is not None:
                self._do(chosen, looks[chosen.id].stamp)
            elif is_busy:
                pass
            elif any(look.state == "settling" for look in looks.values()):
                time.sleep(min(0.2, self.readiness.settle))
            elif not self.settings.watch or last_look or self._reached_end(checkpoints, waiting):
                break
            elif not keep_watching():
                last_look = True
            else:
                self._wait()
            if self.settings.watch:
                checkpoints = self._look_again(checkpoints)
        for unit in waiting:
            if looks[unit.id].state == "incomplete":
                self._skip(unit, looks[unit.id].why)

    def _next(self, ready: list[Unit], looks: dict[str, Look]) -> tuple[Unit | None, bool]:
        """The unit to do next; else whether workers are at some."""
        return (next(iter(ready), None), False) if self.many is None else self.many.next(ready, looks)

    def close(self) -> None:
        """Gives the model's memory back."""
        self.session.close()
        if self.many is not None:
            self.many.close()

    def _is_ready(self, unit: Unit, look: Look) -> bool:
        return look.state == "ready" and self._given_up.get(unit.id) != look.stamp

    def _do(self, unit: Unit, stamp: str) -> None:
        """Runs the unit. A checkpoint that cannot be used is skipped until its files change."""
        try:
            (run_unit if self.many is None else patiently)(self.folder, unit, stamp, self.session)
        except (ModelError, BackendError, RunInUse, DamageError, VersionError) as error:
            self._given_up[unit.id] = stamp
            self.failed.add(unit.checkpoint.target)
            self._skip(unit, f"{error}{_tokenizer_hint(error, unit.checkpoint)}")
        else:
            self.skipped.pop(unit.checkpoint.target, None)

    def _report_broken(self, waiting: Iterable[Unit], looks: dict[str, Look]) -> None:
        for unit in waiting:
            look = looks[unit.id]
            if look.state == "broken" and self._given_up.get(unit.id) != look.stamp:
                self._given_up[unit.id] = look.stamp
                self._skip(unit, look.why)

    def _skip(self, unit: Unit, why: str) -> None:
        self.skipped[unit.checkpoint.target] = (unit.checkpoint, why)
        self.folder.note(unit, "passed over", why)
        self.on_event(CheckpointSkipped(unit.checkpoint, why))

    def _reached_end(self, checkpoints: Iterable[Checkpoint], waiting: Iterable[Unit]) -> bool:
        """Every series has come to `until`, and nothing up to there is still being written."""
        until = self.settings.until
        if until is None:
            return False
        reached = {checkpoint.base for checkpoint in checkpoints if checkpoint.position >= until}
        open_units = [u for u in waiting if u.checkpoint.position <= until and u.id not in self._given_up]
        return len(reached) == len(self.settings.models) and not open_units

    def _wait(self) -> None:
        self.session.logs.retry()
        done = self.folder.all_done()
        self.on_event(
            Waiting(self.settings.poll, max((one.step for one in done if one.step is not None), default=None))
        )
        time.sleep(self.settings.poll)

    def _look_again(self, before: list[Checkpoint]) -> list[Checkpoint]:
        """The checkpoints that are there now. A folder or list that cannot be read now does not end the watch."""
        scored = frozenset(done.target for done in self.folder.all_done()) | {one.target for one in before}
        try:
            return find_all(self.settings, lenient=True, scored=scored, on_left_out=self._leave_out)
        except (ArgumentError, ModelError, StoreError, OSError):
            return before

    def _leave_out(self, checkpoint: Checkpoint, why: str) -> None:
        if checkpoint.target not in self.left_out:
            self.left_out[checkpoint.target] = CheckpointSkipped(checkpoint, why)
            self.on_event(self.left_out[checkpoint.target])


def _tokenizer_hint(error: Exception, checkpoint: Checkpoint) -> str:
    return tokenizer_hint(Path(checkpoint.location)) if "tokenizer" in str(error) else ""


def refuse_other_tokenizers(settings: SweepSettings, checkpoints: Iterable[Checkpoint], readiness: Readiness) -> None:
    """Compares the tokenizer files of local checkpoints before anything is computed. ArgumentError if two differ.

    Those that may still be written, or cannot be read, are left to the moment at which they are scored.
    """
    if settings.run.model.tokenizer is not None:
        return
    known: dict[str, tuple[str, Checkpoint]] = {}
    for checkpoint in checkpoints:
        folder = Path(checkpoint.location)
        if not (folder / "tokenizer.json").is_file() or readiness.look(checkpoint).state != "ready":
            continue
        try:
            identity = tokenizer_identity(folder)
        except ModelError:
            continue
        first, other = known.setdefault(checkpoint.series, (identity, checkpoint))
        if first != identity:
            raise other_tokenizer(checkpoint.target, other.target)
