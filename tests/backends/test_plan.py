"""The prefix plan computes every needed row once and no shared token twice."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.backends.plan import Limits, PrefixPlan, make_plan

LIMITS = Limits(batch_tokens=512, logit_rows=256, cached_tokens=8192, width=512, block_overhead=64)
Input = tuple[tuple[int, ...], int, tuple[int, ...]]


def docs(count: int, *, shots: int, context: int, choices: int, choice: int, seed: int = 0) -> list[Input]:
    rng = random.Random(seed)
    draw = lambda n: tuple(rng.randrange(50_000) for _ in range(n))  # noqa: E731
    prefix = draw(shots)
    inputs = []
    for _ in range(count):
        text = prefix + draw(context)
        for _ in range(choices):
            continuation = draw(choice)
            inputs.append(((text + continuation)[:-1], len(text) - 1, continuation))
    return inputs


def computed(plan: PrefixPlan) -> int:
    return sum(row.packed_width for row in plan.rows) + sum(
        len(block.tokens) - len(plan.blocks[block.parent].tokens) for block in plan.blocks if block.parent >= 0
    )


def check(plan: PrefixPlan, inputs: list[Input]) -> None:
    """Every request is read exactly once, from a row that ends in its own tokens and holds all rows it needs."""
    seen = []
    for block in plan.blocks:
        for batch in block.batches:
            for row in batch:
                assert row.start == len(block.tokens) < row.depth
                for leaf in row.leaves:
                    assert leaf.tokens[: row.depth] == row.leaves[0].tokens[: row.depth]
                    assert leaf.tokens[: row.start] == block.tokens
                    for reader in leaf.readers:
                        tokens, first_row, targets = inputs[reader.request]
                        assert leaf.tokens[: len(tokens)] == tokens
                        assert reader.first_row == first_row >= row.start
                        assert reader.targets == targets
                        seen.append(reader.request)
    assert sorted(seen) == list(range(len(inputs)))


def test_shots_are_computed_once_and_contexts_once_per_doc() -> None:
    inputs = docs(20, shots=300, context=40, choices=4, choice=10)
    plan = make_plan(inputs, LIMITS)
    check(plan, inputs)
    assert computed(plan) == 300 + 20 * (40 + 4 * 9)


def test_one_token_answers_need_one_row_per_doc() -> None:
    inputs = docs(40, shots=100, context=30, choices=4, choice=1)
    plan = make_plan(inputs, LIMITS)
    check(plan, inputs)
    assert computed(plan) == 100 + 40 * 30
    assert len(plan.rows) == 40


def test_a_block_never_swallows_a_row_that_must_be_read() -> None:
    """Without a context the choices themselves share a long beginning whose rows are all scored."""
    rng = random.Random(1)
    shared = tuple(rng.randrange(1000) for _ in range(80))
    inputs: list[Input] = []
    for _ in range(30):
        tail = tuple(rng.randrange(1000) for _ in range(5))
        inputs.append(((0, *shared, *tail)[:-1], 0, shared + tail))
    check(make_plan(inputs, LIMITS), inputs)


def test_passages_shared_by_two_questions_become_trunks() -> None:
    rng = random.Random(2)
    inputs: list[Input] = []
    for _ in range(10):
        passage = tuple(rng.randrange(9999) for _ in range(120))
        for _ in range(2):
            text = passage + tuple(rng.randrange(9999) for _ in range(20))
            inputs += [(text, len(text) - 1, (letter,)) for letter in range(4)]
    plan = make_plan(inputs, LIMITS)
    check(plan, inputs)
    assert computed(plan) == 10 * (120 + 2 * 20)


def test_limits_hold_for_every_batch_of_more_than_one_row() -> None:
    inputs = docs(40, shots=200, context=60, choices=4, choice=12)
    large = [batch for block in make_plan(inputs, LIMITS).blocks for batch in block.batches if len(batch) > 1]
    assert len(large) > 1
    for batch in large:
        assert len(batch) * max(row.packed_width for row in batch) <= LIMITS.batch_tokens
        assert sum(row.logit_rows for row in batch) <= LIMITS.logit_rows


def test_a_prefix_that_is_known_is_the_block_of_what_begins_with_it_or_with_half_of_it() -> None:
    inputs = docs(20, shots=100, context=20, choices=3, choice=5)
    known = inputs[0][0][:100]
    halves = [((*known[:depth], 60_000, *range(30)), depth + 20, (1,)) for depth in (70, 30)]
    plan = make_plan([*inputs, *halves], LIMITS, known=known)
    check(plan, [*inputs, *halves])
    blocks = {block.tokens: block for block in plan.blocks}
    assert [len(row.leaves) for batch in blocks[known].batches for row in batch] == [3] * 20
    assert {r for batch in blocks[known[:70]].batches for row in batch for r in row.requests} == {len(inputs)}
    assert {r for batch in blocks[()].batches for row in batch for r in row.requests} == {len(inputs) + 1}
    assert len(blocks) == 3
    # A few docs, for which the planner would make no block of its own.
    assert {block.tokens for block in make_plan(inputs[:3], LIMITS, known=known).blocks} == {(), known}
    assert {block.tokens for block in make_plan(inputs[:3], LIMITS).blocks} == {()}


def test_the_plan_does_not_depend_on_the_order_of_requests() -> None:
    inputs = docs(12, shots=64, context=20, choices=4, choice=6)
    order = list(range(len(inputs)))
    random.Random(3).shuffle(order)
    one, other = make_plan(inputs, LIMITS), make_plan([inputs[i] for i in order], LIMITS)
    assert [[[leaf.tokens for leaf in r.leaves] for r in batch] for b in one.blocks for batch in b.batches] == [
        [[leaf.tokens for leaf in r.leaves] for r in batch] for b in other.blocks for batch in b.batches
    ]


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 6)), min_size=1, max_size=25
    ),
    st.booleans(),
)
def test_any_mix_of_requests_is_covered(raw: list[tuple[list[int], int]], sharing: bool) -> None:
    inputs: list[Input] = []
    for tokens, size in raw:
        scored = min(size, len(tokens))
        targets = (*tokens[len(tokens) - scored + 1 :], 7)
        inputs.append((tuple(tokens), len(tokens) - scored, targets))
    plan = make_plan(inputs, LIMITS, sharing=sharing)
    check(plan, inputs)
    if sharing:
        assert computed(plan) <= sum(len(tokens) for tokens, _, _ in inputs)


@pytest.mark.parametrize("count", [2, 1500])
def test_chains_of_nested_prefixes_do_not_overflow(count: int) -> None:
    """Docs that leave a common text one token later each: the deepest tree there is."""
    inputs: list[Input] = []
    for i in range(1, count):
        text = (*range(i), 60_000)
        inputs.append((text, len(text) - 1, (1,)))
    check(make_plan(inputs, LIMITS), inputs)
