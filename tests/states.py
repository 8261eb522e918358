"""Tiny random models that keep a state: hybrids of attention and recurrence or convolution, and state-space models."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

from benchbench.backends.hf.causal import Layout
from benchbench.backends.hf.generate import CausalGenerator
from benchbench.backends.hf.model import CausalModel
from benchbench.backends.hf.scorer import CausalScorer
from benchbench.backends.plan import Limits
from tests import models

VOCABULARY = 320
LIMITS = Limits(batch_tokens=512, logit_rows=400, cached_tokens=8_000, width=512, block_overhead=32)
SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
PURE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
DELTA: dict[str, Any] = {
    "head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
MAMBA: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
JAMBA = {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "use_mamba_kernels": False}
FAMILIES: dict[str, dict[str, Any]] = {
    "lfm2": {**SIZE, "block_multiple_of": 16, "layer_types": ["conv", "full_attention"]},
    "mamba2": {**PURE, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 16},
    "mamba": PURE,
    "falcon_mamba": PURE,
    "falcon_h1": {**SIZE, "mamba_d_ssm": 64, **MAMBA, "mamba_chunk_size": 16},
    "qwen3_next": {**SIZE, **DELTA, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "qwen3_5_text": {**SIZE, **DELTA},
    "jamba": {**SIZE, **JAMBA, "mamba_d_state": 8},
    "bamba": {**SIZE, "attn_layer_indices": [1], **MAMBA, "mamba_chunk_size": 16},
    "granitemoehybrid": {**SIZE, "layer_types": ["mamba", "attention"], "num_local_experts": 2, **MAMBA},
    "minimax": {**SIZE, "head_dim": 8, "layer_types": ["linear_attention", "full_attention"], "block_size": 16},
    "recurrent_gemma": {**SIZE, "num_hidden_layers": 3, "num_key_value_heads": 1, "attention_window_size": 24},
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32, "context_length": 512},
}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL = ("a_log", "dt_", "norm", "conv", "time_")
"""Parts of the names of weights that keep what they are made with: a state must neither vanish nor explode."""


def made(name: str) -> Any:
    """A model of this family with random weights, so large that a wrong state shows in the numbers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    ends = {key: value for key, value in ENDS.items() if name != "rwkv" or key != "pad_token_id"}
    config = AutoConfig.for_model(name, vocab_size=VOCABULARY, **ends, **FAMILIES[name])
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for path, weight in model.named_parameters():
            if weight.dim() >= 2 and not any(part in path.lower() for part in SMALL):
                weight.normal_(0, 0.5 if "embed" in path else 1.5 / weight.shape[-1] ** 0.5)
    return model


def scorer(name: str, plan: Layout | str = "auto") -> CausalScorer:
    """The engine's scorer over `made(name)`."""
    model = made(name)
    return CausalScorer(CausalModel(model, torch.device("cpu")), LIMITS, plan=plan, config=model.config)


def generator(name: str, folder: Path) -> CausalGenerator:
    """The engine's writer over `made(name)`; its tokenizer is put into `folder`."""
    from transformers import AutoTokenizer

    models.tokenizer(folder, vocab_size=VOCABULARY)
    scores = scorer(name)
    return CausalGenerator(scores.model, AutoTokenizer.from_pretrained(folder), scores, LIMITS)


def contexts(count: int, *, shots: int, longest: int = 30) -> list[tuple[int, ...]]:
    """Texts of unlike lengths that begin with the same tokens."""
    rng = random.Random(0)
    draw = lambda n: tuple(rng.randrange(3, 300) for _ in range(n))  # noqa: E731
    block = draw(shots)
    return [block + draw(rng.randrange(2, longest)) for _ in range(count)]
