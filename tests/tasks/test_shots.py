"""Which documents become shots: never the evaluated one, always the same, and as lm-eval when asked."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.core.errors import DataError
from benchbench.core.ids import content_hash
from benchbench.core.types import Doc
from benchbench.tasks.shots import Picker, Pool, fixed, lm_eval, per_doc

Mode = Callable[[Pool, int, int], Picker]


def doc(number: int, row: Any) -> Doc:
    return Doc(number, {"row": row}, content_hash({"row": row}))


def pool(rows: list[Any], *, in_order: bool = False) -> Pool:
    return Pool("task", "split 'train'", tuple(content_hash({"row": row}) for row in rows), in_order)


rows_with_repeats = st.lists(st.integers(0, 12), min_size=6, max_size=40)


@settings(max_examples=200)
@given(rows_with_repeats, st.integers(1, 4), st.integers(0, 5), st.booleans(), st.sampled_from([fixed, per_doc]))
def test_the_evaluated_doc_is_never_its_own_shot(
    rows: list[int], count: int, seed: int, in_order: bool, mode: Mode
) -> None:
    candidates = pool(rows, in_order=in_order)
    pick = mode(candidates, count, seed)
    for number, row in enumerate(rows):
        others = [other for other in rows if other != row]
        if len(others) < count:
            with pytest.raises(DataError, match=f"{count} shots were asked for"):
                pick(doc(number, row))
            continue
        chosen = pick(doc(number, row))
        assert len(chosen) == len(set(chosen)) == count
        assert row not in [rows[index] for index in chosen]
    assert number == len(rows) - 1


def test_fixed_shots_are_one_block_with_the_next_candidate_for_docs_that_are_in_it() -> None:
    rows = list(range(50))
    pick = fixed(pool(rows), 5, seed=1)
    blocks = {row: pick(doc(row, row)) for row in rows}
    block = pick(doc(99, "another"))
    assert sum(found is not block for found in blocks.values()) == 5
    following = (set(blocks[block[0]]) - set(block)).pop()
    for index in block:
        assert blocks[index] == (*(i for i in block if i != index), following)


def test_fixed_shots_of_a_first_n_task_are_the_first_n() -> None:
    pick = fixed(pool(list(range(9)), in_order=True), 3, seed=7)
    assert pick(doc(0, "other")) == (0, 1, 2)
    assert pick(doc(1, 1)) == (0, 2, 3)


def test_fixed_shots_depend_on_the_seed_and_the_task() -> None:
    hashes = pool(list(range(100))).hashes
    drawn = {
        (task, seed): fixed(Pool(task, "x", hashes, False), 5, seed)(doc(0, "o")) for task in "ab" for seed in (1, 2)
    }
    assert len(set(drawn.values())) == 4
    assert drawn["a", 1] == fixed(Pool("a", "x", hashes, False), 5, 1)(doc(3, "p"))


def test_more_shots_extend_the_fixed_block() -> None:
    five = fixed(pool(list(range(100))), 5, 1)(doc(0, "o"))
    assert fixed(pool(list(range(100))), 8, 1)(doc(0, "o"))[:5] == five


def test_per_doc_shots_do_not_depend_on_order_or_on_which_docs_are_asked() -> None:
    rows = list(range(30))
    forward = per_doc(pool(rows), 3, 1)
    wanted = [forward(doc(row, row)) for row in rows]
    backward = per_doc(pool(rows), 3, 1)
    assert [backward(doc(row, row)) for row in reversed(rows)] == wanted[::-1]
    assert per_doc(pool(rows), 3, 1)(doc(17, 17)) == wanted[17]
    assert len(set(wanted)) > 20


def test_every_position_is_drawn_equally_often() -> None:
    counts = [0] * 10
    for number in range(4000):
        for index in per_doc(pool(list(range(10))), 3, 5)(doc(number, f"other {number}")):
            counts[index] += 1
    assert 1100 < min(counts) <= max(counts) < 1300


@settings(max_examples=100)
@given(rows_with_repeats, st.integers(1, 4), st.integers(0, 3000), st.booleans(), st.booleans())
def test_lm_eval_shots_are_those_of_its_samplers(
    rows: list[int], count: int, seed: int, drop_doc: bool, first_n: bool
) -> None:
    samplers = pytest.importorskip("lm_eval.api.samplers")
    docs = [{"row": row, "position": None} for row in rows]
    sampler = (samplers.FirstNSampler if first_n else samplers.ContextSampler)(list(docs), rnd=None)
    sampler.set_rnd(seed)
    pick = lm_eval(pool(rows, in_order=first_n), count, seed, drop_doc=drop_doc)
    for number, row in enumerate(rows):
        try:
            expected = [found["row"] for found in sampler.sample(n=count, eval_doc=docs[number] if drop_doc else None)]
        except (AssertionError, ValueError):
            with pytest.raises(DataError, match="shots were asked for"):
                pick(doc(number, row))
            return
        assert [rows[index] for index in pick(doc(number, row))] == expected
    assert number == len(rows) - 1


def test_lm_eval_shots_use_pythons_own_generator_in_sequence() -> None:
    rng = random.Random(1234)
    pick = lm_eval(pool(list(range(40))), 5, 1234, drop_doc=False)
    for number in range(10):
        assert list(pick(doc(number, "o"))) == rng.sample(range(40), 5)
