"""Options that only vLLM has, and what is said where vLLM cannot be used."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engine_options import read_options
from benchbench.backends.engines import ModelOptions, parse_model_args, refusal
from benchbench.backends.vllm.backend import VLLMBackend
from benchbench.backends.vllm.engine import GPU_SHARE, VLLMOptions, cache_bytes, prepare_environment
from benchbench.core.errors import ArgumentError, BackendError
from benchbench.core.types import GenerationParams
from tests import models


def read(text: str) -> VLLMOptions:
    return read_options(parse_model_args(text), VLLMOptions, backend="vllm")


def test_options_have_vllms_names_and_their_own_types() -> None:
    assert read("") == VLLMOptions(gpu_memory_utilization=GPU_SHARE)
    text = "tensor_parallel_size=2, gpu_memory_utilization=0.5,quantization=fp8,block_size=64,enforce_eager=False"
    assert read(text) == VLLMOptions(
        tensor_parallel_size=2, gpu_memory_utilization=0.5, quantization="fp8", block_size=64, enforce_eager=False
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tensor_paralel_size=2", "Did you mean tensor_parallel_size"),
        ("tensor_parallel_size=0", "not a whole number from 1 up"),
        ("max_num_seqs=1.5", "not a whole number from 1 up"),
        ("gpu_memory_utilization=90", "not a share of the memory"),
        ("gpu_memory_utilization=much", "not a share of the memory"),
        ("enforce_eager=yes", "neither true nor false"),
    ],
)
def test_an_odd_option_is_a_sentence(text: str, words: str) -> None:
    with pytest.raises((ArgumentError, BackendError), match=words):
        read(text)


def test_what_the_user_set_in_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VLLM_LOGGING_LEVEL", "VLLM_NO_USAGE_STATS", "VLLM_ENABLE_V1_MULTIPROCESSING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    before = dict(os.environ)
    try:
        prepare_environment(VLLMOptions(tensor_parallel_size=2))
        assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
        assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
        assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in os.environ
        prepare_environment(VLLMOptions())
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


def test_the_cache_on_a_cpu_holds_the_longest_prompt_and_more() -> None:
    config = SimpleNamespace(num_hidden_layers=32, num_attention_heads=32, hidden_size=4096)
    config.get_text_config = lambda: config
    assert cache_bytes(config, 2047, 4) == 2 * 32 * 4096 * 4 * 2560
    assert cache_bytes(config, 8, 4) == 2**30
    config.num_key_value_heads = 8
    assert cache_bytes(config, 8191, 4) == 2 * 32 * 1024 * 4 * 10_240


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (GenerationParams((), num_beams=4), "num_beams=4"),
        (GenerationParams((), no_repeat_ngram_size=3), "no_repeat_ngram_size=3"),
        (GenerationParams((), do_sample=True, temperature=2.5), "temperature=2.5"),
    ],
)
def test_settings_that_vllm_does_not_have_name_the_backend_that_does(params: GenerationParams, words: str) -> None:
    reason = refusal(params, "vllm", VLLMBackend.abilities)
    assert reason is not None
    assert words in reason
    assert "--backend hf" in reason
    assert (
        refusal(GenerationParams(("\n",), temperature=2.5, repetition_penalty=1.2), "vllm", VLLMBackend.abilities)
        is None
    )


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_the_package_a_sentence_names_hf(tmp_path: Path) -> None:
    models.tiny_llama(tmp_path)
    with pytest.raises(BackendError, match=r"vllm is not installed here.*--backend hf"):
        open_backend(ModelOptions(str(tmp_path), backend="vllm"))
