"""Tiny random PEFT adapters for tests, as peft's own `save_pretrained` writes them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def lora(folder: Path, base: Path, *, seed: int = 0, merged: Path | None = None, **changes: Any) -> Path:
    """Writes a LoRA with large random weights on `base`; `merged`: where the model with it merged is written, too."""
    peft = pytest.importorskip("peft")
    settings = {"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, **changes}
    return written(folder, base, peft.LoraConfig(task_type="CAUSAL_LM", **settings), seed=seed, merged=merged)


def written(folder: Path, base: Path, config: Any, *, seed: int = 0, merged: Path | None = None) -> Path:
    """Writes an adapter of this configuration, whose weights are random and large enough to be seen."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * (0.3 if "lora" in name else 0.1))
        model.save_pretrained(folder)
        if merged is not None:
            model.merge_and_unload().save_pretrained(merged)
            for name in TOKENIZER:
                (merged / name).write_bytes((base / name).read_bytes())
    return folder
