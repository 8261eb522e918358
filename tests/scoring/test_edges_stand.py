"""Scores and rows at the edges: empty texts, impossible choices, few docs, rare choices, groups with gaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchbench.core.errors import BenchbenchError
from benchbench.core.types import Failure, FilterSpec, Item, MetricResult
from benchbench.scoring.aggregation import aggregate, aggregate_group
from benchbench.scoring.agreement import agreement, agreement_uncertainty
from benchbench.scoring.estimates import corpus_estimate, with_influence
from benchbench.scoring.filters import FilterContext, apply_filter
from benchbench.scoring.generation import TEXT_METRICS, corpus_score, simplify
from benchbench.scoring.score import count_outcomes, kept_responses, score_doc, why_failed
from tests.frozen import stands
from tests.scoring.make import choice_doc, items_of, rolling_doc, spec_of, target_doc, text_doc

FILE = Path(__file__).with_name("edges.json")
CHOICE = spec_of("multiple_choice", "acc", "acc_mutual_info", "brier_score", "exact_match", "likelihood")
LOW = -math.inf
CHOICES: dict[str, Any] = {
    "two right": choice_doc(["a", "bb", "ccc"], [2, 0], [-3.0, -1.0, -2.0], greedy=[True, False, False]),
    "one is empty": choice_doc(["", "bb"], [0], [-1.0, -3.0], tokens=[0, 2]),
    "the right one is empty": choice_doc(["bb", ""], [1], [-1.0, -3.0], tokens=[2, 0]),
    "impossible": choice_doc(["a", "b"], [1], [LOW, LOW]),
    "the right one is impossible": choice_doc(["a", "b"], [1], [-1.0, LOW]),
    "no right one": choice_doc(["a", "b"], [2, -1], [-1.0, -2.0]),
    "a tie": choice_doc(["ab", "b", "c"], [1], [-2.0, -1.0, -1.0]),
    "alone": choice_doc(["a", "b"], [1], [-1.0, -2.0], alone=[-1.0, -4.0]),
    "accents": choice_doc(["éé", "abc"], [0], [-3.0, -3.5]),
    "one choice": choice_doc(["a"], [0], [-1.0]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_scores_of_choices_stand(name: str) -> None:
    rendered, responses = CHOICES[name]
    found = score_doc(CHOICE, rendered, responses)
    stands(FILE, f"choice {name}", [found.scores, found.prediction, found.outcome, found.tie, found.explanation])


def test_scores_of_texts_and_targets_stand() -> None:
    rolling = spec_of("loglikelihood_rolling", "word_perplexity")
    target = spec_of("loglikelihood", "acc")
    docs = [
        (rolling, rolling_doc("un chat noir", -12.0)),
        (rolling, rolling_doc("", -1.0)),
        (rolling, rolling_doc("a", -800.0)),
        (rolling, rolling_doc("read", -3.0, "déjà vu")),
        (target, target_doc(-2.0)),
        (target, target_doc(-0.5, greedy=True)),
    ]
    found = [score_doc(spec, *doc) for spec, doc in docs]
    stands(FILE, "texts", [[one.scores, one.prediction, one.outcome] for one in found])


ANSWERS = ("", "The cat.", "the  CAT 9", "un chat, la nuit", "cat", "l'été 1999")
TARGETS = (["cat"], ["the cat", "un chat"], [""], ["été 1999", "9"])


@pytest.mark.parametrize("metric", ["exact_match", "f1", "is_included", "rouge1", "rougeL", "bleu", "chrf", "ter"])
def test_scores_of_answers_stand(metric: str) -> None:
    found = [TEXT_METRICS[metric](answer, targets) for answer, targets in product(ANSWERS, TARGETS)]
    stands(FILE, f"answers {metric}", found)


def test_options_of_answers_stand() -> None:
    options: Sequence[dict[str, Any]] = (
        {"ignore_case": True},
        {"ignore_punctuation": True},
        {"ignore_numbers": True},
        {"regexes_to_ignore": [r"\s+", "t"]},
        {"normalization": "squad"},
        {"normalization": "french"},
    )
    stands(FILE, "simplified", [simplify(answer, **option) for answer, option in product(ANSWERS, options)])
    unicode = [TEXT_METRICS["rouge1"]("l'été 99", ["Été"], tokenizer=name) for name in ("default", "unicode")]
    stands(FILE, "tokenized", [*unicode, TEXT_METRICS["rouge1"]("cats", ["cat"], use_stemmer=True)])
    for wrong in ({"tokenizer": "x"}, {"tokenizer": "unicode", "use_stemmer": True}):
        with pytest.raises(BenchbenchError, match="rouge1"):
            TEXT_METRICS["rouge1"]("a", ["a"], **wrong)


LETTERS = {"regex_pattern": r"\(([A-D])\)|answer ([A-D])"}
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("take_first", {}),
    ("take_first_k", {"k": 2}),
    ("majority_vote", {}),
    ("remove_whitespace", {}),
    ("strip", {"chars": "(x"}),
    ("lowercase", {}),
    ("uppercase", {}),
    ("map", {"mapping_dict": {"#### 7": 1, "(A)": None}, "default_value": 0}),
    ("map", {}),
    ("regex", {}),
    *(("regex", {**LETTERS, "group_select": place}) for place in (-2, -1, 0, 1, 2)),
    ("regex", {"regex_pattern": "7|9", "fallback": "none"}),
    ("multi_choice_regex", LETTERS),
    ("multi_choice_regex", {**LETTERS, "ignore_case": True, "ignore_punctuation": True, "group_select": -1}),
    ("multi_choice_regex", {"regexes_to_ignore": ["the "], "fallback": "?"}),
)
TEXTS = ("#### 7", "(A) or (B)", " it is the Black cat! ", "so: C", "answer D", "xx", "black")


def test_what_filters_leave_stands() -> None:
    context = FilterContext(("red", "black", "the black cat"))
    found = []
    for step in STEPS:
        spec = FilterSpec("f", (step,))
        done = [apply_filter(spec, texts, context) for texts in (TEXTS, TEXTS[1:], TEXTS[5:])]
        found.append([step[0], [[one.texts, one.found] for one in done]])
    found.append([apply_filter(None, texts, context).found for texts in ((), (" ",), ("a",), ("[invalid]",))])
    stands(FILE, "filters", found)
    for step in (("take_first_k", {"k": 3}), ("regex", {"regex_pattern": "("}), ("strip", {"no": 1}), ("absent", {})):
        with pytest.raises(BenchbenchError, match=step[0]):
            apply_filter(FilterSpec("f", (step,)), TEXTS[5:], context)


def result(task: str, value: float | None, stderr: float | None, ends: Any, n: int, clusters: Any) -> MetricResult:
    low, high = ends or (None, None)
    return MetricResult(task, "acc", value, stderr, low, high, n, clusters)


MEMBERS = {
    "plain": [("a", 0.5, 0.05, (0.4, 0.6), 100, None), ("b", 0.8, 0.04, (0.71, 0.87), 50, None)],
    "near the bounds": [("a", 0.02, 0.01, (0.005, 0.06), 100, None), ("b", 0.97, 0.02, (0.9, 0.99), 50, None)],
    "at the bounds": [("a", 0.0, 0.0, (0.0, 0.03), 100, None), ("b", 1.0, 0.0, (0.93, 1.0), 50, None)],
    "in clusters": [("a", 0.5, 0.05, (0.4, 0.6), 100, 20), ("b", 0.8, 0.04, (0.71, 0.87), 50, None)],
    "one doc": [("a", 0.5, 0.05, (0.4, 0.6), 100, None), ("b", 1.0, None, (0.05, 1.0), 1, None)],
    "no interval": [("a", 0.5, 0.05, (0.4, 0.6), 100, None), ("b", 0.8, 0.04, None, 50, None)],
    "neither": [("a", 0.5, 0.05, (0.4, 0.6), 100, None), ("b", 0.8, None, None, 50, None)],
    "no value": [("a", None, None, None, 0, None), ("b", 0.8, 0.04, (0.71, 0.87), 50, None)],
    "wide": [("a", 0.9, 0.3, (0.1, 1.0), 3, None), ("b", 0.8, 0.4, (0.02, 1.0), 3, None)],
    "one task": [("a", 0.5, 0.05, (0.39, 0.62), 100, None)],
    "many": [(f"t{i}", 0.9 + 0.01 * (i % 9), 0.02, (0.85, 0.995), 20, None) for i in range(20)],
}


@pytest.mark.parametrize("name", MEMBERS)
def test_rows_of_groups_stand(name: str) -> None:
    members = {values[0]: [result(*values)] for values in MEMBERS[name]}
    size = len(members)
    alike = {"acc": np.full((size, size), 0.5) + 0.5 * np.eye(size)}
    found = [
        aggregate_group("g", members, weight_by_size=by_size, correlations=known)
        for by_size in (False, True)
        for known in (None, alike)
    ]
    stands(FILE, f"group {name}", found)


RNG = np.random.default_rng(8)
WORDS = ["le", "chat", "noir", "dort", "sur", "une", "vieille", "chaise"]


def choices(count: int, gold: Sequence[int], seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    names = ["one", "a longer one", "été", "no"][:count]
    made = []
    for i, right in enumerate(gold):
        lls = -4 * rng.random(count)
        lls[right] += 1.0
        made.append(choice_doc(names, [right], lls.tolist(), doc_id=i, tokens=[1, 3, 2, 1][:count]))
    return made


def texts(count: int, right: int) -> list[Any]:
    rng = np.random.default_rng(count)
    made = []
    for i in range(count):
        target = " ".join(rng.choice(WORDS, 7))
        made.append(text_doc([target if i < right else " ".join(rng.choice(WORDS, 5))], [target], doc_id=i))
    return made


AGREEMENT = ("f1", "macro_f1", "mcc", "auroc")
ROWS: dict[str, Callable[[], tuple[Any, list[Item]]]] = {
    **{
        f"{len(gold)} docs, {count} choices, sum {sum(gold)}": lambda c=count, g=gold: _made(
            "multiple_choice", AGREEMENT, choices(c, g)
        )
        for count, gold in (
            (2, [0, 1] * 9),
            (2, [0] * 14 + [1] * 2),
            (2, [0] * 15 + [1] * 3),
            (2, [0] * 8),
            (3, [0, 1, 2] * 5),
            (4, [0, 1, 2, 0, 1] * 4),
            (2, [1]),
            (2, [0, 1]),
        )
    },
    "choices in clusters": lambda: _made(
        "multiple_choice", AGREEMENT, choices(3, [0, 1, 2] * 8), [f"c{i // 4}" for i in range(24)]
    ),
    "choices in one large cluster": lambda: _made(
        "multiple_choice", AGREEMENT, choices(2, [0, 1] * 8), ["big"] * 8 + [f"c{i}" for i in range(8)]
    ),
    "choices in one cluster": lambda: _made("multiple_choice", AGREEMENT, choices(2, [0, 1] * 8), ["big"] * 16),
    **{
        f"{count} texts, {right} right": lambda c=count, r=right: _made(
            "generate_until", ("exact_match", "f1", "bleu", "chrf", "chrf++", "ter"), texts(c, r)
        )
        for count, right in ((1, 0), (2, 1), (5, 0), (5, 5), (12, 1), (30, 3), (30, 29))
    },
    "texts in clusters": lambda: _made(
        "generate_until", ("exact_match", "bleu", "ter"), texts(24, 12), [f"c{i // 6}" for i in range(24)]
    ),
    **{
        f"{count} rolling texts": lambda c=count: _made(
            "loglikelihood_rolling",
            ("word_perplexity",),
            [rolling_doc(" ".join(WORDS[: 1 + i % 7]), -2.0 * (1 + i % 7) - i % 3) for i in range(c)],
        )
        for count in (1, 2, 9)
    },
    "a long rolling text": lambda: _made(
        "loglikelihood_rolling", ("byte_perplexity",), [rolling_doc("a " * 400, -900.0), rolling_doc("b c", -9.0)]
    ),
    "no bytes": lambda: _made("loglikelihood_rolling", ("byte_perplexity",), [rolling_doc("", -1.0)] * 2),
    "too large": lambda: _made("loglikelihood_rolling", ("byte_perplexity",), [rolling_doc("ab", -2000.0)] * 2),
    "likelihoods": lambda: _made("loglikelihood", ("acc", "perplexity"), [target_doc(-1.0 * i) for i in range(6)]),
}


def _made(output_type: Any, metrics: Sequence[str], docs: list[Any], clusters: Any = None) -> tuple[Any, list[Item]]:
    spec = spec_of(output_type, *metrics)
    return spec, items_of(spec, docs, clusters)


@pytest.mark.parametrize("name", ROWS)
def test_rows_stand(name: str) -> None:
    spec, items = ROWS[name]()
    scores = [item.scores for item in with_influence(spec, items)[:3]]
    stands(FILE, f"rows {name}", [aggregate(spec, items), scores, count_outcomes(spec, items)])


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 11, 40])
def test_medians_stand(count: int) -> None:
    spec = spec_of("multiple_choice", "likelihood", aggregation="median")
    docs = choices(3, [i % 3 for i in range(count)])
    alone, shared = (items_of(spec, docs, names) for names in (None, [f"c{i // 2}" for i in range(count)]))
    stands(FILE, f"median of {count}", [aggregate(spec, items)[0] for items in (alone, shared)])


@pytest.mark.parametrize("metric", ["f1", "macro_f1", "matthews_corrcoef"])
def test_agreement_of_rare_choices_stands(metric: str) -> None:
    found = []
    for rare, n, choice_count in ((0, 9, 2), (1, 9, 2), (2, 9, 2), (3, 9, 2), (4, 9, 3), (5, 40, 2), (20, 40, 2)):
        gold = [1] * rare + [0] * (n - rare)
        guess = [1 - one if i % 4 == 1 else one for i, one in enumerate(gold)]
        for clusters in (None, [f"c{i // 3}" for i in range(n)]):
            estimate = agreement(metric, gold, guess)
            found.append(
                [estimate, agreement_uncertainty(metric, estimate, gold, guess, clusters, choices=choice_count)]
            )
    stands(FILE, f"agreement {metric}", found)


def test_a_metric_on_some_docs_is_that_of_these_docs_alone() -> None:
    """The mean over docs of what `corpus_estimate` gives is the row's value."""
    spec, items = ROWS["18 docs, 2 choices, sum 9"]()
    checked = 0
    for row in aggregate(spec, items[:12]):
        if row.metric in AGREEMENT:
            found = corpus_estimate(spec, row.metric, items[:12])
            assert list(found) == list(range(12))
            assert np.mean(list(found.values())) == pytest.approx(row.value)
            checked += 1
    assert checked == len(AGREEMENT)
    with pytest.raises(BenchbenchError, match="not benchbench's"):
        corpus_estimate(spec, "acc", items)
    with pytest.raises(BenchbenchError, match="no value"):
        corpus_estimate(spec, "auroc", items[:1])


def test_a_translation_metric_that_does_not_exist_or_has_no_such_option_is_a_sentence() -> None:
    with pytest.raises(BenchbenchError, match="No translation metric named 'x'"):
        corpus_score("x", ["a"], [["a"]], {})
    with pytest.raises(BenchbenchError, match="sacrebleu refuses ter with"):
        corpus_score("ter", ["a"], [["a"]], {"order": 3})


def test_responses_of_a_stored_doc_score_as_they_did() -> None:
    spec = spec_of("generate_until", "exact_match")
    docs = [text_doc(["chat", "noir"], ["chat"], finish=finish) for finish in ("stop", "length")]
    docs += [text_doc([" ", ""], ["chat"])]
    items = items_of(spec, docs)
    assert [item.outcome for item in items] == ["answered", "truncated", "unanswered"]
    for (rendered, _), item in zip(docs, items, strict=True):
        assert kept_responses(item, rendered.requests) is None, "the numbers of tokens are not in it"
    rendered, responses = choice_doc(["a", "b"], [1], [-2.0, -1.0], tokens=[3, 4])
    (item,) = items_of(CHOICE, [(rendered, responses)])
    full = type(item)(**{**{name: getattr(item, name) for name in item.__slots__}, "prompt_tokens": (5, 6)})
    kept = kept_responses(full, rendered.requests)
    assert kept is not None
    assert [(one.total, one.num_tokens, one.prompt_tokens) for one in kept] == [(-2.0, 3, 5), (-1.0, 4, 6)]
    assert score_doc(CHOICE, rendered, kept).scores == item.scores


def test_why_a_doc_cannot_be_scored_names_the_request() -> None:
    rendered, responses = choice_doc(["a", "b"], [1], [-2.0, -1.0])
    assert why_failed(rendered, responses) is None
    assert why_failed(rendered, responses[:1]) == "no_response: request 1 was never answered"
    assert why_failed(rendered, []) == "no_response: request 0 was never answered"
    lost = Failure(rendered.requests[0], "timeout", "too slow")
    assert why_failed(rendered, [lost, responses[1]]) == "timeout: too slow"
    _, broken = choice_doc(["a", "b"], [1], [-2.0, math.nan])
    assert why_failed(rendered, broken) == "nan_logits: the log-likelihood of request 1 is not a number"
