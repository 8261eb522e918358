"""Sweeps over adapters: one base that is loaded once, and the numbers of merged models that are opened alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.formats import folder as folder_format
from benchbench.core.errors import ArgumentError
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.find import find_checkpoints
from tests import adapters, models
from tests.runner import toy
from tests.runner.sweep.series import base, impatient, on_folder, separate_run

pytest.importorskip("peft")
STEPS = (100, 300)
TASKS = ("toy_quiz",)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_llama(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def series(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a Trainer with peft saves them: the last checkpoint has more layers than the others."""
    root = tmp_path_factory.mktemp("runs")
    for step in STEPS:
        targets = ["q_proj", "lm_head"] if step == STEPS[-1] else ["q_proj", "v_proj"]
        path = root / "lora" / f"checkpoint-{step}"
        adapters.lora(path, tiny, seed=step, target_modules=targets, merged=root / "merged" / f"checkpoint-{step}")
        (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        (path / "optimizer.pt").write_bytes(b"an optimizer's state")
    return root


def on_base(world: Path, tiny: Path, folder: Path, output: Path) -> SweepSettings:
    """A sweep over the adapters in `folder` on `tiny`."""
    run = base(world, output, model=ModelOptions("", base=str(tiny)))
    return on_folder(world, folder, output, run=run, task_groups=TASKS)


def test_adapters_give_what_merged_models_give_and_the_base_is_loaded_once(
    world: Path, tiny: Path, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, load = [], folder_format.from_pretrained

    def counted(source: Any, *args: Any, **options: Any) -> Any:
        loaded.append(source.path)
        return load(source, *args, **options)

    monkeypatch.setattr(folder_format, "from_pretrained", counted)
    settings = on_base(world, tiny, series / "lora", tmp_path / "results")
    found = sweep(settings, readiness=impatient())
    assert loaded == [tiny]
    assert [done.step for done in found.done] == list(STEPS)
    assert not found.skipped
    assert len({done.model_identity for done in found.done}) == len(STEPS)
    for done in found.done:
        ours = json.loads((tmp_path / "results" / done.run / "run.json").read_bytes())
        assert ours["model"] == f"lora@checkpoint-{done.step}"
        assert ours["settings"]["base"] == str(tiny)
        merged = str(series / "merged" / f"checkpoint-{done.step}")
        theirs = separate_run(on_folder(world, series, tmp_path, task_groups=TASKS), merged, tmp_path / "merged")
        known = {(row.task, row.metric): row.value for row in theirs.record.rows}
        assert {(row["task"], row["metric"]): row["value"] for row in ours["rows"]} == pytest.approx(known, abs=1e-4)
    first = found.done[0]
    alone = separate_run(settings, str(series / "lora" / f"checkpoint-{first.step}"), tmp_path / "alone")
    assert alone.record.run_id == first.run_id
    assert toy.part_bytes(alone.path) == toy.part_bytes(tmp_path / "results" / first.run) != {}


def test_adapters_are_found_as_checkpoints(series: Path) -> None:
    found = find_checkpoints(str(series / "lora"))
    assert [(one.step, one.location) for one in found] == [
        (step, str(series / "lora" / f"checkpoint-{step}")) for step in STEPS
    ]
    with pytest.raises(ArgumentError, match="is one adapter; `benchbench run"):
        find_checkpoints(str(series / "lora" / "checkpoint-100"))


def test_without_a_base_the_sweep_ends_with_a_sentence(world: Path, series: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="--base which model") as caught:
        sweep(on_folder(world, series / "lora", tmp_path / "results"), readiness=impatient())
    assert f"--base {tiny}" in str(caught.value)


def test_lm_evals_word_is_none_of_a_sweep(world: Path, series: Path, tmp_path: Path) -> None:
    run = base(world, tmp_path, model=ModelOptions("", model_args=(("peft", "x"),)))
    with pytest.raises(ArgumentError, match="the adapters are the checkpoints"):
        on_folder(world, series, tmp_path, run=run)


def test_an_adapter_of_another_base_is_passed_over(world: Path, tiny: Path, tmp_path: Path) -> None:
    wide = models.tiny_llama(tmp_path / "wide", head_size=16)
    adapters.lora(tmp_path / "lora" / "checkpoint-1", tiny)
    adapters.lora(tmp_path / "lora" / "checkpoint-2", wide)
    adapters.lora(tmp_path / "lora" / "checkpoint-3", tiny, seed=3)
    settings = on_base(world, tiny, tmp_path / "lora", tmp_path / "results")
    found = sweep(settings, readiness=impatient())
    assert [done.step for done in found.done] == [1, 3]
    assert [(one.step, "does not fit" in why) for one, why in found.skipped] == [(2, True)]
