"""A doc's responses become its item: failures keep their reason, and a task's own mistake is nobody's wrong answer."""

from __future__ import annotations

import pytest

from benchbench.core.errors import TaskError
from benchbench.core.types import (
    Doc,
    Failure,
    Loglikelihood,
    LoglikelihoodRequest,
    MetricSpec,
    Prompt,
    RenderedDoc,
    ScoringSpec,
)
from benchbench.runner.evaluate import score_item
from benchbench.scoring.score import StandardScoring

SPEC = ScoringSpec("toy", "multiple_choice", (MetricSpec("acc"),))
ASKED = tuple(LoglikelihoodRequest("toy", 0, i, Prompt("", (), "q"), f" {c}") for i, c in enumerate("ab"))
DOC = RenderedDoc("toy", Doc(0, {}, "h"), ASKED, choices=("a", "b"), gold=(1,))
SAID = [Loglikelihood(ASKED[0], -1.0, False, 1), Loglikelihood(ASKED[1], -2.0, False, 1)]


def test_a_failed_response_fails_the_item_and_names_the_reason() -> None:
    item = score_item(StandardScoring(SPEC), DOC, [SAID[0], Failure(ASKED[1], "nan_logits", "not a number")], "key")
    assert item.outcome == "failed"
    assert item.failure == "nan_logits: not a number"
    assert set(item.scores.values()) == {None}
    assert {"acc", "acc_norm", "bpb_gold"} <= set(item.scores)


def test_a_scorer_that_raises_fails_the_item_with_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no words")

    monkeypatch.setattr("benchbench.scoring.score.score_doc", broken)
    item = score_item(StandardScoring(SPEC), DOC, SAID, "key")
    assert item.outcome == "failed"
    assert "no words" in str(item.failure)
    assert {"acc", "acc_norm", "bpb_gold"} <= set(item.scores)


def test_an_error_of_the_task_itself_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_task(*_: object) -> None:
        raise TaskError("toy.yaml: a pattern that is no pattern")

    monkeypatch.setattr("benchbench.scoring.score.score_doc", wrong_task)
    with pytest.raises(TaskError, match="no pattern"):
        score_item(StandardScoring(SPEC), DOC, SAID, "key")
