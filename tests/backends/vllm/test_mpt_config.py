"""Which MPT configurations are computed on vLLM, and how they are put to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.vllm.mpt_config import check_mpt, key_heads, make_view
from benchbench.core.errors import ModelError

PLAIN: dict[str, Any] = {"model_type": "mpt", "n_heads": 4, "d_model": 128, "n_layers": 2}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"expansion_ratio": 4, "attn_config": {"alibi": True, "clip_qkv": 6.0, "softmax_scale": 0.1}},
        {"attn_config": {"attn_type": "grouped_query_attention", "kv_n_heads": 2}},
        {"tie_word_embeddings": False, "no_bias": True},
    ],
)
def test_what_is_computed_is_taken(options: dict[str, Any]) -> None:
    check_mpt(PLAIN | options, "model")
    with pytest.raises(ModelError, match="logit_scale="):
        check_mpt(PLAIN | options | {"logit_scale": "inv_sqrt_d_model"}, "model")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"expansion_ratio": 3}, "expansion_ratio=3"),
        ({"no_bias": False}, "no_bias=False"),
        ({"logit_scale": "inv_sqrt_d_model"}, "logit_scale="),
        ({"norm_type": "rmsnorm"}, "norm_type='rmsnorm'"),
        ({"attn_config": {"alibi": False}}, r"attn_config\.alibi=False"),
        ({"attn_config": {"qk_ln": True}}, r"attn_config\.qk_ln=True"),
        ({"attn_config": {"prefix_lm": True}}, r"attn_config\.prefix_lm=True"),
        ({"attn_config": {"rope": True}}, r"attn_config\.rope=True"),
        ({"attn_config": {"sliding_window_size": 512}}, "sliding_window_size=512"),
        ({"ffn_config": {"ffn_type": "mptglu"}}, "ffn_type='mptglu'"),
        ({"attn_config": {"attn_type": "grouped_query_attention", "kv_n_heads": 3}}, "4 heads and 3 key heads"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        check_mpt(PLAIN | options, "model")


def test_key_heads() -> None:
    def heads(**attention: Any) -> int:
        return key_heads(PLAIN | {"attn_config": attention})

    assert key_heads(PLAIN) == heads(kv_n_heads=2) == 4
    assert heads(attn_type="multiquery_attention") == 1
    assert heads(attn_type="grouped_query_attention", kv_n_heads=2) == 2


def test_a_view_links_the_weights_and_names_no_code(tmp_path: Path) -> None:
    folder, view = tmp_path / "model", tmp_path / "view"
    folder.mkdir()
    view.mkdir()
    attention = {"attn_type": "grouped_query_attention", "kv_n_heads": 2, "attn_pdrop": 0.0}
    raw = PLAIN | {"attn_config": attention, "auto_map": {"AutoConfig": "c.C"}, "expansion_ratio": 4.0}
    (folder / "config.json").write_text(json.dumps(raw))
    (folder / "model.safetensors").write_bytes(b"weights")
    make_view(raw, folder, view)
    assert (view / "model.safetensors").read_bytes() == b"weights"
    config = json.loads((view / "config.json").read_text())
    assert config["num_key_value_heads"] == 2
    assert config["architectures"] == ["MptForCausalLM"]
    assert "auto_map" not in config
    assert (config["expansion_ratio"], type(config["expansion_ratio"])) == (4, int)
    assert json.loads((folder / "config.json").read_text()) == raw
