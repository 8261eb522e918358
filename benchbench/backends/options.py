"""Which model to open, and how: what a user says, before any engine looks at it."""

from __future__ import annotations

from dataclasses import dataclass

from benchbench.core.pairs import name_value_pairs


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model to open, and how."""

    model: str
    """A folder, a hub name, or a GGUF file."""
    backend: str = "auto"
    revision: str | None = None
    """Branch, tag or commit of a hub name."""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16. auto is the checkpoint's own type."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1. auto is the first GPU if there is one."""
    trust_remote_code: bool = False
    """Run the model's own Python code."""
    max_length: int | None = None
    """Tokens the model may see at once; None takes what the model says."""
    batch_tokens: int | None = None
    """Most tokens in one batch, those of shared prefixes and padding included; None lets the engine choose."""
    plan: str = "auto"
    """auto, packed, branched or plain: how requests with a shared prefix are laid out."""
    tokenizer: str | None = None
    """A folder or hub name whose tokenizer is used; None takes the one beside the weights."""
    keep_tokens: bool = False
    """Keep the tokens of every task, not of the last one only: for a series of checkpoints that are asked the same."""
    model_args: tuple[tuple[str, str], ...] = ()
    """(name, value) of options that only this engine has. They go into the record: no keys, no passwords."""


def parse_model_args(text: str) -> tuple[tuple[str, str], ...]:
    """(name, value) pairs of `name=value,name=value`, sorted. Raises ArgumentError for anything else."""
    return tuple(sorted(name_value_pairs(text, "--model-args").items()))
