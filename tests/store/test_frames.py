import json
import re
import subprocess
import sys
from typing import Any

import pytest

import benchbench
from benchbench.core.errors import StoreError
from benchbench.store import frames, table
from benchbench.store.find import find_run
from benchbench.store.folder import RunWriter
from benchbench.store.frames import OF_RUN, RUN_COLUMNS
from benchbench.store.table import COLUMNS
from tests.conftest import REPO
from tests.store.make import finished_run, item, planned, record


def test_runs_are_one_row_per_task_and_metric(tmp_path):
    finished_run(tmp_path / "m" / "abc")
    finished_run(tmp_path / "n" / "def")
    frame = benchbench.load_runs(tmp_path)
    assert list(frame.columns) == list(RUN_COLUMNS)
    assert list(frame.run_id) == ["abc", "def"]
    assert frame.iloc[0][["task", "metric", "value", "n", "chance", "failed"]].tolist() == [
        "toy",
        "acc",
        0.5,
        3,
        0.5,
        0,
    ]
    assert len(benchbench.load_runs(tmp_path / "m")) == 1
    assert len(benchbench.load_runs(str(tmp_path / "m" / "abc"))) == 1


def test_an_empty_results_folder_has_the_same_columns(tmp_path):
    frame = benchbench.load_runs(tmp_path)
    assert list(frame.columns) == list(RUN_COLUMNS)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == RUN_COLUMNS
    assert list(benchbench.load_items(tmp_path).columns) == [*OF_RUN, *COLUMNS]


def test_broken_folders_are_named_and_passed_over(tmp_path):
    finished_run(tmp_path / "m" / "abc")
    (finished_run(tmp_path / "m" / "bad") / "run.json").write_text("{}")
    (finished_run(tmp_path / "m" / "worse") / "run.json").write_text("not json")
    with pytest.warns(UserWarning, match="passed over") as caught:
        frame = benchbench.load_runs(tmp_path)
    assert list(frame.run_id) == ["abc"]
    assert {name for name in ("bad", "worse") for w in caught if name in str(w.message)} == {"bad", "worse"}


def test_items_have_a_column_per_score(tmp_path):
    frame = benchbench.load_items(finished_run(tmp_path / "m" / "abc"))
    assert list(frame.columns) == [*OF_RUN, *COLUMNS, "acc", "bpb_gold"]
    assert frame.acc.tolist() == [1.0, 1.0, 1.0]
    assert frame.loglikelihoods[0].tolist() == [-2.5, -1 / 3]


def test_items_of_several_runs_and_of_one_task(tmp_path):
    finished_run(tmp_path / "m" / "abc")
    finished_run(tmp_path / "n" / "def", count=2)
    assert len(benchbench.load_items(tmp_path)) == 5
    assert len(benchbench.load_items(tmp_path, task="toy")) == 5
    assert len(benchbench.load_items(tmp_path, task=["other"])) == 0


def test_items_say_their_run_step_and_shots(tmp_path):
    made = record("abc", model="m@step500", series="m", step=500)
    made["tasks"]["toy"]["num_fewshot"] = 3
    path = finished_run(tmp_path / "m" / "abc")
    (path / "run.json").write_text(json.dumps(made))
    frame = benchbench.load_items(tmp_path)
    assert frame[["run", "run_id", "model", "step", "num_fewshot"]].drop_duplicates().to_numpy().tolist() == [
        [str(path), "abc", "m@step500", 500, 3]
    ]
    assert (str(frame.dtypes["step"]), str(frame.dtypes["num_fewshot"])) == ("Int64", "Int64")


def test_columns_are_those_that_were_asked_for_in_their_order(tmp_path):
    path = finished_run(tmp_path / "m" / "abc")
    frame = benchbench.load_items(path, columns=["acc", "step", "doc_id"])
    assert list(frame.columns) == ["acc", "step", "doc_id"]
    whole = benchbench.load_items(path)
    assert frame.acc.tolist() == whole.acc.tolist()
    assert frame.doc_id.tolist() == whole.doc_id.tolist()
    assert benchbench.load_items(path, columns=["run_id"]).run_id.tolist() == ["abc"] * 3
    assert list(benchbench.load_items(tmp_path / "m", "none", columns=["doc_id", "model"]).columns) == [
        "doc_id",
        "model",
    ]


def test_columns_that_are_not_asked_for_are_not_read(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        frames, "read_table", lambda path, columns: read.append(columns) or table.read_table(path, columns)
    )
    benchbench.load_items(finished_run(tmp_path / "m" / "abc"), columns=["acc", "model"])
    assert read == [["acc"]]


def test_the_guide_reads_items_lazily(tmp_path, monkeypatch):
    finished_run(tmp_path / "results" / "m" / "abc")
    with RunWriter(tmp_path / "results" / "n" / "def", planned()) as writer:
        writer.open_task("texts").close()
        writer.seal("texts", [item(task="texts", scores={"bleu": 1.0}), item(1, task="texts", outcome="failed")])
    guide = (REPO / "results/README.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "pyarrow.dataset" in one]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["docs"] == 4
    assert {"acc", "bleu"} <= set(names["schema"].names)


def test_a_column_that_no_item_has_is_a_sentence(tmp_path):
    with pytest.raises(StoreError, match=r"have no column 'ac'\. Did you mean acc"):
        benchbench.load_items(finished_run(tmp_path / "m" / "abc"), columns=["ac"])


def test_items_of_a_run_that_is_still_going(tmp_path):
    with RunWriter(tmp_path / "m" / "abc", planned()) as writer:
        with writer.open_task("toy") as live:
            live.append(item(3))
        assert benchbench.load_items(writer.path).doc_id.tolist() == [3]


def test_a_run_is_found_by_path_id_beginning_and_latest(tmp_path):
    import os

    first, second = finished_run(tmp_path / "m" / "abc1"), finished_run(tmp_path / "m" / "abd2")
    for name in ("run.json", "log.jsonl", "plan.json"):
        os.utime(second / name, (1, 1))
    assert find_run(str(second), tmp_path).path == second
    assert find_run("abd2", tmp_path).path == second
    assert find_run("abc", tmp_path).path == first
    assert find_run("m/abd", tmp_path).path == second
    assert find_run("latest", tmp_path).path == first
    with pytest.raises(StoreError, match="fits 2 runs: m/abc1, m/abd2"):
        find_run("ab", tmp_path)
    with pytest.raises(StoreError, match="Did you mean abc1"):
        find_run("abc3", tmp_path)


def test_no_results_folder_is_a_sentence(tmp_path):
    with pytest.raises(StoreError, match="there is no results folder"):
        benchbench.load_runs(tmp_path / "none")
    with pytest.raises(StoreError, match="there are no runs"):
        find_run("latest", tmp_path)


def test_importing_benchbench_loads_nothing_heavy():
    code = (
        "import sys, benchbench; print([m for m in ('torch', 'transformers', 'pandas', 'pyarrow', 'pydantic', 'numpy') "
    )
    code += "if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def scored(root, model, run_id, finished, value, **changes):
    """A finished run of one row."""
    path = finished_run(root / model.replace("/", "--") / run_id)
    made = record(run_id, model=model, **changes)
    made["provenance"] |= {"finished": finished}
    made["rows"][0]["value"] = value
    (path / "run.json").write_text(json.dumps(made))
    return path


def test_a_step_that_was_overwritten_keeps_both_rows_and_tells_which_is_current(tmp_path):
    for step, day, value in ((500, 1, 0.1), (1000, 1, 0.2), (500, 2, 0.3), (1000, 2, 0.4)):
        identity = {"name": "hf", "model_identity": f"{step}{day}"}
        scored(tmp_path, f"run@step{step}", f"{step}d{day}", f"2026-01-0{day}", value, backend=identity)
    frame = benchbench.load_runs(tmp_path)
    assert dict(zip(frame.run_id, frame.current, strict=True)) == {
        "500d1": False, "1000d1": False, "500d2": True, "1000d2": True
    }  # fmt: skip
    with pytest.raises(ValueError, match="duplicate"):
        frame.pivot(index="step", columns="task", values="value")
    assert frame[frame.current].pivot(index="step", columns="task", values="value").toy.tolist() == [0.3, 0.4]


def test_two_models_of_one_name_are_both_current_and_have_two_names(tmp_path):
    for day, run in ((1, "runA"), (2, "runB")):
        place = {"settings": {"model": f"/exp/{run}/final"}, "backend": {"name": "hf", "model_identity": run}}
        scored(tmp_path, "final", run, f"2026-01-0{day}", 0.5, **place)
    frame = benchbench.load_runs(tmp_path)
    assert frame.model.tolist() == frame.series.tolist() == ["runA/final", "runB/final"]
    assert frame.current.all()
    assert set(benchbench.load_items(tmp_path).model) == {"runA/final", "runB/final"}


def test_checkpoints_that_tell_tokens_alone_are_values_of_their_own(tmp_path):
    for billions in (100, 200):
        scored(tmp_path, f"org/v@{billions}B", f"r{billions}", "2026-01-01", 0.5)
    frame = benchbench.load_runs(tmp_path)
    assert frame.current.all()
    assert frame.step.isna().all()
    assert sorted(frame.tokens_seen) == [100 * 10**9, 200 * 10**9]
    assert set(frame.series) == {"org/v"}


def test_of_two_attempts_of_one_second_the_one_written_last_is_current(tmp_path):
    import os

    for run, when in (("abc", 2), ("abc-2", 1)):
        os.utime(scored(tmp_path, "m", run, "2026-01-01", 0.5) / "run.json", (when, when))
    frame = benchbench.load_runs(tmp_path)
    assert dict(zip(frame.run_id, frame.current, strict=True)) == {"abc": True, "abc-2": False}
