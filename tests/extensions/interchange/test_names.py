"""Which model imported results are of: its name, its step and tokens, and all that makes it another model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import benchbench
from benchbench.extensions.interchange import find_imports
from benchbench.extensions.interchange.record import write_imported
from benchbench.extensions.interchange.table import Mapped
from benchbench.store.files import write_json
from benchbench.store.find import all_runs


def results(path: Path, model_args: Any, **scores: float) -> Path:
    """A results file as lm-eval 0.4 writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {task: {"alias": task, "acc,none": v, "acc_stderr,none": 0.01} for task, v in scores.items()}
    config = {"model": "hf", "model_args": model_args, "limit": None}
    path.write_text(json.dumps({"results": rows, "config": config, "date": 1767225600.0}))
    return path


def load(tmp_path: Path, *model_args: Any) -> Any:
    """The rows of results that differ in `model_args`, all imported into one folder."""
    for i, given in enumerate(model_args):
        results(tmp_path / "in" / f"results_{i}.json", given, arc_easy=0.5 + i / 1000)
    for run in find_imports(tmp_path / "in", Mapped(), lambda task: None).runs:
        write_imported(run, tmp_path / "results")
    return benchbench.load_runs(tmp_path / "results").sort_values("value")


@pytest.mark.parametrize(
    ("model_args", "model", "step", "tokens"),
    [
        ("pretrained=allenai/OLMo-1B,revision=step1000-tokens4B", "allenai/OLMo-1B@step1000-tokens4B", 1000, 4 * 10**9),
        ({"pretrained": "org/m", "revision": "step-500k"}, "org/m@step-500k", 500_000, None),
        ("pretrained=LumiOpen/Viking-7B,revision=1000B", "LumiOpen/Viking-7B@1000B", None, 10**12),
        ("pretrained=LLM360/Amber,revision=ckpt_358", "LLM360/Amber@ckpt_358", 358, None),
        ("pretrained=/runs/csmpt/75", "csmpt@75", 75, None),
        ("pretrained=./out/final/", "final", None, None),
        ("pretrained=org/m,revision=main", "org/m", None, None),
        ("pretrained=org/m,subfolder=step-200", "org/m@step-200", 200, None),
        ("pretrained=org/m,peft=/lora/checkpoint-40", "org/m+lora@checkpoint-40", 40, None),
        ("pretrained=/data/a,b/m,dtype=float16", "m", None, None),
        ('pretrained="org/m",dtype="float16"', "org/m", None, None),
    ],
)
def test_steps_and_tokens_of_all_naming_schemes_are_read(
    tmp_path: Path, model_args: Any, model: str, step: int | None, tokens: int | None
) -> None:
    rows = load(tmp_path, model_args)[["model", "step", "tokens_seen"]].astype(object)
    assert rows.where(rows.notna(), None).values.tolist() == [[model, step, tokens]]


def test_two_folders_with_one_last_part_are_two_models(tmp_path: Path) -> None:
    rows = load(tmp_path, "pretrained=/exp/runA/final,dtype=bfloat16", "pretrained=/exp/runB/final,dtype=bfloat16")
    assert list(rows.model) == ["runA/final", "runB/final"]
    assert rows.model_identity.nunique() == 2
    assert rows.current.all()


@pytest.mark.parametrize(
    "argument",
    [
        *("dtype=float16", "load_in_8bit=True", "load_in_4bit=True", "quantization=awq", "gptqmodel=True"),
        *("delta=/d/m", "peft=/lora/a", "autogptq=True", "max_length=1024", "add_bos_token=True", "tokenizer=org/t"),
        *("subfolder=x", "revision=v2", "attn_implementation=eager", "trust_remote_code=True,dtype=float32"),
    ],
)
def test_an_argument_that_changes_weights_or_numbers_makes_another_model(tmp_path: Path, argument: str) -> None:
    rows = load(tmp_path, "pretrained=org/m", f"pretrained=org/m,{argument}")
    assert rows.model_identity.nunique() == 2
    assert rows.model.nunique() == 2
    assert rows.current.all()


@pytest.mark.parametrize(
    "argument",
    [
        *("batch_size=8", "device=cuda:1", "parallelize=True", "trust_remote_code=True", "tensor_parallel_size=4"),
        *("gpu_memory_utilization=0.8", "dtype=auto", "load_in_8bit=False", "peft=None", "revision=main"),
        "tokenizer=org/m",
    ],
)
def test_an_argument_that_changes_no_number_makes_none(tmp_path: Path, argument: str) -> None:
    rows = load(tmp_path, "pretrained=org/m", f"pretrained=org/m,{argument}")
    assert (rows.model_identity.nunique(), rows.model.nunique()) == (1, 1)


def test_checkpoints_of_one_training_are_one_series_and_stages_are_several(tmp_path: Path) -> None:
    names = ("stage1-step1000-tokens5B", "stage1-step2000-tokens9B", "stage2-ingredient1-step1000-tokens3B")
    rows = load(tmp_path, *(f"pretrained=allenai/OLMo-2-1124-7B,revision={name}" for name in names))
    base = "allenai/OLMo-2-1124-7B"
    assert list(rows.series) == [f"{base}@stage1", f"{base}@stage1", f"{base}@stage2-ingredient1"]


def test_a_model_whose_path_differs_is_no_twin_of_another(tmp_path: Path) -> None:
    scores = {f"t{i}": i / 10 for i in range(6)}
    for run in ("runA", "runB"):
        results(tmp_path / f"{run}.json", f"pretrained=/exp/{run}/final", **scores)
    found = find_imports(tmp_path, Mapped(), lambda task: None)
    assert len(found.runs) == 1
    assert found.passed_over == (
        "final (/exp/runB/final): each of its 6 values is one of final (/exp/runA/final), to the last digit",
    )
    results(tmp_path / "runB.json", "pretrained=/exp/runB/final", **{**scores, "t5": 0.9})
    assert len(find_imports(tmp_path, Mapped(), lambda task: None).runs) == 2


def test_a_table_with_a_step_in_name_and_column_has_it_once(tmp_path: Path) -> None:
    lines = ("model,step,tokens_seen,task,metric,value", "run@step100,100,5e9,t,acc,0.5", "run,200,,t,acc,0.6")
    (tmp_path / "t.csv").write_text("\n".join((*lines, "old@step300,,,t,acc,1")))
    for run in find_imports(tmp_path / "t.csv", Mapped(), lambda task: None).runs:
        write_imported(run, tmp_path / "results")
    rows = benchbench.load_runs(tmp_path / "results").sort_values("value")
    assert list(rows.model) == ["run@step100", "run@step200", "old@step300"]
    assert list(rows.series) == ["run", "run", "old"]
    assert list(rows.step) == [100, 200, 300]
    assert rows.tokens_seen.tolist()[0] == 5 * 10**9


def test_a_record_that_a_former_version_imported_is_written_anew(tmp_path: Path) -> None:
    path = results(tmp_path / "results_a.json", "pretrained=/exp/runA/final", arc_easy=0.5)
    (run,) = find_imports(path, Mapped(), lambda task: None).runs
    folder = write_imported(run, tmp_path / "results").folder
    record = json.loads((folder.path / "run.json").read_text())
    for name in ("series", "step", "tokens_seen"):
        del record[name]
    record["backend"]["model_identity"] = "unknown, imported as final"
    write_json(folder.path / "run.json", record)
    assert write_imported(run, tmp_path / "results").is_new
    assert not folder.is_of_former_version()
    assert folder.record().backend.model_identity.startswith("unknown, imported as final (")
    assert not write_imported(run, tmp_path / "results").is_new
    assert len(all_runs(tmp_path / "results")) == 1
