"""Generated text: exact match, F1, ROUGE, outcomes, several filters, repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.core import patterns
from benchbench.core.errors import TaskError
from benchbench.core.types import FilterSpec
from benchbench.scoring.filters import TextMetric
from benchbench.scoring.generation import TEXT_METRICS, exact_match, f1, is_included, normalize_answer, rouge
from benchbench.scoring.score import score_doc
from tests.scoring.make import items_of, spec_of, text_doc

EM = spec_of("generate_until", "exact_match")
NUMBER = FilterSpec("strict-match", (("regex", {}), ("take_first", {})))
LAST = FilterSpec(
    "flexible-extract",
    (("regex", {"regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}), ("take_first", {})),
)
OPTIONS = st.fixed_dictionaries(
    {
        "ignore_case": st.booleans(),
        "ignore_punctuation": st.booleans(),
        "ignore_numbers": st.booleans(),
        "regexes_to_ignore": st.sampled_from([None, [","], ["\\b(?:The |the |An |A )", "\\.$"]]),
    }
)
SHORT = st.text(alphabet="aA1.,b The", max_size=8)


@given(SHORT, SHORT, OPTIONS)
def test_exact_match_equals_lm_eval_s(prediction: str, target: str, options: dict[str, Any]) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.api.metrics import exact_match_hf_evaluate

    theirs = exact_match_hf_evaluate([prediction], [target], **options)["exact_match"]
    assert exact_match(prediction, [target], **options) == float(theirs)


def test_any_target_will_do() -> None:
    assert score_doc(EM, *text_doc(["b"], ["a", "b"])).scores["exact_match"] == 1
    assert score_doc(EM, *text_doc(["c"], ["a", "b"])).scores["exact_match"] == 0


def test_french_normalisation_drops_french_articles() -> None:
    assert normalize_answer("Le Petit, Prince!", "french") == "petit prince"
    assert exact_match("la tour Eiffel.", ["Tour Eiffel"], normalization="french") == 1
    assert exact_match("the tour Eiffel.", ["Tour Eiffel"], normalization="french") == 0


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ("the cat sat", "a cat", 2 / 3),
        ("", "", 1.0),
        ("cat", "", 0.0),
        ("dog", "cat", 0.0),
        ("cat cat", "cat", 2 / 3),
    ],
)
def test_word_f1_is_squad_s(prediction: str, target: str, expected: float) -> None:
    assert f1(prediction, [target]) == pytest.approx(expected)


def test_the_best_of_several_targets_counts_for_f1() -> None:
    assert f1("a blue cat", ["dog", "blue cat"]) == 1.0


def test_inclusion_finds_a_target_inside() -> None:
    assert is_included("It is Praha, I think", ["Brno", "Praha"]) == 1.0
    assert is_included("praha", ["Praha"]) == 0.0
    assert is_included("praha", ["Praha"], ignore_case=True) == 1.0


def test_rouge_equals_rouge_score_and_can_read_accents() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    a, b = "the quick brown fox", "the brown dog"
    for name in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        expected = scorer.RougeScorer([name]).score(b, a)[name].fmeasure
        assert rouge(name)(a, [b]) == pytest.approx(expected)
    assert rouge("rouge1")("příliš", ["přílet"]) > 0
    assert rouge("rouge1")("příliš", ["přílet"], tokenizer="unicode") == 0
    with pytest.raises(TaskError, match="no tokenizer"):
        rouge("rouge1")("a", ["a"], tokenizer="moses")


def test_several_filters_make_several_columns_and_the_first_predicts() -> None:
    spec = spec_of("generate_until", "exact_match", filters=[NUMBER, LAST])
    found = score_doc(spec, *text_doc(["so it is 12 apples"], ["12"]))
    assert dict(found.scores) == {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
    assert (found.prediction, found.outcome) == ("[invalid]", "answered")


def test_one_filter_leaves_the_metric_s_name() -> None:
    spec = spec_of("generate_until", "exact_match", filters=[NUMBER])
    assert dict(score_doc(spec, *text_doc(["#### 12"], ["12"])).scores) == {"exact_match": 1.0}


@pytest.mark.parametrize(
    ("text", "finish", "outcome"),
    [
        ("5", "stop", "answered"),
        ("  ", "stop", "unanswered"),
        ("", "eos", "unanswered"),
        ("5 and on and on", "length", "truncated"),
        ("", "length", "truncated"),
    ],
)
def test_wrong_unanswered_and_truncated_are_told_apart(text: str, finish: Any, outcome: str) -> None:
    found = score_doc(EM, *text_doc([text], ["6"], finish=finish))
    assert (found.outcome, found.scores["exact_match"]) == (outcome, 0.0)


def test_no_filter_finding_anything_is_unanswered() -> None:
    spec = spec_of("generate_until", "exact_match", filters=[NUMBER, LAST])
    assert score_doc(spec, *text_doc(["I do not know"], ["12"])).outcome == "unanswered"


def test_truncated_text_is_still_judged() -> None:
    assert score_doc(EM, *text_doc(["6"], ["6"], finish="length")).scores["exact_match"] == 1.0


def test_repeats_are_averaged_where_the_pipeline_keeps_them() -> None:
    keep = FilterSpec("all", (("take_first_k", {"k": 4}),))
    doc = text_doc(["a", "b", "a", "c"], ["a"])
    assert score_doc(spec_of("generate_until", "exact_match", filters=[keep]), *doc).scores["exact_match"] == 0.5
    assert score_doc(EM, *doc).scores["exact_match"] == 1.0
    vote = FilterSpec("vote", (("majority_vote", {}), ("take_first", {})))
    voted = score_doc(spec_of("generate_until", "exact_match", filters=[vote]), *text_doc(["b", "a", "a"], ["a"]))
    assert (voted.prediction, voted.scores["exact_match"]) == ("a", 1.0)


def test_letters_are_found_through_the_doc_s_choices() -> None:
    pick = FilterSpec("pick", (("multi_choice_regex", {"regex_pattern": r"(\([A-Z]\))"}), ("take_first", {})))
    spec = spec_of("generate_until", "exact_match", filters=[pick])
    found = score_doc(spec, *text_doc(["surely Paris"], ["(B)"], choices=["Lyon", "Paris"]))
    assert found.scores["exact_match"] == 1.0


def test_a_wrong_option_is_a_sentence_before_anything_is_asked() -> None:
    with pytest.raises(TaskError, match="no regular expression"):
        spec_of("generate_until", ("exact_match", {"regexes_to_ignore": ["("]}))
    with pytest.raises(TaskError, match="no regular expression"):
        exact_match("a", ["a"], regexes_to_ignore=["("])
    with pytest.raises(TaskError, match="Did you mean french"):
        f1("a", ["a"], normalization="frensh")


@pytest.mark.parametrize("where", ["filter", "metric"])
def test_a_pattern_without_end_fails_the_item_and_is_never_wrong(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "MAX_SECONDS", 0.1)
    slow = FilterSpec("slow", (("regex", {"regex_pattern": "(a+)+$"}), ("take_first", {})))
    metric = "exact_match" if where == "filter" else ("exact_match", {"regexes_to_ignore": ["(a+)+$"]})
    spec = spec_of("generate_until", metric, filters=[slow] if where == "filter" else [])
    found = score_doc(spec, *text_doc(["a" * 40 + "!"], ["x"]))
    assert (found.outcome, set(found.scores.values()), found.prediction) == ("failed", {None}, None)
    assert "too_much_work: the task uses a regular expression that takes longer than" in str(found.explanation)
    assert score_doc(spec, *text_doc(["b"], ["b"])).outcome in ("answered", "unanswered")


def test_rouge_of_texts_without_bound_fails_the_item() -> None:
    spec = spec_of("generate_until", "rougeL")
    found = score_doc(spec, *text_doc(["a " * 10_000], ["b " * 10_000]))
    assert (found.outcome, found.scores) == ("failed", {"rougeL": None})


@pytest.mark.parametrize("metric", [exact_match, f1, is_included])
@pytest.mark.parametrize(
    ("target", "normalization"), [("Un", "french"), ("La", "french"), ("The", "squad"), ("+", "squad")]
)
def test_a_target_that_normalises_to_nothing_is_no_answer_s_but_its_own(
    metric: TextMetric, target: str, normalization: str
) -> None:
    for wrong in ("", " ", "je ne sais pas", "...", "des" if target != "La" else "un"):
        assert metric(wrong, [target], normalization=normalization) == 0.0
    assert metric(f" {target}", [target], normalization=normalization) == 1.0
    assert metric(target.lower(), [target, "other"], normalization=normalization) == 1.0


def test_lm_eval_s_own_options_stay_as_lm_eval_has_them() -> None:
    assert exact_match("", ["---"], ignore_punctuation=True) == 1.0
    assert f1("", [""]) == 1.0
    assert is_included("anything", [""]) == 1.0


LOOK_EQUAL = [
    ("l\u2019eau", "l'eau"),
    ("Plzen\u030c", "Plze\u0148"),
    ("1914\u20131918", "1914-1918"),
    ("\u00ab\u00a0Paris\u00a0\u00bb", '"Paris"'),
    ("\u201ePraha\u201c", '"Praha"'),
    ("1\u202f000", "1 000"),
    ("Quoi\u00a0?", "Quoi?"),
    ("ne\u00adkonec\u200bn\u00fd", "nekone\u010dn\u00fd".replace("\u010d", "c")),
    ("\u22125", "-5"),
    ("a\u2026", "a..."),
    ("\ufb01n\u00e1le", "fin\u00e1le"),
    ("c\u0153ur", "coeur"),
    ("\u01c6ez", "d\u017eez"),
    ("\uff12\uff10\uff12\uff10", "2020"),
    ("\uff21\uff22\uff23", "ABC"),
    ("\u6771\u4eac\u3000\u90fd", "\u6771\u4eac \u90fd"),
    ("mi\u200cravam", "miravam"),
    ("\u202bPraha\u202c", "Praha"),
    ("\u2764\ufe0f", "\u2764"),
    ("\u1109\u1165\u110b\u116e\u11af", "\uc11c\uc6b8"),
    ("50\u00a0%", "50%"),
    ("10\u2007000", "10 000"),
    ("\u2039a\u203a", "`a`"),
    ("\u00ab\u202fLe Monde\u202f\u00bb", '"Le Monde"'),
]


@pytest.mark.parametrize(("written", "target"), LOOK_EQUAL)
def test_what_looks_equal_is_equal_where_the_task_says_so(written: str, target: str) -> None:
    assert exact_match(written, [target]) == 0.0
    assert exact_match(written, [target], ignore_typography=True) == 1.0
    assert exact_match(target, [written], ignore_typography=True) == 1.0
    assert is_included(f"x {written} y", [target], ignore_typography=True) == 1.0
    assert f1(written, [target], normalization="french", ignore_typography=True) == 1.0


def test_what_does_not_look_equal_is_not() -> None:
    for one, other in (
        ("x\u00b2", "x2"),
        ("\u00bd", "1/2"),
        ("e", "\u00e9"),
        ("I", "l"),
        ("10", "1 0"),
        ("P\u0440aha", "Praha"),
    ):
        assert exact_match(one, [other], ignore_typography=True) == 0.0


@pytest.mark.parametrize(
    ("written", "target", "numbers", "right"),
    [
        ("1 000", "1000", "comma", 1.0),
        ("1\u202f234\u202f567", "1234567", "comma", 1.0),
        ("3,14", "3.14", "comma", 1.0),
        ("12 500,5 K\u010d", "12500.5 k\u010d", "comma", 1.0),
        ("314", "3,14", "comma", 0.0),
        ("10 00", "1000", "comma", 0.0),
        ("1,000", "1000", "point", 1.0),
        ("1,000.5", "1000.5", "point", 1.0),
        ("3,14", "3.14", "point", 0.0),
        ("3,14", "314", None, 1.0),
        ("1'000", "1000", "comma", 1.0),
        ("1\u2019000\u2019000", "1000000", "point", 1.0),
        ("\u22125,5", "-5.5", "comma", 1.0),
        ("2020, 2021", "2020.2021", "comma", 0.0),
    ],
)
def test_numbers_are_read_as_the_task_writes_them(written: str, target: str, numbers: str | None, right: float) -> None:
    options: dict[str, Any] = {"ignore_case": True, "ignore_punctuation": True, "numbers": numbers}
    assert exact_match(written, [target], **options) == right
    assert exact_match(target, [written], **options) == right


def test_a_metric_that_breaks_costs_its_own_column(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(prediction: str, targets: Sequence[str]) -> float:
        raise KeyError("no dictionary")

    monkeypatch.setitem(TEXT_METRICS, "rouge1", broken)
    doc = text_doc(["cat"], ["cat"])
    (item,) = items_of(spec_of("generate_until", "exact_match", "rouge1"), [doc])
    assert item.scores == {"exact_match": 1.0, "rouge1": None}
    assert item.outcome == "answered"
    (item,) = items_of(spec_of("generate_until", "rouge1"), [doc])
    assert item.outcome == "failed"
