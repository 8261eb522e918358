"""Metrics from stored outputs, without the model."""

import json

import pytest

from benchbench.core.errors import ArgumentError, DataError
from benchbench.core.registry import metric_spec
from benchbench.extensions.rescore.score import score
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.store.extra_scores import read_added
from benchbench.store.files import read_json, write_json
from tests.extensions.rescore.world import PAIRS, finished, own_bytes, world
from tests.runner.toy import write_rows

MT = "toy_cs-fr"
NAMES = ("mcc", "macro_f1", "brier_score", "likelihood", "exact_match")


@pytest.fixture
def place(tmp_path):
    return world(tmp_path)


def wanted(place, *metrics, **changes):
    return ScoreSettings(metrics, include_paths=(place / "tasks",), **changes)


def values(record, task):
    return {row.metric: row for row in record.rows if row.task == task and not row.is_group}


def test_a_metric_added_later_is_the_one_that_the_run_would_have_had(place, tmp_path):
    """Scores, influence values and rows: a run that listed the metrics from the start is the reference."""
    run = finished(place)
    score(run, wanted(place, "ter", "chrf++", "rougeL", "exact_match", "f1"))
    names = ("bleu", "chrf", "ter", "chrf++", "rougeL", "exact_match", "f1")
    listed = finished(world(tmp_path / "listed", metric_list=[{"metric": name} for name in names]))
    found, reference = values(run.record(), MT), values(listed.record(), MT)
    assert set(found) == set(reference)
    for name in names:
        one, two = found[name].to_json(), reference[name].to_json()
        different = {key for key in one if one[key] != two[key]}
        assert different == set(), name
    assert [item.scores for item in run.items(MT)] == [item.scores for item in listed.items(MT)]


def test_metrics_of_choices_come_from_the_stored_loglikelihoods(place, tmp_path):
    run = finished(place)
    score(run, wanted(place, *NAMES))
    tasks = tmp_path / "listed" / "tasks"
    listed_place = world(tmp_path / "listed")
    path = tasks / "toy_quiz.yaml"
    more = "".join(f"- metric: {name}\n" for name in NAMES)
    path.write_text(
        path.read_text(encoding="utf-8").replace("metric_list:\n", "metric_list:\n" + more), encoding="utf-8"
    )
    listed = finished(listed_place)
    found, reference = values(run.record(), "toy_quiz"), values(listed.record(), "toy_quiz")
    for name in NAMES:
        assert found[name].value is not None
        for key in ("value", "stderr", "ci_low", "ci_high", "n", "se_method", "note"):
            assert getattr(found[name], key) == getattr(reference[name], key), (name, key)


def test_a_doc_with_several_right_choices_keeps_them_all(tmp_path):
    """Items name the first right choice only; the document says the others."""
    place = world(tmp_path)
    (place / "tasks" / "toy_quiz.yaml").write_text(
        (place / "tasks" / "toy_quiz.yaml").read_text(encoding="utf-8").replace("'{{ label }}'", "'{{ labels }}'")
    )
    rows = [{"question": f"{n}?", "choices": ["a", "b", "c"], "labels": [0, 1, 2]} for n in range(5)]
    write_rows(place / "hub/toy/quiz/default/test.jsonl", rows)
    run = finished(place, tasks="toy_quiz")
    assert values(run.record(), "toy_quiz")["acc"].value == 1.0
    found = score(run, wanted(place, "acc", "likelihood"))
    assert [one.state for one in found.scored] == ["confirmed", "added"]
    assert values(run.record(), "toy_quiz")["likelihood"].value == pytest.approx(1.0)


def test_what_the_run_says_itself_is_confirmed_and_not_written_again(place):
    run = finished(place)
    before = own_bytes(run)
    result = score(run, wanted(place, "bleu", "acc", "bpb_gold"))
    assert {one.state for one in result.scored if one.task != "toy_write"} == {"confirmed"}
    assert [one.task for one in result.scored if one.state == "added"] == ["toy_write"]
    assert own_bytes(run) == before
    assert not result.differs
    assert result.record.rows != run.own_record().rows


def test_a_value_that_does_not_come_out_again_is_told_and_stands(place):
    run = finished(place)
    record = read_json(run.path / "run.json")
    for row in record["rows"]:
        if (row["task"], row["metric"]) == (MT, "chrf"):
            row["value"] += 0.01
    write_json(run.path / "run.json", record)
    result = score(run, wanted(place, "chrf", tasks=MT))
    assert result.differs
    assert values(run.record(), MT)["chrf"].value == pytest.approx(result.scored[0].rows[0].value + 0.01)
    assert read_added(run.path) == []


def test_the_same_command_twice_replaces(place):
    run = finished(place)
    for state in ("added", "replaced"):
        result = score(run, wanted(place, "ter", tasks="toy_*-*"))
        assert {one.state for one in result.scored} == {state}
    assert [row.metric for row in run.record().rows if row.task == MT] == ["bleu", "chrf", "ter"]
    assert len(list((run.path / "scores" / MT).glob("[!.]*"))) == 2


def test_a_group_has_the_metric_once_all_its_tasks_have(place):
    run = finished(place)

    def of_group():
        return [row for row in run.record().rows if row.task == "toy_mt" and row.metric == "ter"]

    score(run, wanted(place, "ter", tasks=MT))
    assert of_group() == []
    score(run, wanted(place, "ter", tasks="toy_fr-cs"))
    (row,) = of_group()
    members = [values(run.record(), task)["ter"].value for task in (MT, "toy_fr-cs")]
    assert row.value == pytest.approx(sum(members) / 2)
    assert row.is_group


def test_every_filter_of_a_task_is_scored(tmp_path):
    filters = [
        {"name": "whole", "filter": [{"function": "take_first"}]},
        {"name": "digits", "filter": [{"function": "regex", "regex_pattern": "(\\d+)"}, {"function": "take_first"}]},
    ]
    place = world(tmp_path, filter_list=filters)
    run = finished(place)
    score(run, wanted(place, "exact_match", "chrf++", tasks=MT))
    assert [row.metric for row in run.record().rows if row.task == MT][4:] == [
        "chrf++,whole",
        "chrf++,digits",
        "exact_match,whole",
        "exact_match,digits",
    ]
    assert {"chrf++,digits", "chrf++,digits_influence"} <= run.items(MT)[0].scores.keys()


def test_a_metric_that_needs_what_was_not_asked_has_no_value(place):
    run = finished(place)
    with pytest.raises(
        DataError, match="acc_mutual_info has no value from what the run stored: toy_quiz: no item has a value"
    ):
        score(run, wanted(place, "acc_mutual_info"))
    assert read_added(run.path) == []


@pytest.mark.parametrize(
    ("metrics", "changes", "said"),
    [
        (("comett",), {}, r"no metric 'comett'. Did you mean comet\?"),
        (("word_perplexity",), {}, "word_perplexity fits no task of the run: toy_"),
        (("bleu",), {"tasks": "toy_cs-de"}, r"the run has no task 'toy_cs-de'.*Did you mean toy_cs-fr"),
        ((), {}, "--metric takes one name or more"),
        (("bleu", ""), {}, "--metric takes one name or more"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(place, metrics, changes, said):
    run = finished(place)
    with pytest.raises(ArgumentError, match=said):
        score(run, wanted(place, *metrics, **changes))


def test_scores_are_computed_without_data_where_texts_are_enough(place):
    run = finished(place)
    (place / "hub").rename(place / "gone")
    assert {one.state for one in score(run, wanted(place, "ter", tasks="toy_*-*")).scored} == {"added"}


def test_the_file_says_when_and_by_what(place):
    run = finished(place)
    score(run, wanted(place, "ter", tasks=MT))
    content = json.loads((run.path / "scores" / MT / "ter.json").read_text())
    assert content["spec"] == {
        "name": "ter",
        "aggregation": metric_spec("ter", "generate_until").aggregation,
        "higher_is_better": False,
        "kwargs": {},
    }
    assert content["made"]["by"]["sacrebleu"]
    assert run.record().added[0]["finished"] == content["made"]["finished"]
    assert len(run.items(MT)) == len(PAIRS)


def test_a_task_for_which_a_metric_has_no_value_does_not_keep_it_from_others(place):
    said = []
    run = finished(place)
    found = score(run, wanted(place, "f1"), on_event=lambda event: said.append(getattr(event, "text", "")))
    assert [one.task for one in found.scored] == [MT, "toy_fr-cs", "toy_write"]
    assert "f1 has no value for toy_quiz: f1 is defined for two choices." in said
