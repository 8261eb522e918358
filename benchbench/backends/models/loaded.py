"""A model ready to compute, with everything that its answers depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.backends.models.config import LENGTH_KEYS, Architecture, choose_length, own_length
from benchbench.backends.models.identity import VOLATILE_CONFIG, canonical, file_identity
from benchbench.backends.models.source import ModelSource
from benchbench.backends.models.tokenizer import has_tokenizer, own_tokenizer_identity, prefix_token_id
from benchbench.backends.options import ModelOptions
from benchbench.core.errors import ModelError
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

OPEN_ANEW = "open it as a model of its own."
"""The end of every sentence that refuses to swap weights."""


@dataclass(slots=True, kw_only=True)
class OpenedModel:
    """What is known of a model in memory, whichever engine holds it."""

    tokenizer: PreTrainedTokenizerBase
    architecture: Architecture
    max_length: int
    """Tokens that the model may see at once."""
    identity: str
    """sha256 of weights, configuration and custom code."""
    tokenizer_identity: str
    dtype: str
    num_parameters: int | None
    """None where the files do not tell."""
    revision: str | None
    """Commit of a hub model, None for a local one."""
    notes: tuple[str, ...]
    """What differs from what the user may expect, as sentences without a full stop."""
    source: ModelSource
    config: dict[str, Json]
    """config.json as it lies on disk."""
    generation: dict[str, Json]
    """generation_config.json as it lies on disk, {} if there is none."""
    own_code: bool = False
    """The repository's Python code runs."""
    trusted: bool = False
    """The user gave --trust-remote-code."""
    tokenizer_source: ModelSource | None = None
    """Where the tokenizer is from, if not from beside the weights."""

    @property
    def prefix_token_id(self) -> int:
        """The token before an empty context: beginning, else end of sequence, as in lm-eval."""
        return prefix_token_id(self.tokenizer)


@dataclass(slots=True, kw_only=True)
class LoadedModel(OpenedModel):
    """A model of transformers in this process's memory."""

    model: PreTrainedModel
    device: torch.device


def set_length(
    config: PretrainedConfig,
    raw: Mapping[str, Json],
    tokenizer: PreTrainedTokenizerBase,
    options: ModelOptions,
    name: str,
) -> int:
    """The model's length in tokens, also put into `config` where it was asked for and is more than the model's own."""
    own = own_length(config, tokenizer)
    length = choose_length(options.max_length, own, raw, name)
    if own is not None and length > own:
        for key in LENGTH_KEYS:
            if getattr(config, key, None) is not None:
                setattr(config, key, length)
    return length


def check_same(
    opened: OpenedModel, source: ModelSource, config: dict[str, Json], generation: dict[str, Json] | None
) -> None:
    """Raises ModelError where `source` differs from the opened model in anything but its weights.

    Without `generation` that configuration is made from `config`, so it need not be compared.
    """
    new, old = source.name, opened.source.name
    pairs = [(opened.config, config)] + ([] if generation is None else [(opened.generation, generation)])
    for pair in pairs:
        before, after = (canonical(one, VOLATILE_CONFIG) for one in pair)
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                raise ModelError(
                    f"{new} is another model than {old}: its {key} is {after.get(key)!r}, not {before.get(key)!r}; "
                    + OPEN_ANEW
                )
    brings_tokenizer = opened.tokenizer_source is None and has_tokenizer(source.folder)
    if brings_tokenizer and own_tokenizer_identity(source.folder, opened.trusted) != opened.tokenizer_identity:
        raise ModelError(f"{new} has another tokenizer than {old}; {OPEN_ANEW}")
    if opened.own_code and _code(source.folder) != _code(opened.source.folder):
        raise ModelError(f"{new} has other Python code than {old}; {OPEN_ANEW}")


def _code(folder: Path) -> list[tuple[str, str]]:
    return sorted((path.name, file_identity(path)) for path in folder.glob("*.py"))
