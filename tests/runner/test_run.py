import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.backends.scripted import ScriptedBackend
from benchbench.core.errors import ArgumentError, BackendError, StoreError, TaskError
from benchbench.core.settings import changed
from benchbench.core.types import Completion, Failure, GenerateRequest
from benchbench.runner import events
from benchbench.runner.run import dry_run, run
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder, RunWriter
from benchbench.store.lock import LOCK_NAME
from tests.runner.toy import comparable, make_world, part_bytes, settings


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_world(tmp_path)


class Counting(ScriptedBackend):
    """Counts what it answers; may stop in the middle as if killed."""

    def __init__(self, model: str = "hash", *, stop_after: int | None = None) -> None:
        super().__init__(ModelOptions(model, backend="scripted"))
        self.answered = 0
        self.stop_after = stop_after

    def _laid_out(self, requests: Any, skip: Any) -> Iterator[Any]:
        for pair in super()._laid_out(requests, skip):
            if self.stop_after is not None and self.answered >= self.stop_after:
                raise KeyboardInterrupt
            self.answered += 1
            yield pair


def test_a_run_keeps_every_item_and_a_record_that_says_what_was_measured(world):
    result = run(settings(world))
    record = json.loads((result.path / "run.json").read_text())
    assert record == result.record.to_json()
    assert [row["task"] for row in record["rows"] if row["metric"] in ("acc", "exact_match")][:2] == [
        "toy_quiz",
        "toy_write",
    ]
    counts = record["tasks"]["toy_quiz"]["counts"]
    accuracy = next(row["value"] for row in record["rows"] if (row["task"], row["metric"]) == ("toy_quiz", "acc"))
    assert counts["n"] == counts["answered"] == 12
    assert counts["wrong"] == round(12 * (1 - accuracy)) > 0
    assert record["tasks"]["toy_write"]["counts"]["n"] == 6
    assert record["work"]["requests"] == 12 * 3 + 6
    assert record["backend"]["model_identity"]
    assert {"benchbench", "python", "torch", "transformers"} <= set(record["versions"])
    items = RunFolder(result.path).items("toy_quiz")
    assert [item.doc_id for item in items] == list(range(12))
    accuracy = next(row for row in record["rows"] if (row["task"], row["metric"]) == ("toy_quiz", "acc"))
    assert accuracy["value"] == pytest.approx(sum(item.scores["acc"] for item in items) / 12)
    assert accuracy["n"] == 12


def test_the_signature_names_everything_that_moves_the_number(world):
    row = run(settings(world, num_fewshot=2, limit=5, tasks="toy_quiz")).rows[0]
    parts = dict(part.split(":") for part in row.signature.split("|")[1:])
    assert row.signature.startswith("toy_quiz.v1|")
    assert list(parts) == ["shots", "fewshot", "seed", "prompt", "data", "ties", "n", "dtype", "benchbench"]
    assert (parts["shots"], parts["fewshot"], parts["seed"], parts["n"]) == ("2", "fixed", "1234", "5")


def test_a_group_asked_for_by_name_has_its_own_rows(world):
    rows = run(settings(world, tasks="toy")).rows
    assert all(row.is_group == (row.task == "toy") for row in rows)
    assert not any(row.is_group for row in run(settings(world, tasks="toy_quiz,toy_write")).rows)


@pytest.mark.parametrize("answers", [0, 1, 5, 17, 36, 39, 41])
def test_a_run_stopped_after_any_answer_ends_with_the_same_bytes(world, answers):
    whole = run(settings(world, output=world / "whole"))
    with pytest.raises(KeyboardInterrupt):
        run(settings(world), backend=Counting(stop_after=answers))
    second = Counting()
    resumed = run(settings(world), backend=second)
    assert resumed.resumed
    assert second.answered <= 42 - max(0, answers - 10)  # what was kept is not asked again, but for docs in pieces
    assert part_bytes(resumed.path) == part_bytes(whole.path)
    assert comparable(resumed.record) == comparable(whole.record)


def test_a_kill_between_the_last_item_and_the_record_asks_nothing_again(world, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run(settings(world))
    backend = Counting()
    resumed = run(settings(world), backend=backend)
    assert backend.answered == 0
    assert comparable(resumed.record) == comparable(run(settings(world, output=world / "whole")).record)


def test_a_finished_run_is_shown_from_disk(world):
    first = run(settings(world))
    backend = Counting()
    again = run(settings(world), backend=backend)
    assert again.already_complete
    assert backend.answered == 0
    assert again.record == first.record


def test_a_kill_after_the_record_leaves_no_lock_once_the_command_was_given_again(world):
    first = run(settings(world))
    (first.path / LOCK_NAME).write_text("{}")
    assert run(settings(world)).already_complete
    assert not (first.path / LOCK_NAME).exists()


def test_fresh_starts_anew_and_the_newest_attempt_is_gone_on_with(world):
    first = run(settings(world))
    backend = Counting(stop_after=20)
    with pytest.raises(KeyboardInterrupt):
        run(settings(world, fresh=True), backend=backend)
    again = Counting()
    resumed = run(settings(world), backend=again)
    assert resumed.path.name == f"{first.path.name}-2"
    assert resumed.record.attempt == 2
    assert backend.answered + again.answered >= 42  # nothing was taken from the first attempt
    assert part_bytes(resumed.path) == part_bytes(first.path)


def table(path: Path, loglikelihood: float) -> str:
    path.write_text(json.dumps({"continuation": " 2", "loglikelihood": loglikelihood}) + "\n")
    return str(path)


def test_the_same_weights_under_another_path_and_limit_are_reused(world):
    run(settings(world, "hash", limit=4))
    backend = Counting("hash,delay=0")
    result = run(settings(world, "hash,delay=0"), backend=backend)
    assert result.path.parent.name != "hash"
    assert result.record.provenance.reused == 4 + 4
    assert backend.answered == 42 - 4 * 3 - 4
    whole = run(settings(world, "hash,delay=0", output=world / "whole"))
    for task in ("toy_quiz", "toy_write"):
        taken, alone = (RunFolder(path).items(task) for path in (result.path, whole.path))
        assert [item.item_key for item in taken] == [item.item_key for item in alone]
        for one, other in zip(taken, alone, strict=True):  # batches differ with --limit: equal but for rounding
            assert one.loglikelihoods == pytest.approx(other.loglikelihoods, abs=1e-8)
            assert one.scores == pytest.approx(other.scores, abs=1e-7)


def test_reused_items_are_counted_also_after_a_kill(world):
    run(settings(world, limit=4))
    with pytest.raises(KeyboardInterrupt):
        run(settings(world), backend=Counting(stop_after=10))
    assert run(settings(world)).record.provenance.reused == 8


def test_a_fresh_run_reuses_nothing(world):
    run(settings(world, limit=4))
    assert run(settings(world, fresh=True)).record.provenance.reused == 0


def test_other_weights_under_the_same_path_are_never_reused(world):
    path = world / "model.jsonl"
    first = run(settings(world, table(path, -1.0), max_failed=1))
    second = run(settings(world, table(path, -2.0), max_failed=1))
    assert first.path.parent == second.path.parent
    assert first.path != second.path
    assert second.record.provenance.reused == 0


def test_the_same_weights_under_another_name_go_to_their_own_folder(world):
    first = run(settings(world, table(world / "a.jsonl", -1.0), max_failed=1))
    second = run(settings(world, table(world / "b.jsonl", -1.0), max_failed=1))
    assert first.path.name == second.path.name
    assert first.path.parent != second.path.parent


def test_two_runs_at_once_are_refused_with_the_holder_named(world):
    class Meddling(ScriptedBackend):
        def close(self) -> None: ...

        def request_keys(self, docs: Any) -> list[str]:
            with pytest.raises(StoreError, match="being written by process"):
                run(settings(world), backend=ScriptedBackend(ModelOptions("hash")))
            return super().request_keys(docs)

    assert run(settings(world), backend=Meddling(ModelOptions("hash"))).rows


def test_failed_items_are_counted_apart_and_asked_again_only_on_resume(world):
    result = run(settings(world, "hash,fail=0.2"))
    counts = [task.counts for task in result.record.tasks.values()]
    failed = sum(count.failed for count in counts)
    assert 0 < failed < 18
    assert result.failed_share == failed / 18
    items = [item for task in ("toy_quiz", "toy_write") for item in RunFolder(result.path).items(task)]
    kinds = {item.failure for item in items if item.outcome == "failed"}
    assert kinds == {"scripted: this request was chosen to fail"}
    accuracy = next(row for row in result.rows if (row.task, row.metric) == ("toy_quiz", "acc"))
    assert accuracy.n == 12 - result.record.tasks["toy_quiz"].counts.failed


def test_a_failed_item_is_asked_again_by_the_next_session(world):
    with pytest.raises(KeyboardInterrupt):
        run(settings(world), backend=Failing(stop_after=20))
    result = run(settings(world))
    assert result.failed_share == 0
    assert part_bytes(result.path) == part_bytes(run(settings(world, output=world / "whole")).path)


class Failing(Counting):
    """Fails for reasons that pass, as a server does."""

    def _failure(self, request: Any) -> Failure:
        return Failure(request, "server_error", "the server answered HTTP 500")

    def _fails(self, request: Any) -> bool:
        return True


def test_a_scorer_that_raises_makes_a_failed_item(world, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("in a stranger's metric")

    monkeypatch.setattr("benchbench.scoring.score.score_doc", broken)
    result = run(settings(world, tasks="toy_quiz"))
    assert result.failed_share == 1
    assert "ZeroDivisionError" in str(RunFolder(result.path).items("toy_quiz")[0].failure)


def test_a_backend_that_leaves_docs_unanswered_is_found_out(world):
    class Lazy(ScriptedBackend):
        def _laid_out(self, requests: Any, skip: Any) -> Iterator[Any]:
            yield from list(super()._laid_out(requests, skip))[:-1]

    with pytest.raises(BackendError, match="left 1 docs of toy_quiz without an answer"):
        run(settings(world), backend=Lazy(ModelOptions("hash")))


def test_text_with_half_characters_is_stored(world):
    class Odd(ScriptedBackend):
        def _write(self, request: GenerateRequest) -> Completion:
            return Completion(request, "a\ud800b\x00", "stop", 1)

    result = run(settings(world, tasks="toy_write"), backend=Odd(ModelOptions("hash")))
    assert RunFolder(result.path).items("toy_write")[0].texts == ("a?b\x00",)


def test_a_disk_that_fills_up_is_a_sentence_and_the_run_goes_on_later(world, monkeypatch):
    import os

    real, written = os.write, []

    def filling(fd: int, data: bytes) -> int:
        written.append(len(data))
        if sum(written) > 9000:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", filling)
        with pytest.raises(StoreError, match="disk is full"):
            run(settings(world))
    path = next((world / "results").glob("*/*"))
    assert RunFolder(path).items("toy_quiz")
    whole = run(settings(world, output=world / "whole"))
    resumed = run(settings(world))
    assert resumed.path == path
    assert part_bytes(resumed.path) == part_bytes(whole.path)


def test_nothing_is_computed_where_nothing_can_be_written(world):
    (world / "results").write_text("a file")
    backend = Counting()
    with pytest.raises(StoreError, match="--results"):
        run(settings(world), backend=backend)
    assert backend.answered == 0


def test_watchers_see_each_request_once(world):
    seen: list[events.Event] = []
    run(settings(world), on_event=seen.append)
    assert sum(isinstance(event, events.Progress) for event in seen) == 42
    assert [e.task for e in seen if isinstance(e, events.TaskFinished)] == ["toy_quiz", "toy_write"]
    started = next(e for e in seen if isinstance(e, events.RunStarted))
    assert (started.tasks, started.docs, started.requests, started.resumed) == (2, 18, 42, False)


def test_a_dry_run_opens_no_model_and_writes_nothing(world):
    estimates = dry_run(settings(world, "no-such-table.jsonl"))
    assert [(e.task, e.docs, e.requests) for e in estimates] == [("toy_quiz", 12, 36), ("toy_write", 6, 6)]
    assert not (world / "results").exists()


def test_shared_blocks_are_estimated_once(world):
    (estimate,) = dry_run(settings(world, tasks="toy_quiz", num_fewshot=5))
    assert estimate.tokens_alone > 5 * estimate.tokens_shared


def test_unknown_tasks_end_before_a_model_is_opened(world):
    with pytest.raises(TaskError, match="toy_quizz"):
        run(settings(world, "no-such-table.jsonl", tasks="toy_quizz"))


@pytest.mark.parametrize("change", [{"limit": 0}, {"num_fewshot": -1}, {"max_failed": 2.0}])
def test_settings_that_make_no_sense_are_sentences(change):
    with pytest.raises(ArgumentError, match=r"must be|share from"):
        changed(RunSettings(ModelOptions("m")), **change)


def test_what_the_backend_has_to_say_is_shown_and_recorded(world):
    seen: list[events.Event] = []
    backend = Counting()
    backend.notes = ("The packed plan disagreed; scoring the plain way.",)
    result = run(settings(world), backend=backend, on_event=seen.append)
    assert result.record.provenance.notes == backend.notes
    assert seen.count(events.Note(backend.notes[0])) == 1
