"""Packed and branched plans give the numbers of plain scoring, on every architecture, or are not used."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf import causal
from benchbench.backends.hf.check import Sample, attention_window
from benchbench.backends.hf.model import CausalModel
from benchbench.backends.hf.scorer import CausalScorer
from benchbench.backends.plan import Limits
from benchbench.backends.tokens import Exhausted, Scored
from benchbench.core.errors import ArgumentError
from tests import models

LIMITS = Limits(batch_tokens=512, logit_rows=400, cached_tokens=8000, width=512, block_overhead=64)
MAKERS: dict[str, Callable[[Path], Path]] = {
    "llama": models.tiny_llama,
    "gpt2": models.tiny_gpt2,
    "mpt": models.tiny_mpt,
    "mpt with 6 heads": lambda folder: models.tiny_mpt(folder, n_heads=6),
    "mistral with a window": models.tiny_mistral,
    "qwen2 with a window in one layer": models.tiny_qwen2,
    "custom code, alibi and qk norm": models.custom_code,
}


def opened(maker: Callable[[Path], Path], folder: Path) -> CausalModel:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(maker(folder), trust_remote_code=True)
    return CausalModel(model.eval(), torch.device("cpu"))


def mixed_pairs(seed: int = 0) -> list[EncodedPair]:
    """Docs behind two blocks of shots and behind none; one-token and long choices, duplicates, nested continuations."""
    rng = random.Random(seed)
    draw = lambda n: tuple(rng.randrange(3, 300) for _ in range(n))  # noqa: E731
    pairs = []
    for shots in (draw(0), draw(60), draw(60)):
        for _ in range(14):
            context = shots + draw(rng.randrange(1, 30))
            pairs += [EncodedPair(context, draw(rng.choice([1, 1, 2, 9, 14]))) for _ in range(4)]
    last = pairs[-1]
    pairs += [EncodedPair(last.context + last.continuation[:1], last.continuation[1:] or (5,)), *pairs[:3]]
    rng.shuffle(pairs)
    return pairs


def totals(scorer: CausalScorer, pairs: list[EncodedPair]) -> list[Scored]:
    scored = {s.request: s for s in scorer.score(pairs)}
    assert sorted(scored) == list(range(len(pairs)))
    assert not any(isinstance(s, Exhausted) for s in scored.values())
    return [scored[i] for i in range(len(pairs))]  # type: ignore[misc]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("plan", ["packed", "branched", "auto"])
def test_every_layout_agrees_with_plain(name: str, plan: str, tmp_path: Path) -> None:
    model = opened(MAKERS[name], tmp_path)
    pairs = mixed_pairs()
    plain = totals(CausalScorer(model, LIMITS, plan="plain", config=model.model.config), pairs)
    if plan == "packed" and not model.takes_positions:
        with pytest.raises(ArgumentError, match="position_ids"):
            CausalScorer(model, LIMITS, plan=plan, config=model.model.config)
        return
    scorer = CausalScorer(model, LIMITS, plan=plan, config=model.model.config)
    planned = totals(scorer, pairs)
    assert scorer.layout == (plan if plan != "auto" else "packed" if model.takes_positions else "branched")
    assert scorer.notes == []
    for one, other in zip(plain, planned, strict=True):
        assert other.total == pytest.approx(one.total, abs=1e-4)
        assert (other.is_greedy, other.num_tokens) == (one.is_greedy, one.num_tokens)


@pytest.mark.parametrize("name", ["llama", "mpt"])
def test_questions_on_one_passage_are_branches_of_which_only_the_last_row_is_read(name: str, tmp_path: Path) -> None:
    model = opened(MAKERS[name], tmp_path)
    rng = random.Random(6)
    draw = lambda n: tuple(rng.randrange(3, 300) for _ in range(n))  # noqa: E731
    pairs = []
    for _ in range(6):
        passage = draw(50)
        for _ in range(2):
            context = passage + draw(12)
            pairs += [EncodedPair(context, (letter,)) for letter in (40, 41, 42, 43)]
    plain = totals(CausalScorer(model, LIMITS, plan="plain", config=model.model.config), pairs)
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    for one, other in zip(plain, totals(scorer, pairs), strict=True):
        assert other.total == pytest.approx(one.total, abs=1e-4)
    assert scorer.notes == []


def test_shared_tokens_are_computed_once(tmp_path: Path) -> None:
    model = opened(models.tiny_llama, tmp_path)
    rng = random.Random(1)
    shots = tuple(rng.randrange(3, 300) for _ in range(200))
    pairs = []
    for _ in range(30):
        context = shots + tuple(rng.randrange(3, 300) for _ in range(20))
        pairs += [EncodedPair(context, tuple(rng.randrange(3, 300) for _ in range(6))) for _ in range(4)]
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    scorer.trusts("packed", pairs)
    before = model.computed_tokens
    totals(scorer, pairs)
    assert model.computed_tokens - before == 200 + 30 * (20 + 4 * 5)


def test_a_model_deaf_to_its_cache_falls_back_to_plain_and_says_so(tmp_path: Path) -> None:
    model = opened(lambda folder: models.custom_code(folder, deaf=True), tmp_path)
    pairs = mixed_pairs()
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    planned = totals(scorer, pairs)
    plain = totals(CausalScorer(model, LIMITS, plan="plain", config=model.model.config), pairs)
    assert [s.total for s in planned] == [s.total for s in plain]
    assert scorer.layout == "plain"
    assert "not used" in " ".join(scorer.notes)


def test_trust_earned_without_branches_is_no_trust_in_branches(tmp_path: Path) -> None:
    model = opened(lambda folder: models.custom_code(folder, deaf=True), tmp_path)
    rng = random.Random(4)
    draw = lambda n: tuple(rng.randrange(3, 300) for _ in range(n))  # noqa: E731
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    totals(scorer, [EncodedPair(draw(12), (letter,)) for letter in (40, 41, 42)])
    assert scorer.layout == "branched"
    contexts = [draw(12) for _ in range(4)]
    branching = [EncodedPair(context, draw(5)) for context in contexts for _ in range(2)]
    planned = totals(scorer, branching)
    plain = totals(CausalScorer(model, LIMITS, plan="plain", config=model.model.config), branching)
    assert [s.total for s in planned] == [s.total for s in plain]
    assert scorer.layout == "plain"


def test_the_check_holds_the_block_and_the_branches_of_the_run(tmp_path: Path) -> None:
    model = opened(models.tiny_llama, tmp_path)
    rng = random.Random(5)
    draw = lambda n: tuple(rng.randrange(3, 300) for _ in range(n))  # noqa: E731
    shots = draw(200)
    # The shortest and the longest context do not begin with the shots.
    contexts = [draw(4), *(shots + draw(10 + doc) for doc in range(8)), draw(300)]
    pairs = [EncodedPair(context, draw(5)) for context in contexts for _ in range(2)]
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    checked: list[Sample] = []
    make = scorer._sample
    scorer._sample = lambda *args, **options: checked.append(make(*args, **options)) or checked[-1]  # type: ignore[method-assign, func-returns-value]
    assert scorer.trusts("packed", pairs)
    plan = checked[-1].plan
    assert any(block.tokens for block in plan.blocks)
    assert sum(len(row.leaves) > 1 for row in plan.rows) >= 2


def test_a_model_that_ignores_the_mask_is_found_out_by_rows_of_unlike_width(tmp_path: Path) -> None:
    model = opened(lambda folder: models.custom_code(folder, ignores_mask=True), tmp_path)
    rng = random.Random(2)
    draw = lambda n: tuple(rng.randrange(3, 300) for _ in range(n))  # noqa: E731
    pairs = []
    for size in (20, 8, 31, 14, 25):
        context = draw(size)
        pairs += [EncodedPair(context, draw(6)) for _ in range(4)]
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    plain = totals(CausalScorer(model, LIMITS, plan="plain", config=model.model.config), pairs)
    assert [s.total for s in totals(scorer, pairs)] == [s.total for s in plain]
    assert scorer.layout == "plain"


def test_a_layout_with_wrong_numbers_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check must fail when branches can see each other: that is the mistake it exists for."""
    model = opened(models.tiny_llama, tmp_path)
    right = causal._packed_mask

    def leaky(branch_of: torch.Tensor, start: int, dtype: torch.dtype) -> torch.Tensor:
        return right(branch_of.clamp(max=0), start, dtype)

    monkeypatch.setattr(causal, "_packed_mask", leaky)
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    totals(scorer, mixed_pairs())
    assert scorer.layout == "branched"
    assert "differs from one text alone" in scorer.notes[0]


def test_skipped_requests_do_not_move_the_others(tmp_path: Path) -> None:
    """A resumed run gets the same bits, for the layout is that of the whole run."""
    model = opened(models.tiny_llama, tmp_path)
    pairs = mixed_pairs()
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    whole = {s.request: s for s in scorer.score(pairs)}
    skip = set(random.Random(5).sample(range(len(pairs)), 100))
    before = model.computed_tokens
    rest = {s.request: s for s in scorer.score(pairs, skip)}
    assert set(rest) == set(range(len(pairs))) - skip
    assert all(rest[i] == whole[i] for i in rest)
    before = model.computed_tokens
    assert list(scorer.score(pairs, set(range(len(pairs))))) == []
    assert model.computed_tokens == before


def test_out_of_memory_halves_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(models.tiny_llama, tmp_path)
    pairs = mixed_pairs()
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    expected = totals(scorer, pairs)
    real = model.model.forward

    def small(*args: object, **kwargs: object) -> object:
        if kwargs["input_ids"].numel() > 150:  # type: ignore[attr-defined]
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(*args, **kwargs)

    monkeypatch.setattr(model.model, "forward", small)
    tight = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    for one, other in zip(expected, totals(tight, pairs), strict=True):
        assert other.total == pytest.approx(one.total, abs=1e-4)
    assert tight.retries > 0


def test_a_request_that_never_fits_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(models.tiny_llama, tmp_path)
    real = model.model.forward

    def small(*args: object, **kwargs: object) -> object:
        if kwargs["input_ids"].numel() > 40:  # type: ignore[attr-defined]
            raise MemoryError("not enough memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(model.model, "forward", small)
    pairs = [EncodedPair(tuple(range(3, 63)), (5, 6)), EncodedPair((3, 4), (5,)), EncodedPair((3, 9), (5,))]
    scorer = CausalScorer(model, LIMITS, plan="plain", config=model.model.config)
    scored = {s.request: s for s in scorer.score(pairs)}
    assert isinstance(scored[0], Exhausted)
    assert "not enough memory" in scored[0].message
    assert isinstance(scored[1], Scored)
    assert isinstance(scored[2], Scored)


def test_nan_weights_are_reported_not_scored(tmp_path: Path) -> None:
    model = opened(models.tiny_llama, tmp_path)
    with torch.no_grad():
        model.model.lm_head.weight[7] = float("nan")
    scorer = CausalScorer(model, LIMITS, plan="auto", config=model.model.config)
    assert not any(s.finite for s in totals(scorer, mixed_pairs()))


def test_log_probabilities_of_a_half_precision_model_are_taken_in_fp32(tmp_path: Path) -> None:
    model = opened(models.tiny_llama, tmp_path)
    model.model.bfloat16()
    pairs = mixed_pairs()[:40]
    found = [s.total for s in totals(CausalScorer(model, LIMITS, plan="plain", config=model.model.config), pairs)]
    exact, rounded = ([alone(model, pair, dtype) for pair in pairs] for dtype in (torch.float32, torch.bfloat16))
    assert found == pytest.approx(exact, abs=0.02)
    assert len(set(found)) > len(set(rounded))


def alone(model: CausalModel, pair: EncodedPair, dtype: torch.dtype) -> float:
    """Log-likelihood of one continuation, the log-softmax taken in `dtype`."""
    with torch.inference_mode():
        logits = model.model(torch.tensor([pair.inputs])).logits[0, pair.first_row :]
    chosen = torch.log_softmax(logits, dim=-1, dtype=dtype)[torch.arange(len(logits)), list(pair.continuation)]
    return float(chosen.sum())


def test_windows_are_read_from_any_kind_of_config() -> None:
    from transformers import Gemma2Config, LlamaConfig, MistralConfig, Qwen2Config

    assert attention_window(LlamaConfig()) is None
    assert attention_window(MistralConfig(sliding_window=99)) == 99
    assert attention_window(Qwen2Config()) is None
    assert attention_window(Gemma2Config(sliding_window=64)) == 64
