"""Runs of lm-eval's tasks: what is stored, what resumes, what the record says."""

from __future__ import annotations

import json

import pytest
import yaml

from benchbench.core.errors import ArgumentError
from benchbench.core.types import Failure
from benchbench.extensions.rescore.score import score
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.leaderboard.metrics import metric_of
from benchbench.runner.events import ignore
from benchbench.runner.plan import make_plan
from benchbench.runner.run import run
from benchbench.store.folder import RunFolder
from benchbench.tasks.settings import parse_gen_kwargs
from tests.extensions.lm_eval.engines import Answers, Ours
from tests.extensions.lm_eval.rows import WRITING
from tests.extensions.lm_eval.test_metrics import settings
from tests.runner.toy import comparable, part_bytes

NAMES = ["piqa", "cola", "gsm8k", "own_repeated", "own_calibrated", "lambada_openai"]


@pytest.mark.parametrize("stop_after", [1, 17, 40])
def test_a_run_stopped_after_any_answer_ends_with_the_same_bytes(world, tmp_path, stop_after):
    names = ["piqa", "own_repeated", "own_calibrated"]
    whole = run(settings(world, names, tmp_path / "whole"), backend=Ours(Answers()))
    with pytest.raises(KeyboardInterrupt):
        run(settings(world, names, tmp_path / "cut"), backend=Ours(Answers(), stop_after=stop_after))
    rest = Ours(Answers())
    again = run(settings(world, names, tmp_path / "cut"), backend=rest)
    assert (rest.answered < whole.record.work.requests) == (stop_after > 1)  # one answer completes no doc
    assert again.resumed
    assert part_bytes(again.path) == part_bytes(whole.path)
    assert comparable(again.record) == comparable(whole.record)


def test_every_item_is_stored_with_its_answers_and_values(world, tmp_path):
    result = run(settings(world, NAMES, tmp_path), backend=Ours(Answers()))
    folder = RunFolder(result.path)
    quiz = folder.items("lm_eval:piqa")
    assert len(quiz) == 8
    assert all(len(item.loglikelihoods) == 2 and item.gold in ("0", "1") for item in quiz)
    assert all(item.scores["acc"] == float(item.prediction == item.gold) for item in quiz)
    repeated = folder.items("lm_eval:own_repeated")
    assert all(len(item.texts) == 5 for item in repeated)
    assert set(repeated[0].scores) == {"exact_match,first", "exact_match,vote"}
    calibrated = folder.items("lm_eval:own_calibrated")
    row = next(r for r in result.rows if (r.task, r.metric) == ("lm_eval:own_calibrated", "brier_score"))
    assert row.value == pytest.approx(sum(item.scores["brier_score"] for item in calibrated) / len(calibrated))
    assert row.se_method == "clt"
    assert all("mcc_influence" in item.scores for item in folder.items("lm_eval:cola"))


def test_the_record_says_what_was_run(world, tmp_path):
    result = run(settings(world, ["hellaswag", "gsm8k"], tmp_path, num_fewshot=2), backend=Ours(Answers()))
    record = json.loads((result.path / "run.json").read_text())
    task = record["tasks"]["lm_eval:hellaswag"]
    assert task["resolved"]["lm_eval"] == "0.4.13"
    assert task["resolved"]["process_docs"]["function"] == "utils.process_docs"
    assert len(task["resolved"]["process_docs"]["sha256"]) == 16
    assert task["scoring"]["chance"] == 0.25
    assert "/" not in json.dumps(task["resolved"]["metadata"])
    signature = next(row["signature"] for row in record["rows"] if row["task"] == "lm_eval:hellaswag")
    assert signature.startswith("lm_eval:hellaswag.v1.0|shots:2|fewshot:lm_eval|seed:1234|prompt:")
    assert [f["name"] for f in record["tasks"]["lm_eval:gsm8k"]["scoring"]["filters"]] == [
        "strict-match",
        "flexible-extract",
    ]


def test_shots_limit_seed_and_version_are_part_of_the_identity(world, tmp_path):
    def identity(**kwargs):
        return run(settings(world, ["arc_easy"], tmp_path, **kwargs), backend=Ours(Answers())).record.run_id

    runs = [identity(), identity(num_fewshot=1), identity(num_fewshot=1, seed=7), identity(limit=2)]
    assert len(set(runs)) == 4
    assert identity() == runs[0]


def test_a_failed_answer_is_a_failed_item_and_never_a_wrong_one(world, tmp_path):
    class Failing(Ours):
        def loglikelihood(self, requests, **kwargs):
            for response in super().loglikelihood(requests, **kwargs):
                bad = response.request.doc_id == 3 and response.request.index == 1
                yield Failure(response.request, "server_error", "no answer") if bad else response

    result = run(settings(world, ["piqa"], tmp_path, max_failed=1.0), backend=Failing(Answers()))
    assert result.record.tasks["lm_eval:piqa"].counts.failed == 1
    assert {row.n for row in result.rows} == {7}


@pytest.mark.slow
def test_an_aggregation_that_needs_the_network_costs_only_its_own_row(world, tmp_path):
    rows = run(settings(world, ["french_bench_trivia"], tmp_path), backend=Ours(Answers())).rows
    values = {row.metric: row.value for row in rows}
    assert values.pop("rouge1") is None
    assert set(values) == {"exact", "f1", "is_included"}
    assert None not in values.values()
    assert "its aggregation raised" in next(row.note for row in rows if row.metric == "rouge1")


def test_a_metric_that_nobody_announced_is_in_the_record_all_the_same(world, tmp_path):
    (world.files / "late.py").write_text("def score(doc, results):\n    return {'surprise': float(len(results[0]))}\n")
    (world.files / "late.yaml").write_text(
        yaml.safe_dump({"task": "late", **WRITING}) + "process_results: !function late.score\nmetric_list: []\n"
    )
    asked = settings(world, [], tmp_path, tasks=f"lm_eval:{world.files / 'late.yaml'}")
    result = run(asked, backend=Ours(Answers()))
    (row,) = result.rows
    assert (row.metric, row.se_method) == ("surprise", "clt")
    assert metric_of(result.record, "lm_eval:late", "surprise").kind == "mean"


def test_a_median_gets_its_interval_from_a_bootstrap(world, tmp_path):
    (row,) = run(settings(world, ["own_median"], tmp_path), backend=Ours(Answers())).rows
    assert row.se_method == "bootstrap"
    assert row.value in (0.0, 1.0)


def test_a_file_that_says_no_shots_keeps_none_and_says_so(world, tmp_path):
    result = run(settings(world, ["truthfulqa_mc1"], tmp_path, num_fewshot=3), backend=Ours(Answers()))
    task = result.record.tasks["lm_eval:truthfulqa_mc1"]
    assert task.num_fewshot == 0
    assert "the 3 asked for were not used" in task.notes[0]


def test_a_metric_added_later_needs_no_task_file_where_texts_are_enough(world, tmp_path):
    finished = RunFolder(run(settings(world, ["piqa", "triviaqa"], tmp_path), backend=Ours(Answers())).path)
    (added,) = score(finished, ScoreSettings(metrics=("f1",))).scored
    assert (added.task, added.state) == ("lm_eval:triviaqa", "added")
    with pytest.raises(ArgumentError, match="lm_eval:piqa is not defined by a task file of benchbench's"):
        score(finished, ScoreSettings(metrics=("acc_norm",)))


def test_generation_settings_of_the_command_reach_its_tasks(world, tmp_path):
    given = parse_gen_kwargs("max_tokens=7,repetition_penalty=1.2")
    plan = make_plan(settings(world, ["gsm8k"], tmp_path, gen_kwargs=given), ignore)
    params = plan.tasks[0].docs[0].requests[0].params
    assert (params.max_gen_toks, params.repetition_penalty) == (7, 1.2)
    assert "Question:" in params.until
