"""A translation model as a baseline row: `benchbench run --prompt source`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import BackendError
from benchbench.core.types import GenerateRequest
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests import models
from tests.backends.test_languages import by_transformers
from tests.cli.command import benchbench
from tests.conftest import REPO

FIXTURES = REPO / "tests" / "parity" / "fixtures"
TASKS = {
    "flores_ces-fra": ("ces_Latn", "fra_Latn"),
    "wmt14-cs-en": ("ces_Latn", "eng_Latn"),
    "wmt14-en-fr": ("eng_Latn", "fra_Latn"),
    "ntrex_fra-ces": ("fra_Latn", "ces_Latn"),
    "tico19-en-fr": ("eng_Latn", "fra_Latn"),
}


def first_request(task: str) -> GenerateRequest:
    """What the prompt `source` asks of the task's first document."""
    settings = RenderSettings(prompt="source", data_root=FIXTURES, limit=1)
    [request] = prepare(TaskIndex().task(task), settings).docs[0].requests
    assert isinstance(request, GenerateRequest)
    return request


def test_the_prompt_is_the_bare_sentence_with_the_languages_of_each_task() -> None:
    asked = {task: first_request(task) for task in TASKS}
    assert {task: (r.params.src_lang, r.params.tgt_lang) for task, r in asked.items()} == TASKS
    assert asked["flores_ces-fra"].prompt.text == "Stojí to 20 €."
    assert all(r.prompt.text and ":" not in r.prompt.text and "\n" not in r.prompt.text for r in asked.values())


def test_a_translation_model_gives_a_row_and_the_texts_that_transformers_gives(tmp_path: Path) -> None:
    nllb, results = models.tiny_nllb(tmp_path / "nllb"), tmp_path / "results"
    options = ["--tasks", "flores_ces-fra,wmt14-cs-en", "--prompt", "source", "--num-fewshot", 5, "--limit", 1]
    place = ["--data-root", FIXTURES, "--output", results, "--backend", "hf", "--device", "cpu", "--json"]
    done = benchbench("run", "--model", nllb, *options, *place, columns=120)
    assert done.returncode == 0, done.stderr
    assert "shots do not apply" in done.stderr
    said = json.loads(done.stdout)
    assert {(row["task"], row["num_fewshot"]) for row in said["rows"] if row["metric"] == "chrf"} == {
        ("flores_ces-fra", 0),
        ("wmt14-cs-en", 0),
    }
    for task in ("flores_ces-fra", "wmt14-cs-en"):
        [item] = RunFolder(Path(said["run"])).items(task)
        sentence = first_request(task).prompt.text
        expected = by_transformers(nllb, sentence, *TASKS[task], beams=1, new=256, penalty=1.0)
        assert item.texts == (expected,)


def test_other_models_refuse_it_before_anything_is_computed(tmp_path: Path) -> None:
    llama = ModelOptions(str(models.tiny_llama(tmp_path / "llama")), backend="hf", device="cpu")
    how = RenderSettings(prompt="source", data_root=FIXTURES)
    settings = RunSettings(llama, "wmt14-cs-en", render=how, output=tmp_path / "results")
    with pytest.raises(BackendError, match="wmt14-cs-en: This prompt is a bare sentence"):
        run(settings)
    assert not (tmp_path / "results").exists()
