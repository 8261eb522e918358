from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

import benchbench
from benchbench.core.errors import ArgumentError, DataError
from benchbench.core.json_record import as_json
from benchbench.extensions.interchange import find_imports, parse_chance
from benchbench.extensions.interchange.export import to_lm_eval
from benchbench.extensions.interchange.imported import items_behind
from benchbench.extensions.interchange.record import write_imported
from benchbench.extensions.interchange.table import Mapped
from benchbench.store.find import find_run
from tests.leaderboard.make import measured, task
from tests.store.make import finished_run

PYTHIA = Path(os.environ.get("BENCHBENCH_DATA", "../shared/data")) / "pythia_evals"


def imported(path: Path, root: Path, mapped: Mapped | None = None, chance=lambda task: None):
    found = find_imports(path, mapped or Mapped(), chance)
    for run in found.runs:
        write_imported(run, root)
    return found


def old_results(path: Path, step: int, acc: float, args: str = "pretrained=org/m,revision=step{}") -> Path:
    """As lm-eval 0.3 writes it."""
    results = {
        "arc_easy": {"acc": acc, "acc_stderr": 0.01, "acc_norm": acc - 0.1, "acc_norm_stderr": 0.01},
        "lambada_openai": {"ppl": 20.5, "ppl_stderr": 0.5, "acc": 0.5, "acc_stderr": 0.007},
        "hendrycksTest-a": {"acc": 0.25, "acc_stderr": 0.02},
        "hendrycksTest-b": {"acc": 0.3, "acc_stderr": 0.02},
    }
    config = {"model": "hf-causal", "model_args": args.format(step), "num_fewshot": 5, "limit": None}
    path.write_text(json.dumps({"results": results, "versions": dict.fromkeys(results, 0), "config": config}))
    return path


def new_results(folder: Path, model: str, right: list[int], *, time: str = "2026-01-02T03-04-05") -> Path:
    """As lm-eval 0.4 writes it, with samples beside it."""
    n, folder = len(right), folder / model
    folder.mkdir(parents=True, exist_ok=True)
    mean = sum(right) / n
    content = {
        "results": {
            "quiz": {"alias": "quiz", "acc,none": mean, "acc_stderr,none": 0.1, "sample_len": n},
            "sums": {"alias": "sums", "exact_match,strict": 0.5, "exact_match_stderr,strict": "N/A"},
            "both": {"alias": "both", "acc,none": mean, "acc_stderr,none": 0.1},
        },
        "groups": {"both": {"alias": "both", "acc,none": mean, "acc_stderr,none": 0.1}},
        "group_subtasks": {"both": ["quiz", "sums"], "quiz": []},
        "configs": {"quiz": {"task": "quiz", "output_type": "multiple_choice", "doc_to_text": "{{q}}"}},
        "versions": {"quiz": 1.0, "sums": "Yaml"},
        "n-shot": {"quiz": 3},
        "higher_is_better": {"quiz": {"acc": True}, "sums": {"exact_match": True}},
        "n-samples": {"quiz": {"original": n, "effective": n}},
        "config": {"model": "hf", "model_args": {"pretrained": model, "dtype": "float32"}, "limit": None},
        "lm_eval_version": "0.4.13",
        "date": 1767323045.0,
        "model_name": model,
    }
    path = folder / f"results_{time}.json"
    path.write_text(json.dumps(content))
    lines = [
        {
            "doc_id": i,
            "doc": {"q": f"question {i}"},
            "target": "1",
            "arguments": {
                "gen_args_0": {"arg_0": f"Q{i}:", "arg_1": " no"},
                "gen_args_1": {"arg_0": f"Q{i}:", "arg_1": " yes"},
            },
            "resps": [[["-1.5", "False"]], [["-0.5" if good else "-2.5", "True"]]],
            "filtered_resps": [["-1.5", "False"], ["-0.5" if good else "-2.5", "True"]],
            "filter": "none",
            "metrics": ["acc"],
            "doc_hash": f"{i:064x}",
            "prompt_hash": f"{i + 1000:064x}",
            "target_hash": "t",
            "acc": float(good),
        }
        for i, good in enumerate(right)
    ]
    (folder / f"samples_quiz_{time}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_old_results_become_a_run_with_step_shots_versions_and_a_mark_of_origin(tmp_path):
    old_results(tmp_path / "m.json", 3000, 0.6)
    imported(tmp_path / "m.json", tmp_path / "results", chance=parse_chance(["arc_*=0.25"]))
    rows = benchbench.load_runs(tmp_path / "results").set_index(["task", "metric"])
    row = rows.loc["arc_easy", "acc"]
    assert (row.model, row.value, row.stderr, row.num_fewshot, row.chance) == ("org/m@step3000", 0.6, 0.01, 5, 0.25)
    assert (row.ci_low, row.ci_high) == pytest.approx((0.6 - 0.0195996, 0.6 + 0.0195996), abs=1e-6)
    assert row.signature == "arc_easy.v0|shots:5|n:?|imported:lm-eval"
    assert not rows.loc["lambada_openai", "ppl"].higher_is_better
    record = find_run("latest", tmp_path / "results").record()
    assert record.origin.kind == "lm-eval"
    assert record.origin.file == "m.json"
    assert (record.series, record.step, record.tokens_seen) == ("org/m", 3000, None)
    assert as_json(record.groups) == [
        {"name": "hendrycksTest", "tasks": ["hendrycksTest-a", "hendrycksTest-b"], "weight_by_size": True}
    ]
    assert [r.metric for r in record.rows if r.task == "lambada_openai"] == ["acc", "ppl"]


def test_new_results_bring_their_items_so_that_models_can_be_paired(tmp_path):
    new_results(tmp_path / "in", "one", [1, 0, 0, 0, 1, 0, 0, 1, 0, 0])
    new_results(tmp_path / "in", "two", [1, 1, 1, 1, 1, 1, 1, 1, 0, 1])
    imported(tmp_path / "in", tmp_path / "results")
    duels = benchbench.compare("one", "two", results=tmp_path / "results")
    row = duels[duels.task == "quiz"].iloc[0]
    assert (row.n, row.wrong_to_right, row.right_to_wrong) == (10, 6, 0)
    assert row.difference == pytest.approx(0.6)
    items = benchbench.load_items(tmp_path / "results", "quiz")
    first = items[items.model == "two"].iloc[0]
    assert list(first.targets) == [" no", " yes"]
    assert list(first.loglikelihoods) == [-1.5, -0.5]
    assert (first.prediction, first.gold, first.outcome) == ("1", "1", "answered")
    runs = benchbench.load_runs(tmp_path / "results")
    assert set(runs[runs.is_group].task) == {"both"}
    assert set(runs[runs.task == "sums"].metric) == {"exact_match,strict"}
    assert runs[runs.task == "sums"].stderr.isna().all()
    assert runs.finished.iloc[0] == "2026-01-02T03:04:05+00:00"
    record = find_run("latest", tmp_path / "results").record()
    assert as_json(record.tasks["quiz"].example) == {"doc_id": 0, "prompt": "Q0:", "continuations": [" no", " yes"]}


def test_what_we_export_comes_back_with_the_same_numbers(tmp_path):
    path = finished_run(tmp_path / "ours" / "m" / "abc")
    (tmp_path / "lm.json").write_text(json.dumps(to_lm_eval(find_run(str(path), tmp_path).record())))
    imported(tmp_path / "lm.json", tmp_path / "back")
    keep = ["task", "is_group", "metric", "value", "stderr", "ci_low", "ci_high", "n", "n_clusters", "se_method"]
    keep += ["num_fewshot", "higher_is_better", "chance", "series", "step", "tokens_seen"]
    ours, back = benchbench.load_runs(tmp_path / "ours")[keep], benchbench.load_runs(tmp_path / "back")[keep]
    assert ours.to_dict("records") == back.to_dict("records")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_table_with_other_column_names_is_mapped(tmp_path, suffix):
    rows = [
        {"Model": "a", "Step": step, "benchmark": "piqa", "score": 0.5 + step / 1000, "se": 0.01} for step in (10, 20)
    ]
    path = tmp_path / f"table{suffix}"
    with path.open("w", newline="") as file:
        if suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    names = {"model": "Model", "step": "Step", "task": "benchmark", "value": "score", "stderr": "se"}
    imported(path, tmp_path / "results", Mapped(names, {"metric": "acc", "num_fewshot": "0"}))
    found = benchbench.load_runs(tmp_path / "results").sort_values("value")
    assert list(found.model) == ["a@step10", "a@step20"]
    assert list(found.value) == [0.51, 0.52]
    assert set(found.num_fewshot) == {0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model,task,metric\na,b,acc\n", "no column 'value' for value"),
        ("model,task,metric,value\na,b,acc,high\n", "line 2: value is 'high'; a number was expected"),
        ("model,task,metric,value,step\na,b,acc,1,2.5\n", "step is '2.5'; a whole number"),
        ("model,task,metric,value\na,b,acc,1\na,b,acc,2\n", "line 3: a second value for a, b, acc"),
        ("model,task,metric,value\n", "holds no rows"),
        ("Model,task,metric,value\na,b,acc,1\n", "Did you mean Model"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_a_sentence(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        find_imports(tmp_path / "t.csv", Mapped(), lambda task: None)


def test_missing_and_infinite_values_stay_missing(tmp_path):
    (tmp_path / "t.csv").write_text("model,task,metric,value\na,b,acc,nan\na,c,acc,\na,d,acc,inf\na,e,acc,0\n")
    imported(tmp_path / "t.csv", tmp_path / "results")
    found = benchbench.load_runs(tmp_path / "results").set_index("task")
    assert found.value.isna().to_dict() == {"b": True, "c": True, "d": True, "e": False}
    assert found.note["b"] == "the value is nan"


def test_unknown_fields_and_wrong_chances_are_refused():
    with pytest.raises(ArgumentError, match="no field 'modle'"):
        Mapped({"modle": "x"})
    with pytest.raises(DataError, match="TASK=SHARE"):
        parse_chance(["winogrande=50"])


def test_a_folder_takes_what_fits_and_names_the_rest(tmp_path):
    old_results(tmp_path / "in.json", 1, 0.5)
    (tmp_path / "notes.json").write_text('{"results": 3}')
    (tmp_path / "torn.json").write_text('{"results": {')
    (tmp_path / "README.md").write_text("hello")
    found = find_imports(tmp_path, Mapped(), lambda task: None)
    assert [run.model.name for run in found.runs] == ["org/m@step1"]
    assert sorted(said.rpartition("/")[2].partition(":")[0] for said in found.passed_over) == [
        "notes.json",
        "torn.json",
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no lm-eval results and no table"):
        find_imports(tmp_path / "empty", Mapped(), lambda task: None)
    with pytest.raises(DataError, match="nothing at"):
        find_imports(tmp_path / "nowhere", Mapped(), lambda task: None)


def test_importing_twice_makes_one_run(tmp_path):
    path = old_results(tmp_path / "m.json", 1, 0.5)
    (run,) = find_imports(path, Mapped(), lambda task: None).runs
    assert [write_imported(run, tmp_path / "results").is_new for _ in range(2)] == [True, False]
    assert len(list((tmp_path / "results").rglob("run.json"))) == 1


def test_a_model_that_another_one_repeats_to_the_last_digit_is_passed_over(tmp_path):
    old_results(tmp_path / "a.json", 1, 0.5)
    old_results(tmp_path / "b.json", 1, 0.5, "pretrained=copy,revision=step{}")
    old_results(tmp_path / "c.json", 1, 0.50001, "pretrained=near,revision=step{}")
    found = find_imports(tmp_path, Mapped(), lambda task: None)
    assert sorted(run.model.name for run in found.runs) == ["near@step1", "org/m@step1"]
    assert "copy: each of its" in found.passed_over[0]


def test_the_number_of_docs_follows_from_the_standard_error_of_a_share():
    assert items_behind(0.23122866894197952, 0.012320858834772295) == 1172  # ARC challenge, as published
    assert items_behind(0.25, 0.0123) is None
    assert items_behind(2591.45, 111.2) is None
    assert items_behind(0.0, 0.0) is None


def test_imported_and_measured_runs_are_not_paired(tmp_path):
    new_results(tmp_path / "in", "theirs", [1, 0, 1, 0])
    imported(tmp_path / "in", tmp_path / "results")
    measured(tmp_path / "results", "ours", {"quiz": task([1.0, 0.0, 1.0, 1.0])})
    with pytest.raises(benchbench.core.errors.StoreError, match="cannot be compared on quiz"):
        benchbench.compare("theirs", "ours", results=tmp_path / "results")


@pytest.mark.skipif(not PYTHIA.is_dir(), reason="needs the published Pythia results beside the project")
def test_published_checkpoints_make_sixteen_series(tmp_path):
    found = find_imports(PYTHIA, Mapped({}, {"num_fewshot": "0"}), lambda task: 0.25)
    assert len(found.runs) == 432
    assert len({run.model.series for run in found.runs}) == 16
    assert found.passed_over == (
        "pythia-160m: each of its 378 values is one of EleutherAI/pythia-v1.1-160m, to the last digit",
    )
    assert sum(len(run.tasks) == 87 for run in found.runs) == 27
