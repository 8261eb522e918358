"""Targets and whole texts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.scoring.aggregation import aggregate
from benchbench.scoring.choice import count_words
from benchbench.scoring.score import score_doc
from tests.scoring.make import items_of, rolling_doc, spec_of, target_doc

LAMBADA = spec_of("loglikelihood", "perplexity", "acc")
WIKITEXT = spec_of("loglikelihood_rolling", "word_perplexity", "byte_perplexity", "bits_per_byte")


def test_a_greedy_target_is_right_and_predicted() -> None:
    found = score_doc(LAMBADA, *target_doc(-0.5, greedy=True, target="kočka"))
    assert (dict(found.scores), found.prediction) == ({"perplexity": -0.5, "acc": 1.0}, " kočka")
    assert score_doc(LAMBADA, *target_doc(-0.5)).prediction is None


def test_perplexity_is_exp_of_the_mean_with_its_interval_around_it() -> None:
    row = aggregate(LAMBADA, items_of(LAMBADA, [target_doc(-1.0), target_doc(-2.0), target_doc(-3.0)]))[0]
    assert row.value == pytest.approx(math.exp(2))
    assert row.stderr == pytest.approx(math.exp(2) / math.sqrt(3))
    assert row.ci_low is not None
    assert row.ci_high is not None
    assert math.log(row.ci_low) * math.log(row.ci_high) == pytest.approx(2**2), "as far by ratio on either side"
    assert (row.se_method, row.higher_is_better) == ("clt", False)


def test_words_are_counted_as_lm_eval_does() -> None:
    assert [count_words(text) for text in ("", "a", "a b\n c", " a ")] == [1, 1, 3, 3]


def test_rolling_items_have_their_own_perplexities() -> None:
    scores = score_doc(WIKITEXT, *rolling_doc("á b", -4 * math.log(2))).scores
    assert scores["bits_per_byte"] == pytest.approx(1.0)
    assert scores["byte_perplexity"] == pytest.approx(2.0)
    assert scores["word_perplexity"] == pytest.approx(4.0)


def test_a_hundred_nats_over_fifty_bytes() -> None:
    rows = aggregate(WIKITEXT, items_of(WIKITEXT, [rolling_doc("x" * 50, -100.0)]))
    bits = next(row for row in rows if row.metric == "bits_per_byte")
    assert bits.value == pytest.approx(2.885390, abs=1e-6)
    assert bits.stderr is None
    assert bits.note == "no standard error: only one item"


def test_the_ratio_of_sums_has_the_worked_error() -> None:
    docs = [rolling_doc("x" * size, -nats) for nats, size in ((10, 5), (20, 10), (30, 20))]
    rows = {row.metric: row for row in aggregate(WIKITEXT, items_of(WIKITEXT, docs))}
    assert rows["bits_per_byte"].value == pytest.approx(1.714286 / math.log(2), abs=1e-6)
    assert rows["bits_per_byte"].stderr == pytest.approx(0.187044 / math.log(2), abs=1e-6)
    assert rows["byte_perplexity"].stderr == pytest.approx(0.187044 * math.exp(60 / 35), rel=1e-5)
    assert rows["bits_per_byte"].se_method == "ratio"


def test_lengths_are_counted_on_the_target_not_on_the_text_that_was_read() -> None:
    scores = score_doc(WIKITEXT, *rolling_doc("ab", -8 * math.log(2), counted="a  b")).scores
    assert scores["bits_per_byte"] == pytest.approx(2.0)


def test_an_empty_text_has_no_item_score_but_does_no_harm() -> None:
    items = items_of(WIKITEXT, [rolling_doc("", 0.0), rolling_doc("xx", -2.0)])
    assert items[0].scores["bits_per_byte"] is None
    assert aggregate(WIKITEXT, items)[2].value == pytest.approx(1 / math.log(2))


def test_a_perplexity_beyond_floats_is_none_with_a_reason() -> None:
    row = aggregate(WIKITEXT, items_of(WIKITEXT, [rolling_doc("漢" * 300, -1e4)] * 2))[0]
    assert row.value is None
    assert row.note is not None
    assert "too large" in row.note


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.floats(-200, -0.1)), min_size=2, max_size=8))
def test_splitting_the_work_among_docs_does_not_move_bits_per_byte(docs: list[tuple[str, float]]) -> None:
    rows = aggregate(WIKITEXT, items_of(WIKITEXT, [rolling_doc(text, nats) for text, nats in docs]))
    size = sum(len(text.encode()) for text, _ in docs)
    assert rows[2].value == pytest.approx(-sum(nats for _, nats in docs) / size / math.log(2), rel=1e-9)
