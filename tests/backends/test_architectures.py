"""The same numbers as lm-eval's for many architectures, each as a tiny random model, whatever plan they allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.types import (
    Completion,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Prompt,
)
from tests import models

pytestmark = pytest.mark.slow

SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
OLD_SIZE = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
WHOLE_HEADS = {**SIZE, "num_key_value_heads": 4}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "cohere": SIZE,
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": False},
    "falcon-alibi": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True},
    "gemma": {**SIZE, "head_dim": 8},
    "gemma2": {**SIZE, "head_dim": 8, "sliding_window": 24, "query_pre_attn_scalar": 8},
    "gemma3_text": {**SIZE, "head_dim": 8, "sliding_window": 24, "query_pre_attn_scalar": 8},
    "glm": {**SIZE, "head_dim": 8, "pad_token_id": 0},
    "gpt_bigcode": OLD_SIZE,
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "max_position_embeddings": 512,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 24,
    },
    "gpt_neox": SIZE,
    "gptj": {**OLD_SIZE, "rotary_dim": 4},
    "granite": SIZE,
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "mamba2": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "state_size": 8,
        "num_heads": 8,
        "head_dim": 8,
        "n_groups": 2,
    },
    "jamba": {**SIZE, "attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False, "pad_token_id": 0},
    "falcon_h1": {**SIZE, "mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8},
    "mixtral": {**SIZE, "num_local_experts": 4},
    "olmo2": SIZE,
    "opt": {
        "hidden_size": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "word_embed_proj_dim": 32,
    },
    "phi": WHOLE_HEADS,
    "phi3": {**SIZE, "pad_token_id": 0},
    "qwen3": {**SIZE, "head_dim": 8},
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32, "context_length": 512},
    "smollm3": {**SIZE, "pad_token_id": 0},
    "stablelm": WHOLE_HEADS,
    "starcoder2": SIZE,
    "xglm": {"d_model": 32, "ffn_dim": 64, "num_layers": 2, "attention_heads": 4, "max_position_embeddings": 512},
}


def model_folder(name: str, folder: Path) -> Path:
    """A tiny random model of the architecture."""
    from transformers import AutoConfig, AutoModelForCausalLM

    vocab = models.tokenizer(folder)
    kind = name.split("-", maxsplit=1)[0]
    config = AutoConfig.for_model(kind, **ARCHITECTURES[name], vocab_size=vocab, bos_token_id=0, eos_token_id=0)
    return models._save(AutoModelForCausalLM.from_config, config, folder, seed=0)


def scoring() -> list[LoglikelihoodRequest]:
    """Two tasks' worth of requests: shared shots, unlike lengths, one-token and long choices."""
    shots = tuple(text + "\n\n" for text in models.TEXT[:3])
    requests = []
    for doc in range(10):
        question = models.TEXT[doc % 7] + f" {doc} " + models.TEXT[(doc * 3) % 7][: 7 * doc]
        choices = (" A", " B") if doc % 2 else (" ano, protože začínal nový rok", " oui", " la capitale de la France")
        prompt = Prompt(description="Otázky.\n\n" if doc < 7 else "", shots=shots if doc < 7 else (), question=question)
        requests += [LoglikelihoodRequest("t", doc, index, prompt, choice) for index, choice in enumerate(choices)]
    return requests


def writing() -> list[GenerateRequest]:
    """The same prompts, to be continued."""
    params = GenerationParams(until=("\n\n", "e"), max_gen_toks=12)
    prompts = {request.doc_id: request.prompt for request in scoring()}
    return [GenerateRequest("t", doc, 0, prompt, params) for doc, prompt in prompts.items()]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scores_and_texts_are_lm_evals(name: str, tmp_path: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    folder = model_folder(name, tmp_path)
    backend = open_backend(ModelOptions(str(folder), dtype="float32", device="cpu"))
    scored = {r.request.key: r for r in backend.loglikelihood(scoring())}
    written = {r.request.key: r for r in backend.generate(writing())}
    assert set(scored) == {r.key for r in scoring()} != set()
    assert set(written) == {r.key for r in writing()} != set()
    oracle = HFLM(str(folder), device="cpu", dtype="float32", batch_size=1, logits_cache=False)
    asked = [Instance("loglikelihood", {}, (r.prompt.text, r.continuation), 0) for r in scoring()]
    for request, (total, greedy) in zip(scoring(), oracle.loglikelihood(asked, disable_tqdm=True), strict=True):
        ours = scored[request.key]
        assert isinstance(ours, Loglikelihood), ours
        assert ours.total == pytest.approx(total, abs=1e-3), backend.notes
        assert ours.is_greedy == greedy
    said = [
        Instance("generate_until", {}, (r.prompt.text, {"until": list(r.params.until), "max_gen_toks": 12}), 0)
        for r in writing()
    ]
    for request, text in zip(writing(), oracle.generate_until(said, disable_tqdm=True), strict=True):
        completion = written[request.key]
        assert isinstance(completion, Completion), completion
        assert completion.text == text, backend.notes
