"""The callback in a real training of llm-foundry's MPT by Composer's Trainer, in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import benchbench
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.session import CheckpointFinished
from tests import models
from tests.backends.loading import load
from tests.composer_training import BATCHES, EVERY, IDS
from tests.runner.sweep.series import base, impatient, on_folder
from tests.runner.sweep.series import results as results_of
from tests.runner.toy import comparable, make_world, part_bytes

PYTHON = os.environ.get("BENCHBENCH_COMPOSER_PYTHON", "")
composer = pytest.mark.composer
STEPS = [EVERY, BATCHES]


class Trained:
    """What the trainings have left."""

    def __init__(self, folder: Path) -> None:
        self.start, self.world, self.out = (
            models.tiny_mpt(folder / "start"),
            make_world(folder / "world"),
            folder / "out",
        )
        self.out.mkdir()
        self.tokenizer = folder / "tokenizer"
        """Of the trained model, with llm-foundry's own configuration beside it."""
        for launch in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]):
            command = [*launch, "-m", "tests.composer_training", str(self.out), str(self.start), str(self.world)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(
                [PYTHON, *command], check=False, timeout=900, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr[-3000:]
        shutil.copytree(self.start, self.tokenizer)
        shutil.copy(self.out / "config.json", self.tokenizer / "config.json")

    def swept(self, name: str, output: Path, on_event: Callable[[Any], None] = lambda _: None) -> dict[int, Any]:
        """Step → record and parts, of a sweep over the checkpoints of one training."""
        options = ModelOptions("", tokenizer=str(self.tokenizer), device="cpu")
        settings = on_folder(self.world, self.out / name, output, run=base(self.world, output, model=options))
        found = sweep(settings, readiness=impatient(), on_event=on_event)
        assert [done.step for done in found.done] == STEPS, found.skipped
        return results_of(found.folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    if not PYTHON:
        pytest.skip("BENCHBENCH_COMPOSER_PYTHON names no python with Composer: make test-composer")
    return Trained(tmp_path_factory.mktemp("composer"))


def written(trained: Trained, name: str) -> dict[int, Any]:
    """Step → record and parts, as the callback of one training wrote them."""
    runs = [path.parent for path in (trained.out / "results").glob(f"{name}@*/*/run.json")]
    records = {path: json.loads((path / "run.json").read_bytes()) for path in runs}
    return {record["step"]: (comparable(record), part_bytes(path)) for path, record in records.items()}


@composer
@pytest.mark.parametrize("name", ["scored", "spread"])
def test_what_the_callback_scored_is_what_a_sweep_of_the_checkpoints_scores(
    name: str, trained: Trained, tmp_path: Path
) -> None:
    swept, own = trained.swept(name, tmp_path), written(trained, name)
    assert sorted(own) == STEPS
    for step in STEPS:
        assert own[step][0]["rows"] == swept[step][0]["rows"]
        assert own[step][1] == swept[step][1]
    assert own[EVERY][1] != own[BATCHES][1], "training moves the numbers"
    shards = [path.name for path in (trained.out / name).rglob("*.distcp")]
    assert bool(shards) is (name == "spread")


@composer
def test_a_later_sweep_takes_the_results_over(trained: Trained, tmp_path: Path) -> None:
    output, seen = Path(shutil.copytree(trained.out / "results", tmp_path / "results")), list[Any]()
    trained.swept("scored", output, seen.append)
    finished = [event for event in seen if isinstance(event, CheckpointFinished)]
    assert [event.result.already_complete for event in finished] == [True, True]


@composer
def test_training_goes_on_as_if_nothing_had_been(trained: Trained) -> None:
    last = f"ep0-ba{BATCHES}-rank0.pt"
    ends = [load(trained.out / one / last, tokenizer=str(trained.tokenizer)) for one in ("plain", "scored")]
    assert ends[0].identity == ends[1].identity
    before = load(trained.out / "plain" / f"ep0-ba{EVERY}-rank0.pt", tokenizer=str(trained.tokenizer))
    assert before.identity != ends[0].identity


@composer
def test_transformers_computes_what_llm_foundrys_own_class_computes(trained: Trained) -> None:
    loaded = load(trained.out / "scored" / f"ep0-ba{BATCHES}-rank0.pt", tokenizer=str(trained.tokenizer))
    with torch.no_grad():
        ours = loaded.model(input_ids=torch.tensor(IDS)).logits
    assert torch.allclose(ours, torch.load(trained.out / "scored.logits"), atol=1e-5)


@composer
@pytest.mark.parametrize("name", ["scored", "spread"])
def test_scores_go_to_composers_loggers_and_tokens_into_the_rows(name: str, trained: Trained) -> None:
    logged = json.loads((trained.out / f"{name}.json").read_bytes())
    assert [step for step, _ in logged["benchbench/toy_quiz/acc"]] == STEPS
    rows = benchbench.load_runs(trained.out / "results")
    rows = rows[(rows["series"] == name) & (rows["task"] == "toy_quiz") & (rows["metric"] == "acc")]
    assert sorted(rows["step"]) == STEPS
    assert dict(logged["benchbench/toy_quiz/acc"]) == dict(zip(rows["step"], rows["value"], strict=True))
    processes = 2 if name == "spread" else 1
    assert dict(zip(rows["step"], rows["tokens_seen"], strict=True)) == {s: processes * s * 4 * 24 for s in STEPS}


def test_without_composer_the_command_is_told() -> None:
    from benchbench import callbacks

    with pytest.raises(ArgumentError, match=r"ComposerCallback needs Composer, .* pip install mosaicml"):
        callbacks.ComposerCallback  # noqa: B018 - the name is looked up
    with pytest.raises(AttributeError, match="has no attribute 'OtherCallback'"):
        callbacks.OtherCallback  # noqa: B018
