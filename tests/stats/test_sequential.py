"""Bets and confidence sequences, against what is known of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchbench.stats.sequential import STAKES, Question, bets, blocks, decide, sequence


def test_a_bet_is_worth_one_on_average_while_its_claim_is_true():
    """All 2^10 outcomes of ten fair coins: exactly one, at every doc."""
    outcomes = np.array([[1.0 if n >> k & 1 else -1.0 for k in range(10)] for n in range(1024)])
    worth = np.mean([np.exp(bets(row, 0.0).above) for row in outcomes], axis=0)
    assert worth == pytest.approx(np.ones(10), abs=1e-9)


def test_a_bet_on_one_doc_is_what_the_formula_says():
    found = bets([0.5], 0.2)
    assert found.above[0] == pytest.approx(math.log(np.mean(1 + STAKES / 1.2 * 0.3)))
    assert found.below[0] == pytest.approx(math.log(np.mean(1 - STAKES / 1.2 * 0.3)))


def test_the_sequence_narrows_and_holds_the_mean():
    rng = np.random.default_rng(1)
    gaps = rng.choice([-1.0, 0.0, 1.0], 4000, p=[0.1, 0.7, 0.2])
    widths = []
    for count in (100, 1000, 4000):
        low, high = sequence(gaps[:count], error=0.05)
        assert low < 0.1 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.06


def test_sides_are_alike_and_lower_may_be_better():
    rng = np.random.default_rng(2)
    a, b = (rng.random(500) < 0.4).astype(float), (rng.random(500) < 0.8).astype(float)
    up, down = decide(a, b, total=1000, looks=[500]), decide(b, a, total=1000, looks=[500])
    assert (up.answer, down.answer) == ("better", "worse")
    assert up.difference == pytest.approx(-down.difference)
    lower = Question(higher_is_better=False)
    assert decide(a, b, total=1000, looks=[500], question=lower).answer == "worse"


def test_few_docs_answer_nothing_and_all_docs_are_the_end():
    assert decide([0.0] * 10, [1.0] * 10, total=100, looks=[10]).is_open
    last = decide([0.0] * 10, [1.0] * 10, total=10, looks=[10])
    assert (last.answer, last.is_final) == ("better", True)


def test_blocks_grow_by_a_quarter_until_all_are_asked():
    assert blocks(100) == (50, 63, 79, 99, 100)
    assert blocks(30) == (30,)


@pytest.mark.parametrize("values", [{"error": 0.0}, {"error": 0.6}, {"within": 0.0}, {"within": 1.0}])
def test_questions_without_sense_are_refused(values):
    with pytest.raises(ValueError, match="lies between"):
        Question(**values)


def test_vectors_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="no pairs"):
        decide([1.0], [1.0, 0.0], total=5, looks=[1])
