"""Another checkpoint in place: the same numbers as a fresh load, or a sentence and nothing changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchbench.backends.hf.backend import load_weights_into
from benchbench.core.errors import ModelError
from tests import models
from tests.backends.loading import FACTORIES, edit, load, logits


@pytest.mark.parametrize("name", FACTORIES)
def test_swapped_weights_compute_what_a_fresh_load_computes(name: str, tmp_path: Path) -> None:
    factory = FACTORIES[name]
    trusted = name == "custom code"
    first, second = factory(tmp_path / "a"), factory(tmp_path / "b")
    file = second / "model.safetensors"
    changed = {key: tensor * 1.5 + 0.01 for key, tensor in load_file(file).items()}
    save_file(changed, file, metadata={"format": "pt"})
    loaded, fresh = load(first, trust_remote_code=trusted), load(second, trust_remote_code=trusted)
    before, model = logits(loaded), loaded.model
    assert load_weights_into(loaded, str(second)) == fresh.identity == loaded.identity
    assert loaded.model is model
    assert torch.equal(logits(loaded), logits(fresh))
    assert not torch.allclose(logits(loaded), before)
    load_weights_into(loaded, str(first))
    assert torch.equal(logits(loaded), before)


def test_a_torch_file_swaps_in_too(llama: Path, tmp_path: Path) -> None:
    other = models.tiny_llama(tmp_path / "b", seed=1)
    expected = logits(load(other))
    torch.save(load_file(other / "model.safetensors"), other / "pytorch_model.bin")
    (other / "model.safetensors").unlink()
    loaded = load(llama)
    load_weights_into(loaded, str(other))
    assert torch.equal(logits(loaded), expected)


def test_tensors_under_base_model_names_swap_in_too(tmp_path: Path) -> None:
    first, second = models.tiny_gpt2(tmp_path / "a"), models.tiny_gpt2(tmp_path / "b", seed=1)
    expected = logits(load(second))
    tensors = load_file(second / "model.safetensors")
    stripped = {key.removeprefix("transformer."): tensor for key, tensor in tensors.items()}
    save_file(stripped, second / "model.safetensors", metadata={"format": "pt"})
    loaded = load(first)
    load_weights_into(loaded, str(second))
    assert torch.equal(logits(loaded), expected)


def test_swapping_keeps_the_type_that_was_asked_for(llama: Path, tmp_path: Path) -> None:
    loaded = load(llama, dtype="bfloat16")
    load_weights_into(loaded, str(models.tiny_llama(tmp_path / "b", seed=1)))
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}


def test_a_checkpoint_saved_without_its_tokenizer_swaps_in(llama: Path, tmp_path: Path) -> None:
    other = models.tiny_llama(tmp_path / "b", seed=1)
    for path in other.glob("tokenizer*"):
        path.unlink()
    loaded = load(llama)
    assert load_weights_into(loaded, str(other)) != load(llama).identity


def other_config(folder: Path) -> None:
    edit(folder / "config.json", rms_norm_eps=1e-3)


def other_generation(folder: Path) -> None:
    edit(folder / "generation_config.json", eos_token_id=7)


def other_tokenizer(folder: Path) -> None:
    tokens = json.loads((folder / "tokenizer.json").read_text())
    tokens["model"]["merges"] = tokens["model"]["merges"][:-1]
    (folder / "tokenizer.json").write_text(json.dumps(tokens))


def missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def extra_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors") | {"model.norm.bias": torch.ones(32)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def misshapen_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors") | {"model.norm.weight": torch.ones(31)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (other_config, "is another model than .*: its rms_norm_eps is 0.001"),
        (other_generation, "its eos_token_id is 7"),
        (other_tokenizer, "has another tokenizer"),
        (missing_tensor, "lacks model.norm.weight"),
        (extra_tensor, "has model.norm.bias, which .* would ignore"),
        (misshapen_tensor, r"model.norm.weight has shape \[31\], the loaded model's is \[32\]"),
        (cut_short, "is cut short"),
    ],
)
def test_a_checkpoint_that_is_another_model_is_refused_and_nothing_changes(
    folder: Path, llama: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    loaded = load(llama)
    before, identity = logits(loaded), loaded.identity
    damage(folder)
    with pytest.raises(ModelError, match=sentence):
        load_weights_into(loaded, str(folder))
    assert torch.equal(logits(loaded), before)
    assert loaded.identity == identity


def test_other_custom_code_is_refused(custom: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(custom, tmp_path / "model"))
    with (folder / models.CUSTOM_CODE.name).open("a") as file:
        file.write("\n# changed\n")
    with pytest.raises(ModelError, match="has other Python code"):
        load_weights_into(load(custom, trust_remote_code=True), str(folder))


# --- the door ---------------------------------------------------------------------------------------------------------
