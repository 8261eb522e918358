"""Our writing loop gives what transformers' own greedy search gives, row by row, and stops where it should."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.backends.hf.generate import CausalGenerator
from benchbench.backends.hf.model import CausalModel
from benchbench.backends.hf.scorer import CausalScorer
from benchbench.backends.plan import Limits
from benchbench.backends.tokens import Exhausted
from benchbench.backends.writing import Job, Written, cut_at_stop
from benchbench.core.types import GenerationParams
from tests import models

LIMITS = Limits(batch_tokens=512, logit_rows=400, cached_tokens=8000, width=512, block_overhead=64)
MAKERS: dict[str, Callable[[Path], Path]] = {
    "llama": models.tiny_llama,
    "mpt": models.tiny_mpt,
    "gpt2": models.tiny_gpt2,
    "mistral with a window": models.tiny_mistral,
    "deaf custom code": lambda folder: models.custom_code(folder, deaf=True),
}


def opened(maker: Callable[[Path], Path], folder: Path) -> tuple[CausalGenerator, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    maker(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    causal = CausalModel(model, torch.device("cpu"))
    scorer = CausalScorer(causal, LIMITS, plan="auto", config=model.config)
    return CausalGenerator(causal, tokenizer, scorer, LIMITS), model


def contexts(count: int = 30, shots: int = 60) -> list[tuple[int, ...]]:
    rng = random.Random(0)
    draw = lambda n: tuple(rng.randrange(3, 300) for _ in range(n))  # noqa: E731
    block = draw(shots)
    return [block + draw(rng.randrange(1, 40)) for _ in range(count)]


def written(generator: CausalGenerator, jobs: list[Job]) -> dict[int, Written]:
    results = list(generator.write(jobs))
    assert not any(isinstance(w, Exhausted) for w in results)
    return {w.request: w for w in results if isinstance(w, Written)}


@pytest.mark.parametrize("name", MAKERS)
def test_greedy_text_is_that_of_transformers(name: str, tmp_path: Path) -> None:
    generator, model = opened(MAKERS[name], tmp_path)
    params = GenerationParams(until=("e", "\n\n"), max_gen_toks=12)
    texts = contexts(14)
    got = written(generator, [Job(text, params, str(i)) for i, text in enumerate(texts)])
    assert len(got) == len(texts)
    assert len({w.finish_reason for w in got.values()}) > 1, "the case must exercise stop strings and the limit"
    for i, text in enumerate(texts):
        ids = torch.tensor([text])
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=0,
            use_cache=False,
        )
        raw = generator.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
        assert got[i].text == cut_at_stop(raw, params.until)


def test_a_stop_string_may_span_tokens(tmp_path: Path) -> None:
    generator, _ = opened(models.tiny_llama, tmp_path)
    texts = contexts(12)
    free = written(generator, [Job(t, GenerationParams((), 24), str(i)) for i, t in enumerate(texts)])
    spans = 0
    for i, text in enumerate(texts):
        raw = free[i].text[1:-4]
        stop = next((raw[k : k + 3] for k in range(len(raw) - 3) if "�" not in raw[k : k + 3]), None)
        if stop is None or len(generator.tokenizer.encode(stop, add_special_tokens=False)) < 2:
            continue
        (w,) = written(generator, [Job(text, GenerationParams((stop,), 24), str(i))]).values()
        assert w.text == cut_at_stop(free[i].text, (stop,))
        assert w.finish_reason == "stop"
        assert w.num_tokens < 24
        spans += 1
    assert spans >= 3


def test_sampling_depends_on_the_request_and_not_on_its_place(tmp_path: Path) -> None:
    generator, _ = opened(models.tiny_llama, tmp_path)
    params = GenerationParams((), 10, do_sample=True, temperature=0.8, top_k=40, top_p=0.95, repetition_penalty=1.1)
    jobs = [Job(text, params, f"t/{i}/0") for i, text in enumerate(contexts(10))]
    forward = written(generator, jobs)
    backward = written(generator, jobs[::-1])
    assert [forward[i].text for i in range(10)] == [backward[9 - i].text for i in range(10)]
    again = written(generator, [Job(job.context, params, job.seed_text + "x") for job in jobs])
    assert any(again[i].text != forward[i].text for i in range(10))


def test_equal_contexts_are_each_answered(tmp_path: Path) -> None:
    generator, _ = opened(models.tiny_llama, tmp_path)
    text = contexts(1)[0]
    params = GenerationParams((), 6)
    got = written(generator, [Job(text, params, "a"), Job(text, params, "b"), Job(text[:30], params, "c")])
    assert got[0].text == got[1].text
    assert len(got) == 3


def test_beams_are_those_of_transformers(tmp_path: Path) -> None:
    generator, model = opened(models.tiny_mpt, tmp_path)
    params = GenerationParams(("\n\n",), 8, num_beams=3)
    text = contexts(1)[0]
    (got,) = written(generator, [Job(text, params, "a")]).values()
    ids = torch.tensor([text])
    output = model.generate(ids, max_new_tokens=8, num_beams=3, do_sample=False, pad_token_id=0)
    assert got.text == cut_at_stop(
        generator.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True), params.until
    )


def test_out_of_memory_halves_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, model = opened(models.tiny_llama, tmp_path)
    jobs = [Job(text, GenerationParams((), 6), str(i)) for i, text in enumerate(contexts(20))]
    expected = written(generator, jobs)
    real = model.forward

    def small(*args: object, **kwargs: Any) -> object:
        if kwargs["input_ids"].shape[0] > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(model, "forward", small)
    assert {i: w.text for i, w in written(generator, jobs).items()} == {i: w.text for i, w in expected.items()}
    assert generator.retries > 0
