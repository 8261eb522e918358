"""`--profile`: settings of a published evaluation, which what was asked for overrides."""

from __future__ import annotations

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError
from benchbench.runner.profiles import PROFILES, with_profile
from benchbench.runner.settings import RunSettings
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.settings import RenderSettings


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
