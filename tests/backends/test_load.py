"""Loading: what is accepted gives the numbers of transformers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import load_model
from benchbench.backends.models import config as architecture
from benchbench.core.errors import ArgumentError, BackendError
from tests import models
from tests.backends.loading import FACTORIES, IDS, PROMPT, edit, load, logits, refused


@pytest.mark.parametrize("name", FACTORIES)
def test_a_loaded_model_is_the_one_that_transformers_loads(name: str, tmp_path: Path) -> None:
    import transformers

    folder = FACTORIES[name](tmp_path / "model")
    loaded = load(folder, trust_remote_code=name == "custom code")
    auto: Any = transformers.AutoModelForSeq2SeqLM if name == "t5" else transformers.AutoModelForCausalLM
    plain = auto.from_pretrained(folder, trust_remote_code=name == "custom code").eval()
    extra = {"decoder_input_ids": IDS} if name == "t5" else {}
    with torch.no_grad():
        assert torch.equal(logits(loaded), plain(input_ids=IDS, **extra).logits)
    assert loaded.num_parameters == plain.num_parameters()
    assert loaded.dtype == "float32"
    assert loaded.max_length == 512
    assert loaded.revision is None
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_the_tokenizer_is_set_up_as_lm_eval_does(llama: Path, mpt: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is the oracle")
    from lm_eval.models.huggingface import HFLM

    for folder in (llama, mpt):
        theirs, ours = HFLM(str(folder), device="cpu"), load(folder)
        assert ours.tokenizer.pad_token_id == theirs.tokenizer.pad_token_id
        assert ours.prefix_token_id == theirs.prefix_token_id
        assert ours.tokenizer.padding_side == "left"
        assert ours.tokenizer(PROMPT)["input_ids"] == theirs.tok_encode(PROMPT)


def test_a_gguf_file_computes_what_its_weights_compute(llama: Path, tmp_path: Path, capfd: Any) -> None:
    file = models.tiny_gguf(tmp_path / "tiny.gguf", llama)
    loaded = load(file)
    assert torch.allclose(logits(loaded), logits(load(llama)), atol=1e-5)
    assert loaded.dtype == "float32"
    assert "GGUF" in loaded.notes[0]
    assert "dequantizing" not in capfd.readouterr().err
    assert load(tmp_path).identity == loaded.identity, "a folder with one GGUF file is that file"


def test_a_folder_with_two_gguf_files_asks_which(llama: Path, tmp_path: Path) -> None:
    models.tiny_gguf(tmp_path / "a.gguf", llama)
    shutil.copy(tmp_path / "a.gguf", tmp_path / "b.gguf")
    refused(tmp_path, "has 2 GGUF files; name one, such as .*a.gguf")


@pytest.mark.slow
@pytest.mark.real
def test_smollm2_from_gguf_writes_english() -> None:
    loaded = load(models.smollm2_gguf())
    ids = loaded.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    token = int(loaded.model(ids).logits[0, -1].argmax())
    assert loaded.tokenizer.decode([token]) == " Paris"


def test_a_torch_file_loads_and_has_the_identity_of_its_tensors(folder: Path, llama: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    loaded = load(folder)
    assert torch.equal(logits(loaded), logits(load(llama)))
    assert loaded.identity == load(llama).identity


def test_a_config_like_csmpt7b_uses_transformers_own_class(mpt: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(mpt, tmp_path / "csmpt"))
    attention = {
        "alibi": True,
        "alibi_bias_max": 8,
        "attn_impl": "torch",
        "attn_pdrop": 0.0,
        "attn_type": "multihead_attention",
        "attn_uses_sequence_id": False,
        "clip_qkv": 10_000,
        "prefix_lm": False,
        "qk_gn": False,
        "qk_ln": False,
        "rope": False,
        "rope_theta": 10000,
        "sliding_window_size": -1,
        "softmax_scale": None,
    }
    edit(
        folder / "config.json",
        architectures=["MPTForCausalLM"],
        attn_config=attention,
        auto_map={"AutoConfig": "configuration_mpt.MPTConfig", "AutoModelForCausalLM": "modeling_mpt.MPTForCausalLM"},
        embedding_fraction=1.0,
        ffn_config={"fc_type": "torch", "ffn_type": "mptmlp"},
        init_config={"name": "kaiming_normal_", "fan_mode": "fan_in"},
        learned_pos_emb=True,
        verbose=0,
    )
    loaded = load(folder)
    assert type(loaded.model).__module__.startswith("transformers.models.mpt")
    assert torch.equal(logits(loaded), logits(load(mpt)))
    assert "was not run" in loaded.notes[0]


# --- number types, devices, lengths -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "wanted", "expected"),
    [
        ("bfloat16", "auto", "bfloat16"),
        ("bfloat16", "float32", "float32"),
        ("float32", "bfloat16", "bfloat16"),
        ("float16", "auto", "float32"),
        ("float32", "float16", "float32"),
    ],
)
def test_dtype_is_the_checkpoints_unless_asked_and_never_float16_on_a_cpu(
    tmp_path: Path, stored: str, wanted: str, expected: str
) -> None:
    loaded = load(models.tiny_llama(tmp_path / "m", dtype=stored), dtype=wanted)
    assert loaded.dtype == expected
    assert loaded.model.dtype == getattr(torch, expected)
    assert any("float16 is not usable" in note for note in loaded.notes) == ("float16" in (stored, wanted))


def test_a_config_without_dtype_takes_that_of_the_tensors(tmp_path: Path) -> None:
    folder = models.tiny_llama(tmp_path / "m", dtype="bfloat16")
    config = json.loads((folder / "config.json").read_text())
    config.pop("dtype")
    (folder / "config.json").write_text(json.dumps(config))
    assert load(folder).dtype == "bfloat16"


def test_an_unknown_dtype_names_the_nearest(llama: Path) -> None:
    with pytest.raises(ArgumentError, match="Did you mean bfloat16"):
        load(llama, dtype="bflot16")


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(llama: Path, device: str) -> None:
    with pytest.raises(ArgumentError, match=device):
        load_model(ModelOptions(str(llama), device=device))


def test_max_length_can_be_lowered(llama: Path) -> None:
    assert load(llama, max_length=64).max_length == 64


def test_max_length_beyond_rotary_positions_is_refused(llama: Path) -> None:
    with pytest.raises(ArgumentError, match="--max-length 4,096 is more than the 512 positions"):
        load(llama, max_length=4096)


def test_alibi_lets_max_length_grow(tmp_path: Path) -> None:
    long = load(models.tiny_mpt(tmp_path / "mpt", max_length=16), max_length=64)
    ids = torch.arange(60)[None] % 300
    same = load(models.tiny_mpt(tmp_path / "wide", max_length=64))
    assert long.max_length == 64
    assert torch.equal(long.model(ids).logits, same.model(ids).logits)


def test_a_length_of_nothing_is_refused(llama: Path) -> None:
    with pytest.raises(ArgumentError, match="too short"):
        load(llama, max_length=0)


@pytest.mark.parametrize("limit", [None, 777])
def test_a_model_that_tells_no_length_takes_the_tokenizers_then_2048(limit: int | None) -> None:
    class Config:
        pass

    class Tokenizer:
        model_max_length = limit or int(1e30)

    own = architecture.own_length(Config(), Tokenizer())
    assert architecture.choose_length(None, own, {}, "m") == (limit or 2048)


# --- trust ------------------------------------------------------------------------------------------------------------


def test_custom_code_is_refused_without_the_flag_and_never_run(custom: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(custom, tmp_path / "model"))
    mark = tmp_path / "it_ran"
    code = folder / models.CUSTOM_CODE.name
    code.write_text(f"open({str(mark)!r}, 'w').close()\n" + code.read_text().replace("from __future__", "# "))
    sentence = refused(folder, "--trust-remote-code")
    assert "rights of your account" in sentence
    assert not mark.exists()
    load(folder, trust_remote_code=True)
    assert mark.exists()


def test_custom_code_is_part_of_the_identity(custom: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(custom, tmp_path / "model"))
    with (folder / models.CUSTOM_CODE.name).open("a") as file:
        file.write("\n# changed\n")
    names = {load(path, trust_remote_code=True).identity for path in (custom, folder)}
    assert len(names) == 2


def test_a_tokenizer_with_its_own_code_is_refused_without_the_flag(folder: Path) -> None:
    auto_map = {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}
    edit(folder / "tokenizer_config.json", auto_map=auto_map, tokenizer_class="OwnTokenizer")
    (folder / "tokenizer.json").unlink()
    refused(folder, "tokenizer of .* is Python code of its own.*--trust-remote-code")


def test_a_pickle_that_would_run_code_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "it_ran"),)

    torch.save({"weight": Bomb()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, "pytorch_model.bin|weights_only|more than tensors")
    assert not (tmp_path / "it_ran").exists()


def test_an_unknown_engine_names_the_nearest(llama: Path) -> None:
    with pytest.raises(BackendError, match=r"no backend named 'scriptd'.*Did you mean scripted"):
        open_backend(ModelOptions(str(llama), backend="scriptd"))
