"""A model ready to compute, with everything that its answers depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from benchbench.backends.hf import architecture as arch
from benchbench.backends.hf.source import Source
from benchbench.backends.hf.tokenizer import has_own_tokenizer, prefix_token_id
from benchbench.backends.identity import tokenizer_identity
from benchbench.backends.options import ModelOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Opened(Protocol):
    """What is known of a model in memory, whichever engine holds it."""

    source: Source
    config: dict[str, Any]
    generation: dict[str, Any]
    tokenizer_identity: str
    own_code: bool
    trusted: bool
    words: Source | None


@dataclass(slots=True)
class LoadedModel:
    """A model ready to compute, and what its answers depend on."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    architecture: Literal["causal", "seq2seq"]
    max_length: int
    """Tokens that the model may see at once."""
    identity: str
    """sha256 of weights, configuration and custom code."""
    tokenizer_identity: str
    dtype: str
    device: torch.device
    num_parameters: int
    revision: str | None
    """Commit of a hub model, None for a local one."""
    notes: tuple[str, ...]
    """What differs from what the user may expect, as sentences without a full stop."""
    source: Source
    config: dict[str, Any] = field(default_factory=dict)
    """config.json as it lies on disk."""
    own_code: bool = False
    """The repository's Python code runs."""
    trusted: bool = False
    """The user gave --trust-remote-code."""
    generation: dict[str, Any] = field(default_factory=dict)
    """generation_config.json as it lies on disk, {} if there is none."""
    words: Source | None = None
    """Where the tokenizer is from, if not from beside the weights."""

    @property
    def prefix_token_id(self) -> int:
        """The token before an empty context: beginning, else end of sequence, as in lm-eval."""
        return prefix_token_id(self.tokenizer)


def own_tokenizer_identity(folder: Path, trusted: bool) -> str:
    """Identity of the tokenizer in `folder`, with its Python code where that is trusted to run."""
    own_code = trusted and has_own_tokenizer(folder)
    return tokenizer_identity(folder, code=folder.glob("*.py") if own_code else [])


def set_length(config: Any, raw: dict[str, Any], tokenizer: Any, options: ModelOptions, name: str) -> int:
    """The model's length in tokens, also put into `config` where it was asked for and is more than the model's own."""
    own = arch.own_length(config, tokenizer)
    length = arch.choose_length(options.max_length, own, raw, name)
    if own is not None and length > own:
        for key in arch.LENGTH_KEYS:
            if getattr(config, key, None) is not None:
                setattr(config, key, length)
    return length
