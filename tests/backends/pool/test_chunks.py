"""Chunks: every doc once, along what docs share, whoever computes them."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.backends.pool.chunks import LARGEST, PILOTS, ROUNDED, STRETCH, Doc, cut, docs_of, extremes
from benchbench.core.types import GenerateRequest, GenerationParams, LoglikelihoodRequest, Prompt, RollingRequest

SHOTS = ("Question: one?\nAnswer: 1\n\n", "Question: two?\nAnswer: 2\n\n")


def choice(doc: int, question: str, *choices: str, shots: tuple[str, ...] = SHOTS) -> Doc:
    prompt = Prompt("", shots, question)
    return tuple(LoglikelihoodRequest("t", doc, place, prompt, text) for place, text in enumerate(choices))


def passages(count: int, questions: int) -> list[Doc]:
    """Docs with passages of 400 characters, `questions` docs to each, in an order drawn at random."""
    texts = [f"Passage {n}. " + f"{n} " * 130 for n in range(count)]
    docs = [choice(n, f"{texts[n % count]} Question {n}?", " yes", " no") for n in range(count * questions)]
    return random.Random(1).sample(docs, len(docs))


DOCS = st.lists(
    st.tuples(st.text(max_size=60), st.lists(st.text(max_size=30), min_size=1, max_size=5), st.booleans()), max_size=80
)


@settings(max_examples=100, deadline=None)
@given(DOCS, st.integers(1, 400))
def test_every_doc_is_in_one_chunk_and_chunks_are_as_large_as_asked(drawn: list[tuple], smallest: int) -> None:
    docs = [
        choice(n, question, *choices, shots=SHOTS if few else ()) for n, (question, choices, few) in enumerate(drawn)
    ]
    chunks = cut(docs, smallest)
    assert sorted(place for chunk in chunks for place in chunk.docs) == list(range(len(docs)))
    assert all(chunk.docs for chunk in chunks)
    assert len(chunks) <= max(1, sum(chunk.cost for chunk in chunks) / (ROUNDED * smallest) + 1)


def test_docs_of_one_passage_stand_in_one_chunk() -> None:
    docs = passages(40, 5)
    chunks = cut(docs, 2_000)
    homes: dict[str, set[int]] = {}
    for number, chunk in enumerate(chunks):
        for place in chunk.docs:
            homes.setdefault(docs[place][0].prompt.question[:14], set()).add(number)
    assert len(chunks) > 7
    assert all(len(chunk) == 1 for chunk in homes.values())


def test_a_passage_of_too_many_questions_is_cut() -> None:
    docs = passages(1, 500)
    chunks = cut(docs, 500)
    assert len(chunks) > 5
    assert max(chunk.cost for chunk in chunks) < 2 * STRETCH * 500


def test_chunks_are_a_function_of_the_requests_alone_wherever_they_stand() -> None:
    docs = [choice(n, f"What is {n} times {n}?", f" {n}", f" {n * n}") for n in range(300)]
    order = random.Random(7).sample(range(300), 300)
    shuffled = [docs[place] for place in order]
    one = [frozenset(docs[place][0].doc_id for place in chunk.docs) for chunk in cut(docs, 500)]
    other = [frozenset(shuffled[place][0].doc_id for place in chunk.docs) for chunk in cut(shuffled, 500)]
    assert one == other
    assert {docs[place][0].doc_id for place in extremes(docs)} == {shuffled[p][0].doc_id for p in extremes(shuffled)}


def test_the_extremes_are_the_longest_the_shortest_and_those_of_most_text() -> None:
    docs = [choice(n, f"Question {n}?", " a", " b") for n in range(100)]
    docs[31] = choice(31, "Question, a very long one, " * 40, " a", " b")
    docs[53] = choice(53, "?", " a", " b")
    docs[77] = choice(77, "Question 77?", *" abcdefghij")
    found = extremes(docs)
    assert {31, 53, 77} <= set(found)
    assert len(found) <= 3 * PILOTS


def test_docs_of_like_lengths_stand_in_one_chunk_and_the_longest_are_first() -> None:
    sizes = random.Random(3).sample(range(20, 420), 200)
    docs = [choice(n, f"{n * 7919 % 1000:04d} " + "x" * size, " a", " b") for n, size in enumerate(sizes)]
    spans = [[sizes[place] for place in chunk.docs] for chunk in cut(docs, 2_000)]
    assert len(spans) > 10
    assert all(min(one) > max(other) for one, other in pairwise(spans))


def test_docs_of_other_shots_stand_apart_unless_each_has_its_own() -> None:
    other = ("Question: three?\nAnswer: 3\n\n",)
    docs = [choice(n, f"{n:03d} " + "x" * (n % 7 * 10), " a", shots=other if n % 2 else SHOTS) for n in range(100)]
    kinds = [docs[place][0].prompt.shared for chunk in cut(docs, 300) for place in chunk.docs]
    assert sum(one != two for one, two in pairwise(kinds)) == 1
    own = [choice(n, "what is it?", " a", shots=("x" * (n * 37 % 100),)) for n in range(100)]
    lengths = [len(own[place][0].prompt.shared[0]) for chunk in cut(own, 300) for place in chunk.docs]
    assert lengths == sorted(lengths, reverse=True)


def test_sizes_fall_from_a_share_of_the_whole_to_the_smallest() -> None:
    docs = [choice(n, f"{n * 7919 % 1000:04d} what comes after this number?", " a", " b") for n in range(20_000)]
    chunks = cut(docs, 100)
    costs = [chunk.cost for chunk in chunks]
    assert costs[0] >= sum(costs) // LARGEST > 100
    assert costs[0] < 2 * sum(costs) // LARGEST
    assert max(costs[-20:]) < 2 * STRETCH * 100


def test_few_docs_are_one_chunk_and_none_are_none() -> None:
    assert cut([], 100) == []
    assert [chunk.docs for chunk in cut([choice(0, "a", " b"), choice(1, "a", " c")], 100)] == [(0, 1)]


def test_texts_to_write_and_texts_to_score_cost_what_the_model_reads() -> None:
    write = lambda tokens: (GenerateRequest("t", 0, 0, Prompt("", (), "abc"), GenerationParams((), tokens)),)  # noqa: E731
    cost = lambda doc: cut([doc], 10**6)[0].cost  # noqa: E731
    assert cost((RollingRequest("t", 0, 0, "a" * 90),)) == 90
    assert cost(choice(0, "abcd", " x", " yz")) == 4 + 2 + 3
    assert cost(write(1)) < cost(write(20)) < cost(write(100))


def test_requests_of_a_doc_are_kept_together() -> None:
    requests = [*choice(0, "a", " b", " c"), *choice(1, "a", " b"), *choice(2, "x", " b", " c")]
    assert [len(doc) for doc in docs_of(requests)] == [2, 1, 2]
