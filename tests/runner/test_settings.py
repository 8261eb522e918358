"""Settings: on disk the same bytes and sweep ids as when each was copied by hand; filled in by a profile."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.core.chat import ChatSettings
from benchbench.core.errors import ArgumentError
from benchbench.core.settings import changed
from benchbench.runner.settings import PROFILES, RunSettings, SweepSettings, from_json, to_json, with_profile
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.settings import RenderSettings

FROZEN: dict[str, Any] = json.loads(Path(__file__).with_name("frozen_settings.json").read_text(encoding="utf-8"))
"""Written by the code that still copied every setting by hand."""

MODEL = ModelOptions(
    "", backend="hf", dtype="float32", device="cpu", max_length=512, batch_tokens=4096, tokenizer="/t",
    model_args=(("a", "1"),), keep_tokens=True,
)  # fmt: skip
RENDER = RenderSettings(
    num_fewshot=2, fewshot_mode="per_doc", seed=7, limit=5, prompt="bare", data_root=Path("/data"), split="dev",
    fewshot_split="train", chat=ChatSettings("Be brief.", multiturn=False), trust_task_code=True,
    gen_kwargs=(("temperature", 0.7), ("until", ["\n"])),
)  # fmt: skip
RUN = RunSettings(
    MODEL, include_paths=(Path("/tasks"),), render=RENDER, output=Path("/results"), fresh=True, max_failed=0.5
)
SWEEPS = {
    "full": SweepSettings(
        RUN, ("org/model",), ("czech", "french"), revisions="step*", name="mix", order="oldest", watch=True, poll=5.0,
        until=100,
    ),
    "short": SweepSettings(RunSettings(ModelOptions(""), output=Path("/results")), ("/ckpt",)),
}  # fmt: skip


@pytest.mark.parametrize("name", SWEEPS)
def test_what_is_kept_on_disk_stays_as_it_was(name: str) -> None:
    sweep, frozen = SWEEPS[name], FROZEN[name]
    assert json.dumps(to_json(sweep)) == json.dumps(frozen["json"])
    assert json.dumps(sweep.run.as_record()) == json.dumps(frozen["record"])
    assert sweep.sweep_id() == frozen["id"]


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_is_read_back_as_it_was_written(name: str) -> None:
    assert from_json(json.loads(json.dumps(to_json(SWEEPS[name])))) == SWEEPS[name]


def test_a_sweep_from_before_a_setting_was_known_has_its_default() -> None:
    value = json.loads(json.dumps(FROZEN["short"]["json"]))
    for name in ("chat", "gen_kwargs", "trust_task_code", "series"):
        del value["run"][name]
    del value["name"], value["run"]["model"]["keep_tokens"]
    assert from_json(value) == SWEEPS["short"]


def test_a_setting_that_nobody_knows_is_refused() -> None:
    value = {**FROZEN["short"]["json"], "run": {**FROZEN["short"]["json"]["run"], "shots": 3}}
    with pytest.raises(TypeError, match="RunSettings has no 'shots'"):
        from_json(value)


@pytest.mark.parametrize(
    "change", [{"batch_tokens": 9}, {"device": "cuda"}, {"fresh": True}, {"max_failed": 0.9}, {"trust_task_code": True}]
)
def test_how_a_sweep_is_computed_is_no_part_of_its_identity(change: dict[str, Any]) -> None:
    sweep = SWEEPS["short"]
    other = replace(sweep, run=changed(sweep.run, **change), order="oldest")
    assert other != sweep
    assert other.sweep_id() == sweep.sweep_id()


@pytest.mark.parametrize(
    "change", [{"limit": 5}, {"seed": 3}, {"dtype": "float32"}, {"chat": ChatSettings()}, {"gen_kwargs": (("n", 1),)}]
)
def test_what_a_sweep_asks_is_its_identity(change: dict[str, Any]) -> None:
    sweep = SWEEPS["short"]
    assert replace(sweep, run=changed(sweep.run, **change)).sweep_id() != sweep.sweep_id()


def test_settings_are_changed_by_their_names_wherever_they_lie() -> None:
    run = changed(RUN, limit=9, dtype="float16", tasks="demo", model=replace(MODEL, model="m"))
    assert (run.render.limit, run.model.dtype, run.model.model, run.tasks) == (9, "float16", "m", "demo")
    assert run.render == replace(RENDER, limit=9)
    with pytest.raises(ArgumentError, match=r"there is no setting 'limits'\. Did you mean limit"):
        changed(RUN, limits=9)


def test_a_profile_fills_what_is_not_given() -> None:
    settings = with_profile(RunSettings(ModelOptions("m", dtype="float32")), "benczechmark")
    assert (settings.tasks, settings.render.num_fewshot, settings.model.max_length) == ("benczechmark", 3, 2048)
    assert (settings.model.model, settings.model.dtype) == ("m", "float32")


def test_what_is_asked_for_overrides_the_profile() -> None:
    asked = RunSettings(ModelOptions("m", max_length=512), tasks="cs_agree", render=RenderSettings(num_fewshot=0))
    assert with_profile(asked, "benczechmark") == asked


def test_an_unknown_profile_is_a_sentence() -> None:
    with pytest.raises(ArgumentError, match="Did you mean benczechmark"):
        with_profile(RunSettings(ModelOptions("m")), "benchczechmark")


def test_every_profile_stands_for_a_suite_with_the_columns_it_reports() -> None:
    index = TaskIndex()
    assert "benczechmark" in PROFILES
    for profile in PROFILES.values():
        tasks = index.select(profile.tasks).tasks
        metrics = {metric.name for task in tasks for metric in task.scoring.metrics}
        assert set(profile.read.split(", ")) <= metrics
