"""Loading: what is wrong is refused in a sentence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchbench.backends.models.files import unchanged
from benchbench.core.errors import ModelError
from tests import models
from tests.backends.loading import edit, load, logits, refused


def test_an_unknown_folder_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "csmpt7b").mkdir()
    refused(tmp_path / "csmpt7", "there is no model at .*csmpt7: no such folder.*Did you mean csmpt7b")


def test_a_relative_path_below_a_folder_that_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "step500").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    refused("runs/step50", "there is no model at runs/step50.*step500")


def test_a_hub_name_offline_says_that_the_hub_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    refused("BUT-FIT/no-such-model", "no model named 'BUT-FIT/no-such-model'.*the Hub cannot be reached")


def test_a_hub_name_in_the_cache_loads_with_its_commit(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--org--tiny"
    shutil.copytree(llama, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "step500").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    loaded = load("org/tiny", revision="step500")
    assert loaded.revision == commit
    assert loaded.identity == load(llama).identity


def test_a_revision_of_a_local_folder_is_refused(llama: Path) -> None:
    refused(llama, "--revision main needs a hub name", revision="main")


def test_an_empty_folder_and_a_plain_file_are_refused(tmp_path: Path, llama: Path) -> None:
    refused(tmp_path, "is an empty folder")
    refused(llama / "model.safetensors", "is a file; give the folder")


def test_a_folder_without_config_says_what_it_holds(llama: Path, tmp_path: Path) -> None:
    shutil.copytree(llama, tmp_path / "checkpoint-500")
    refused(tmp_path, "has no config.json.*checkpoint-500")


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_broken_config_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    refused(folder, "config.json")


def test_a_config_with_a_wrong_type_tells_the_field(folder: Path) -> None:
    edit(folder / "config.json", hidden_size="wide")
    refused(folder, "transformers cannot load .*hidden_size.*expected int")


def test_an_adapter_beside_a_whole_model_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "holds an adapter beside the model")


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(folder, "has no weights: expected model.safetensors")


def test_a_truncated_file_is_refused_by_name(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    refused(folder, "model.safetensors is cut short")


def test_a_missing_tokenizer_is_refused(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    refused(folder, "has no tokenizer")


def test_a_tokenizer_without_beginning_or_end_is_refused(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config = {key: value for key, value in config.items() if key not in ("bos_token", "eos_token")}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    refused(folder, "neither a beginning nor an end of sequence")


def test_an_unsupported_architecture_names_the_nearest(folder: Path) -> None:
    edit(folder / "config.json", model_type="lama")
    refused(folder, "model_type 'lama'.*Did you mean .*llama")


def test_a_model_that_does_not_predict_the_next_token_is_refused(folder: Path) -> None:
    edit(folder / "config.json", architectures=["BertForMaskedLM"])
    refused(folder, "BertForMaskedLM, which does not predict the next token")


def test_a_missing_tensor_is_refused_and_not_made_up(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, "lacks model.layers.1.mlp.up_proj.weight")


def test_a_tied_output_layer_is_not_missing(tmp_path: Path) -> None:
    folder = models.tiny_llama(tmp_path / "m", tied=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert load(folder).model.get_output_embeddings().weight.abs().sum() > 0


def test_a_misshapen_tensor_is_refused(folder: Path) -> None:
    edit(folder / "config.json", intermediate_size=32)
    refused(folder, r"mlp\..* has shape .*config.json asks for .*do not belong together")


def test_a_tensor_that_the_model_would_ignore_is_refused(mpt: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(mpt, tmp_path / "mpt"))
    tensors = load_file(folder / "model.safetensors") | {"transformer.blocks.0.norm_1.bias": torch.ones(32)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, "has transformer.blocks.0.norm_1.bias, which transformers' MptForCausalLM would ignore")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("expansion_ratio", 2),
        ("logit_scale", 0.5),
        ("no_bias", False),
        ("norm_type", "rmsnorm"),
        ("attn_config.alibi", False),
        ("attn_config.alibi_bias_max", 16),
        ("attn_config.attn_type", "multiquery_attention"),
        ("attn_config.prefix_lm", True),
        ("attn_config.qk_ln", True),
        ("attn_config.rope", True),
        ("attn_config.sliding_window_size", 512),
        ("ffn_config.ffn_type", "mptglu"),
    ],
)
def test_mpt_options_that_transformers_ignores_are_refused(mpt: Path, tmp_path: Path, key: str, value: Any) -> None:
    folder = Path(shutil.copytree(mpt, tmp_path / "mpt"))
    outer, _, inner = key.rpartition(".")
    config = json.loads((folder / "config.json").read_text())
    (config.setdefault(outer, {}) if outer else config)[inner] = value
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, rf"has {key}={value!r}, which transformers' MPT ignores")


def test_mpt_options_that_transformers_honours_change_the_numbers(mpt: Path, tmp_path: Path) -> None:
    folder = models.tiny_mpt(tmp_path / "mpt", attn_config={"clip_qkv": 0.05, "softmax_scale": 0.9})
    assert not torch.allclose(logits(load(folder)), logits(load(mpt)), atol=1e-3)


def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"not a model")
    refused(tmp_path / "x.gguf", "is not a GGUF file")


def test_a_truncated_gguf_file_is_refused(llama: Path, tmp_path: Path) -> None:
    file = models.tiny_gguf(tmp_path / "x.gguf", llama)
    file.write_bytes(file.read_bytes()[:5000])
    refused(file, "x.gguf is cut short")


def test_a_file_that_changes_while_it_is_loaded_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    with pytest.raises(ModelError, match="changed while it was being loaded"), unchanged([file]):
        os.utime(file, (1, 1))
