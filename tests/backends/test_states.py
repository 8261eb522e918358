"""Hybrids and state-space models share prefixes and write in batches, with the numbers and texts of one alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf import model as engine
from benchbench.backends.hf import trunks
from benchbench.backends.hf.cache import Kept, joined
from benchbench.backends.hf.generate import CausalGenerator
from benchbench.backends.hf.model import MIXES
from benchbench.backends.tokens import Exhausted, Scored
from benchbench.backends.writing import Job, Written
from benchbench.core.types import GenerationParams
from tests import states

MANY = [
    name if name in ("lfm2", "mamba2", "jamba", "rwkv") else pytest.param(name, marks=pytest.mark.slow)
    for name in states.FAMILIES
]
WITHOUT_SHARED_BLOCKS = {"mamba", "falcon_mamba", "jamba", "recurrent_gemma"}
"""Only single tokens can follow their states."""


def five_shot(docs: int = 5) -> list[EncodedPair]:
    rng = random.Random(1)
    pairs = []
    for context in states.contexts(docs, shots=50, longest=12):
        choices = [tuple(rng.randrange(3, 300) for _ in range(rng.choice([1, 2, 5]))) for _ in range(4)]
        pairs += [EncodedPair(context, choice) for choice in choices]
    return pairs


def alone(model: Any, pair: EncodedPair) -> float:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([pair.inputs]), use_cache=False).logits[0, pair.first_row :]
    return float(torch.log_softmax(logits, -1).gather(1, torch.tensor(pair.continuation)[:, None]).double().sum())


def greedy_alone(model: Any, context: tuple[int, ...], count: int) -> list[int]:
    ids = list(context)
    with torch.inference_mode():
        for _ in range(count):
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(context) :]


@contextmanager
def passes(model: Any) -> Iterator[list[int]]:
    """The number of tokens in every forward pass meanwhile."""
    seen: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    yield seen
    hook.remove()


def written(generator: CausalGenerator, jobs: list[Job]) -> list[str]:
    found = {answer.request: answer for answer in generator.write(jobs)}
    assert not any(isinstance(answer, Exhausted) for answer in found.values())
    return [answer.text for _, answer in sorted(found.items()) if isinstance(answer, Written)]


@pytest.mark.parametrize("name", MANY)
def test_scores_are_those_of_one_text_alone_for_at_most_half_the_tokens(name: str) -> None:
    scorer, pairs = states.scorer(name), five_shot()
    list(scorer.score(pairs))  # with its check
    before = scorer.model.computed_tokens
    got = {scored.request: scored for scored in scorer.score(pairs)}
    ratio = (scorer.model.computed_tokens - before) / sum(len(pair.inputs) for pair in pairs)
    assert ratio < (0.5 if name in WITHOUT_SHARED_BLOCKS else 0.3)
    assert scorer.layout == "branched", scorer.notes
    for i, pair in enumerate(pairs):
        scored = got[i]
        assert isinstance(scored, Scored)
        assert scored.total == pytest.approx(alone(scorer.model.model, pair), abs=1e-3), (i, pair)


@pytest.mark.parametrize("name", MANY)
def test_texts_are_those_of_one_alone_in_the_passes_of_one_batch(name: str, tmp_path: Path) -> None:
    generator = states.generator(name, tmp_path)
    model, new = generator.model.model, 10
    texts = states.contexts(4, shots=20)
    params = GenerationParams((), new)
    jobs = [Job(text, params, str(i)) for i, text in enumerate(texts)]
    generator.ending.eos = frozenset()
    first = written(generator, jobs)
    assert first == [generator.ending.decode(greedy_alone(model, text, new)) for text in texts]
    with passes(model) as seen:
        assert written(generator, jobs) == first
    assert len(seen) <= 1.3 * new + (len(texts) if not generator.model.pads else 0)
    assert sum(seen) <= 1.3 * (len(texts) * max(len(text) for text in texts) + new * len(texts))
    assert MIXES not in generator.model.notes


def test_rows_that_are_mixed_are_written_in_passes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "beside", lambda held: held)  # as transformers adds up the states of RWKV
    generator = states.generator("rwkv", tmp_path)
    generator.ending.eos = frozenset()
    texts = states.contexts(3, shots=8)
    jobs = [Job(text, GenerationParams((), 4), str(i)) for i, text in enumerate(texts)]
    expected = [generator.ending.decode(greedy_alone(generator.model.model, text, 4)) for text in texts]
    assert written(generator, jobs) == expected
    assert MIXES in generator.model.notes


@pytest.mark.parametrize(
    ("name", "goes_on", "pads"), [("mamba2", "tokens", True), ("jamba", "steps", True), ("rwkv", "tokens", False)]
)
def test_half_precision_does_not_hide_how_a_state_goes_on(name: str, goes_on: str, pads: bool) -> None:
    model = engine.CausalModel(states.made(name).bfloat16(), torch.device("cpu"))
    assert (model.goes_on, model.pads, model.joins) == (goes_on, pads, True)


def test_every_token_given_to_the_model_is_counted(tmp_path: Path) -> None:
    generator = states.generator("lfm2", tmp_path)
    (text,) = states.contexts(1, shots=20)
    for params in (GenerationParams((), 6), GenerationParams((), 6, num_beams=3)):
        before = generator.model.computed_tokens
        with passes(generator.model.model) as seen:
            written(generator, [Job(text, params, "a")])
        assert generator.model.computed_tokens - before == sum(seen) > len(text)
        assert not generator.model.model._forward_pre_hooks, "a model in training is used on, and not for us"


@pytest.mark.parametrize("name", ["lfm2", "mamba2", "rwkv", pytest.param("minimax", marks=pytest.mark.slow)])
def test_beams_are_those_of_a_search_that_keeps_nothing(name: str, tmp_path: Path) -> None:
    generator = states.generator(name, tmp_path)
    (text,) = states.contexts(1, shots=20)
    got = written(generator, [Job(text, GenerationParams((), 6, num_beams=3), "a")])
    ids = torch.tensor([text])
    with torch.inference_mode():
        output = generator.model.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=6,
            num_beams=3,
            do_sample=False,
            pad_token_id=0,
            use_cache=False,
        )
    assert got == [generator.ending.finished(0, output[0, len(text) :].tolist(), GenerationParams((), 6)).text]


def test_rows_that_were_mixed_up_are_found_out_and_written_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = states.generator("mamba2", tmp_path)
    jobs = [Job(text, GenerationParams((), 8), str(i)) for i, text in enumerate(states.contexts(4, shots=20))]
    expected = written(generator, jobs)
    generator.forget()
    monkeypatch.setattr(generator.scorer, "trusts", lambda layout, pairs: True)
    monkeypatch.setattr(trunks, "joined", lambda parts, order: joined(parts, order.flip(0)))
    assert written(generator, jobs) == expected
    assert any("one at a time" in note for note in generator.scorer.notes)


def test_sampling_and_a_full_memory_change_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = states.generator("lfm2", tmp_path)
    params = GenerationParams((), 8, do_sample=True, temperature=0.8, top_k=40, repetition_penalty=1.1)
    jobs = [Job(text, params, f"t/{i}/0") for i, text in enumerate(states.contexts(4, shots=20))]
    expected = written(generator, jobs)
    assert written(generator, jobs[::-1]) == expected[::-1]
    real = generator.model.model.forward

    def small(*args: object, **kwargs: Any) -> object:
        if kwargs["input_ids"].shape[0] > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(generator.model.model, "forward", small)
    assert written(generator, jobs) == expected
    assert generator.retries > 0


def test_rows_are_put_side_by_side_in_the_order_asked_for() -> None:
    parts = [Kept([torch.tensor([[1.0], [2.0]])], 2, 3), Kept([torch.tensor([[3.0]])], 1, 5)]
    together = joined(parts, torch.tensor([2, 0, 1]))
    assert together.held[0].flatten().tolist() == [3.0, 1.0, 2.0]
    assert (together.rows, together.tokens) == (3, 5)
