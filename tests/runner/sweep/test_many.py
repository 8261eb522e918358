"""A sweep on many workers: who does which checkpoint, and that it makes no difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.backends.pool.alone import Alone, Laid
from benchbench.backends.pool.pool import Pool
from benchbench.backends.pool.worker import Worker
from benchbench.backends.protocol import Backend
from benchbench.backends.workers import Returned
from benchbench.core.errors import BackendError, BenchbenchError, ModelError
from benchbench.core.plugins import load_place
from benchbench.core.types import Request
from benchbench.runner.events import Note
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep import SweepResult, many, sweep
from benchbench.runner.sweep.many import kept_for_splitting
from benchbench.runner.sweep.session import CheckpointFinished, CheckpointSkipped
from tests.runner.sweep.series import base, impatient, on_list, results, scripted_list
from tests.runner.toy import make_world


class HereHost(Worker):
    """A worker that is a part of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: object = None
        self.swaps = 0

    def fetch(self, chunk: Laid) -> tuple[Request, ...]:
        return chunk.requests

    def one_backend(self, options: ModelOptions) -> Backend:
        self.open(options, None)
        return Pool(Alone(self), keep_tokens=options.keep_tokens)


class HereWorkers:
    """Workers that work when they are waited for. `breaks(worker, place of the call)`: what goes wrong there."""

    def __init__(self, count: int, breaks: Callable[[int, int], BenchbenchError | None] = lambda worker, n: None):
        self.hosts = {number: HereHost() for number in range(count)}
        self.notes: list[str] = []
        self.lent: list[tuple[int, str]] = []
        """Worker and checkpoint."""
        self.opened: list[str] = []
        self.closed = False
        self._breaks = breaks
        self._away: dict[int, tuple[str, tuple[Any, ...]]] = {}
        self._back: list[Returned] = []

    @property
    def count(self) -> int:
        return len(self.hosts)

    def open(self, options: ModelOptions) -> Backend:
        self.opened.append(options.model)
        if len(self._away) == self.count:
            self._back.append(self._work())
        free = next(number for number in self.hosts if number not in self._away)
        self.hosts[free].swaps += 1
        return self.hosts[free].one_backend(options)

    def lend(self, place: str, *arguments: object) -> int | None:
        free = next((number for number in self.hosts if number not in self._away), None)
        if free is not None:
            self._away[free] = (place, arguments)
            self.lent.append((free, arguments[2].checkpoint.location))  # type: ignore[attr-defined]
        return free

    def returned(self, seconds: float) -> Sequence[Returned]:
        found, self._back = self._back, []
        return [*found, *([self._work()] if seconds and self._away and not found else [])]

    def _work(self) -> Returned:
        number = next(iter(self._away))
        place, arguments = self._away.pop(number)
        error = self._breaks(number, len(self.lent))
        if error is not None:
            return Returned(number, None, error)
        function: Any = load_place(place)
        try:
            return Returned(number, function(self.hosts[number], *arguments))
        except BenchbenchError as raised:
            return Returned(number, None, raised)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), quiz=12, write=6)


def swept(
    world: Path, folder: Path, count: int, monkeypatch: pytest.MonkeyPatch, workers: HereWorkers, **changes: Any
) -> tuple[SweepResult, list[Any]]:
    """A sweep of `count` scripted checkpoints on these workers, and what it told."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(many, "open_workers", lambda options, needs: workers)
    told: list[Any] = []
    settings = on_workers(on_list(world, scripted_list(folder, count), folder / "results", **changes))
    return sweep(settings, on_event=told.append, readiness=impatient()), told


def on_workers(settings: SweepSettings) -> SweepSettings:
    return replace(settings, run=replace(settings.run, model=replace(settings.run.model, workers="3")))


def test_whole_checkpoints_are_dealt_out_and_what_rounds_leave_over_is_split(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = HereWorkers(3)
    result, told = swept(world, tmp_path / "many", 8, monkeypatch, workers)
    local = sweep(on_list(world, scripted_list(tmp_path, 8), tmp_path / "local"), readiness=impatient())
    assert results(result.folder) == results(local.folder)
    assert len(workers.lent) == 6
    assert {worker for worker, _ in workers.lent} == {0, 1, 2}
    assert len(workers.opened) == 1, "the second of those that are split has its weights swapped in"
    finished = [event.checkpoint.step for event in told if isinstance(event, CheckpointFinished)]
    assert sorted(finished) == [10, 20, 30, 40, 50, 60, 70, 80]
    assert workers.closed


def test_one_is_kept_for_those_that_are_free_first(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = HereWorkers(3)
    result, _ = swept(world, tmp_path, 6, monkeypatch, workers)
    assert len(result.done) == 6
    assert len(workers.lent) == 5
    assert [kept_for_splitting(units, 8) for units in (0, 1, 7, 8, 9, 16)] == [0, 1, 7, 1, 1, 1]


def test_a_checkpoint_whose_worker_dies_is_split_and_those_that_are_done_stay_done(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = HereWorkers(2, lambda worker, n: BackendError("its worker died: killed.") if n == 2 else None)
    result, told = swept(world, tmp_path, 4, monkeypatch, workers)
    assert len(result.done) == 4
    assert result.skipped == ()
    assert any(
        isinstance(event, Note) and "tried again on all workers: its worker died" in event.text for event in told
    )


def test_a_checkpoint_that_none_can_open_is_skipped_and_the_others_are_scored(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "nothing-like-this"
    listed = scripted_list(tmp_path, 4)
    listed.write_text(listed.read_text().replace("hash,salt=2", broken))
    monkeypatch.setattr(many, "open_workers", lambda options, needs: HereWorkers(2))
    told: list[Any] = []
    result = sweep(
        on_workers(on_list(world, listed, tmp_path / "results")), on_event=told.append, readiness=impatient()
    )
    assert [done.step for done in result.done] == [10, 30, 40]
    assert [event.checkpoint.step for event in told if isinstance(event, CheckpointSkipped)] == [20]


def test_a_second_command_does_only_what_is_missing(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept(world, tmp_path, 4, monkeypatch, HereWorkers(2))
    again = HereWorkers(2)
    result, told = swept(world, tmp_path, 4, monkeypatch, again)
    assert (again.lent, again.opened) == ([], [])
    assert len(result.done) == 4
    assert not any(isinstance(event, CheckpointFinished) for event in told)


def test_a_node_with_other_data_is_not_believed(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_world(tmp_path / "other", quiz=11, write=6)
    real = many._wherever
    monkeypatch.setattr(
        many,
        "_wherever",
        lambda settings, output: replace(real(settings, output), run=base(other, output, model=settings.run.model)),
    )
    result, told = swept(world, tmp_path, 4, monkeypatch, HereWorkers(2))
    assert len(result.done) == 4
    local = sweep(on_list(world, scripted_list(tmp_path, 4), tmp_path / "local"), readiness=impatient())
    assert results(result.folder) == results(local.folder)
    assert any(isinstance(event, Note) and "other task files, or other data" in event.text for event in told)


def test_two_groups_of_tasks_never_meet_the_weights_of_another_checkpoint(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = ("toy_quiz", "toy_write")
    one, _ = swept(world, tmp_path / "many", 5, monkeypatch, HereWorkers(3), task_groups=groups)
    local = sweep(
        on_list(world, scripted_list(tmp_path, 5), tmp_path / "local", task_groups=groups), readiness=impatient()
    )
    assert values(one) == values(local)
    assert len(values(one)) == 10


def values(result: SweepResult) -> set[tuple[int, int, str]]:
    output = result.folder.output
    return {
        (done.step or 0, done.group, str(min((output / done.run / "items").rglob("*.parquet")).read_bytes()))
        for done in result.done
    }


def test_a_model_error_of_a_worker_is_told_by_all(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = HereWorkers(2, lambda worker, n: ModelError("there is no such folder here.") if worker == 0 else None)
    result, told = swept(world, tmp_path, 6, monkeypatch, workers)
    assert len(result.done) == 6
    assert sum(isinstance(event, Note) and "no such folder here" in event.text for event in told) >= 1
