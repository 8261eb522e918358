"""Docs asked until a question is answered: which are drawn, when it ends, what is kept, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError
from benchbench.core.settings import changed
from benchbench.runner.decide import DecideOptions, decide_tasks
from benchbench.runner.run import run
from benchbench.store.find import all_runs
from benchbench.tasks.prepare import random_order
from tests.cli.command import benchbench
from tests.runner.toy import make_world, settings

DOCS = 400


def model(folder, name, right):
    """A scripted model that knows the sums that `right` says."""
    lines = []
    for n in range(1, DOCS + 1):
        question = f"Otázka: kolik je {n} + {n}?" + " prosím" * (n % 5) + "\nOdpověď:"
        for choice in (n, 2 * n, 3 * n):
            likely = (choice == 2 * n) == right(n)
            lines.append({"prompt": question, "continuation": f" {choice}", "loglikelihood": -1 if likely else -5})
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def world(tmp_path):
    make_world(tmp_path, quiz=DOCS)
    return tmp_path


def asked(world, name, right):
    path = model(world, name, right)
    base = settings(world, world / "results")
    return replace(changed(base, tasks="toy_quiz"), model=ModelOptions(str(path), backend="scripted"))


def test_a_large_difference_takes_a_part_of_the_docs(world):
    a, b = asked(world, "old", lambda n: n % 2 == 0), asked(world, "new", lambda n: n % 10 > 0)
    (one,) = decide_tasks(a, b)
    assert one.found.answer == "better"
    assert one.found.docs <= DOCS / 2
    assert one.found.interval.low > 0
    assert len(all_runs(world / "results")) == 2, "blocks that the last one holds are gone"
    record = next(run for run in all_runs(world / "results")).record()
    assert any(f"{one.found.docs} of {DOCS} docs, drawn at random" in note for note in record.tasks["toy_quiz"].notes)


def test_the_rest_is_asked_with_complete_and_what_was_asked_is_taken_over(world):
    a, b = asked(world, "old", lambda n: n % 2 == 0), asked(world, "new", lambda n: n % 10 > 0)
    (some,) = decide_tasks(a, b, DecideOptions(first=100))
    (whole,) = decide_tasks(a, b, DecideOptions(complete=True))
    assert whole.found.docs == DOCS
    assert whole.found.difference == pytest.approx(0.4)
    last = max(all_runs(world / "results"), key=lambda one: one.record().provenance.reused)
    assert last.record().provenance.reused == some.found.docs
    plain = run(b)
    assert plain.already_complete, "it is the same run as one without any of this"


@pytest.mark.slow
def test_equal_models_are_asked_all_docs_and_called_close_where_that_is_asked(world):
    def old(n):
        return n % 2 == 0

    a, b = asked(world, "old", old), asked(world, "new", lambda n: (n % 2 == 0) != (n % 40 in (1, 2)))
    (one,) = decide_tasks(a, b, DecideOptions(first=200))
    assert (one.found.answer, one.found.docs) == ("undecided", DOCS)
    (close,) = decide_tasks(a, b, DecideOptions(within=0.2, first=200))
    assert close.found.answer == "within"
    assert close.found.docs < DOCS


def test_more_docs_begin_with_those_that_fewer_are_and_keep_their_numbers(world):
    order = random_order(DOCS, 1234)
    assert sorted(order) == list(range(DOCS))
    assert order != list(range(DOCS))
    base = asked(world, "m", lambda n: True)
    ids = []
    for count in (10, 30):
        found = run(replace(base, render=replace(base.render, limit=count, random_docs=True)))
        folder = next(one for one in all_runs(world / "results") if one.path == found.path)
        ids.append([item.doc_id for item in folder.items("toy_quiz")])
    assert ids == [sorted(order[:10]), sorted(order[:30])]


@pytest.mark.parametrize(
    ("values", "what"),
    [({"within": 0.0}, "--within is 0.0"), ({"error": 0.7}, "--error is 0.7"), ({"first": 0}, "--first is 0")],
)
def test_values_that_make_no_sense_get_a_sentence(values, what):
    with pytest.raises(ArgumentError, match=what):
        DecideOptions(**values)


def test_a_model_against_itself_and_texts_without_a_mean_are_refused(world):
    a = asked(world, "old", lambda n: n % 2 == 0)
    with pytest.raises(ArgumentError, match="not decided against itself"):
        decide_tasks(a, a)


@pytest.mark.slow
def test_the_command(world):
    paths = [model(world, name, right) for name, right in (("old", lambda n: n % 2 == 0), ("new", lambda n: n % 9 > 0))]
    words = ["--model", paths[1], "--against", paths[0], "--backend", "scripted", "--tasks", "toy_quiz"]
    words += ["--include-path", world / "tasks", "--data-root", world / "hub", "--output", world / "results"]
    words += ["--first", 100]
    found = benchbench("sweep", "decide", *words, columns=120)
    assert found.returncode == 0, found.stderr
    assert "better" in found.stdout
    assert "--complete asks the rest" in found.stdout
    facts = json.loads(benchbench("sweep", "decide", *words, "--json").stdout)
    assert facts[0]["answer"] == "better"
    assert facts[0]["docs"] < DOCS
    wrong = benchbench("sweep", "decide", *words, "--error", "2")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
