"""Models ranked by a judge whose preferences are known: strengths, ties, position and length bias come out again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import ArgumentError, BackendError
from benchbench.core.types import Failure, GenerateRequest
from benchbench.extensions.judge.arena import ArenaResult, ArenaSettings, estimate_arena, run_arena
from benchbench.extensions.judge.bench import BudgetSpentError
from benchbench.extensions.judge.options import JudgeOptions
from tests.extensions.judge.preferences import contestant, preferring
from tests.extensions.judge.world import finished, judges, lines, world

WORTH = {"able": 0.9, "fair": 0.0, "poor": -0.9}
DOCS = 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = world(tmp_path_factory.mktemp("arena"), docs=DOCS)
    for name in WORTH:
        finished(folder, contestant(folder, name, DOCS))
    return folder


def arena(place: Path, *names: str, judge: dict[str, Any] | None = None, **more: Any) -> ArenaResult:
    return run_arena(names or tuple(f"{one}.jsonl" for one in WORTH), settings(place, judge, **more), place / "results")


def settings(place: Path, judge: dict[str, Any] | None = None, **more: Any) -> ArenaSettings:
    options = JudgeOptions(**{"models": ("j",), **(judge or {})})
    return ArenaSettings(judge=options, data_root=place / "hub", include_paths=(place / "tasks",), **more)


def test_the_better_model_stands_above_with_what_is_known_of_the_judge(place, monkeypatch):
    opened = judges(monkeypatch, j=preferring(WORTH, seed=3))
    found = arena(place)
    assert [one.model for one in found.standings] == ["able.jsonl", "fair.jsonl", "poor.jsonl"]
    assert [one.rank for one in found.standings] == [(1, 1), (2, 2), (3, 3)]
    assert (found.matches, found.possible, found.questions) == (120, 120, DOCS)
    assert len(opened["j"].asked) == 120 * 2 * 2, "two turns, both orders"
    for one in found.standings:
        assert one.low is not None
        assert one.high is not None
        assert one.low < WORTH[one.model.removesuffix(".jsonl")] < one.high
    assert 0.2 < found.ties < 0.6, "orders that disagree"
    kept = json.loads(Path(str(found.path)).read_text())
    assert [one["model"] for one in kept["standings"]] == [one.model for one in found.standings]


def test_position_and_length_bias_are_found_and_taken_out(tmp_path, monkeypatch):
    folder = world(tmp_path, docs=60)
    for name, words in (("able", 6), ("fair", 10), ("poor", 40)):
        finished(folder, contestant(folder, name, 60, words=words))
    judges(monkeypatch, j=preferring(WORTH, first=0.8, longer=3.0, seed=5))
    found = arena(folder)
    assert found.standings[0].model == "poor.jsonl", "it writes most"
    bias = found.biases
    assert bias.position is not None
    assert bias.position.low is not None
    assert bias.position.low > 0.1
    assert bias.length is not None
    assert bias.length.low is not None
    assert bias.length.high is not None
    assert bias.length.low < 3.0 < bias.length.high
    fair = sorted(found.standings, key=lambda one: -(one.controlled or 0))
    assert [one.model for one in fair] == ["able.jsonl", "fair.jsonl", "poor.jsonl"]


def test_a_judge_without_bias_shows_none(place, monkeypatch):
    judges(monkeypatch, fair=preferring(WORTH, seed=11))
    bias = arena(place, judge={"models": ("fair",)}).biases
    assert bias.position is not None
    assert bias.position.low is not None
    assert bias.position.high is not None
    assert bias.position.low < 0 < bias.position.high


def test_one_that_always_takes_the_first_says_nothing_but_ties(place, monkeypatch):
    judges(monkeypatch, first=lambda prompt, request: "[[A]]")
    found = arena(place, judge={"models": ("first",)})
    assert found.ties == 1.0
    assert found.biases.consistent == 0.0
    assert found.biases.position is not None
    assert found.biases.position.value == 1.0
    assert found.biases.position.low is not None
    assert found.biases.position.low < 1.0, "so many comparisons do not show that it always will"
    assert {one.low for one in found.standings} == {None}
    assert {one.rank for one in found.standings} == {(1, 3)}


def test_verdicts_that_cannot_be_read_count_nowhere(place, monkeypatch):
    mind = preferring(WORTH, seed=3)

    def odd(prompt: str, request: GenerateRequest) -> str:
        return "Both are nice." if request.doc_id % 4 == 0 else mind(prompt, request)

    judges(monkeypatch, odd=odd)
    found = arena(place, judge={"models": ("odd",)})
    assert 70 < found.biases.unreadable < 140
    assert sum(one.comparisons for one in found.standings) == 2 * (240 - found.biases.unreadable)


def test_few_matches_go_where_they_decide_most(place, monkeypatch):
    opened = judges(monkeypatch, keen=preferring({"able": 3.0, "fair": 0.1, "poor": -0.1}, seed=3))
    found = arena(place, pairs=60, judge={"models": ("keen",)})
    assert found.matches == 60
    assert len(opened["keen"].asked) == 240
    close = next(one for one in found.standings if one.model == "able.jsonl")
    assert close.comparisons < 60, "its place was clear early"
    again = judges(monkeypatch, keen=preferring(WORTH, seed=99))
    assert arena(place, pairs=60, judge={"models": ("keen",)}).standings == found.standings
    assert again["keen"].asked == [], "the same matches, all kept"


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [None, 50])
def test_a_judge_that_goes_away_and_a_budget_change_nothing(tmp_path, monkeypatch, pairs):
    folder = world(tmp_path, docs=20)
    for name in WORTH:
        finished(folder, contestant(folder, name, 20))
    mind = preferring(WORTH, seed=7)
    calls = 0

    def leaving(prompt: str, request: GenerateRequest) -> str | Failure:
        nonlocal calls
        calls += 1
        return Failure(request, "timeout", "no answer in 300 s") if calls == 77 else mind(prompt, request)

    judges(monkeypatch, j=leaving)
    with pytest.raises(BackendError, match="the judge j gave no answer"):
        arena(folder, pairs=pairs)
    judges(monkeypatch, j=mind)
    with pytest.raises(BudgetSpentError):
        arena(folder, pairs=pairs, judge={"budget": 200})
    resumed = arena(folder, pairs=pairs)
    fresh = world(tmp_path / "fresh", docs=20)
    for name in WORTH:
        finished(fresh, contestant(fresh, name, 20))
    whole = arena(fresh, pairs=pairs)
    assert [(o.model, o.strength, o.low, o.rank) for o in resumed.standings] == [
        (o.model, o.strength, o.low, o.rank) for o in whole.standings
    ]


def test_agreement_with_people_is_told(place, monkeypatch):
    mind = preferring({"able": 3.0, "fair": 0.0, "poor": -3.0}, seed=1)
    judges(monkeypatch, wise=mind)
    people = [
        {"question_id": 81 + n, "model_a": "poor.jsonl", "model_b": "able.jsonl", "winner": winner, "turn": 1}
        for n, winner in enumerate(["model_b"] * 25 + ["tie (inconsistent)"] * 10 + ["model_a"] * 5)
    ]
    other = {"question_id": 81, "model_a": "gpt-3", "model_b": "able.jsonl", "winner": "tie", "turn": 1}
    path = lines(place / "people.jsonl", *people, other)
    told = arena(place, judge={"models": ("wise",), "labels": path}).remarks
    assert any(re.match(r"with 40 preferences of people the judge agrees in \d\d%, kappa 0\.\d\d", one) for one in told)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"question_id": 81, "winner": "me"}, "entry 1: expected `question_id`, `model_a`, `model_b`, `winner`"),
        ({"question_id": 81, "model_a": "x", "model_b": "y", "winner": "tie"}, "says nothing of two of these models"),
    ],
)
def test_preferences_that_cannot_be_used_are_refused(place, monkeypatch, line, message):
    judges(monkeypatch, wise=preferring(WORTH))
    path = lines(place / "bad.jsonl", line)
    with pytest.raises(ArgumentError, match=message):
        arena(place, judge={"models": ("wise",), "labels": path})


def test_a_dry_run_says_what_it_would_cost(place, monkeypatch):
    opened = judges(monkeypatch, j=preferring(WORTH))
    names = [f"{one}.jsonl" for one in WORTH]
    cost = estimate_arena(names, settings(place), place / "results")
    assert (cost.requests, cost.most_tokens) == (480, 480 * 1024)
    assert estimate_arena(names, settings(place, pairs=60), place / "results").requests == 240
    assert opened == {}


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        (("able.jsonl",), {}, "compares two models or more"),
        (("able.jsonl", "abel.jsonl"), {}, "no finished run of a model 'abel.jsonl'. Did you mean able.jsonl"),
        (("able.jsonl", "poor.jsonl"), {"task": "toy_chta"}, "has no run of 'toy_chta'; it has toy_chat. Did you mean"),
        (("able.jsonl", "poor.jsonl"), {"judge": {"models": ()}}, "no judge is named: --judge MODEL"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(place, names, more, message):
    with pytest.raises(ArgumentError, match=message):
        arena(place, *names, **more)


def test_models_that_were_asked_otherwise_are_not_compared(tmp_path, monkeypatch):
    folder = world(tmp_path, docs=4)
    finished(folder, "hash")
    finished(folder, "hash,salt=2", limit=3)
    judges(monkeypatch, j=preferring(WORTH))
    with pytest.raises(ArgumentError, match="were asked other docs of toy_chat"):
        arena(folder, "hash", "hash,salt=2")


def test_a_task_file_does_not_say_who_judges(tmp_path, monkeypatch):
    opened = judges(monkeypatch, stranger=preferring(WORTH))
    listed = {"metric": "judge", "model": "stranger", "args": "base_url=http://127.0.0.1:9/v1"}
    folder = world(tmp_path, docs=4, metric_list=[listed])
    for name in WORTH:
        finished(folder, contestant(folder, name, 4))
    with pytest.raises(ArgumentError, match="no judge is named: --judge MODEL"):
        arena(folder, judge={"models": ()})
    assert opened == {}
    assert arena(folder, judge={"models": ()}, trust_task_code=True).judge == "stranger"
