"""Which engine is taken, what a model needs, and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchbench.backends import engines, open_backend
from benchbench.backends.engines import Choice, ModelOptions, choose
from benchbench.backends.models import memory as memory_module
from benchbench.backends.models.find import estimate_model
from benchbench.backends.models.formats import folder as folder_format
from benchbench.backends.models.formats.folder import estimate_folder
from benchbench.backends.models.formats.gguf import estimate_gguf
from benchbench.backends.models.memory import (
    GPU,
    Memory,
    cache_per_token,
    memory,
)
from benchbench.core.errors import ModelError
from tests import models

HERE = GPU("H200", 140 << 30, 139 << 30)


def machine(monkeypatch: pytest.MonkeyPatch, *, packages: str = "", gpus: tuple[GPU, ...] = ()) -> None:
    monkeypatch.setattr(engines, "installed", lambda module, known: module if module in packages.split() else None)
    monkeypatch.setattr(memory_module, "gpus", lambda: gpus)


@pytest.mark.parametrize(
    ("packages", "gpus", "options", "expected"),
    [
        ("", (), {}, "hf"),
        ("vllm", (), {}, "hf"),
        ("", (HERE,), {}, "hf"),
        ("vllm", (HERE,), {}, "vllm"),
        ("vllm", (HERE,), {"device": "cpu"}, "hf"),
        ("vllm llama_cpp", (HERE,), {"model": "org/repo:file.gguf"}, "gguf"),
        ("vllm", (HERE,), {"model": "org/repo:file.gguf"}, "hf"),
        ("vllm", (HERE,), {"model_args": (("base_url", "http://host/v1"),)}, "api"),
        ("vllm", (HERE,), {"model_args": (("base_url", "http://host/v1"), ("tokenizer", "t"))}, "api"),
        ("vllm", (HERE,), {"base": "org/base"}, "hf"),
        ("vllm", (HERE,), {"model_args": (("peft", "org/lora"),)}, "hf"),
        ("vllm", (HERE,), {"model_args": (("load_in_4bit", "true"),)}, "hf"),
        ("vllm", (HERE,), {"model_args": (("add_bos_token", "true"), ("dtype", "float16"))}, "vllm"),
    ],
)
def test_the_engine_follows_from_device_packages_and_model(
    monkeypatch: pytest.MonkeyPatch, packages: str, gpus: tuple[GPU, ...], options: dict, expected: str
) -> None:
    machine(monkeypatch, packages=packages, gpus=gpus)
    choice = choose(ModelOptions(**{"model": "org/name", **options}))
    assert choice.backend == expected
    assert choice.reason
    if expected == "hf" and options.get("model"):
        assert "pip install 'benchbench-eval[gguf]'" in choice.reason


def test_encoder_decoder_models_stay_with_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, packages="vllm", gpus=(HERE,))
    assert choose(ModelOptions(str(models.tiny_t5(tmp_path / "t5")))).backend == "hf"
    assert choose(ModelOptions(str(models.tiny_llama(tmp_path / "llama")))).backend == "vllm"


def test_the_reason_is_recorded_only_where_benchbench_chose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engines, "choose", lambda options: Choice("scripted", "a test asked for it"))
    assert open_backend(ModelOptions("hash")).info.chosen == "a test asked for it"
    assert open_backend(ModelOptions("hash", backend="scripted")).info.chosen == ""


@pytest.mark.parametrize("maker", [models.tiny_llama, models.tiny_mpt, models.tiny_gpt2, models.tiny_t5])
def test_the_estimate_is_what_transformers_holds(maker: object, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    folder: Path = maker(tmp_path)  # type: ignore[operator]
    auto = AutoModelForSeq2SeqLM if maker is models.tiny_t5 else AutoModelForCausalLM
    model = auto.from_pretrained(folder)
    needed = estimate_folder(folder)
    assert needed.num_parameters == model.num_parameters()
    assert needed.weights == 4 * model.num_parameters()
    assert estimate_folder(folder, "bfloat16").weights == 2 * model.num_parameters()
    if maker is not models.tiny_t5:
        import torch

        cache = model(torch.zeros(1, 3, dtype=torch.long), use_cache=True).past_key_values
        held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
        assert needed.cache_per_token == held / 3
        assert needed.length == 512


def test_grouped_and_odd_heads_are_counted_or_left_open() -> None:
    grouped = {"n_layers": 2, "n_heads": 8, "d_model": 64, "attn_config": {"kv_n_heads": 2}}
    assert cache_per_token(grouped, 2) == 2 * 2 * 2 * 8 * 2
    assert cache_per_token({"n_layer": 2, "n_head": 8, "n_embd": 64, "multi_query": True}, 2) == 2 * 2 * 1 * 8 * 2
    lists = {"num_hidden_layers": 2, "num_attention_heads": [4, 8], "hidden_size": 64}
    assert cache_per_token(lists, 2) is None
    assert cache_per_token({}, 2) is None


def test_a_gguf_file_is_estimated_from_its_header(tmp_path: Path) -> None:
    folder = models.tiny_llama(tmp_path)
    needed = estimate_gguf(models.tiny_gguf(tmp_path / "tiny.gguf", folder))
    whole = estimate_folder(folder)
    assert (needed.weights, needed.num_parameters, needed.length) == (whole.weights, whole.num_parameters, 512)
    assert needed.cache_per_token == (whole.cache_per_token or 0) // 2, "keys and values in float16"


def test_a_model_on_the_hub_is_estimated_without_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    with pytest.raises(ModelError, match="nothing is known of some/where"):
        estimate_model("some/where")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mpt", "torch_dtype": "bfloat16"}))
    monkeypatch.setattr(
        huggingface_hub,
        "get_safetensors_metadata",
        lambda repo: SimpleNamespace(parameter_count={"F32": 7_000_000_000}),
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, name: str(tmp_path / name))
    needed = estimate_model("some/where")
    assert (needed.weights, needed.dtype) == (14_000_000_000, "bfloat16")


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = models.tiny_llama(tmp_path / "model")
    monkeypatch.setattr(memory_module, "memory", lambda: Memory(100_000, 50_000))
    monkeypatch.setattr(folder_format, "from_pretrained", lambda *a, **k: pytest.fail("the weights were read"))
    with pytest.raises(ModelError, match=r"take 153 KiB as float32, but only 49 KiB of memory are free.*bfloat16"):
        open_backend(ModelOptions(str(folder), backend="hf", device="cpu"))
    file = models.tiny_gguf(tmp_path / "tiny.gguf", folder)
    with pytest.raises(ModelError, match="of memory are free"):
        open_backend(ModelOptions(str(file), backend="hf", device="cpu"))


def test_memory_is_that_of_the_machine_or_less() -> None:
    here = memory()
    assert 0 < here.free <= here.total


def test_nothing_is_estimated_of_what_is_not_there() -> None:
    with pytest.raises(ModelError, match=r"no model at \./nowhere"):
        estimate_model("./nowhere")
