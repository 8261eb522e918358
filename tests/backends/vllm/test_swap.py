"""Another checkpoint's weights in a running engine: what kinds of models, and what a checkpoint must be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import ModelError
from tests import models
from tests.backends.vllm.conftest import largest_difference, mixed_requests, opened, totals

pytestmark = pytest.mark.vllm
TOLERANCE = 1e-3


def tied_llama(folder: Path, seed: int) -> Path:
    return models.tiny_llama(folder, head_size=32, seed=seed, tied=True)


def mpt(folder: Path, seed: int) -> Path:
    return models.tiny_mpt(folder, head_size=32, seed=seed)


@pytest.mark.parametrize("make", [tied_llama, mpt])
def test_an_output_layer_tied_to_the_embedding_is_swapped_too(make: Callable[..., Path], tmp_path: Path) -> None:
    folders = [make(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    with opened(folders[1], "hf") as hf:
        expected = totals(hf, mixed_requests(100))
    with opened(folders[0], "vllm") as backend:
        assert largest_difference(totals(backend, mixed_requests(100)), expected) > TOLERANCE
        backend.load_weights(str(folders[1]))
        assert largest_difference(totals(backend, mixed_requests(100)), expected) < TOLERANCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_llama(tmp_path_factory.mktemp("model"), head_size=32)


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[Any]:
    with opened(folder, "vllm") as vllm:
        yield vllm


def other(kind: str, folder: Path, place: Path) -> Path:
    """A checkpoint that differs from `folder` in something that vLLM would not look at."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, place)
    config, weights = place / "config.json", place / "model.safetensors"
    if kind == "configuration":
        config.write_text(json.dumps(json.loads(config.read_text()) | {"rms_norm_eps": 0.1}))
    elif kind == "tokenizer":
        models.tokenizer(place, vocab_size=300, bos=True)
    elif kind == "cut short":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        tensors = load_file(weights)
        norm = tensors.pop("model.norm.weight")
        if kind == "another name":
            tensors["model.norm2.weight"] = norm
        elif kind == "another shape":
            tensors["model.norm.weight"] = norm[:-1].clone()
        save_file(tensors, weights, metadata={"format": "pt"})
    return place


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("configuration", "its rms_norm_eps is 0.1"),
        ("tokenizer", "has another tokenizer"),
        ("cut short", "is cut short"),
        ("a tensor less", "lacks model.norm.weight"),
        ("another name", "model.norm"),
        ("another shape", r"with shape \[127\]"),
    ],
)
def test_another_model_is_refused_and_the_old_one_goes_on(
    backend: Any, folder: Path, tmp_path: Path, kind: str, words: str
) -> None:
    info, before = backend.info, totals(backend, mixed_requests(20))
    with pytest.raises(ModelError, match=words):
        backend.load_weights(str(other(kind, folder, tmp_path / "other")))
    assert backend.info == info
    assert largest_difference(before, totals(backend, mixed_requests(20))) == 0.0
