"""Loading: what is accepted gives the numbers of transformers, what is wrong is refused in a sentence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchbench.backends import ModelOptions, open_backend
from benchbench.backends.hf import architecture
from benchbench.backends.hf.load import load_model
from benchbench.backends.hf.loaded import LoadedModel
from benchbench.backends.hf.pretrained import unchanged
from benchbench.backends.hf.swap import load_weights_into
from benchbench.core.errors import ArgumentError, BackendError, ModelError
from tests import models

FACTORIES: dict[str, Callable[[Path], Path]] = {
    "llama": models.tiny_llama,
    "llama tied": lambda folder: models.tiny_llama(folder, tied=True, bos=False),
    "mistral": models.tiny_mistral,
    "qwen2": models.tiny_qwen2,
    "gpt2": models.tiny_gpt2,
    "mpt": models.tiny_mpt,
    "mpt 6 heads": lambda folder: models.tiny_mpt(folder, n_heads=6),
    "custom code": models.custom_code,
    "t5": models.tiny_t5,
}
IDS = torch.tensor([[5, 17, 230, 41, 99, 8]])
PROMPT = "Praha je hlavní město"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def mpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_mpt(tmp_path_factory.mktemp("mpt"))


@pytest.fixture(scope="module")
def custom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.custom_code(tmp_path_factory.mktemp("custom"))


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "model"))


def load(model: Path | str, **options: Any) -> LoadedModel:
    return load_model(ModelOptions(str(model), device="cpu", **options))


def refused(model: Path | str, sentence: str, **options: Any) -> str:
    with pytest.raises(ModelError, match=sentence) as caught:
        load(model, **options)
    return str(caught.value)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        extra = {"decoder_input_ids": IDS} if loaded.architecture == "seq2seq" else {}
        result: torch.Tensor = loaded.model(input_ids=IDS, **extra).logits
        return result


# --- what loads -------------------------------------------------------------------------------------------------------


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


# --- what is refused --------------------------------------------------------------------------------------------------


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


def test_an_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    refused(tmp_path, "is an adapter")


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


# --- another checkpoint in place --------------------------------------------------------------------------------------


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


def test_an_unknown_engine_names_the_nearest(llama: Path) -> None:
    with pytest.raises(BackendError, match=r"no backend named 'scriptd'.*Did you mean scripted"):
        open_backend(ModelOptions(str(llama), backend="scriptd"))
