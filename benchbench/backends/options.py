"""Which model to open, and how: what a user says, before any engine looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from benchbench.core.settings import Setting, name_value_pairs

ENGINES: Mapping[str, str] = {
    "hf": "benchbench.backends.hf:ENGINE",
    "vllm": "benchbench.backends.vllm:ENGINE",
    "gguf": "benchbench.extensions.gguf:ENGINE",
    "api": "benchbench.backends.api:ENGINE",
    "scripted": "benchbench.backends.scripted:ENGINE",
}
"""Name → where its `Engine` is. `auto` asks the later ones first: the special before the general."""
_NAMES = tuple(ENGINES)


def parse_model_args(text: str) -> tuple[tuple[str, str], ...]:
    """(name, value) pairs of `name=value,name=value`, sorted. Raises ArgumentError for anything else."""
    return tuple(sorted(name_value_pairs(text, "--model-args").items()))


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model to open, and how."""

    model: Annotated[
        str,
        Setting(
            "A folder, a hub name, a GGUF file, or a name on a server.",
            panel="Model",
            flags=("--model", "-m"),
            identity=False,
        ),
    ]
    backend: Annotated[str, Setting(f"auto, {', '.join(_NAMES[:-1])} or {_NAMES[-1]}.", panel="Model")] = "auto"
    revision: Annotated[str | None, Setting("Branch, tag or commit of a hub model.", panel="Model")] = None
    dtype: Annotated[
        str,
        Setting("auto (the checkpoint's own), float32, bfloat16 or float16.", panel="Model"),
    ] = "auto"
    device: Annotated[
        str,
        Setting(
            "auto (the first GPU if there is one), cpu, cuda, cuda:1, ...", panel="Model", identity=False, record=False
        ),
    ] = "auto"
    trust_remote_code: Annotated[bool, Setting("Run the model's own code.", panel="Model")] = False
    max_length: Annotated[
        int | None, Setting("Tokens the model may see at once. Default: as the model says.", panel="Model")
    ] = None
    batch_tokens: Annotated[
        int | None,
        Setting("Most tokens in one batch, shared prefixes and padding included.", panel="Model", identity=False),
    ] = None
    plan: Annotated[str, Setting(record=False)] = "auto"
    """auto, packed, branched or plain: how requests with a shared prefix are laid out."""
    tokenizer: Annotated[
        str | None,
        Setting("Folder or hub name of the tokenizer. Default: the one beside the weights.", panel="Model"),
    ] = None
    keep_tokens: Annotated[bool, Setting(identity=False, record=False)] = False
    """Keep the tokens of every task, not of the last one only: for a series of checkpoints that are asked the same."""
    model_args: Annotated[
        tuple[tuple[str, str], ...],
        Setting(
            "Options of one backend, name=value,name=value; a wrong name lists them. No passwords: they are recorded.",
            panel="Model",
            cli_type=str,
            parse=parse_model_args,
            pairs=True,
        ),
    ] = ()
