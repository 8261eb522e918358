"""Folders of torch's distributed shards, as FSDP's users, the Trainer, Composer and torchtitan write them.

Which of their tensors make the model is told by its configuration, which lies beside the tokenizer: the optimizer's
are never read. torchtitan's names are those of its own models; where they differ from transformers' in more than the
names, the tensors are turned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.backends.models.files import and_more, check_files
from benchbench.backends.models.formats.state_dict import StateDictFormat, TrainingState, without_wrappers
from benchbench.backends.models.layouts import holds_weights
from benchbench.backends.models.shards import Stored, has_shards, read_count, read_index, read_tensor
from benchbench.core.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

TRAINER = "pytorch_model_fsdp_0"
"""The folder in a checkpoint of transformers' Trainer (accelerate) that holds the model."""
CLOCK = "state.timestamp.Timestamp.token"
"""Where Composer counts the tokens trained on."""
OTHERS = re.compile(r"(^|\.)(optimizers?|optim|ema\w*)\.")
"""In the name of a tensor that is none of the model's."""
TITAN_MARK = "tok_embeddings.weight"
TITAN: Mapping[str, str] = {
    "tok_embeddings": "model.embed_tokens",
    "norm": "model.norm",
    "lm_head": "lm_head",
    "output": "lm_head",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attention.wo": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    **{f"attention.{one}w{kind}": f"self_attn.{kind}_proj" for kind in "qkv" for one in ("", "qkv_linear.")},
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}
"""torchtitan's name of a module, older and newer, without its layer → transformers'."""
TITAN_MODELS: Mapping[str, bool] = {"llama": True, "qwen3": False}
"""model_type → whether queries and keys are turned: torchtitan's rotary positions take pairs of neighbours there."""
TITAN_NAME = re.compile(r"(?:layers\.(?P<layer>\d+)\.)?(?P<module>[\w.]+)\.weight")


class ShardsFormat(StateDictFormat):
    """A folder with `.distcp` files and their index."""

    title = "a folder of torch's distributed shards"
    beside = "a folder (or a hub model) with the model's config.json and its tokenizer"

    def locate(self, path: Path) -> Path | None:
        """See `CheckpointFormat`. Not Megatron's, whose tensors are not those of a model of transformers."""
        place = path / TRAINER if has_shards(path / TRAINER) else path
        is_other = not has_shards(place) or (path / "common.pt").exists() or holds_weights(path)
        return None if is_other else place

    def check_whole(self, path: Path) -> None:
        """See `CheckpointFormat`."""
        check_files(path)
        read_index(path)

    def step(self, path: Path) -> int | None:
        """See `CheckpointFormat`."""
        return super().step(_outer(path))

    def tokens_seen(self, path: Path) -> int | None:
        """See `CheckpointFormat`. Composer's have a clock."""
        tokens = super().tokens_seen(_outer(path))
        if tokens is not None:
            return tokens
        try:
            return read_count(path, CLOCK) or None
        except ModelError:
            return None

    def read_state(self, path: Path) -> TrainingState:
        """See `StateDictFormat`. The tensors have no memory yet."""
        import torch

        check_files(path)
        return TrainingState(
            {
                name: torch.empty(stored.shape, dtype=getattr(torch, stored.dtype), device="meta")
                for name, stored in read_index(path).items()
                if not OTHERS.search(name)
            },
            None,
        )

    def named(self, path: Path, state: TrainingState, model: PreTrainedModel) -> Mapping[str, torch.Tensor]:
        """See `StateDictFormat`."""
        index = {name: stored for name, stored in read_index(path).items() if not OTHERS.search(name)}
        plain = {without_wrappers(name): name for name in index}
        own = set(model.state_dict())
        mark = _embedding(model)
        starts = sorted(name.removesuffix(mark) for name in plain if name == mark or name.endswith(f".{mark}"))
        if not starts and any(name == TITAN_MARK or name.endswith(f".{TITAN_MARK}") for name in plain):
            return _from_titan(path, plain, index, model.config)
        if len(starts) != 1:
            raise ModelError(_no_model(path, mark, starts, index))
        roots = {name.partition(".")[0] for name in own}
        wanted = {
            rest: name
            for full, name in plain.items()
            if full.startswith(starts[0]) and (rest := full[len(starts[0]) :]).partition(".")[0] in roots
        }
        return {rest: read_tensor(path, name, index[name]) for rest, name in wanted.items()}


FORMAT = ShardsFormat()


def _outer(path: Path) -> Path:
    return path.parent if path.name == TRAINER else path


def _embedding(model: PreTrainedModel) -> str:
    """The name of the tensor that every causal model has."""
    table = model.get_input_embeddings().weight
    return next(name for name, tensor in model.named_parameters() if tensor is table)


def _no_model(path: Path, mark: str, starts: list[str], index: Mapping[str, Stored]) -> str:
    if starts:
        shown = ", ".join(repr(start) for start in starts[:3])
        return f"{path} holds {len(starts)} models, whose names begin with {shown}; which one is meant cannot be told."
    some = f"it holds {next(iter(index))}{and_more(index)}" if index else "it holds no tensors of a model"
    return (
        f"{path} has no {mark}, which the model of the config.json beside the tokenizer has; {some}. Name the model's "
        "own folder with --tokenizer, or convert the shards to transformers' format with the trainer's own script."
    )


def _from_titan(
    path: Path, plain: Mapping[str, str], index: Mapping[str, Stored], config: PretrainedConfig
) -> dict[str, torch.Tensor]:
    """torchtitan's tensors as transformers has them."""
    kind = config.model_type
    start = next(name.removesuffix(TITAN_MARK) for name in plain if name.endswith(TITAN_MARK))
    names = {name[len(start) :]: stored for name, stored in plain.items() if name.startswith(start)}
    found = {name: _titan_name(name) for name in names}
    if kind not in TITAN_MODELS or any(
        name is None and written.startswith("layers.") for written, name in found.items()
    ):
        raise ModelError(
            f"{path} has torchtitan's names for a model of the kind {kind}, which are known here for "
            f"{' and '.join(TITAN_MODELS)} without experts; convert it with torchtitan's own script: `python "
            f"scripts/checkpoint_conversion/convert_to_hf.py {path} OUT --hf_assets_path FOLDER --model_name NAME "
            "--model_flavor SIZE`."
        )
    tensors: dict[str, torch.Tensor] = {}
    for written, name in found.items():
        if name is None:
            continue
        tensor = read_tensor(path, names[written], index[names[written]])
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        tensors[name] = tensor if heads is None or not TITAN_MODELS[kind] else _halves(tensor, heads)
    return tensors


def _titan_name(written: str) -> str | None:
    found = TITAN_NAME.fullmatch(written)
    name = TITAN.get(found["module"]) if found else None
    if found is None or name is None:
        return None
    return f"model.layers.{found['layer']}.{name}.weight" if found["layer"] else f"{name}.weight"


def _halves(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head in transformers' order, the first of every pair before the second ones."""
    rows, width = tensor.shape
    return tensor.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)
