"""lm-eval on a real, tiny model: its HF backend and ours, its tasks on both sides; and its whole index of names."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.extensions.lm_eval.names import names
from benchbench.runner.run import run
from tests.extensions.lm_eval.conftest import our_figures, their_figures
from tests.extensions.lm_eval.test_metrics import CHOICE, GROUPS, LIKELIHOOD, SHOTS, TEXT, settings
from tests.models import tiny_llama

pytestmark = pytest.mark.slow
LEFT_OUT = ("gsm8k_cot_self_consistency", "mmlu_prox_cs_law")
"""Two engines never draw the same; and lm-eval refuses to write more tokens than the model is long."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model"), max_length=2048)


@pytest.mark.parametrize(
    ("wanted", "shots"),
    [([*CHOICE, *LIKELIHOOD, *TEXT, *GROUPS, "own_mutual", "own_calibrated"], None), (SHOTS, 2)],
    ids=["as their files say", "with shots"],
)
def test_every_metric_is_the_one_that_lm_eval_gives_with_its_own_backend(world, tmp_path, model, wanted, shots):
    from lm_eval.models.huggingface import HFLM

    wanted = [name for name in wanted if name not in LEFT_OUT]
    asked = settings(world, wanted, tmp_path, num_fewshot=shots, model=ModelOptions(str(model), dtype="float32"))
    rows = run(asked).rows
    engine = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=8, logits_cache=False)
    expected = their_figures(world, wanted, engine, shots)
    found = our_figures(rows, expected)
    assert found == pytest.approx(expected, rel=2e-6, abs=1e-6)
    assert len({name for name, _ in expected}) >= min(25, len(wanted))


def test_every_name_is_what_lm_evals_own_index_says(world):
    from lm_eval.tasks import TaskManager

    theirs = TaskManager().task_index
    kinds = {"TASK": "task", "PY_TASK": "class", "GROUP": "group", "TAG": "tag"}
    ours = {name: (one.kind, one.path, one.members) for name, one in names().items()}
    assert ours == {
        name: (kinds[one.kind.name], one.yaml_path, tuple(sorted(one.tags)) if one.kind.name == "TAG" else ())
        for name, one in theirs.items()
    }
