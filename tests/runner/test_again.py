"""What the same command does with a run that is finished, but damaged, or has docs that failed."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.backends.scripted import ScriptedBackend
from benchbench.core.errors import VersionError
from benchbench.core.types import PASSING_FAILURES, Failure
from benchbench.runner import events
from benchbench.runner.run import run, settings_of
from benchbench.store.damage import damage_of_run
from benchbench.store.files import copy_of
from benchbench.store.folder import LIVE, PART, RunFolder
from tests.runner.toy import comparable, make_world, part_bytes, settings


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_world(tmp_path)


class Sick(ScriptedBackend):
    """Answers all but some docs, and remembers which it was asked."""

    def __init__(self, fails: Collection[int] = (), kind: str = "server_error") -> None:
        super().__init__(ModelOptions("hash", backend="scripted"))
        self.fails, self.kind = fails, kind
        self.asked: set[tuple[str, int]] = set()

    def _fails(self, request: Any) -> bool:
        self.asked.add((request.task, request.doc_id))
        return request.doc_id in self.fails

    def _failure(self, request: Any) -> Failure:
        return Failure(request, self.kind, "as the test says")


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_these_failures_may_be_gone_the_next_time():
    server = {"rate_limited", "server_error", "timeout", "unreachable", "connection", "bad_answer"}
    assert server | {"out_of_memory"} <= PASSING_FAILURES
    assert not PASSING_FAILURES & {"context_too_long", "unsupported", "nan_logits", "refused", "scoring_error"}


@pytest.mark.parametrize("kind", ["rate_limited"])
def test_docs_that_failed_for_now_are_asked_again_and_no_others(world, kind):
    first, notes = run(settings(world), backend=Sick({1, 4}, kind)), []
    assert first.failed_share == 4 / 18
    well = Sick()
    second = run(settings(world), backend=well, on_event=notes.append)
    assert well.asked == {(task, doc) for task in ("toy_quiz", "toy_write") for doc in (1, 4)}
    assert (second.failed_share, second.path) == (0, first.path)
    assert events.Note("2 docs of toy_quiz that failed are asked again.") in notes
    whole = run(settings(world, output=world / "whole"))
    assert part_bytes(second.path) == part_bytes(whole.path)
    assert comparable(second.record) == comparable(whole.record)
    assert not list(damage_of_run(RunFolder(second.path)))
    assert run(settings(world), backend=well).already_complete


@pytest.mark.parametrize("kind", ["context_too_long"])
def test_docs_that_failed_for_good_are_asked_again_only_if_all_are_to_be(world, kind):
    run(settings(world), backend=Sick({1, 4}, kind))
    well = Sick()
    assert run(settings(world), backend=well).already_complete
    assert not well.asked
    again = run(settings(world, retry_failed=True), backend=well)
    assert (again.failed_share, len(well.asked)) == (0, 4)


def test_of_docs_that_failed_for_now_and_for_good_only_the_first_are_asked(world):
    class Both(Sick):
        def _failure(self, request: Any) -> Failure:
            kind = "timeout" if request.doc_id == 1 else "context_too_long"
            return Failure(request, kind, "as the test says")

    run(settings(world, tasks="toy_write"), backend=Both({1, 4}))
    well = Sick()
    again = run(settings(world, tasks="toy_write"), backend=well)
    assert (well.asked, again.failed_share) == ({("toy_write", 1)}, 1 / 6)


def test_a_retry_that_is_killed_goes_on(world):
    class Killed(Sick):
        def _failure(self, request: Any) -> Failure:
            raise KeyboardInterrupt

    run(settings(world), backend=Sick({1, 4}))
    with pytest.raises(KeyboardInterrupt):
        run(settings(world), backend=Killed({4}))
    well = Sick()
    assert run(settings(world), backend=well).failed_share == 0
    assert ("toy_quiz", 2) not in well.asked


TORN = [b"", b"{", b"{}", b"[]", b"[" * 100_000, b'{"schema_version": 1}', b"\0" * 99]


@pytest.mark.parametrize("has_copy", [True, False])
def test_a_damaged_record_is_made_again_from_what_lies_there(world, has_copy):
    first = run(settings(world, tasks="toy_write"))
    before, record = files(first.path), first.path / "run.json"
    for content in TORN if has_copy else TORN[:2]:
        record.write_bytes(content)
        if not has_copy:
            copy_of(record).unlink()
        well = Sick()
        again = run(settings(world, tasks="toy_write"), backend=well)
        assert not well.asked
        assert comparable(again.record) == comparable(first.record)
        assert not list(damage_of_run(RunFolder(first.path)))
        assert files(first.path).keys() == before.keys()
    assert (files(first.path) == before) == has_copy


def test_a_damaged_or_missing_part_is_asked_again_and_nothing_else(world):
    first = run(settings(world))
    before, part = files(first.path), first.path / "items/toy_write" / PART
    for damaged in (before[part][:-9] + b"x" + before[part][-8:], b"", None):
        part.unlink() if damaged is None else part.write_bytes(damaged)
        assert {one.path for one in damage_of_run(RunFolder(first.path))} == {part}
        well = Sick()
        again = run(settings(world), backend=well)
        assert {task for task, _ in well.asked} == {"toy_write"}
        assert again.record == first.record
        assert files(first.path) == before


def test_a_changed_digit_in_a_line_is_not_taken_but_asked_again(world):
    class Killed(Sick):
        def _fails(self, request: Any) -> bool:
            if len(self.asked) > 8:
                raise KeyboardInterrupt
            return super()._fails(request)

    with pytest.raises(KeyboardInterrupt):
        run(settings(world), backend=Killed())
    [live] = (world / "results").glob(f"*/*/items/*/{LIVE}")
    lines = live.read_bytes().splitlines(keepends=True)
    changed = json.loads(lines[0])["doc_id"]
    live.write_bytes(b"".join([lines[0].replace(b'"loglikelihoods":[-', b'"loglikelihoods":[-1'), *lines[1:]]))
    well = Sick()
    again = run(settings(world), backend=well)
    assert ("toy_quiz", changed) in well.asked
    assert part_bytes(again.path) == part_bytes(run(settings(world, output=world / "whole")).path)


def test_a_run_of_a_later_version_is_left_alone(world):
    path = run(settings(world)).path / "run.json"
    later = path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 99')
    path.write_bytes(b"".join(line for line in later.splitlines(keepends=True) if b"checksum" not in line))
    text = path.read_text().replace("},\n  }", "}\n  }")
    while True:  # the comma before the line that is gone
        try:
            json.loads(text)
            break
        except json.JSONDecodeError as error:
            comma = text.rindex(",", 0, error.pos)
            text = text[:comma] + text[comma + 1 :]
    path.write_text(text)
    with pytest.raises(VersionError, match=r"schema version 99 of .*run.json; this benchbench reads version 1"):
        run(settings(world))
    assert path.read_text() == text


def test_a_plan_says_enough_to_give_its_settings_back(world):
    asked = settings(world, limit=3, gen_kwargs=(("max_gen_toks", 4),), max_failed=0.5)
    plan = RunFolder(run(asked).path).plan()
    assert settings_of(plan, asked.output) == asked
