"""Result files of other harnesses than lm-eval, nested groups, chat, and our own tables: each number as it stands."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import benchbench
from benchbench.core.errors import DataError
from benchbench.extensions.interchange import Found, find_imports
from benchbench.extensions.interchange.record import write_imported
from benchbench.extensions.interchange.table import Mapped
from benchbench.store.folder import RunWriter
from tests.extensions.interchange.test_names import results
from tests.store.make import finished_run, item, planned, record, recorded


def brought(path: Path, out: Path, **given: str) -> tuple[Any, Found]:
    found = find_imports(path, Mapped({}, given), lambda task: None)
    for run in found.runs:
        write_imported(run, out)
    return benchbench.load_runs(out), found


def put(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def values(rows: Any) -> dict[tuple[str, str], float]:
    return {(row.task, row.metric): row.value for row in rows.itertuples()}


def test_groups_of_groups_keep_their_own_number(tmp_path: Path) -> None:
    path = results(tmp_path / "r.json", "pretrained=org/m", a=0.4, b=0.5, mid=0.45, top=0.5, lone=0.3)
    content = json.loads(path.read_text())
    content["groups"] = {name: content["results"][name] for name in ("mid", "top", "lone")}
    content["group_subtasks"] = {"top": ["mid"], "mid": ["a", "b"], "loop": ["loop"], "lone": ["gone"]}
    put(path, content)
    rows, found = brought(path, tmp_path / "out")
    assert values(rows[rows.is_group]) == {("mid", "acc"): 0.45, ("top", "acc"): 0.5, ("lone", "acc"): 0.3}
    assert {group.name: group.tasks for group in found.runs[0].groups}["top"] == ("a", "b")


def test_a_value_that_is_no_number_is_a_row_that_says_so(tmp_path: Path) -> None:
    path = results(tmp_path / "r.json", "pretrained=org/m", a=0.4)
    content = json.loads(path.read_text())
    content["results"]["a"]["acc,none"] = "N/A"
    rows, _ = brought(put(path, content), tmp_path / "out")
    assert rows.value.isna().all()
    assert list(rows.note) == ["the value is 'N/A', no number"]


def test_chat_rows_stand_apart_from_plain_ones(tmp_path: Path) -> None:
    plain = json.loads(results(tmp_path / "in/a.json", "pretrained=org/m", a=0.4).read_text())
    kinds: list[dict[str, Any]] = [
        {"chat_template": "{{ x }}"},
        {"chat_template": "{{ x }}", "fewshot_as_multiturn": True},
        {"chat_template": "{{ x }}", "system_instruction": "Be kind."},
        {"config": {**plain["config"], "gen_kwargs": {"temperature": 0.7}}},
        {"config": {**plain["config"], "fewshot_seed": 7}},
    ]
    for number, more in enumerate(kinds):
        put(tmp_path / f"in/{number}.json", {**plain, **more})
    rows, _ = brought(tmp_path / "in", tmp_path / "out")
    assert rows.signature.nunique() == len(kinds) + 1
    variants = {
        next(iter(run.record().tasks.values())).prompt_hash for run in benchbench.store.find.all_runs(tmp_path / "out")
    }
    assert len(variants) == len(kinds) + 1


@pytest.mark.parametrize(
    ("config", "given", "model"),
    [
        ({"model": "org/my-model", "model_args": None}, {}, "org/my-model"),
        ({"model": "org/my-model", "model_args": None}, {"model": "mine"}, "mine"),
        ({"model": "hf", "model_args": None}, {"model": "mine"}, "mine"),
        ({"model": "hf", "model_args": '{"pretrained": "org/m", "dtype": "auto"}'}, {}, "org/m"),
        ({"model": "hf", "model_args": "{'pretrained': 'org/m'}"}, {}, "org/m"),
        ({"model": "gguf", "model_args": "path=/w/llama.gguf"}, {}, "llama.gguf"),
        ({"model": "hf", "model_args": "pretrained=org/m"}, {"model": "mine"}, "org/m"),
    ],
)
def test_the_model_is_named_by_the_file_or_by_the_user(
    config: dict[str, Any], given: dict[str, str], model: str, tmp_path: Path
) -> None:
    content = {"results": {"a": {"acc,none": 0.5}}, "config": config}
    rows, _ = brought(put(tmp_path / "r.json", content), tmp_path / "out", **given)
    assert list(rows.model) == [model]


def test_a_model_that_nothing_names_is_refused_with_what_to_type(tmp_path: Path) -> None:
    content = {"results": {"a": {"acc,none": 0.5}}, "config": {"model": "hf", "model_args": "base_url=http://x"}}
    with pytest.raises(DataError, match="--set model=NAME"):
        find_imports(put(tmp_path / "r.json", content), Mapped(), lambda task: None)
    folder = put(tmp_path / "org__name/results_1.json", content)
    assert find_imports(folder, Mapped(), lambda task: None).runs[0].model.name == "org/name"


LIGHTEVAL = {
    "config_general": {"model_name": "org/m", "model_sha": "abc", "model_dtype": "bfloat16"},
    "results": {
        "leaderboard|arc:challenge|25": {"acc": 0.5, "acc_stderr": 0.01},
        "lighteval|gsm8k|0": {"em": 0.25, "em_stderr": 0.02},
        "lighteval|gsm8k|5": {"em": 0.75, "em_stderr": 0.02},
        "all": {"acc": 0.5},
    },
    "versions": {"lighteval|gsm8k|0": 0},
    "config_tasks": {
        "lighteval|gsm8k": {"effective_num_docs": 4, "metric": [{"metric_name": "em", "higher_is_better": True}]}
    },
}


def test_lighteval_and_the_first_open_llm_leaderboard(tmp_path: Path) -> None:
    rows, _ = brought(put(tmp_path / "results/org/m/results_T.json", LIGHTEVAL), tmp_path / "out")
    got = {(row.task, row.num_fewshot, row.value, row.is_group) for row in rows.itertuples()}
    expected = {("leaderboard|arc:challenge", 25, 0.5, False), ("lighteval|gsm8k", 0, 0.25, False)}
    assert {one for one in got if one[0] != "all"} == expected | {("lighteval|gsm8k", 5, 0.75, False)}
    assert set(rows[rows.is_group].task) == {"all"}
    old = {**LIGHTEVAL, "results": {"harness|arc:challenge|25": {"acc_norm": 0.125, "acc_norm_stderr": 0.01}}}
    rows, _ = brought(put(tmp_path / "old.json", old), tmp_path / "out2")
    assert values(rows) == {("harness|arc:challenge", "acc_norm"): 0.125}


def test_details_of_lighteval_become_items(tmp_path: Path) -> None:
    content = {**LIGHTEVAL, "results": {"lighteval|gsm8k|0": {"em": 0.75, "em_stderr": 0.02}}}
    put(tmp_path / "results/org/m/results_T.json", content)
    folder = tmp_path / "details/org/m/T"
    folder.mkdir(parents=True)
    docs = [{"query": f"Q{n}", "choices": ["1", "2"], "gold_index": [1]} for n in range(4)]
    frame = pd.DataFrame(
        {
            "__doc__": docs,
            "__metric__": [{"em": float(n > 0)} for n in range(4)],
            "__model_response__": [{"text": ["2"]}] * 4,
        }
    )
    frame.to_parquet(folder / "details_lighteval|gsm8k|0_T.parquet")
    frame.to_parquet(folder / "details_other|0_T.parquet")
    rows, found = brought(tmp_path, tmp_path / "out")
    items = benchbench.load_items(tmp_path / "out")
    assert list(items.em) == [0.0, 1.0, 1.0, 1.0]
    assert (items.prediction[0], items.gold[0], list(items.targets[0])) == ("2", "1", ["1", "2"])
    assert rows.note.isna().all()
    assert [one.rpartition("/")[2] for one in found.ignored] == [
        "details_other|0_T.parquet: details without the results file that they belong to"
    ]


def detail(n: int) -> dict[str, str]:
    """A row as lighteval before 0.11 writes it: every value as text."""
    return {
        "full_prompt": f"Q{n}\nA:",
        "choices": "['7', '8']",
        "gold_index": "[1]",
        "predictions": "['8']",
        "metrics": f"{{'em': np.float64({n % 2}), 'other': nan}}",
    }


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"metrics": "{'em': open('x')}"}, "malformed"),
        ({"metrics": "{'em': 1.0"}, "is no value"),
        ({"metrics": "[" * 9000}, "is no value"),
        ({"metrics": None}, "it has no scores"),
    ],
)
def test_details_that_are_written_as_text_are_read_and_odd_ones_named(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    model = {"model_config": {"model_name": "org/m", "revision": "step-500"}}
    put(tmp_path / "results/org/m/results_T.json", {"config_general": model, "results": {"gsm8k|0": {"em": 0.5}}})
    folder = tmp_path / "details/org/m/T"
    folder.mkdir(parents=True)
    rows = [detail(n) for n in range(4)]
    pd.DataFrame([*rows, {**rows[0], **row}]).to_parquet(folder / "details_gsm8k|0_T.parquet")
    out, _ = brought(tmp_path, tmp_path / "out")
    items = benchbench.load_items(tmp_path / "out")
    assert list(items.em) == [0.0, 1.0, 0.0, 1.0]
    assert (items.prediction[0], items.gold[0], list(items.targets[0])) == ("8", "1", ["7", "8"])
    assert (out.step[0], out.value[0]) == (500, 0.5)
    assert words in out.note[0]


def test_parts_of_a_split_are_numbers_of_their_own_in_helm(tmp_path: Path) -> None:
    folder = tmp_path / "runs/v1/babi_qa:task=all,model=org_m"
    put(folder / "run_spec.json", {"name": folder.name, "adapter_spec": {"model": "org/m"}})
    name = {"name": "quasi_exact_match", "split": "test"}
    stats = [(name, 0.5), ({**name, "sub_split": "easy"}, 0.75)]
    put(folder / "stats.json", [{"name": one, "count": 1, "mean": mean} for one, mean in stats])
    rows, _ = brought(tmp_path, tmp_path / "out")
    task = "babi_qa:task=all"
    assert values(rows) == {(task, "quasi_exact_match"): 0.5, (task, "quasi_exact_match,easy"): 0.75}


def test_two_records_of_euroeval_in_one_line_are_two(tmp_path: Path) -> None:
    line = {"dataset": "a", "model": "org/m", "results": {"total": {"test_mcc": 10.0}}}
    file = tmp_path / "results.jsonl"
    file.write_text(
        json.dumps(line) + json.dumps({**line, "dataset": "b"}) + "\n" + json.dumps({**line, "dataset": "c"})
    )
    rows, found = brought(file, tmp_path / "out")
    assert sorted(rows.task) == ["a", "b", "c"]
    assert not found.passed_over


def test_a_revision_beside_the_arguments_tells_the_step(tmp_path: Path) -> None:
    config = {"model": "org/m", "model_args": None, "model_revision": "step3000"}
    put(tmp_path / "results_1.json", {"results": {"a": {"acc,none": 0.5}}, "config": config, "date": 1.0})
    rows, _ = brought(tmp_path, tmp_path / "out")
    assert (rows.model[0], rows.step[0]) == ("org/m@step3000", 3000)


def test_helm_runs(tmp_path: Path) -> None:
    folder = tmp_path / "runs/v1/mmlu:subject=anatomy,model=org_m"
    spec = {"name": folder.name, "adapter_spec": {"model": "org/m", "max_train_instances": 5}}
    put(folder / "run_spec.json", spec)
    put(folder / "scenario_state.json", {})
    drawn = {"name": "typos", "computed_on": "perturbed"}
    put(
        folder / "stats.json",
        [
            {"name": {"name": "exact_match", "split": "test"}, "count": 1, "mean": 0.5},
            {"name": {"name": "exact_match", "split": "valid"}, "count": 1, "mean": 0.25},
            {"name": {"name": "exact_match", "split": "test", "perturbation": drawn}, "count": 1, "mean": 0.125},
            {"name": {"name": "num_instances", "split": "test"}, "count": 1, "mean": 135.0},
            {"name": {"name": "num_bytes", "split": "test"}, "count": 1, "mean": 9.0},
        ],
    )
    rows, found = brought(tmp_path, tmp_path / "out")
    task = "mmlu:subject=anatomy"
    assert values(rows) == {
        (task, "exact_match"): 0.5,
        (task, "exact_match,valid"): 0.25,
        (task, "exact_match,typos perturbed"): 0.125,
    }
    assert (rows.model.iloc[0], rows.num_fewshot.iloc[0]) == ("org/m", 5)
    assert list(rows[rows.metric == "exact_match"].n) == [135]
    assert len(found.ignored) == 2
    assert not found.passed_over


def test_euroeval_lines_keep_percent_and_their_interval(tmp_path: Path) -> None:
    line = {
        "dataset": "angry-tweets",
        "model": "org/m@step100#thinking",
        "few_shot": True,
        "euroeval_version": "16",
        "results": {"raw": [], "total": {"test_mcc": 41.5, "test_mcc_se": 1.5, "num_failed_instances": 0.0}},
    }
    file = tmp_path / "euroeval_benchmark_results.jsonl"
    again = {**line, "results": {"total": {"test_mcc": 50.0, "test_mcc_se": 1.0}}}
    file.write_text("\n".join((json.dumps(line), "{torn", json.dumps({**line, "dataset": "b"}), json.dumps(again))))
    rows, found = brought(file, tmp_path / "out")
    assert sorted((row.task, row.metric, row.value) for row in rows.itertuples()) == [
        ("angry-tweets", "mcc_percent", 41.5), ("angry-tweets", "mcc_percent", 50.0), ("b", "mcc_percent", 41.5)
    ]  # fmt: skip
    first = rows[rows.value == 41.5].iloc[0]
    assert (first.ci_low, first.ci_high, first.step, first.series) == (40.0, 43.0, 100, "org/m")
    assert pd.isna(first.stderr)
    assert "line 2: not as EuroEval writes it" in found.passed_over[0]


def test_a_table_may_hold_a_task_with_several_shots(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "model,task,metric,value,num_fewshot\nm,a,acc,0.4,0\nm,a,acc,0.55,5\nm,a,f1,0.1,5\n"
    )
    rows, _ = brought(tmp_path / "t.csv", tmp_path / "out")
    assert sorted((row.num_fewshot, row.metric, row.value) for row in rows.itertuples()) == [
        (0, "acc", 0.4), (5, "acc", 0.55), (5, "f1", 0.1)
    ]  # fmt: skip


def test_our_own_csv_goes_back_in_as_it_went_out(tmp_path: Path) -> None:
    for number, model in enumerate(("m@step100", "m@step200", "m@step200")):
        finished_run(tmp_path / "ours" / "m" / f"run{number}", model=model)
    ours = benchbench.load_runs(tmp_path / "ours")
    benchbench.write_csv(ours, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(ours)
    back, _ = brought(tmp_path / "t.csv", tmp_path / "out")
    keep = [
        "model",
        "series",
        "step",
        "tokens_seen",
        "task",
        "is_group",
        "metric",
        "value",
        "stderr",
        "ci_low",
        "ci_high",
    ]
    keep += ["n", "n_clusters", "se_method", "higher_is_better", "chance", "num_fewshot", "note", "finished"]
    order = ["model", "task", "metric", "value", "n"]

    def plain(frame: Any) -> list[dict[str, Any]]:
        kept = frame[keep].sort_values(order).astype(object)
        return list(kept.where(kept.notna(), None).to_dict("records"))

    assert plain(back) == plain(ours)


def measured(root: Path, step: int, weights: str, acc: float, finished: str) -> None:
    """A run folder of `m@step…` with one value."""
    names = {"model": f"m@step{step}", "series": "m", "step": step, "tokens_seen": 1000 * step}
    found = record(weights[:6], **names)
    found["rows"][0] |= {
        "model": names["model"],
        "value": acc,
        "stderr": acc / 7,
        "ci_low": acc / 3,
        "ci_high": acc / 2,
    }
    found["backend"]["model_identity"], found["provenance"]["finished"] = weights, finished
    with RunWriter(root / names["model"] / weights[:6], planned(run_id=weights[:6], **names)) as writer:
        with writer.open_task("toy") as live:
            live.append(item(0))
        writer.seal("toy", [item(0)])
        writer.finish(recorded(found))


KEPT = (
    *("model", "series", "step", "tokens_seen", "task", "is_group", "metric", "value", "stderr", "ci_low", "ci_high"),
    *("n", "n_clusters", "se_method", "higher_is_better", "chance", "num_fewshot", "note", "finished", "current"),
)


def plain(frame: Any) -> list[dict[str, Any]]:
    """The rows that must come back, in one order."""
    kept = frame[list(KEPT)].sort_values(["model", "task", "metric", "value", "finished"]).astype(object)
    return list(kept.where(kept.notna(), None).to_dict("records"))


def write_frame(frame: Any, path: Path) -> Path:
    """The frame as a person writes it."""
    if path.suffix == ".csv":
        benchbench.write_csv(frame, path)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        path.write_text("\n".join(map(json.dumps, rows)) if path.suffix == ".jsonl" else json.dumps(rows))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_a_training_of_ours_comes_back_as_one_training_to_the_last_digit(tmp_path: Path, suffix: str) -> None:
    for step in (100, 200, 300):
        measured(
            tmp_path / "ours", step, f"{step}" + "a" * 61, 1 / (3 + step), f"2026-01-01T00:00:0{step // 100}+00:00"
        )
    measured(tmp_path / "ours", 300, "f" * 64, 2 / 3, "2026-01-02T00:00:00+00:00")
    ours = benchbench.load_runs(tmp_path / "ours")
    back, _ = brought(write_frame(ours, tmp_path / f"t{suffix}"), tmp_path / "out")
    kept = [row for row in plain(ours) if row["current"]]
    assert [row for row in plain(back) if row["series"] == "m"] == kept
    assert len(kept) == 3
    older = [row for row in plain(back) if row["series"] != "m"]
    assert [(row["step"], row["value"]) for row in older] == [(300, 1 / 303)]


def test_what_run_prints_as_json_is_a_table_and_a_record_is_none(tmp_path: Path) -> None:
    row = {"model": "m", "task": "a", "metric": "acc", "value": 0.1 + 0.2, "stderr": 0.01, "n": 7, "num_fewshot": 2}
    rows, _ = brought(put(tmp_path / "t.json", {"run": "x", "run_id": "y", "rows": [row]}), tmp_path / "out")
    assert (rows.value[0], rows.n[0], rows.num_fewshot[0]) == (0.1 + 0.2, 7, 2)
    record = put(tmp_path / "run.json", {"schema_version": 1, "rows": [row]})
    with pytest.raises(DataError, match="no results that are known here"):
        find_imports(record, Mapped(), lambda task: None)


def test_shots_that_are_no_number_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    row = {"model": "m", "task": "a", "metric": "acc", "value": 0.5, "num_fewshot": float("nan")}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match="num_fewshot is nan; a whole number was expected"):
        find_imports(tmp_path / "t.jsonl", Mapped(), lambda task: None)


def test_an_interval_beyond_a_float_is_left_out(tmp_path: Path) -> None:
    content = {**LIGHTEVAL, "results": {"lighteval|x|0": {"em": 0.25, "em_stderr": 1e308}}}
    rows, _ = brought(put(tmp_path / "r.json", content), tmp_path / "out")
    assert (rows.value[0], rows.stderr[0]) == (0.25, 1e308)
    assert rows.ci_low.isna().all()
