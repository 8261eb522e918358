"""Checkpoints in torch's distributed shards for tests, written by torch itself.

As a program (`torchrun -m tests.shards MODEL OUT`) it trains a transformers model, spread over the processes by FSDP,
and writes each step in every layout, and whole in transformers' format.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STEPS = (1, 2)
LAYOUTS = ("plain", "trainer", "app", "composer", "titan")
NAMES = {
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_norm": "attention.q_norm",
    "self_attn.k_norm": "attention.k_norm",
    "self_attn.q_proj": "attention.qkv_linear.wq",
    "self_attn.k_proj": "attention.qkv_linear.wk",
    "self_attn.v_proj": "attention.qkv_linear.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
}
"""What torchtitan's adapter calls transformers' modules."""
OLD_NAMES = {"attention.qkv_linear.": "attention.", "lm_head.": "output."}
"""What it called them before."""


def titan(tensors: Mapping[str, Any], config: Any, *, turned: bool = True, old: bool = False) -> dict[str, Any]:
    """The tensors of a transformers model as torchtitan has them, in its newer or its older names."""
    found = {}
    for name, tensor in tensors.items():
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        new = re.sub(r"^model\.layers\.(\d+)\.", r"layers.\1.", name)
        for ours, theirs in NAMES.items():
            new = re.sub(rf"(^|\.){re.escape(ours)}(?=\.weight$)", rf"\g<1>{theirs}", new)
        for newer, older in OLD_NAMES.items() if old else ():
            new = new.replace(newer, older)
        found[new] = tensor if heads is None or not turned else _pairs(tensor, heads)
    return found


def _pairs(tensor: Any, heads: int) -> Any:
    rows, width = tensor.shape
    return tensor.view(heads, 2, rows // heads // 2, width).transpose(1, 2).reshape(rows, width)


def save(state: Mapping[str, Any], folder: Path, *, alone: bool = True) -> Path:
    """`state` as torch writes it, by this process or by all that train together."""
    import torch.distributed.checkpoint as distributed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no other process takes part
        distributed.save(dict(state), checkpoint_id=folder, no_dist=alone)
    return folder


def in_layout(layout: str, model: Mapping[str, Any], optimizer: Any, config: Any) -> tuple[dict[str, Any], str]:
    """What a trainer saves, and in which folder of a step; `{}` is the step."""
    match layout:
        case "plain":
            return {**model, "optimizer": optimizer, "train_state": {"step": 1}}, "step-{}"
        case "trainer":
            return {"model": model}, "checkpoint-{}/pytorch_model_fsdp_0"
        case "app":
            return {"app": {"model": model, "optim": optimizer}}, "step-{}"
        case "composer":
            tensors = {f"model.{name}": tensor for name, tensor in model.items()}
            return {"state": {"model": tensors, "optimizers": {"O": optimizer}}}, "ep0-ba{}"
        case _:
            return {**titan(model, config), "optimizer": optimizer}, "step-{}"


def _train(source: str, out: Path) -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, distribute_tensor
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    model: Any = AutoModelForCausalLM.from_pretrained(source)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2)
    for step in STEPS:
        ids = torch.arange(64).view(2, 32) * (7 + step + dist.get_rank()) % 300
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        tensors, moments = get_state_dict(model, optimizer)
        for layout in LAYOUTS:
            if layout == "titan":
                whole = titan({name: tensor.full_tensor() for name, tensor in tensors.items()}, model.config)
                spread = {name: distribute_tensor(tensor, mesh) for name, tensor in whole.items()}
                state, place = {**spread, "optimizer": moments}, "step-{}"
            else:
                state, place = in_layout(layout, tensors, moments, model.config)
            save(state, out / layout / place.format(step), alone=False)
        full = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if dist.get_rank() == 0:
            assert all(isinstance(tensor, DTensor) for tensor in tensors.values()), "spread over the processes"
            exported = AutoModelForCausalLM.from_pretrained(source)
            exported.load_state_dict(full)
            exported.save_pretrained(out / "exported" / f"step-{step}")
            AutoTokenizer.from_pretrained(source).save_pretrained(out / "exported" / f"step-{step}")
    dist.destroy_process_group()


if __name__ == "__main__":
    _train(sys.argv[1], Path(sys.argv[2]))
