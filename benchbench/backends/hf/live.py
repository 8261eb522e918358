"""What `save_pretrained` would write of a model in memory: what its identity is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch


def saved_tensors(model: Any) -> dict[str, torch.Tensor]:
    """The tensors that would be written: those tied to another are left out."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    state: Mapping[str, torch.Tensor] = model.state_dict()
    places = {name: tensor.data_ptr() for name, tensor in state.items()}
    return {
        name: tensor
        for name, tensor in state.items()
        if not (name in tied and places.get(tied[name]) == places[name] and tensor.numel())
    }


def saved_config(config: Any, model_class: type) -> dict[str, Any]:
    """What config.json would hold."""
    value: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    return {**value, "architectures": [model_class.__name__]}


def saved_generation(model: Any) -> dict[str, Any]:
    """What generation_config.json would hold; {} where none would be written."""
    config = getattr(model, "generation_config", None)
    if config is None or not model.can_generate():
        return {}
    value: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    return value
