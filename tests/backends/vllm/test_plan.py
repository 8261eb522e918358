"""What vLLM is asked: the fewest prompts, prefixes first, nothing that the cache could hide."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from benchbench.backends.encode import EncodedPair
from benchbench.backends.vllm.plan import MOST_LASTS, Ask, Part, make_asks, make_chunks

BLOCK = 8


def pair(context: int, continuation: int, *, seed: int = 0, changed: int | None = None) -> EncodedPair:
    """The first tokens of one random text; from index `changed` on they are another's."""
    rng, other = random.Random(seed), random.Random(f"other {changed}")
    tokens = [rng.randrange(1000) for _ in range(context + continuation)]
    if changed is not None:
        tokens[changed:] = [other.randrange(1000) for _ in tokens[changed:]]
    return EncodedPair(tuple(tokens[:context]), tuple(tokens[context:]))


def test_one_prompt_answers_all_letters_of_a_question() -> None:
    pairs = [EncodedPair((1, 2, 3), (letter,)) for letter in (9, 7, 8, 7)]
    (ask,) = make_asks(pairs, BLOCK)
    assert ask == Ask((1, 2, 3), (Part(1, 2, 7), Part(3, 2, 7), Part(2, 2, 8), Part(0, 2, 9)))
    assert ask.lasts == (7, 8, 9)


def test_more_last_tokens_than_vllm_takes_become_two_prompts() -> None:
    pairs = [EncodedPair((1, 2), (token,)) for token in range(MOST_LASTS + 5)]
    asks = make_asks(pairs, BLOCK)
    assert [len(ask.lasts) for ask in asks] == [MOST_LASTS, 5]
    assert sorted(part.pair for ask in asks for part in ask.parts) == list(range(MOST_LASTS + 5))


def test_equal_inputs_are_computed_once_from_the_first_row_that_anyone_wants() -> None:
    whole = pair(30, 12)
    tokens = whole.context + whole.continuation
    pairs = [EncodedPair(tokens[:k], tokens[k:]) for k in (35, 30, 41)]
    (warm, ask) = make_asks(pairs, BLOCK)
    assert (ask.first_row, {part.pair for part in ask.parts}) == (29, {0, 1, 2})
    assert warm == Ask(tokens[:24])


@pytest.mark.parametrize("context", [1, 7, 9, 17, 30])
def test_a_warm_up_is_whole_blocks_and_ends_before_the_first_wanted_row(context: int) -> None:
    pairs = [pair(context, 5), pair(context, 6, changed=context)]
    asks = make_asks(pairs, BLOCK)
    warm = [ask for ask in asks if not ask.parts]
    whole = (context - 1) // BLOCK * BLOCK
    assert [len(ask.inputs) for ask in warm] == ([whole] if whole else [])
    for ask in asks:
        assert ask.trusts(whole)
        assert ask.may_read(BLOCK) == (not ask.needs_rows or context > BLOCK)


@pytest.mark.parametrize("context", [8, 16])
def test_a_context_of_whole_blocks_is_asked_itself_for_the_first_token_of_each_choice(context: int) -> None:
    choices = [pair(context, 5), pair(context, 6, changed=context)]
    (shared, *own) = make_asks(choices, BLOCK)
    assert shared.inputs == choices[0].context
    assert shared.lasts == tuple(sorted(choice.continuation[0] for choice in choices))
    assert sorted(ask.inputs for ask in own) == sorted(choice.inputs for choice in choices)
    assert all(ask.first_row == context and ask.may_read(BLOCK) for ask in own)


def test_what_the_cache_hides_is_not_trusted() -> None:
    ask = Ask(tuple(range(20)), (Part(0, 9, 5),))
    assert [ask.trusts(cached) for cached in (0, 8, 9, 10, 19)] == [True, True, True, False, False]
    assert Ask(tuple(range(20)), (Part(0, 19, 5),)).trusts(19)


def test_blocks_that_continuations_have_in_common_are_asked_once_for_all_of_them() -> None:
    whole = pair(12, 30)
    tokens = whole.context + whole.continuation
    ends = (42, 27, 21)
    pairs = [EncodedPair(tokens[:12], (*tokens[12:end], 2000 + end)) for end in ends]
    asks = make_asks(pairs, BLOCK)
    assert [(len(ask.inputs), [(p.pair, p.first_row) for p in ask.parts]) for ask in asks] == [
        (8, []),
        (16, [(0, 11), (1, 11), (2, 11)]),
        (21, [(2, 16)]),
        (24, [(0, 16), (1, 16)]),
        (27, [(1, 24)]),
        (42, [(0, 24)]),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_every_token_of_every_pair_is_asked_once_where_the_cache_cannot_hide_it(seed: int) -> None:
    """What the cache holds when an ask runs is every whole block of all asks before it."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(60):
        tokens = tuple(rng.choice((1, 2)) if k % 9 == 0 else 0 for k in range(rng.randint(2, 50)))
        context = rng.randint(1, len(tokens) - 1)
        pairs.append(EncodedPair(tokens[:context], tokens[context:]))
    answered: dict[int, list[int]] = {}
    held: set[tuple[int, ...]] = set()
    for ask in make_asks(pairs, BLOCK):
        starts = range(BLOCK, len(ask.inputs) + 1, BLOCK)
        cached = max((end for end in starts if ask.inputs[:end] in held and end < len(ask.inputs)), default=0)
        assert ask.trusts(cached if ask.may_read(BLOCK) else 0)
        held |= {ask.inputs[:end] for end in starts}
        for part in ask.parts:
            said = (*ask.inputs[part.first_row + 1 :], part.last)
            answered.setdefault(part.pair, []).extend(said)
            assert (ask.inputs, part.last) == (pairs[part.pair].inputs, pairs[part.pair].continuation[-1]) or (
                pairs[part.pair].inputs[: len(ask.inputs) + 1] == (*ask.inputs, part.last)
            )
    assert answered == {i: list(pair.continuation) for i, pair in enumerate(pairs)}


def test_a_prefix_stands_before_all_that_begins_with_it() -> None:
    pairs = [pair(c, n, seed=seed, changed=changed) for seed in range(3) for c, n, changed in
             ((20, 4, None), (30, 3, 20), (10, 1, None), (25, 9, 24))]  # fmt: skip
    inputs = [ask.inputs for ask in make_asks(random.Random(1).sample(pairs, len(pairs)), BLOCK)]
    begins = [
        (i, j)
        for (i, one), (j, other) in permutations(enumerate(inputs), 2)
        if len(one) < len(other) and other[: len(one)] == one
    ]
    assert len(begins) >= 12
    assert all(i < j for i, j in begins)


def test_the_order_of_requests_changes_nothing() -> None:
    pairs = [pair(c, 1 + c % 4, seed=c % 3) for c in range(5, 40)]
    shuffled = random.Random(2).sample(pairs, len(pairs))
    one, two = make_asks(pairs, BLOCK), make_asks(shuffled, BLOCK)
    assert [(a.inputs, a.lasts, a.first_row) for a in one] == [(a.inputs, a.lasts, a.first_row) for a in two]


def blocks(prompts: list[tuple[int, ...]]) -> int:
    """Blocks that all prompts need at once, with equal prefixes held once and each rest in a block of its own."""
    return len({p[:end] for p in prompts for end in range(BLOCK, len(p) + 1, BLOCK)}) + len(prompts)


@pytest.mark.parametrize("most_blocks", [8, 20, 1000])
def test_a_chunk_fits_the_cache(most_blocks: int) -> None:
    rng = random.Random(0)
    head = tuple(rng.randrange(9) for _ in range(21))
    prompts = sorted(head[: rng.randrange(22)] + tuple(rng.choices(range(9), k=rng.randint(1, 30))) for _ in range(80))
    chunks = list(make_chunks(prompts, BLOCK, most_blocks=most_blocks, most_prompts=25))
    assert [i for chunk in chunks for i in chunk] == list(range(80))
    for chunk in chunks:
        held = [prompts[i] for i in chunk]
        assert len(held) <= 25
        assert blocks(held) <= most_blocks or len(held) == 1
    if most_blocks == 1000:
        assert [len(chunk) for chunk in chunks] == [25, 25, 25, 5]


def test_no_prompts_are_no_chunks() -> None:
    assert list(make_chunks([], BLOCK, most_blocks=1, most_prompts=1)) == []
