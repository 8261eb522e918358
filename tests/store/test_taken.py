"""A name that a user gives must not stand for two things in one results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import ArgumentError
from benchbench.store.folder import RunWriter
from benchbench.store.names import folder_name
from benchbench.store.reuse import refuse_other_training, refuse_other_weights
from tests.store.make import planned


def begun(root: Path, model: str, weights: str, location: str, **changes: Any) -> None:
    """A run that has begun."""
    provenance = {"created": "2026-01-02T03:04:05", "location": location, "home": location}
    made = planned(model=model, compute={"model_identity": weights}, provenance=provenance, **changes)
    RunWriter(root / folder_name(model) / "abc", made).close()


def test_a_name_of_other_weights_is_refused_with_the_run_that_has_it(tmp_path: Path) -> None:
    begun(tmp_path, "my/mix", "w1", "/exp/a")
    refuse_other_weights(tmp_path, "my/mix", "w1")
    refuse_other_weights(tmp_path, "my", "w2")
    with pytest.raises(ArgumentError) as refused:
        refuse_other_weights(tmp_path, "my/mix", "w2")
    assert str(refused.value) == (
        f"--name 'my/mix' already stands for other weights in {tmp_path}: run my--mix/abc of 2026-01-02T03:04:05, "
        "/exp/a. Give another name, or another --results folder."
    )


def test_only_runs_by_the_same_engine_count_where_engines_are_compared(tmp_path: Path) -> None:
    begun(tmp_path, "m", "w1", "/exp/a", backend={"name": "hf", "model_identity": "w1"})
    refuse_other_weights(tmp_path, "m", "other", engine="gguf")
    with pytest.raises(ArgumentError, match="already stands for other weights"):
        refuse_other_weights(tmp_path, "m", "other", engine="hf")


def test_a_series_of_another_folder_is_refused(tmp_path: Path) -> None:
    begun(tmp_path, "mix@step5", "w1", "/exp/a", series="mix", step=5, tokens_seen=None)
    refuse_other_training(tmp_path, "mix", ["/exp/a", "/exp/b"])
    refuse_other_training(tmp_path, "mi", ["/exp/b"])
    with pytest.raises(ArgumentError, match=r"--name 'mix' already stands .* run mix@step5/abc"):
        refuse_other_training(tmp_path, "mix", ["/exp/b"])


def test_a_folder_without_results_or_with_broken_ones_takes_no_name(tmp_path: Path) -> None:
    refuse_other_weights(tmp_path / "none", "m", "w")
    (tmp_path / "m" / "bad").mkdir(parents=True)
    (tmp_path / "m" / "bad" / "plan.json").write_text('{"model": "m"')
    refuse_other_weights(tmp_path, "m", "w")
    refuse_other_training(tmp_path, "m", [])
    begun(tmp_path, "m", "w", "/exp/a")
    with pytest.raises(ArgumentError, match="already stands for other weights"):
        refuse_other_weights(tmp_path, "m", "w2")
