"""What the tests of loading share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import load_model
from benchbench.backends.models.loaded import LoadedModel
from benchbench.core.errors import ModelError
from tests import models

FACTORIES: dict[str, Callable[[Path], Path]] = {
    "llama": models.tiny_llama,
    "llama tied": lambda folder: models.tiny_llama(folder, tied=True, bos=False),
    "mistral": models.tiny_mistral,
    "qwen2": models.tiny_qwen2,
    "gpt2": models.tiny_gpt2,
    "mpt": models.tiny_mpt,
    "mpt 6 heads": lambda folder: models.tiny_mpt(folder, n_heads=6),
    "custom code": models.custom_code,
    "t5": models.tiny_t5,
}
IDS = torch.tensor([[5, 17, 230, 41, 99, 8]])
PROMPT = "Praha je hlavní město"


def load(model: Path | str, **options: Any) -> LoadedModel:
    """The model, on the CPU."""
    return load_model(ModelOptions(str(model), device="cpu", **options))


def refused(model: Path | str, sentence: str, **options: Any) -> str:
    """The sentence with which the model is refused, which must hold `sentence`."""
    with pytest.raises(ModelError, match=sentence) as caught:
        load(model, **options)
    return str(caught.value)


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def logits(loaded: LoadedModel) -> torch.Tensor:
    """What the model says of IDS."""
    with torch.no_grad():
        extra = {"decoder_input_ids": IDS} if loaded.architecture == "seq2seq" else {}
        result: torch.Tensor = loaded.model(input_ids=IDS, **extra).logits
        return result
