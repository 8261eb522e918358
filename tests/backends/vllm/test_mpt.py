"""Our MPT class for vLLM against transformers' MPT, in fp32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import ModelError
from benchbench.core.types import GenerateRequest, GenerationParams, Prompt, RollingRequest
from tests import models
from tests.backends.vllm.conftest import TEXT, largest_difference, mixed_requests, opened, totals

pytestmark = pytest.mark.vllm
TOLERANCE = 1e-3
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "six heads, clipped": {"n_heads": 6, "attn_config": {"clip_qkv": 0.7, "softmax_scale": 0.3}},
    "own output layer": {"tie_word_embeddings": False, "n_heads": 3},
}


def texts(backend: Any) -> dict[int, tuple[str, str]]:
    asked = [
        GenerateRequest("g", doc, 0, Prompt("", (), TEXT[: 9 + 25 * doc]), GenerationParams(("e",), 16))
        for doc in range(8)
    ]
    return {answer.request.doc_id: (answer.text, answer.finish_reason) for answer in backend.generate(asked)}


def check_equal(transformers: Path, vllm: Path, count: int = 500) -> None:
    """Log-likelihoods, rolling windows and greedy texts of two folders, one with each engine."""
    rolling = [RollingRequest("r", 0, 0, TEXT * 12)]
    with opened(transformers, "hf") as hf:
        expected, whole, written = totals(hf, mixed_requests(count)), next(hf.loglikelihood_rolling(rolling)), texts(hf)
    with opened(vllm, "vllm") as backend:
        assert largest_difference(totals(backend, mixed_requests(count)), expected) < TOLERANCE
        assert next(backend.loglikelihood_rolling(rolling)).total == pytest.approx(whole.total, abs=2 * TOLERANCE)
        assert texts(backend) == written


@pytest.mark.parametrize("variant", VARIANTS)
def test_500_mixed_requests_equal_transformers(tmp_path: Path, variant: str) -> None:
    models.tiny_mpt(tmp_path, head_size=32, **VARIANTS[variant])
    check_equal(tmp_path, tmp_path)


@pytest.mark.parametrize("key_heads", [1, 2])
def test_grouped_heads_are_heads_that_share_their_keys_and_values(tmp_path: Path, key_heads: int) -> None:
    """Transformers knows no grouped heads, so each group's keys and values are repeated for it."""
    from safetensors.torch import load_file, save_file

    grouped, repeated = tmp_path / "grouped", tmp_path / "repeated"
    for folder in (grouped, repeated):
        folder.mkdir()
        models.tiny_mpt(folder, head_size=32)
    tensors = load_file(grouped / "model.safetensors")
    few, many = dict(tensors), dict(tensors)
    for name in (name for name in tensors if "Wqkv" in name):
        queries, keys, values = tensors[name].view(3, 4, 32, -1)
        keys, values = keys[:key_heads], values[:key_heads]
        width = tensors[name].shape[1]
        few[name] = models_cat(queries, keys, values, width)
        times = 4 // key_heads
        many[name] = models_cat(
            queries, keys.repeat_interleave(times, dim=0), values.repeat_interleave(times, dim=0), width
        )
    save_file(few, grouped / "model.safetensors", metadata={"format": "pt"})
    save_file(many, repeated / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((grouped / "config.json").read_text())
    kind = {"attn_type": "multiquery_attention"} if key_heads == 1 else {"attn_type": "grouped_query_attention"}
    config["attn_config"] |= kind | ({} if key_heads == 1 else {"kv_n_heads": key_heads})
    (grouped / "config.json").write_text(json.dumps(config))
    check_equal(repeated, grouped, count=120)


def models_cat(queries: Any, keys: Any, values: Any, width: int) -> Any:
    """One projection of all heads, rows × width."""
    import torch

    return torch.cat([part.reshape(-1, width) for part in (queries, keys, values)]).contiguous()


def test_a_configuration_that_would_be_computed_wrongly_is_refused(tmp_path: Path) -> None:
    models.tiny_mpt(tmp_path, head_size=32)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"expansion_ratio": 2}))
    with pytest.raises(ModelError, match=r"expansion_ratio=2; MPT on vLLM computes only 4\."), opened(tmp_path, "vllm"):
        pass


@pytest.mark.parametrize(("heads", "bias_max"), [(1, 8), (4, 8), (6, 8), (12, 4), (40, 8), (71, 8)])
def test_slopes_are_those_of_transformers(heads: int, bias_max: int) -> None:
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    from benchbench.backends.vllm.mpt import alibi_slopes

    penalty = -build_mpt_alibi_tensor(heads, 2, bias_max)[:, 0, 0]
    assert alibi_slopes(heads, bias_max) == pytest.approx(penalty.tolist(), rel=1e-6)
