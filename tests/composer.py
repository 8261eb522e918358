"""Composer checkpoints for tests: from a model folder in transformers' format to what llm-foundry would have saved."""

from __future__ import annotations

import datetime
import json
import random
import warnings
from pathlib import Path
from typing import Any

FOUNDRY_ONLY = {"verbose": 0, "fc_type": {"name": "torch"}, "ffn_config": {"ffn_type": "mptmlp"}}
"""Options that llm-foundry's configuration has and transformers' has not."""


def composer_state(folder: Path, *, batch: int, tokens: int, config: bool = True, wrapper: str = "") -> dict[str, Any]:
    """The checkpoint's content, with the parts that no model is made of: clock, optimizer, random states."""
    import numpy as np
    import torch
    from safetensors.torch import load_file

    raw = json.loads((folder / "config.json").read_text())
    raw = {key: value for key, value in raw.items() if key not in ("architectures", "transformers_version")}
    content = {**raw, **FOUNDRY_ONLY, "torch_dtype": "bfloat16", "attn_config": {**raw["attn_config"], "rope": False}}
    weights = load_file(folder / "model.safetensors")
    clock = {"epoch": 0, "batch": batch, "sample": 8 * batch, "token": tokens, "total_wct": datetime.timedelta(hours=1)}
    hugging = {"model": {"config": {"file_extension": ".json", "class": "MPTConfig", "content": content}}}
    return {
        "state": {
            "model": {f"model.{wrapper}{name}": tensor for name, tensor in weights.items()},
            "optimizers": {"DecoupledAdamW": {"state": {}, "param_groups": [{"lr": 1e-4}]}},
            "timestamp": clock,
            "integrations": {"huggingface": hugging} if config else {},
            "run_name": "csmpt",
            "metadata": {"torch_version": torch.__version__, "composer_env_info": {"composer_version": "0.32.1"}},
        },
        "rng": [{"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}],
    }


def composer_file(folder: Path, file: Path, *, batch: int, tokens: int = 0, **options: Any) -> Path:
    """The model in `folder` as `<file>`, e.g. `ep0-ba500-rank0.pt`."""
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(composer_state(folder, batch=batch, tokens=tokens, **options), file)
    return file


def composer_shards(folder: Path, shards: Path, *, batch: int) -> Path:
    """The model in `folder` as torch's distributed shards with their index."""
    import torch.distributed.checkpoint as distributed

    state = composer_state(folder, batch=batch, tokens=0)
    kept = {"model": state["state"]["model"], "timestamp": {"batch": batch, "token": 0}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no other process takes part
        distributed.save({"state": kept}, checkpoint_id=shards, no_dist=True)
    return shards
