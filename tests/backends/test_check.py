"""The self-check: every layout is held against one text alone, on what the run will really do."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf import causal
from benchbench.backends.hf.agreement import EXACT, ROUGH, disagreement
from benchbench.backends.hf.check import (
    cheap_sample,
    computed,
    may_change_with_length,
    sample,
    switches,
    without_far_past,
)
from benchbench.backends.hf.model import CausalModel
from benchbench.backends.hf.scorer import CausalScorer
from benchbench.backends.plan import Block, Limits, PlanRow, make_plan
from benchbench.backends.tokens import Scored

SIZE: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
LIMITS = Limits(batch_tokens=1024, logit_rows=4000, cached_tokens=16_384, width=512)


def made(name: str, **settings: Any) -> CausalModel:
    """A model of random weights, large enough that a wrong layout shows as nats."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **{**SIZE, **settings}))
    with torch.no_grad():
        for place, weights in model.named_parameters():
            if weights.dim() >= 2:
                weights.normal_(0, 0.5 if "embed" in place or "wte" in place else 1.5 / weights.shape[-1] ** 0.5)
    return CausalModel(model.eval(), torch.device("cpu"))


def longrope(switch: int = 64) -> CausalModel:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [1.0, 2, 4, 8],
        "original_max_position_embeddings": switch,
    }
    return made("phi3", rope_parameters=rope, original_max_position_embeddings=switch, pad_token_id=0)


def gpt_neo(window: int) -> CausalModel:
    kinds = [[["global", "local"], 1]]
    return made("gpt_neo", num_layers=2, num_heads=4, attention_types=kinds, window_size=window)


def drawn(lengths: Sequence[int], choices: int, size: int, shots: int = 0, seed: int = 0) -> list[EncodedPair]:
    """Docs with contexts of these lengths behind common shots, each with choices of that size."""
    rng = random.Random(seed)
    draw = lambda n: tuple(rng.randrange(3, 259) for _ in range(n))  # noqa: E731
    head = draw(shots)
    contexts = [head + draw(length) for length in lengths]
    return [EncodedPair(context, draw(size)) for context in contexts for _ in range(choices)]


def scorer_of(model: CausalModel, plan: str = "auto") -> CausalScorer:
    return CausalScorer(model, LIMITS, plan=plan, config=model.model.config)


def totals(scorer: CausalScorer, pairs: Sequence[EncodedPair]) -> list[float]:
    scored = {one.request: one.total for one in scorer.score(pairs) if isinstance(one, Scored)}
    return [scored[i] for i in range(len(pairs))]


def alone(model: CausalModel, pairs: Sequence[EncodedPair]) -> list[float]:
    """One forward of each text: no batch, no cache, no padding, no mask."""
    found = []
    for pair in pairs:
        with torch.inference_mode():
            logits = model.model(input_ids=torch.tensor([pair.inputs]), use_cache=False).logits[0, pair.first_row :]
        rows = torch.log_softmax(logits.float(), -1)
        found.append(float(rows.gather(1, torch.tensor(pair.continuation)[:, None]).double().sum()))
    return found


def test_a_row_wider_than_the_window_is_seen_although_each_text_is_shorter() -> None:
    """GPT-Neo's local layers mask by column, whatever mask they are given."""
    model = gpt_neo(window=64)
    pairs = drawn([20, 22, 24, 26], choices=8, size=20)
    assert max(len(pair.inputs) for pair in pairs) < 64
    scorer = scorer_of(model)
    assert totals(scorer, pairs) == pytest.approx(alone(model, pairs), abs=1e-3)
    assert scorer.layout == "branched"
    (note,) = scorer.notes
    assert note.startswith(
        "The packed plan is not used for texts of 39 to 45 tokens: it differs from one text alone by"
    )
    narrow = drawn([20, 22], choices=2, size=6)
    assert totals(scorer, narrow) == pytest.approx(alone(model, narrow), abs=1e-3)
    assert scorer.layout == "packed", "rows within the window are right"


def test_trust_in_short_texts_is_no_trust_in_long_ones_and_order_is_no_matter() -> None:
    short = drawn([10, 12, 14, 16], choices=3, size=4, shots=20)
    long = drawn([20, 70, 30, 90], choices=3, size=4, shots=20, seed=1)
    model = longrope()
    found = {}
    for order in ((short, long), (long, short)):
        scorer = scorer_of(model)
        for pairs in order:
            found.setdefault(id(pairs), []).append(totals(scorer, pairs))
    for pairs in (short, long):
        first, second = found[id(pairs)]
        assert first == second
        assert first == pytest.approx(alone(model, pairs), abs=1e-3)


def test_the_padded_batch_is_held_against_one_text_alone_too() -> None:
    model = longrope()
    model.model.config.rope_parameters["rope_type"] = "unheard of"  # nothing tells where the numbers change
    pairs = drawn(range(50, 80, 2), choices=1, size=3)
    scorer = scorer_of(model, "plain")
    assert scorer._switches == ()
    assert totals(scorer, pairs) == pytest.approx(alone(model, pairs), abs=1e-3)
    assert scorer.layout == "unpadded"
    assert scorer.notes[0].startswith("The plain plan is not used for texts of 52 to 80 tokens: it differs from")
    assert (
        scorer.notes[1] == "Padding changes the numbers of this model: only texts of one length are computed together."
    )


def test_a_model_that_sees_what_comes_later_is_computed_without_padding() -> None:
    model = made("bert", is_decoder=False)
    pairs = drawn([9, 12, 12, 30, 9], choices=2, size=4)
    scorer = scorer_of(model)
    assert totals(scorer, pairs) == pytest.approx(alone(model, pairs), abs=1e-3)
    assert scorer.layout == "unpadded"


def test_a_model_whose_rows_move_each_other_is_asked_one_text_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("llama")
    forward = model.model.forward

    def mixed(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = output.logits * (1 + 0.1 * (len(kwargs["input_ids"]) - 1))
        return output

    monkeypatch.setattr(model.model, "forward", mixed)
    pairs = drawn([9, 12, 12, 30, 9], choices=2, size=4)
    scorer = scorer_of(model)
    assert totals(scorer, pairs) == pytest.approx(alone(model, pairs), abs=1e-3)
    assert scorer.layout == "single"
    assert "one is computed at a time" in scorer.notes[-1]


def test_a_model_of_which_no_prefix_is_shared_says_so() -> None:
    model = made("llama4_text", num_key_value_heads=4, head_dim=8, num_local_experts=2, intermediate_size_mlp=48)
    scorer = scorer_of(model)
    pairs = drawn([9, 12, 30], choices=2, size=4)
    assert totals(scorer, pairs) == pytest.approx(alone(model, pairs), abs=1e-3)
    assert scorer.notes == ["Prefixes that requests share are computed anew for each of them."]


def test_a_single_plan_needs_no_check() -> None:
    model = made("llama")
    pairs = drawn([9, 12, 30], choices=2, size=4)
    scorer = scorer_of(model, "single")
    found, given = totals(scorer, pairs), model.computed_tokens
    assert found == pytest.approx(alone(model, pairs), abs=1e-4)
    assert given == sum(len(pair.inputs) for pair in pairs)


def test_texts_to_be_continued_are_checked_at_their_own_lengths() -> None:
    scorer = scorer_of(longrope())
    assert scorer.trusts("branched", drawn([20, 30, 40], choices=2, size=4))
    assert not scorer.trusts("branched", drawn(range(70, 110, 2), choices=2, size=4, shots=40))
    assert scorer.trusts("branched", drawn([22, 31, 39], choices=2, size=4))


def test_two_half_precision_families_pass_and_a_leak_between_branches_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = drawn([12, 18, 30, 41], choices=4, size=8, shots=40)
    right = causal._packed_mask
    for name in ("llama", "gpt_neox"):
        model = made(name)
        model.model.bfloat16()
        monkeypatch.setattr(causal, "_packed_mask", right)
        scorer = scorer_of(model)
        totals(scorer, pairs)
        assert (scorer.layout, scorer.notes) == ("packed", [])
        monkeypatch.setattr(
            causal, "_packed_mask", lambda branch, start, dtype: right(branch.clamp(max=0), start, dtype)
        )
        leaky = scorer_of(model)
        totals(leaky, pairs)
        assert leaky.layout == "branched"


def scored(*logprobs: float) -> Scored:
    return Scored(0, sum(logprobs), False, len(logprobs), True, logprobs)


def test_what_rounding_explains_is_no_difference_and_one_wrong_token_is() -> None:
    rng = random.Random(0)
    bf16 = ROUGH[torch.bfloat16]
    expected = scored(*(-rng.random() * 6 for _ in range(40)))
    noisy = scored(*(p + rng.gauss(0, 0.06) for p in expected.logprobs))
    assert disagreement(expected, noisy, bf16) is None
    assert disagreement(expected, noisy, EXACT)
    one_wrong = list(noisy.logprobs)
    one_wrong[7] -= 0.6
    assert disagreement(expected, scored(*one_wrong), bf16)
    assert disagreement(expected, scored(*(p - 0.1 for p in expected.logprobs)), bf16), "all a little, to one side"
    assert (
        disagreement(expected, scored(*(p + 5e-5 * (-1) ** i for i, p in enumerate(expected.logprobs))), EXACT) is None
    )
    assert disagreement(expected, scored(*expected.logprobs[:-1], float("nan")), bf16)


def test_noise_widens_the_tolerance_but_a_token_off_by_a_nat_is_wrong() -> None:
    bf16 = ROUGH[torch.bfloat16]
    assert bf16.scaled(0.05) == bf16
    assert bf16.scaled(0.2).token == pytest.approx(0.6)
    assert bf16.scaled(50.0).token == 1.0


WORKS = {
    "choices": lambda docs: drawn([20 + 7 * (doc % 15) for doc in range(docs)], choices=4, size=17),
    "few-shot letters": lambda docs: drawn([20 + 7 * (doc % 15) for doc in range(docs)], choices=4, size=1, shots=350),
    "few-shot choices": lambda docs: drawn([20 + 3 * (doc % 15) for doc in range(docs)], choices=4, size=9, shots=350),
    "long contexts": lambda docs: drawn([200 + 17 * (doc % 15) for doc in range(docs)], choices=4, size=1),
}


@pytest.mark.parametrize(("name", "work"), [*(("llama", work) for work in WORKS), ("mistral", "choices")])
def test_the_check_of_a_thousand_requests_costs_less_than_two_percent(
    name: str, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(name)
    pairs = WORKS[work](250)
    monkeypatch.setattr("benchbench.backends.hf.scorer.run_batch", counted)
    monkeypatch.setattr(model, "prefix", lambda ids, start, past: counted_prefix(model, ids, start))
    scorer = scorer_of(model)
    totals(scorer, pairs)
    first = model.computed_tokens
    totals(scorer, pairs)
    again = model.computed_tokens - first
    assert 0 < first - again < 0.02 * again
    few = pairs[:20]
    before = model.computed_tokens
    totals(scorer_of(model), few)
    longest = max(len(pair.inputs) for pair in few)
    middle = model.computed_tokens
    totals(scorer, few)
    assert middle - before - (model.computed_tokens - middle) <= 3 * longest


def counted(
    model: CausalModel, layout: str, block: Block, states: object, batch: Sequence[PlanRow]
) -> Iterator[Scored]:
    """In place of a forward pass: what it would compute is counted, and every token is certain."""
    model.computed_tokens += len(batch) * max(row.packed_width for row in batch)
    for row in batch:
        for reader in (reader for leaf in row.leaves for reader in leaf.readers):
            size = len(reader.targets)
            yield Scored(reader.request, 0.0, True, size, True, (0.0,) * size)


def counted_prefix(model: CausalModel, ids: Sequence[int], start: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    model.computed_tokens += len(ids) - start
    return [(torch.zeros(1), torch.zeros(1))]


def test_the_sample_holds_the_widest_row_the_longest_text_and_the_most_padded_row() -> None:
    pairs = [*drawn([30] * 6, choices=6, size=12), *drawn([95, 40, 20], choices=1, size=3, seed=1)]
    plan = make_plan([(pair.inputs, pair.first_row, pair.continuation) for pair in pairs], LIMITS)
    checked = sample(plan, "packed", whole=False)
    widest = max(plan.rows, key=lambda row: row.packed_width)
    assert {reader.request for reader in widest.leaves[-1].readers} <= checked.requests
    assert 36 in checked.requests, "the longest text"
    assert computed(checked.plan) < computed(plan)
    assert all(len(leaf.tokens) == len(pairs[leaf.readers[0].request].inputs) for leaf in checked.alone)


def test_a_cut_sample_keeps_a_block_and_the_numbers_of_its_rows() -> None:
    pairs = drawn([12, 18, 30, 41], choices=4, size=8, shots=200)
    plan = make_plan([(pair.inputs, pair.first_row, pair.continuation) for pair in pairs], LIMITS)
    whole = cheap_sample(plan, "packed")
    cut = without_far_past(whole)
    assert cut.requests == whole.requests
    assert max(len(block.tokens) for block in cut.plan.blocks) == 16
    for before, after in zip(whole.alone, cut.alone, strict=True):
        assert after.tokens == before.tokens[-len(after.tokens) :]
        assert len(before.tokens) - len(after.tokens) == 184
        assert [r.targets for r in after.readers] == [r.targets for r in before.readers]


def test_lengths_at_which_a_model_changes_are_read_from_its_configuration() -> None:
    from transformers import GPTNeoConfig, LlamaConfig, MistralConfig

    assert switches(LlamaConfig()) == ()
    assert switches(MistralConfig(sliding_window=99)) == (99,)
    assert switches(GPTNeoConfig()) == (256,)
    assert switches(longrope(64).model.config) == (64,)
    yarn = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 64}
    assert switches(LlamaConfig(rope_parameters=yarn)) == ()


@pytest.mark.parametrize(
    ("name", "settings", "may"),
    [
        ("llama", {}, False),
        ("qwen2", {"max_window_layers": 28, "sliding_window": None}, False),
        ("mixtral", {"sliding_window": None}, False),
        ("gpt2", {}, False),
        ("mistral", {"sliding_window": 400}, False),
        ("mistral", {"sliding_window": 200}, True),
        ("gpt_neo", {"window_size": 200}, True),
        ("llama4_text", {"attention_chunk_size": 128}, True),
    ],
)
def test_short_texts_stand_for_long_ones_where_no_setting_looks_like_a_length(
    name: str, settings: dict[str, Any], may: bool
) -> None:
    from transformers import AutoConfig

    assert may_change_with_length(AutoConfig.for_model(name, **settings), 300) is may


def test_a_layout_of_equal_lengths_in_which_every_text_is_alone_is_right() -> None:
    model = made("llama")
    pairs = drawn([9, 12, 30], choices=1, size=4)
    scorer = scorer_of(model, "unpadded")
    assert totals(scorer, pairs) == pytest.approx(alone(model, pairs), abs=1e-4)
    assert (scorer.layout, scorer.notes) == ("unpadded", [])
