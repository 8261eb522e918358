"""What is said where vLLM cannot run a model, and which backend would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError, BackendError, ModelError
from tests import models

pytestmark = pytest.mark.vllm


def refused(folder: Path, **options: Any) -> str:
    given = {"backend": "vllm", "device": "cpu"} | options
    with pytest.raises((ArgumentError, BackendError, ModelError)) as caught:
        open_backend(ModelOptions(str(folder), **given)).close()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_architecture_that_vllm_does_not_have_names_hf(tmp_path: Path) -> None:
    models.tiny_t5(tmp_path)
    message = refused(tmp_path)
    assert "is a T5ForConditionalGeneration, which vLLM" in message
    assert message.endswith("cannot run; --backend hf can.")


def test_heads_that_vllms_attention_does_not_know_are_named_before_anything_is_loaded(tmp_path: Path) -> None:
    models.tiny_llama(tmp_path, head_size=8)
    assert "has attention heads of size 8; vLLM" in refused(tmp_path)
    assert "--backend hf can run it" in refused(tmp_path)


def test_a_gguf_file_names_the_backends_that_read_it(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert "--backend gguf" in refused(tmp_path / "m.gguf")


@pytest.mark.parametrize("device", ["cuda", "cpu:1"])
def test_a_device_that_this_vllm_is_not_built_for(tmp_path: Path, device: str) -> None:
    models.tiny_llama(tmp_path, head_size=32)
    assert f"--device {device}: this vLLM runs on cpu" in refused(tmp_path, device=device)


def test_a_cache_that_cannot_hold_one_prompt_says_what_to_give(tmp_path: Path) -> None:
    models.tiny_llama(tmp_path, head_size=32, max_length=65_536)
    message = refused(tmp_path, dtype="float32", model_args=(("kv_cache_memory_bytes", "20000000"),))
    assert "--max-length" in message
    assert "kv_cache_memory_bytes=" in message


def test_a_quantisation_that_vllm_does_not_have(tmp_path: Path) -> None:
    models.tiny_llama(tmp_path, head_size=32)
    assert "q4_wrong" in refused(tmp_path, model_args=(("quantization", "q4_wrong"),))


def test_a_length_beyond_the_model_is_refused(tmp_path: Path) -> None:
    models.tiny_llama(tmp_path, head_size=32, max_length=128)
    assert "more than the 128 positions" in refused(tmp_path, max_length=256)


def test_a_plan_of_another_backend_is_refused(tmp_path: Path) -> None:
    models.tiny_llama(tmp_path, head_size=32)
    assert "--plan packed: the backend vllm has auto, plain" in refused(tmp_path, plan="packed")


def test_a_version_that_was_not_tested_does_not_read_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchbench.backends.vllm.backend.TESTED", ("0.1.",))
    models.tiny_llama(tmp_path, head_size=32)
    backend = open_backend(ModelOptions(str(tmp_path), backend="vllm", dtype="float32"))
    try:
        assert backend.info.plan == "plain"
        assert any("does not read its prefix cache" in note for note in backend.notes)
    finally:
        backend.close()


def test_every_end_of_sequence_token_is_known(tmp_path: Path) -> None:
    from benchbench.backends.hf.backend import load_model
    from benchbench.backends.hf.generate import model_end_tokens

    models.tiny_llama(tmp_path, head_size=32)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 5]}))
    backend = open_backend(ModelOptions(str(tmp_path), backend="vllm", dtype="float32"))
    backend.close()
    loaded = load_model(ModelOptions(str(tmp_path), device="cpu"))
    assert backend.loaded.eos == model_end_tokens(loaded.model, loaded.tokenizer) == {2, 5}
