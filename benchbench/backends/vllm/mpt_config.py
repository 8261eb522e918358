"""Which MPT configurations our vLLM class computes, and how vLLM is given them. Importing this imports no vLLM."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchbench.backends.models.config import mpt_config, not_honoured
from benchbench.core.errors import ModelError
from benchbench.core.json_record import object_at

ARCHITECTURES = ("MPTForCausalLM", "MptForCausalLM")
HONOURED: Mapping[str, tuple[Any, ...]] = {
    "expansion_ratio": (4,),
    "logit_scale": (None,),
    "norm_type": ("low_precision_layernorm", "layernorm"),
    "norm_eps": (1e-5,),
    "no_bias": (True,),
    "attn_config.alibi": (True,),
    "attn_config.attn_type": ("multihead_attention", "multiquery_attention", "grouped_query_attention"),
    "attn_config.prefix_lm": (False,),
    "attn_config.qk_ln": (False,),
    "attn_config.qk_gn": (False,),
    "attn_config.rope": (False,),
    "attn_config.sliding_window_size": (-1,),
    "attn_config.fused_qkv": (True,),
    "ffn_config.ffn_type": ("mptmlp",),
    "ffn_config.ffn_act_fn": (None, {"name": "gelu", "approximate": "none"}),
}
"""The values of these options that `mpt.py` computes; the first stands for an option that is not given.

An MLP is four times as wide as the model, as transformers has it whatever the configuration says.
"""


def check_mpt(raw: Mapping[str, Any], name: str) -> None:
    """Raises ModelError for a configuration that our class would compute wrongly."""
    for key, value, honoured in not_honoured(raw, HONOURED):
        raise ModelError(
            f"{name} has {key}={value!r}; MPT on vLLM computes only {' or '.join(map(repr, honoured))}. "
            "--backend hf --trust-remote-code runs the model's own code, if it brings any."
        )
    heads, kv_heads = int(raw["n_heads"]), key_heads(raw)
    if heads % kv_heads:
        raise ModelError(f"{name} has {heads} heads and {kv_heads} key heads; the first must be a multiple of these.")


def key_heads(raw: Mapping[str, Any]) -> int:
    """Heads of keys and values: as many as of queries, one, or as many as the configuration groups them to."""
    heads = int(raw["n_heads"])
    attention = raw.get("attn_config") or {}
    kind = attention.get("attn_type", "multihead_attention")
    if kind == "multiquery_attention":
        return 1
    return int(attention.get("kv_n_heads") or heads) if kind == "grouped_query_attention" else heads


def make_view(raw: Mapping[str, Any], folder: Path, view: Path) -> Path:
    """The model of `folder` in the empty folder `view`, with a configuration that vLLM reads as ours.

    Links to the files, and a config.json whose numbers have the types that transformers takes, whose grouped heads
    stand where vLLM looks for them, and which names no code.
    """
    for file in folder.iterdir():
        if file.is_file() and file.name != "config.json":
            (view / file.name).symlink_to(file.resolve())
    config = mpt_config(raw)
    config["attn_config"] = {**object_at(config, "attn_config"), "attn_type": "multihead_attention"}
    config.pop("auto_map", None)
    config |= {"architectures": [ARCHITECTURES[1]], "num_key_value_heads": key_heads(raw)}
    (view / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return view


def register() -> None:
    """Makes our MPT class known to vLLM, which calls this when it starts, in every process, by an entry point of the
    group `vllm.general_plugins`. May be called more than once.
    """
    from vllm import ModelRegistry

    for name in ARCHITECTURES:
        ModelRegistry.register_model(name, "benchbench.backends.vllm.mpt:MPTForCausalLM")
