"""A judge's grades as a metric: columns, identity, what cannot be read, budget, kills, panels, people."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import ArgumentError, BackendError
from benchbench.core.types import Failure, GenerateRequest
from benchbench.extensions.judge.bench import BudgetSpentError
from benchbench.extensions.rescore.score import estimate_costs, score
from benchbench.extensions.rescore.stored import ScoredMetric
from benchbench.runner.events import Note
from benchbench.store.folder import RunFolder
from tests.extensions.judge.world import MindedBackend, asked, finished, judges, lines, ready, world
from tests.extensions.rescore.world import own_bytes


def by_number(prompt: str, request: GenerateRequest) -> str:
    """Grades by the question's number, 2 more in the second turn."""
    number = int(re.findall(r"Question (\d+)\?", prompt)[-1])
    return f"It will do.\n[[{1 + number % 5 + (2 if 'again?' in prompt else 0)}]]"


def rows(found: ScoredMetric) -> dict[str, float | None]:
    """Part → value, the whole under ''."""
    return {row.metric.partition(",")[2]: row.value for row in found.rows}


def test_the_grade_is_the_mean_over_turns_with_columns_for_turns_and_categories(tmp_path, monkeypatch):
    run = ready(tmp_path)
    before = own_bytes(run)
    opened = judges(monkeypatch, strict=by_number)
    (found,) = score(run, asked(tmp_path, "strict")).scored
    grades = [1 + n % 5 for n in range(12)]
    first = sum(grades) / 12
    values = rows(found)
    assert values[""] == pytest.approx(first + 1)
    assert (values["turn1"], values["turn2"]) == (pytest.approx(first), pytest.approx(first + 2))
    assert values["math"] == pytest.approx(sum(grades[::2]) / 6 + 1)
    assert found.metric.startswith("judge:strict@")
    assert found.rows[0].n == 12
    assert len(opened["strict"].asked) == 24
    assert own_bytes(run) == before
    assert run.record().rows[0].metric == found.metric, "it stands where the task lists the judge"


def test_the_judge_sees_the_conversation_and_references_where_they_are_wanted(tmp_path, monkeypatch):
    run = ready(tmp_path, docs=2)
    opened = judges(monkeypatch, strict=by_number)
    score(run, asked(tmp_path, "strict"))
    math_one, math_two, writing_one, writing_two = opened["strict"].asked
    answers = [item.texts for item in run.items("toy_chat")]
    assert f"<answer>\n{answers[0][0]}\n</answer>" in math_one
    assert answers[0][1] not in math_one
    for text in ("Question 0?", "And 0 again?", *answers[0], "Right 0.", "Right again 0."):
        assert text in math_two
    assert "Right again 0." not in math_one
    assert "<reference" not in writing_one + writing_two


def test_what_cannot_be_read_is_counted_and_never_zero(tmp_path, monkeypatch):
    def moody(prompt: str, request: GenerateRequest) -> str:
        number = int(re.findall(r"Question (\d+)\?", prompt)[-1])
        odd = {0: "I cannot judge this.", 1: "[[4]] no, [[5]]", 2: "[[99]]", 3: prompt, 4: ""}
        return odd.get(number, "[[6]]")

    run = ready(tmp_path)
    judges(monkeypatch, moody=moody)
    (found,) = score(run, asked(tmp_path, "moody")).scored
    assert (found.rows[0].value, found.rows[0].n) == (6.0, 7)
    assert "10 of 24 verdicts of moody could not be read; they count nowhere" in str(found.rows[0].note)
    (made,) = run.record().added
    assert made["counts of moody"] == {"judgements": 24, "unparsable": 10, "failed": 0}


def test_scores_of_other_judges_prompts_or_sampling_never_pair(tmp_path, monkeypatch):
    run = ready(tmp_path)
    judges(monkeypatch, one=by_number, two=by_number)
    first = score(run, asked(tmp_path, "one")).scored[0]
    again = score(run, asked(tmp_path, "one")).scored[0]
    other = score(run, asked(tmp_path, "two")).scored[0]
    warm = score(run, asked(tmp_path, "one", temperature=0.5)).scored[0]
    scale = score(run, asked(tmp_path, "one", scale="0-10")).scored[0]
    assert (again.state, other.state, warm.state) == ("kept", "added", "added")
    assert len({one.metric for one in (first, other, warm, scale)}) == 4
    assert "judge:one|weights:weights of o" in first.rows[0].signature
    kinds = [metric.kwargs for metric in run.record().tasks["toy_chat"].scoring.metrics]
    assert all(one != two for i, one in enumerate(kinds) for two in kinds[:i])


def test_a_judge_that_goes_away_loses_nothing(tmp_path, monkeypatch):
    calls = 0

    def leaving(prompt: str, request: GenerateRequest) -> str | Failure:
        nonlocal calls
        calls += 1
        return Failure(request, "unreachable", "connection refused") if calls == 18 else by_number(prompt, request)

    whole = ready(tmp_path / "a")
    judges(monkeypatch, j=by_number)
    expected = score(whole, asked(tmp_path / "a", "j")).scored[0]
    run = ready(tmp_path / "b")
    judges(monkeypatch, j=leaving)
    with pytest.raises(
        BackendError, match=r"gave no answer .unreachable: connection refused.* the same command goes on"
    ):
        score(run, asked(tmp_path / "b", "j"))
    opened = judges(monkeypatch, j=by_number)
    found = score(run, asked(tmp_path / "b", "j")).scored[0]
    assert len(opened["j"].asked) == 1, "the one that was not answered"
    assert [row.value for row in found.rows] == [row.value for row in expected.rows]
    assert [(row.ci_low, row.ci_high) for row in found.rows] == [(row.ci_low, row.ci_high) for row in expected.rows]


@pytest.mark.parametrize("dies_at", [1, 23])
def test_a_kill_in_mid_judging_changes_nothing(tmp_path, monkeypatch, dies_at):
    class Killed(BaseException):
        pass

    def dying(prompt: str, request: GenerateRequest) -> str:
        nonlocal left
        left -= 1
        if not left:
            raise Killed
        return by_number(prompt, request)

    left = dies_at
    run = ready(tmp_path)
    before = own_bytes(run)
    judges(monkeypatch, j=dying)
    with pytest.raises(Killed):
        score(run, asked(tmp_path, "j"))
    log = next((tmp_path / "results/judgements").glob("*/judgements.jsonl"))
    with log.open("ab") as file:
        file.write(b'{"key": "torn')
    opened = judges(monkeypatch, j=by_number)
    found = score(run, asked(tmp_path, "j")).scored[0]
    assert len(opened["j"].asked) == 24 - (dies_at - 1)
    assert found.rows[0].value == pytest.approx(sum(1 + n % 5 for n in range(12)) / 12 + 1)
    assert own_bytes(run) == before


def test_a_budget_stops_before_the_next_block_and_goes_on(tmp_path, monkeypatch):
    run = ready(tmp_path, docs=40)
    judges(monkeypatch, j=by_number)
    with pytest.raises(BudgetSpentError, match=r"the budget of 10 tokens is spent .*; 48 judgements are left"):
        score(run, asked(tmp_path, "j", budget=10))
    opened = judges(monkeypatch, j=by_number)
    with pytest.raises(BudgetSpentError, match="16 judgements are left"):
        score(run, asked(tmp_path, "j", budget=10))
    assert len(opened["j"].asked) == 32
    assert score(run, asked(tmp_path, "j", budget=10)).scored[0].state == "added", "the last block"


def test_a_dry_run_counts_and_opens_nothing(tmp_path, monkeypatch):
    run = ready(tmp_path)
    opened = judges(monkeypatch, j=by_number)
    ((metric, task, cost),) = estimate_costs(run, asked(tmp_path, "j", repeats=2, temperature=0.7, max_gen_toks=100))
    assert (metric, task, cost.requests, cost.most_tokens) == ("judge", "toy_chat", 48, 4800)
    assert opened == {}
    score(run, asked(tmp_path, "j", repeats=2, temperature=0.7, max_gen_toks=100))
    assert cost.prompt_tokens == pytest.approx(sum(map(len, opened["j"].asked)) / 4, rel=0.05)


def test_a_judgement_of_a_prompt_that_did_not_fit_is_none(tmp_path, monkeypatch):
    run = ready(tmp_path, docs=8)
    opened = judges(monkeypatch, short=by_number)
    cut = MindedBackend.generate

    def generate(backend: MindedBackend, requests: Any, *, skip: Any) -> Iterator[Any]:
        for one in cut(backend, requests, skip=skip):
            yield replace(one, truncated_tokens=5) if "again?" in one.request.prompt.text else one

    monkeypatch.setattr(MindedBackend, "generate", generate)
    (found,) = score(run, asked(tmp_path, "short")).scored
    values = rows(found)
    assert (values[""], values["turn2"]) == (None, None)
    assert values["turn1"] == pytest.approx(sum(1 + n % 5 for n in range(8)) / 8)
    assert "0 of 16 verdicts of short could not be read, 8 could not be made" in str(found.rows[0].note)
    assert len(opened["short"].asked) == 16


def test_the_judges_own_noise_is_told(tmp_path, monkeypatch):
    def noisy(prompt: str, request: GenerateRequest) -> str:
        return f"[[{5 + (request.doc_id % 3)}]]"

    run = ready(tmp_path)
    judges(monkeypatch, j=noisy)
    (found,) = score(run, asked(tmp_path, "j", repeats=4, temperature=1.0)).scored
    note = str(found.rows[0].note)
    assert re.search(
        r"judged 4 times, a doc's grade scatters by 0\.\d+ \(sd\), \d+% of the squared standard error", note
    )


def test_a_panel_has_its_mean_and_each_judge(tmp_path, monkeypatch):
    run = ready(tmp_path)
    judges(monkeypatch, mild=lambda p, r: "[[9]]", stern=lambda p, r: "[[4]]" if "Question 3?" not in p else "no")
    (found,) = score(run, asked(tmp_path, "mild", "stern")).scored
    values = rows(found)
    assert (values[""], values["mild"], values["stern"]) == (6.5, 9.0, 4.0)
    assert found.rows[0].n == 11, "where one of them says nothing, the panel does not either"
    assert found.metric.startswith("judge:mild+stern@")


def test_agreement_with_people_is_told(tmp_path, monkeypatch):
    run = ready(tmp_path, docs=30)
    judges(monkeypatch, j=by_number)
    labels = [{"question_id": 81 + n, "turn": 1, "score": 1 + n % 5 + (n % 7 == 0), "model": "hash"} for n in range(30)]
    path = lines(tmp_path / "labels.jsonl", *labels, {"question_id": 81, "turn": 1, "score": 1, "model": "other"})
    (found,) = score(run, asked(tmp_path, "j", labels=path)).scored
    note = str(found.rows[0].note)
    told = re.search(r"with 30 grades by people j agrees to kappa (0\.\d+) \[0\.\d+, 0\.\d+\], quadratically", note)
    assert told is not None, note
    assert 0.7 < float(told[1]) < 0.95


def test_a_judge_of_its_own_answers_is_told_and_not_refused(tmp_path):
    run = ready(tmp_path)
    notes: list[str] = []
    settings = asked(tmp_path, "scripted:hash")
    with pytest.raises(Exception, match="no value"):
        score(run, settings, on_event=lambda event: notes.append(event.text) if isinstance(event, Note) else None)
    assert "toy_chat: the judge hash is the contestant itself: it grades its own answers." in notes


FASTCHAT = {
    "name": "single-v1",
    "type": "single",
    "system_prompt": "You are fair.",
    "prompt_template": "Q: {question}\nA: {answer}",
}
MULTI = {**FASTCHAT, "name": "single-v1-multi-turn", "prompt_template": "{question_1}{answer_1}{question_2}|{answer_2}"}


def test_prompts_in_fastchats_layout_are_read_and_named(tmp_path, monkeypatch):
    run = ready(tmp_path, docs=1)
    opened = judges(monkeypatch, j=by_number)
    path = lines(tmp_path / "judge_prompts.jsonl", FASTCHAT, MULTI)
    (found,) = score(run, asked(tmp_path, "j", prompts=path)).scored
    answers = next(iter(run.items("toy_chat"))).texts
    assert opened["j"].asked[0] == f"You are fair.\n\nQ: Question 0?\nA: {answers[0]}\n\nVerdict:"
    assert f"And 0 again?|{answers[1]}" in opened["j"].asked[1]
    assert "prompts:judge_prompts.jsonl:" in found.rows[0].signature


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({**FASTCHAT, "prompt_template": "{question}"}, r"single-v1 has no \{answer\}, so the judge would not see"),
        ({**FASTCHAT, "name": "pair-v2"}, "no judge prompt named 'single-v1'"),
        ({**FASTCHAT, "system_prompt": 3}, "needs a text as `system_prompt`"),
        ({**FASTCHAT, "prompt_template": "{question}{answer}{verdict}"}, r"asks for \{verdict\}, which the docs"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(tmp_path, monkeypatch, line, message):
    run = ready(tmp_path, docs=1)
    judges(monkeypatch, j=by_number)
    path = lines(tmp_path / "judge_prompts.jsonl", line)
    with pytest.raises(ArgumentError, match=message):
        score(run, asked(tmp_path, "j", prompts=path))


def test_without_a_judge_the_run_stands_and_says_how(tmp_path):
    run = ready(tmp_path)
    (row,) = run.record().rows
    assert (row.metric, row.value) == ("judge", None)
    with pytest.raises(ArgumentError, match="no judge is named: --judge MODEL"):
        score(run, asked(tmp_path))


def test_the_judge_of_a_task_file_judges_at_the_end_of_the_run(tmp_path):
    table = lines(tmp_path / "seven.jsonl", {"text": "[[7]]"})
    listed = [{"metric": "judge", "model": f"scripted:{table}", "scale": "1-10"}]
    run = finished(world(tmp_path, metric_list=listed), trust_task_code=True)
    row = run.record().rows[0]
    assert (row.metric.partition("@")[0], row.value) == ("judge:seven.jsonl", 7.0)
    assert math.isfinite(row.ci_low or math.nan)
    assert isinstance(run, RunFolder)
    assert Path(tmp_path / "results/judgements").is_dir()


def test_a_task_file_says_neither_who_judges_nor_what_is_read_or_asked(tmp_path, monkeypatch):
    opened = judges(monkeypatch, mine=lambda *_: "[[4]]")
    places = {"model": "api:stranger@http://127.0.0.1:9/v1", "args": "base_url=http://127.0.0.1:9/v1"}
    places |= dict.fromkeys(("prompts", "references", "labels"), "/etc/passwd")
    run = finished(world(tmp_path, metric_list=[{"metric": "judge", "scale": "1-5", **places}]))
    assert run.record().rows[0].value is None, "not judged at the end of the run"
    notes = []
    with pytest.raises(ArgumentError, match="no judge is named: --judge MODEL"):
        score(run, asked(tmp_path), on_event=notes.append)
    assert (
        "what its task file says of judge is not taken: args base_url=http://127.0.0.1:9/v1, labels /etc/"
        in notes[0].text
    )
    score(run, asked(tmp_path, "mine"))
    assert opened["mine"].asked
    assert run.record().rows[0].value == 4.0, "the scale is the task's to say"


def test_unknown_options_are_refused(tmp_path):
    run = ready(tmp_path)
    with pytest.raises(ArgumentError, match=r"the metric judge has no option 'scal'.* Did you mean scale"):
        score(run, asked(tmp_path, "scripted:hash", options={"scal": "1-5"}))
    with pytest.raises(ArgumentError, match="at --judge-temperature 0 gets the same answers"):
        asked(tmp_path, "j", repeats=3)
