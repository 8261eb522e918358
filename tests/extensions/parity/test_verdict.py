"""Two item tables: differences, flips, tolerance, and what keeps two items from being a pair."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchbench.core.errors import StoreError
from benchbench.core.types import Item
from benchbench.extensions.parity.verdict import TOLERANCES, compare_items, compare_scores, tolerance_of

FP32 = TOLERANCES["float32"]


def item(doc: int, lls: tuple[float, ...] = (-1.0, -2.0), **changes: object) -> Item:
    made = Item(
        task="quiz",
        doc_id=doc,
        doc_hash=f"h{doc}",
        cluster=None,
        prompt_name="default",
        item_key="k",
        gold="0",
        targets=("a", "b"),
        prediction="0" if lls[0] >= lls[-1] else "1",
        outcome="answered",
        tie=False,
        loglikelihoods=lls,
        is_greedy=(False,) * len(lls),
        num_tokens=(1,) * len(lls),
        texts=(),
        finish_reasons=(),
        dropped_shots=0,
        truncated_tokens=0,
        failure=None,
        scores={"acc": float(lls[0] >= lls[-1])},
        prompt_tokens=(5,) * len(lls),
    )
    return replace(made, **changes)


def test_largest_and_mean_difference_are_of_single_loglikelihoods():
    found = compare_items("quiz", [item(0), item(1)], [item(0, (-1.0, -2.002)), item(1)], FP32)
    assert found.largest == pytest.approx(0.002)
    assert found.mean == pytest.approx(0.0005)
    assert (found.docs, found.loglikelihoods, found.beyond, found.flips, found.worst_doc) == (2, 4, 1, 0, 0)
    assert found.verdict == "beyond"
    assert compare_items("quiz", [item(0)], [item(0, (-1.0009, -2.0))], FP32).verdict == "within"


def test_a_long_text_may_differ_by_a_share_of_its_loglikelihood():
    def verdict(other):
        return compare_items("quiz", [item(0, (-5000.0,))], [item(0, (other,))], FP32).verdict

    assert verdict(-5000.04) == "within"
    assert verdict(-5000.06) == "beyond"


def test_a_flip_is_a_doc_whose_choice_differs():
    found = compare_items("quiz", [item(0), item(1)], [item(0, (-2.0, -1.9999)), item(1)], None)
    assert (found.flips, found.beyond, found.verdict) == (1, None, "not judged")


def test_failed_docs_are_left_out_and_keep_two_sides_from_agreeing():
    failed = item(1, outcome="failed", loglikelihoods=(), num_tokens=())
    found = compare_items("quiz", [item(0), item(1)], [item(0), failed], FP32)
    assert (found.docs, found.left_out, found.verdict) == (1, 1, "docs missing")
    assert compare_items("quiz", [], [], FP32).verdict == "docs missing"


def test_infinite_on_one_side_is_beyond_any_tolerance():
    assert compare_items("quiz", [item(0, (-math.inf,))], [item(0, (-1.0,))], FP32).beyond == 1
    assert compare_items("quiz", [item(0, (-math.inf,))], [item(0, (-math.inf,))], FP32).beyond == 0


def test_other_token_counts_are_told():
    found = compare_items("quiz", [item(0), item(1)], [item(0, num_tokens=(1, 2)), item(1)], FP32)
    assert found.tokens_differ == 1


def test_texts_are_counted_and_not_judged():
    text = {"loglikelihoods": (), "num_tokens": (3,), "prediction": "x"}
    a = [item(0, texts=("yes",), **text), item(1, texts=("no",), **text)]
    b = [item(0, texts=("yes",), **text), item(1, texts=("now",), **text)]
    found = compare_items("write", a, b, FP32)
    assert (found.texts, found.texts_equal, found.largest, found.verdict) == (2, 1, None, "not judged")


def test_one_doc_id_for_two_docs_is_an_error():
    with pytest.raises(StoreError, match="doc 0 of quiz is not the same doc"):
        compare_items("quiz", [item(0)], [item(0, doc_hash="other")], FP32)


def test_the_looser_type_decides_and_a_quantised_one_is_not_judged():
    assert tolerance_of("float32", "bfloat16") == TOLERANCES["bfloat16"]
    assert tolerance_of("float32", "float32").absolute == 1e-3
    assert tolerance_of("float32", "Q8_0") is None


def test_right_and_wrong_are_tested_with_mcnemar_even_in_clusters():
    a = [item(n, cluster="c") for n in range(8)]
    b = [item(n, (-3.0, -2.0) if n < 6 else (-1.0, -2.0), cluster="c") for n in range(8)]
    found = compare_scores("quiz", "acc", a, b)
    assert (found.method, found.losses, found.wins) == ("mcnemar", 6, 0)
    assert found.p == pytest.approx(2 * 0.5**6)
    assert (found.score_a, found.score_b) == (1.0, 0.25)
    assert compare_scores("quiz", "other", a, b) is None
