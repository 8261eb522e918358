"""Scores that are no numbers: the text has failed, as a choice has; its neighbours in the batch have not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.backends.tokens import Exhausted
from benchbench.backends.writing import Ending, Job, Written
from benchbench.core.types import Failure, GenerateRequest, GenerationParams, Prompt
from tests import models
from tests.backends.test_generate import contexts

LENGTH = 6
SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 0.9, "top_k": 30, "top_p": 0.9}
KINDS: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "greedy": (models.tiny_llama, {}),
    "greedy with a penalty": (models.tiny_llama, {"repetition_penalty": 1.2, "no_repeat_ngram_size": 2}),
    "sampling": (models.tiny_llama, SAMPLED),
    "beams": (models.tiny_llama, {"num_beams": 3}),
    "no cache": (lambda folder: models.custom_code(folder, deaf=True), {}),
    "seq2seq": (models.tiny_t5, {}),
    "seq2seq sampling": (models.tiny_t5, SAMPLED),
    "seq2seq beams": (models.tiny_t5, {"num_beams": 3}),
}


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
    """Request → the tokens of its text, as they are written."""
    seen: dict[int, list[int]] = {}
    for name in ("written", "finished"):
        whole = getattr(Ending, name)

        def noted(self: Ending, request: int, ids: Any, *rest: Any, whole: Any = whole, **named: Any) -> Written:
            seen[request] = list(ids)
            return whole(self, request, ids, *rest, **named)

        monkeypatch.setattr(Ending, name, noted)
    return seen


def answers(backend: Any, jobs: list[Job]) -> dict[int, Written | Exhausted]:
    found = {w.request: w for w in backend.write_jobs(jobs, ())}
    assert found.keys() == set(range(len(jobs)))
    return found


def poisoned(backend: Any, token: int) -> list[Any]:
    """What is read after `token` has scores that are no numbers."""

    def poison(module: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return output.masked_fill((inputs[0] == token)[..., None], torch.nan)

    model = backend.loaded.model
    size = model.get_input_embeddings().num_embeddings
    tables = [m for m in model.modules() if isinstance(m, torch.nn.Embedding) and m.num_embeddings == size]
    return [table.register_forward_hook(poison) for table in tables]


@pytest.mark.parametrize("name", KINDS)
def test_a_text_fails_where_its_own_scores_are_no_numbers(
    name: str, tmp_path: Path, tokens: dict[int, list[int]]
) -> None:
    make, settings = KINDS[name]
    make(tmp_path)
    backend = open_backend(ModelOptions(str(tmp_path), backend="hf", device="cpu", trust_remote_code=True))
    texts = [(*one[60:], 5) for one in contexts(8)]
    jobs = [Job(one, GenerationParams((), LENGTH, **settings), str(i)) for i, one in enumerate(texts)]
    before = answers(backend, jobs)
    assert all(isinstance(one, Written) for one in before.values())
    written = dict(tokens)
    # Read in one text's prompt, and written before the end of another; 0 begins every text of T5.
    prompts = set().union(*texts)
    bad = next(t for i in range(8) for t in written[i][1:-1] if t and t in prompts - set(texts[i]))
    own = {i for i in range(8) if bad in (*texts[i], *written[i][:-1])}
    assert 0 < len(own) < 8
    hooks = poisoned(backend, bad)
    after = answers(backend, jobs)
    failed = {i for i, one in after.items() if isinstance(one, Exhausted)}
    # A beam that is not the best one may read the token too; a search that met no number cannot say what is best.
    assert failed >= own if "beams" in name else failed == own
    assert failed != set(range(8))
    assert {one.kind for one in after.values() if isinstance(one, Exhausted)} == {"nan_logits"}
    assert {i: after[i] for i in range(8) if i not in failed} == {i: before[i] for i in range(8) if i not in failed}
    for hook in hooks:
        hook.remove()
    assert answers(backend, jobs) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_scores_are_no_numbers_if_one_is_nan_or_infinite_or_none_is_finite(value: float, tmp_path: Path) -> None:
    models.tiny_llama(tmp_path)
    backend: Any = open_backend(ModelOptions(str(tmp_path), backend="hf", device="cpu"))

    def broken(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        bad = output.clone()
        bad[..., slice(7, 8) if value > 0 or value != value else slice(None)] = value
        return bad

    backend.loaded.model.get_output_embeddings().register_forward_hook(broken)
    for settings in ({}, SAMPLED, {"repetition_penalty": 1.2}, {"num_beams": 2}):
        params = GenerationParams((), LENGTH, **settings)
        requests = [GenerateRequest("t", i, 0, Prompt("", (), f"Kolik je {i}?"), params) for i in range(3)]
        found = list(backend.generate(requests))
        assert [type(one) for one in found] == [Failure] * 3
        assert {(one.kind, one.message) for one in found} == {
            ("nan_logits", "The model's scores of the next token are not finite numbers.")
        }


def test_forbidden_tokens_are_no_fault_of_the_model(tmp_path: Path) -> None:
    models.tiny_llama(tmp_path)
    backend: Any = open_backend(ModelOptions(str(tmp_path), backend="hf", device="cpu"))

    def masked(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output.index_fill(-1, torch.arange(20, 40), float("-inf"))

    backend.loaded.model.get_output_embeddings().register_forward_hook(masked)
    found = []
    for settings in ({}, SAMPLED, {"num_beams": 2}):
        jobs = [Job(one, GenerationParams((), LENGTH, **settings), "x") for one in contexts(3)]
        found += answers(backend, jobs).values()
    assert [isinstance(one, Written) for one in found] == [True] * 9


def test_a_batch_that_is_halved_fails_as_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.tiny_llama(tmp_path)
    backend: Any = open_backend(ModelOptions(str(tmp_path), backend="hf", device="cpu"))
    texts = [(*one[60:], 5) for one in contexts(8)]
    jobs = [Job(one, GenerationParams((), LENGTH), str(i)) for i, one in enumerate(texts)]
    poisoned(backend, texts[3][0])
    whole = answers(backend, jobs)
    generator = type(backend._generator)
    real = generator._continue

    def full(self: Any, block: Any, states: Any, piece: Any) -> Any:
        if len(piece) > 2:
            raise MemoryError("out of memory")
        return real(self, block, states, piece)

    monkeypatch.setattr(generator, "_continue", full)
    assert answers(backend, jobs) == whole
    assert backend.work.out_of_memory_retries
    assert isinstance(whole[3], Exhausted)
    assert any(isinstance(one, Written) for one in whole.values())


def with_poison(make: Callable[[Path], Path], folder: Path, token: int, names: str = "model.safetensors") -> Path:
    """A model that `make` writes, whose embedding of `token` is NaN."""
    from safetensors.torch import load_file, save_file

    make(folder)
    weights = load_file(folder / names)
    weights["model.embed_tokens.weight"][token] = torch.nan
    save_file(weights, folder / names, metadata={"format": "pt"})
    return folder


@pytest.mark.gguf
@pytest.mark.parametrize("settings", [{}, SAMPLED])
def test_llama_cpp_fails_where_transformers_does(settings: dict[str, Any], tmp_path: Path) -> None:
    texts = [(*one[60:], 5) for one in contexts(8)]
    folder = with_poison(models.tiny_llama, tmp_path, texts[3][0])
    file = models.tiny_gguf(folder / "tiny.gguf", folder, bos=True)
    jobs = [Job(one, GenerationParams((), LENGTH, **settings), str(i)) for i, one in enumerate(texts)]
    hf = answers(open_backend(ModelOptions(str(folder), backend="hf", device="cpu")), jobs)
    gguf = answers(open_backend(ModelOptions(str(file), backend="gguf", device="cpu")), jobs)
    failed = {i for i, one in gguf.items() if isinstance(one, Exhausted) and one.kind == "nan_logits"}
    assert failed == {i for i, one in hf.items() if isinstance(one, Exhausted)}
    assert 3 in failed
    assert len(failed) < 8


@pytest.mark.vllm
def test_vllm_fails_where_transformers_does(tmp_path: Path) -> None:
    texts = [(*one[60:], 5) for one in contexts(8)]
    folder = with_poison(lambda place: models.tiny_llama(place, head_size=32), tmp_path, texts[3][0])
    hf, vllm = (
        open_backend(ModelOptions(str(folder), backend=name, dtype="float32", device="cpu")) for name in ("hf", "vllm")
    )
    for settings in ({}, SAMPLED):
        jobs = [Job(one, GenerationParams((), LENGTH, **settings), str(i)) for i, one in enumerate(texts)]
        failed = [
            {i for i, one in answers(engine, jobs).items() if isinstance(one, Exhausted) and one.kind == "nan_logits"}
            for engine in (hf, vllm)
        ]
        assert 3 in failed[1]
        assert len(failed[1]) < 8
        if not settings:
            assert failed[0] == failed[1]
    vllm.close()
