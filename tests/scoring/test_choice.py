"""Multiple choice: every normalisation, ties, odd docs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.core.ids import content_hash
from benchbench.core.types import Failure, LoglikelihoodRequest
from benchbench.scoring.choice import best, per_unit, softmax
from benchbench.scoring.score import score_doc
from tests.scoring.make import PROMPT, choice_doc, spec_of

SPEC = spec_of("multiple_choice", "acc")


def test_all_normalisations_come_with_the_one_that_was_asked() -> None:
    names = list(score_doc(SPEC, *choice_doc(["a", "b"], [0], [-1, -2])).scores)
    assert names == ["acc", "acc_norm", "acc_bytes", "acc_token", "bpb_gold"]


def test_listed_metrics_come_first_in_their_order() -> None:
    spec = spec_of("multiple_choice", "brier_score", "acc_norm", "acc")
    names = list(score_doc(spec, *choice_doc(["a", "b"], [0], [-1, -2])).scores)
    assert names == ["brier_score", "acc_norm", "acc", "acc_bytes", "acc_token", "bpb_gold"]


def test_each_normalisation_can_choose_another_choice() -> None:
    choices = ["ab", "ěščřžýáíé", "xxxxxxxx"]  # 2, 9, 8 characters; 2, 18, 8 bytes
    doc = choice_doc(choices, [0], [-4.0, -9.5, -8.5], tokens=[1, 3, 4])
    scores = score_doc(SPEC, *doc).scores
    # sums: 0 wins; per character: -2, -1.056, -1.06 → 1; per byte: -2, -.53, -1.06 → 1; per token: -4, -3.2, -2.1 → 2
    assert (scores["acc"], scores["acc_norm"], scores["acc_bytes"], scores["acc_token"]) == (1, 0, 0, 0)
    for gold, right in ((1, ("acc_norm", "acc_bytes")), (2, ("acc_token",))):
        found = score_doc(SPEC, *choice_doc(choices, [gold], [-4.0, -9.5, -8.5], tokens=[1, 3, 4])).scores
        assert {name for name in ("acc", "acc_norm", "acc_bytes", "acc_token") if found[name] == 1} == set(right)


def test_bits_per_byte_of_the_gold_choice_counts_utf8() -> None:
    found = score_doc(SPEC, *choice_doc(["éé", "b"], [0], [-4 * math.log(2), -1])).scores
    assert found["bpb_gold"] == pytest.approx(1.0)


def test_of_several_gold_choices_the_cheapest_per_byte_counts_and_any_is_right() -> None:
    found = score_doc(SPEC, *choice_doc(["aa", "b", "cccc"], [0, 2], [-3, -1, -4])).scores
    assert found["acc"] == 0
    assert found["acc_norm"] in (0, 1)  # -1.5, -1, -1: one of the last two is drawn
    assert found["bpb_gold"] == pytest.approx(1 / math.log(2))
    assert score_doc(SPEC, *choice_doc(["a", "b", "c"], [1, 2], [-3, -1, -4])).scores["acc"] == 1


FIRST = spec_of("multiple_choice", ("acc", {"ties": "first"}), ("acc_norm", {"ties": "first"}))


def test_a_tie_is_flagged_and_with_ties_first_goes_to_the_first_choice() -> None:
    found = score_doc(FIRST, *choice_doc(["a", "b", "c"], [1], [-2, -1, -1]))
    assert (found.prediction, found.tie, found.scores["acc"]) == ("1", True, 1)
    assert not score_doc(SPEC, *choice_doc(["a", "b"], [0], [-2, -1])).tie
    stated = spec_of("multiple_choice", ("acc", {"ties": "first"}))
    for number in range(8):  # a rule for one column holds for those that come along
        rendered, responses = choice_doc(["a", "b"], [0], [-1, -1])
        rendered = replace(rendered, doc=replace(rendered.doc, hash=content_hash(number)))
        scores = score_doc(stated, rendered, responses).scores
        assert {scores[name] for name in ("acc", "acc_norm", "acc_bytes", "acc_token")} == {1.0}


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("gold", [0, 1])
def test_a_model_that_cannot_tell_choices_apart_scores_chance(size: int, gold: int) -> None:
    texts = ["a", "b", "c", "d"][:size]
    docs = [choice_doc(texts, [gold], [-1.0] * size) for _ in range(400)]
    made = [
        (replace(rendered, doc=replace(rendered.doc, hash=content_hash(number))), responses)
        for number, (rendered, responses) in enumerate(docs)
    ]
    for metric in ("acc", "acc_norm", "acc_bytes", "acc_token"):
        scores = [score_doc(SPEC, *doc).scores[metric] for doc in made]
        assert set(scores) == {0.0, 1.0}
        assert sum(score or 0 for score in scores) / 400 == pytest.approx(1 / size, abs=4 * 0.5 / 20)
        assert scores == [score_doc(SPEC, *doc).scores[metric] for doc in made]
        predicted = [score_doc(SPEC, *doc).prediction for doc in made]
        assert [prediction == str(gold) for prediction in predicted] == [score == 1 for score in scores]
    assert {score_doc(FIRST, *doc).scores["acc"] for doc in made} == {float(gold == 0)}


def test_a_draw_is_among_the_best_and_choices_of_one_text_are_one() -> None:
    assert {best([-2, -1, -1, -3], "abcd", digits) for digits in "0123456789abcdef"} == {1, 2}
    assert {best([-1, -1, -2], "aab", digits) for digits in "0123456789abcdef"} == {0}


def test_an_empty_choice_never_wins_by_a_length_and_has_no_bits_per_byte() -> None:
    found = score_doc(SPEC, *choice_doc(["", "b"], [0], [-1, -5], tokens=[0, 1])).scores
    assert (found["acc"], found["acc_norm"], found["acc_bytes"], found["acc_token"]) == (1, 0, 0, 0)
    assert found["bpb_gold"] is None


@pytest.mark.parametrize("gold", [[], [7], [-100]])
def test_a_doc_without_a_right_choice_has_no_score(gold: list[int]) -> None:
    found = score_doc(SPEC, *choice_doc(["a", "b"], gold, [-1, -2]))
    assert set(found.scores.values()) == {None}
    assert found.explanation == "the doc names no right choice"


def test_mutual_information_subtracts_the_choice_alone() -> None:
    spec = spec_of("multiple_choice", "acc", "acc_mutual_info")
    found = score_doc(spec, *choice_doc(["a", "b"], [1], [-1, -2], alone=[-1, -9])).scores
    assert (found["acc"], found["acc_mutual_info"]) == (0, 1)


def test_exact_match_is_what_greedy_decoding_writes() -> None:
    spec = spec_of("multiple_choice", "exact_match")
    assert score_doc(spec, *choice_doc(["a", "b"], [1], [-1, -2], greedy=[False, True])).scores["exact_match"] == 1
    assert score_doc(spec, *choice_doc(["a", "b"], [1], [-1, -2], greedy=[True, False])).scores["exact_match"] == 0


def test_where_choices_are_contexts_the_shared_ending_is_what_costs_bits() -> None:
    rendered, responses = choice_doc(["long context one", "long context two"], [0], [-2 * math.log(2), -9])
    shared = [
        type(r)(LoglikelihoodRequest("toy", 0, i, PROMPT, " ok"), r.total, False, 1)  # type: ignore[call-arg, union-attr]
        for i, r in enumerate(responses)
    ]
    assert score_doc(SPEC, rendered, shared).scores["bpb_gold"] == pytest.approx(1.0)


def test_responses_may_come_in_any_order() -> None:
    rendered, responses = choice_doc(["a", "b", "c"], [2], [-3, -2, -1])
    assert score_doc(SPEC, rendered, responses[::-1]) == score_doc(SPEC, rendered, responses)


def test_a_failure_a_gap_and_a_nan_make_an_item_failed_not_wrong() -> None:
    rendered, responses = choice_doc(["a", "b"], [0], [-1, -2])
    broken = Failure(responses[1].request, "server_error", "no answer after 5 tries")
    nan = choice_doc(["a", "b"], [0], [-1, math.nan])
    for found, word in (
        (score_doc(SPEC, rendered, [responses[0], broken]), "server_error"),
        (score_doc(SPEC, rendered, responses[:1]), "no_response"),
        (score_doc(SPEC, *nan), "nan_logits"),
    ):
        assert (found.outcome, found.prediction, set(found.scores.values())) == ("failed", None, {None})
        assert found.explanation is not None
        assert found.explanation.startswith(word)


lls = st.lists(st.floats(-500, -0.001), min_size=2, max_size=6)


@given(lls, st.floats(-50, 0))
def test_a_constant_added_to_all_choices_does_not_change_brier(values: list[float], shift: float) -> None:
    spec = spec_of("multiple_choice", "brier_score")
    choices = ["x"] * len(values)
    before = score_doc(spec, *choice_doc(choices, [0], values)).scores
    rounded = [value + shift for value in values]
    after = score_doc(spec, *choice_doc(choices, [0], rounded)).scores
    assert after["brier_score"] == pytest.approx(before["brier_score"], abs=1e-6)


@given(lls)
def test_probabilities_sum_to_one_and_keep_the_order(values: list[float]) -> None:
    found = softmax(values)
    assert sum(found) == pytest.approx(1)
    texts = [*map(str, values)]
    assert best(values, texts, None) == values.index(max(values))
    assert max(found) == found[best(values, texts, "0")]


def test_softmax_of_impossible_choices_is_uniform() -> None:
    assert softmax([-math.inf, -math.inf]) == [0.5, 0.5]
    assert per_unit([-1.0, -2.0], [0, 4]) == [-math.inf, -0.5]
