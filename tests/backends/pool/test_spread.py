"""Models that are larger than one device, by `device_map`, behind a pool: here over the processor and the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.backends.pool.pool import Pool
from benchbench.backends.pool.worker import Worker
from benchbench.core.errors import ModelError
from tests import models
from tests.backends.pool.threads import ThreadCrew
from tests.backends.test_contract import scoring_requests

pytest.importorskip("accelerate", reason="needs accelerate: pip install accelerate")


LAYERS = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
SPREAD = json.dumps({**LAYERS, "model.layers.0": "cpu", "model.layers.1": "disk"})


def totals(model: Path, **given: str) -> list[float]:
    """What a pool of two workers answers."""
    options = ModelOptions(str(model), "hf", device="cpu", dtype="float32", model_args=tuple(given.items()))
    pool = Pool(ThreadCrew(options, 2))
    found = {answer.request.key: answer for answer in pool.loglikelihood(scoring_requests(12))}
    pool.close()
    return [found[key].total for key in sorted(found)]


def test_a_model_over_two_devices_answers_as_in_one(tmp_path: Path) -> None:
    model = models.tiny_llama(tmp_path)
    assert totals(model, device_map=SPREAD) == totals(model)


def test_weights_are_never_swapped_into_layers_that_wait_elsewhere(tmp_path: Path) -> None:
    """They would stay as they are on the disk."""
    first, second = (models.tiny_llama(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    worker = Worker()
    worker.open(ModelOptions(str(first), "hf", device="cpu", model_args=(("device_map", SPREAD),)), None)
    with pytest.raises(ModelError, match="some of its layers wait on the disk or beside the GPU"):
        worker.load_weights(str(second))
