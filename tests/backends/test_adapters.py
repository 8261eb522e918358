"""Adapters and deltas on a base model: their numbers, their identities, and what does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import load_model, load_weights_into
from benchbench.core.errors import ArgumentError, BackendError, ModelError
from tests import adapters, models
from tests.backends.loading import IDS, edit, load, logits

peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_llama(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def lora(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora")
    return adapters.lora(folder / "first", base, merged=folder / "first-merged")


def with_peft(base: Path, adapter: Path) -> Any:
    """The numbers as peft itself computes them."""
    from transformers import AutoModelForCausalLM

    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    with torch.no_grad():
        return model(input_ids=IDS).logits


KINDS = {
    "lora": lambda: peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]),
    "dora": lambda: peft.LoraConfig(r=4, target_modules=["q_proj"], use_dora=True),
    "rslora, pattern": lambda: peft.LoraConfig(
        r=4, target_modules=r".*layers\.0.*(q|k)_proj", use_rslora=True, rank_pattern={"k_proj": 2}
    ),
    "head": lambda: peft.LoraConfig(r=2, target_modules=["lm_head", "embed_tokens"]),
    "saved modules": lambda: peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "loha": lambda: peft.LoHaConfig(r=2, target_modules=["q_proj"]),
    "pissa": lambda: peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights="pissa"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_gives_the_numbers_that_peft_gives(base: Path, tmp_path: Path, kind: str) -> None:
    adapter = adapters.written(tmp_path / "adapter", base, KINDS[kind]())
    loaded = load(adapter, base=str(base))
    assert torch.equal(logits(loaded), with_peft(base, adapter))
    assert not torch.allclose(logits(loaded), logits(load(base)), atol=1e-2)


def test_an_adapter_gives_the_numbers_of_the_merged_model(base: Path, lora: Path) -> None:
    merged = load(lora.parent / "first-merged")
    assert torch.allclose(logits(load(lora, base=str(base))), logits(merged), atol=1e-4)


def test_lm_evals_word_for_it_means_the_same(base: Path, lora: Path) -> None:
    options = ModelOptions(str(base), device="cpu", model_args=(("peft", str(lora)),))
    assert options == ModelOptions(str(lora), device="cpu", base=str(base))
    assert load_model(options).identity == load(lora, base=str(base)).identity


def test_an_adapter_is_who_it_is_wherever_it_lies(base: Path, lora: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(lora, tmp_path / "moved"))
    edit(moved / "adapter_config.json", base_model_name_or_path="/elsewhere", target_modules=["v_proj", "q_proj"])
    known = load(lora, base=str(base)).identity
    assert load(moved, base=str(base)).identity == known
    edit(moved / "adapter_config.json", lora_alpha=9)
    assert load(moved, base=str(base)).identity != known
    shutil.copytree(adapters.lora(tmp_path / "other", base, seed=1), moved, dirs_exist_ok=True)
    assert load(moved, base=str(base)).identity != known
    other_base = models.tiny_llama(tmp_path / "base", seed=3)
    assert load(lora, base=str(other_base)).identity != known


def test_one_adapter_takes_the_place_of_another(base: Path, lora: Path, tmp_path: Path) -> None:
    other = adapters.lora(tmp_path / "other", base, seed=1, r=8, target_modules=["q_proj", "lm_head", "embed_tokens"])
    loaded = load(lora, base=str(base))
    first, known = logits(loaded), loaded.identity
    assert load_weights_into(loaded, str(other)) == load(other, base=str(base)).identity
    assert torch.equal(logits(loaded), logits(load(other, base=str(base))))
    load_weights_into(loaded, str(lora))
    assert torch.equal(logits(loaded), first)
    assert loaded.identity == known


def test_an_adapter_that_does_not_fit_leaves_the_other_in_place(base: Path, lora: Path, tmp_path: Path) -> None:
    wide = models.tiny_llama(tmp_path / "wide", head_size=16)
    foreign = adapters.lora(tmp_path / "foreign", wide)
    loaded = load(lora, base=str(base))
    first, known = logits(loaded), loaded.identity
    with pytest.raises(ModelError, match="does not fit"):
        load_weights_into(loaded, str(foreign))
    assert torch.equal(logits(loaded), first)
    assert loaded.identity == known


def test_an_adapter_that_changed_its_base_stays(base: Path, lora: Path, tmp_path: Path) -> None:
    changing = adapters.written(tmp_path / "pissa", base, KINDS["pissa"]())
    loaded = load(changing, base=str(base))
    with pytest.raises(ModelError, match="changed weights of its base"):
        load_weights_into(loaded, str(lora))


def test_a_whole_model_takes_no_adapters_place(base: Path, lora: Path) -> None:
    with pytest.raises(ModelError, match="one is an adapter, the other a whole model"):
        load_weights_into(load(lora, base=str(base)), str(base))
    with pytest.raises(ModelError, match="one is an adapter, the other a whole model"):
        load_weights_into(load(base), str(lora))


def test_added_tokens_come_with_the_adapter(base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(model.config.vocab_size + 3, mean_resizing=False)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    wrapped = peft.get_peft_model(model, config)
    wrapped.save_pretrained(tmp_path / "grown", save_embedding_layers=True)
    with torch.no_grad():
        expected = wrapped.eval()(input_ids=IDS).logits
    found = load(tmp_path / "grown", base=str(base))
    assert torch.allclose(logits(found), expected, atol=1e-6)
    tensors = load_file(tmp_path / "grown" / "adapter_model.safetensors")
    save_file(
        {name: one for name, one in tensors.items() if "lm_head" not in name},
        tmp_path / "grown" / "adapter_model.safetensors",
    )
    with pytest.raises(ModelError, match="does not bring all rows"):
        load(tmp_path / "grown", base=str(base))


def test_the_base_is_said_by_the_user(base: Path, lora: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="--base which model") as caught:
        load(lora)
    assert f"--base {base}" in str(caught.value)
    with pytest.raises(ArgumentError, match="is an adapter itself"):
        load(lora, base=str(lora))
    with pytest.raises(ArgumentError, match="is a whole model"):
        load(base, base=str(base))
    with pytest.raises(ArgumentError, match=r"an adapter \(peft\) and a delta"):
        load(lora, base=str(base), model_args=(("delta", str(base)),))


def test_another_base_is_told(base: Path, lora: Path, tmp_path: Path) -> None:
    assert load(lora, base=str(base)).notes == ()
    renamed = shutil.copytree(base, tmp_path / "renamed")
    assert "first was trained on" in load(lora, base=str(renamed)).notes[0]


def without(key: str) -> Any:
    def change(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        save_file({name: one for name, one in tensors.items() if key not in name}, file)

    return change


def config(**changes: Any) -> Any:
    return lambda folder: edit(folder / "adapter_config.json", **changes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("layers.0.self_attn.q_proj"), "lacks .*q_proj.*incomplete"),
        (config(target_modules=["q_proj"]), "which has no place in"),
        (config(target_modules=["nothing"]), "does not fit .*nothing"),
        (config(r=2), "does not fit"),
        (config(r=100_000_000), "r is 100,000,000, but no tensor"),
        (config(rank_pattern={"q_proj": 100_000_000}), "q_proj is 100,000,000, but no tensor"),
        (config(peft_type="PROMPT_TUNING"), "virtual tokens"),
        (config(peft_type="XLORA"), "a mixture"),
        (config(peft_type="NO_SUCH_KIND"), "does not fit .*NO_SUCH_KIND"),
        (config(peft_type=7), "names no peft_type"),
        (config(megatron_config={"a": 1}, megatron_core="antigravity"), "megatron_config"),
        (config(layer_replication=[[0, 1000000]]), "layer_replication"),
        (config(target_modules="(a+)+$" * 2 + "(.*)*x"), "does not fit|pattern that cannot be used"),
        (config(target_modules="("), "pattern that cannot be used"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "has no adapter weights"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x"), "not a safetensors file"),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), "names no peft_type"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "is not JSON"),
    ],
)
def test_a_broken_or_hostile_adapter_is_a_sentence(
    base: Path, lora: Path, tmp_path: Path, change: Any, sentence: str
) -> None:
    broken = Path(shutil.copytree(lora, tmp_path / "broken"))
    change(broken)
    with pytest.raises(ModelError, match=sentence):
        load(broken, base=str(base))


def test_weights_that_are_code_are_not_run(base: Path, lora: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lora, tmp_path / "pickled"))
    tensors = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    torch.save(tensors, folder / "adapter_model.bin")
    assert load(folder, base=str(base)).identity == load(lora, base=str(base)).identity
    torch.save({**tensors, "code": Touch(tmp_path / "ran")}, folder / "adapter_model.bin")
    with pytest.raises(ModelError, match="would run code"):
        load(folder, base=str(base))
    assert not (tmp_path / "ran").exists()


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Path.touch, (self.path,))


def test_without_peft_the_command_is_told(base: Path, lora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchbench.backends.models import adapter

    monkeypatch.setattr(adapter.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="pip install peft"):
        load(lora, base=str(base))


def test_a_configuration_beside_the_adapter_makes_no_model_of_it(base: Path, lora: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lora, tmp_path / "both"))
    shutil.copy(base / "config.json", folder)
    assert load(folder, base=str(base)).identity == load(lora, base=str(base)).identity


def test_a_delta_is_added_once(base: Path, tmp_path: Path) -> None:
    delta = models.tiny_llama(tmp_path / "delta", seed=4)
    found = load(base, model_args=(("delta", str(delta)),))
    whole = load(base)
    added = load(delta).model.state_dict()
    with torch.no_grad():
        for name, tensor in whole.model.named_parameters():
            tensor.add_(added[name])
    assert torch.equal(logits(found), logits(whole))
    assert len({found.identity, load(base).identity, load(delta).identity}) == 3
    with pytest.raises(ModelError, match="a delta was added"):
        load_weights_into(found, str(delta))


def test_a_delta_is_added_once_where_embeddings_are_tied(tmp_path: Path) -> None:
    tied = models.tiny_llama(tmp_path / "tied", tied=True)
    delta = models.tiny_llama(tmp_path / "delta", tied=True, seed=4)
    found = load(tied, model_args=(("delta", str(delta)),)).model.get_input_embeddings().weight
    parts = [load(place).model.get_input_embeddings().weight for place in (tied, delta)]
    assert torch.equal(found, parts[0] + parts[1])


def test_a_delta_of_another_shape_is_a_sentence(base: Path, tmp_path: Path) -> None:
    wide = models.tiny_llama(tmp_path / "wide", head_size=16)
    with pytest.raises(ModelError, match="is no delta of the model"):
        load(base, model_args=(("delta", str(wide)),))


def test_the_configuration_of_a_stranger_leads_nowhere(base: Path, lora: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lora, tmp_path / "named"))
    edit(
        folder / "adapter_config.json",
        base_model_name_or_path="evil/model",
        auto_mapping={"base_model_class": "x", "parent_library": "antigravity"},
        runtime_config={"ephemeral_gpu_offload": True},
    )
    assert load(folder, base=str(base)).identity == load(lora, base=str(base)).identity
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "evil/model"


def test_an_adapter_stands_on_an_encoder_decoder(tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM

    t5 = models.tiny_t5(tmp_path / "t5")
    config = peft.LoraConfig(r=2, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM", init_lora_weights=False)
    torch.manual_seed(0)
    wrapped = peft.get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(t5), config).eval()
    wrapped.save_pretrained(tmp_path / "lora")
    loaded = load(tmp_path / "lora", base=str(t5))
    with torch.no_grad():
        assert torch.equal(logits(loaded), wrapped(input_ids=IDS, decoder_input_ids=IDS).logits)


def test_an_adapter_on_half_precision_computes_as_peft_does(base: Path, lora: Path) -> None:
    from transformers import AutoModelForCausalLM

    half = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    expected = peft.PeftModel.from_pretrained(half, lora).eval()
    with torch.no_grad():
        assert torch.equal(logits(load(lora, base=str(base), dtype="bfloat16")), expected(input_ids=IDS).logits)
