"""Constants that former versions stored beside the weights open; weights that would be ignored are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPTNeoConfig, LlamaConfig, PreTrainedModel

from benchbench.backends.models.constants import is_constant
from tests import models
from tests.backends.loading import edit, load, logits, refused

LENGTH = 512
ONES = torch.ones(LENGTH, LENGTH)
ANGLES = torch.arange(20.0)[:, None] * 10_000 ** (-torch.arange(8.0) / 8)
EMPTY = torch.finfo(torch.float16).min


def banded(size: int, window: int) -> torch.Tensor:
    full = torch.ones(size, size).bool()
    return full.tril() & full.triu(1 - window)


def added(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """`folder`, with further tensors in its weights."""
    file = folder / "model.safetensors"
    save_file(load_file(file) | tensors, file, metadata={"format": "pt"})
    return folder


STORED = {
    "0.attn.masked_bias": torch.tensor(-1e4),
    "1.attn.masked_bias": torch.tensor([-65504.0]).half(),
    "0.attn.bias": ONES.tril().byte()[None, None],
    "1.attn.bias": torch.ones(700, 700).bool().tril()[None, None],
    "0.attn.mask": ONES.tril()[None, None],
    "1.attn.mask": torch.full((9, 9), EMPTY).triu(1),
    "0.attn.position_ids": torch.arange(LENGTH)[None],
    "0.attn.num_batches_tracked": torch.tensor(7),
    "0.version": torch.tensor([3.0]),
}


def test_constants_of_former_versions_change_nothing(tmp_path: Path) -> None:
    folder = models.tiny_gpt2(tmp_path)
    before = logits(load(folder))
    added(folder, {f"transformer.h.{name}": tensor.contiguous() for name, tensor in STORED.items()})
    assert torch.equal(logits(load(folder)), before)


def test_constants_in_torch_files_and_without_the_models_prefix(tmp_path: Path) -> None:
    folder = models.tiny_gpt2(tmp_path)
    before = logits(load(folder))
    weights = {
        name.removeprefix("transformer."): tensor for name, tensor in load_file(folder / "model.safetensors").items()
    }
    constants = {"h.0.attn.masked_bias": torch.tensor(-1e9), "h.1.attn.bias": ONES.tril().byte()[None, None]}
    torch.save(weights | constants, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert torch.equal(logits(load(folder)), before)


WEIGHTS = {
    "self_attn.sinks": torch.rand(4),
    "self_attn.q_norm.weight": torch.rand(8),
    "self_attn.rotary.inv_freq": 500_000 ** (-torch.arange(4.0) / 4),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_another_model_computes_with_is_refused(folder: Path, name: str) -> None:
    added(folder, {f"model.layers.0.{name}": WEIGHTS[name]})
    refused(folder, rf"has model\.layers\.0\.{name}, which transformers' LlamaForCausalLM would ignore")


def test_parts_that_take_no_part_in_the_answer_are_left(folder: Path) -> None:
    before = logits(load(folder))
    further = {"model.layers.7.self_attn.q_proj.weight": torch.rand(8, 8), "v_head.summary.weight": torch.rand(1, 32)}
    added(folder, further)
    assert torch.equal(logits(load(folder)), before)


@pytest.fixture(scope="module")
def rotary() -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=8, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, rope_theta=5e4
    )
    return AutoModelForCausalLM.from_config(config)


def rotations(count: int, base: float) -> torch.Tensor:
    result: torch.Tensor = base ** (-torch.arange(float(count)) / count)
    return result


WAVES = torch.cat([ANGLES.sin(), ANGLES.cos()], 1)
TWICE = torch.cat([ANGLES, ANGLES], 1)
SLOPES = 2.0 ** -torch.arange(1.0, 9)
DICE = torch.Generator().manual_seed(1)
TABLES: dict[str, tuple[str, torch.Tensor, bool]] = {
    "sines beside cosines": ("pos_encoding", WAVES, True),
    "sines between cosines": ("positions", torch.stack([ANGLES.sin(), ANGLES.cos()], 2).flatten(1), True),
    "with a row of padding": ("weights", torch.cat([torch.zeros(1, 16), WAVES]), True),
    "weights of that shape": ("weights", torch.randn(20, 16, generator=DICE), False),
    "cosines alone": ("cos_cached", TWICE.cos()[None, None], True),
    "sines alone, half": ("sin_cached", TWICE.sin().half(), True),
    "weights of that name": ("cos_proj", torch.rand(20, 16, generator=DICE), False),
    "the model's own frequencies": ("inv_freq", rotations(8, 5e4), True),
    "the same, rounded": ("inv_freq", rotations(8, 5e4).bfloat16(), True),
    "another number of them": ("inv_freq", rotations(6, 5e4), True),
    "those of another base": ("inv_freq", rotations(8, 1e4), False),
    "slopes": ("slopes", SLOPES, True),
    "slopes times distances": ("alibi", -SLOPES[:, None, None] * torch.arange(30).flip(0), True),
    "weights called slopes": ("slopes", torch.rand(8, generator=DICE), False),
    "a factor": ("scale", torch.tensor(0.37), False),
    "a matrix": ("q_proj.lora_A", torch.rand(4, 32, generator=DICE), False),
    "packed weights": ("q_proj.qweight", torch.randint(0, 2**31, (8, 32), generator=DICE).int(), False),
    "a square of ones and zeros": ("gate", (torch.rand(9, 9, generator=DICE) > 0.5).float(), False),
}


@pytest.mark.parametrize(("name", "made", "is_one"), TABLES.values(), ids=TABLES)
def test_tables_are_told_by_what_they_hold(
    rotary: PreTrainedModel, name: str, made: torch.Tensor, is_one: bool
) -> None:
    assert is_constant(rotary, f"model.layers.0.self_attn.{name}", made) is is_one


def test_a_window_that_the_model_does_not_have_is_no_constant() -> None:
    config = GPTNeoConfig(
        vocab_size=8, hidden_size=16, num_layers=2, num_heads=2, attention_types=[[["global", "local"], 1]],
        window_size=32, max_position_embeddings=128,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    key = "transformer.h.1.attn.attention.bias"
    for window, is_one in ((32, True), (64, False), (128, False)):
        assert is_constant(model, key, banded(200, window)[None, None].byte()) is is_one


def test_what_the_model_holds_itself_is_a_constant_under_that_name(rotary: PreTrainedModel) -> None:
    own = dict(rotary.named_buffers())["model.rotary_emb.inv_freq"]
    assert is_constant(rotary, "model.rotary_emb.inv_freq", own.half())
    assert not is_constant(rotary, "model.rotary_emb.inv_freq", own * 1.1)


def test_a_stored_base_of_a_configuration_without_one(tmp_path: Path) -> None:
    folder = models.tiny_llama(tmp_path)
    added(folder, {"model.layers.0.self_attn.rotary.inv_freq": 10_000 ** (-torch.arange(4.0) / 4)})
    assert load(folder).architecture == "causal"
    edit(folder / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 12_345.0})
    refused(folder, r"self_attn\.rotary\.inv_freq, which")
