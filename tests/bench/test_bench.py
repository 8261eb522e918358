"""The benchmark asks both sides the same, and notices when their answers differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchbench.core.types import GenerateRequest, LoglikelihoodRequest
from tests.bench.__main__ import arguments, line
from tests.bench.job import Answer
from tests.bench.pair import Found, agree, compare
from tests.bench.rows import ROWS, Row, render, requests_of
from tests.models import tiny_llama

CHOICE = Row("choice", "Demo choices, 2-shot", ("demo_choice_cs", "demo_choice_fr"), 2, 1.0, docs=6, pilot=2)
TEXT = Row("text", "Demo trivia, 2-shot", ("demo_trivia",), 2, 1.0, docs=4, pilot=2)


def nothing_found() -> Found:
    return Found(
        "row", "work", 1, 1, 1.0, 8, {}, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1, 1,
        None, None, {},
    )  # fmt: skip


def answers_of(row: Row) -> list[Answer]:
    """An answer for every request of the row, of the right kind."""
    requests = [request for task in requests_of(render(row, None, None)) for request in task]
    return ["text" if isinstance(r, GenerateRequest) else (-1.0 - n / 7, False) for n, r in enumerate(requests)]


def test_equal_answers_are_no_problem() -> None:
    for row in (CHOICE, TEXT):
        found = nothing_found()
        agree(found, render(row, None, None), answers_of(row), answers_of(row))
        assert found.problems == []
        assert found.metrics


@pytest.mark.parametrize(
    ("row", "changed", "problem"),
    [
        (CHOICE, (-1.0 - 1 / 7 - 0.002, False), "1 log-likelihoods differ by up to 0.002"),
        (CHOICE, (float("nan"), False), "log-likelihoods differ"),
        (CHOICE, None, "1 requests failed"),
        (TEXT, "another text", "1 of 4 generations differ"),
        (TEXT, None, "1 requests failed"),
    ],
)
def test_a_single_different_answer_is_named(row: Row, changed: Answer, problem: str) -> None:
    found = nothing_found()
    ours = answers_of(row)
    ours[1] = changed
    agree(found, render(row, None, None), ours, answers_of(row))
    assert any(problem in text for text in found.problems), found.problems
    assert problem in line(found)


def test_prompts_that_do_not_fit_are_cut_as_lm_eval_cuts_them() -> None:
    (task,) = requests_of(render(replace(CHOICE, tasks=("demo_choice_cs",)), None, None))
    assert {(type(r), r.prompt.overflow) for r in task} == {(LoglikelihoodRequest, "truncate_left")}


def test_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--model", "m", "--rows", "hellaswag"])
    assert "hellaswag-0" in capsys.readouterr().err


def test_every_row_renders(data_root: Path) -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) > 3
    for row in ROWS:
        prepared = render(row, data_root, 2)
        assert [task.num_fewshot for task in prepared] == [row.num_fewshot] * len(row.tasks)
        assert all(requests_of(prepared))


@pytest.mark.slow
@pytest.mark.parametrize("row", [CHOICE, TEXT], ids=lambda row: row.name)
def test_both_sides_answer_a_tiny_model_alike(row: Row, tmp_path: Path) -> None:
    model = tiny_llama(tmp_path, bos=False, max_length=2048)
    found = compare(row, str(model), None, None, repeats=1)
    assert found.problems == []
    assert found.ratio > 0
    assert found.ours_memory > found.ours_loaded > 0


@pytest.mark.vllm
def test_both_sides_answer_a_tiny_model_alike_on_vllm(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path, bos=False, max_length=2048, head_size=32)
    found = compare(replace(CHOICE, backend="vllm"), str(model), None, None, repeats=1)
    assert found.problems == []
    assert found.ratio > 0
    assert found.tokens_computed < found.tokens_needed
    assert "(auto)" in line(found)
