"""Rows: how values, errors and intervals come about, and what is said when there is none."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace

import numpy as np
import pytest

from benchbench.core.registry import AGGREGATIONS, METRICS
from benchbench.core.types import FilterSpec, Item, MetricResult, ScoringSpec
from benchbench.scoring.aggregation import AGGREGATORS, aggregate, aggregate_group
from benchbench.scoring.choice import ITEM_METRICS
from benchbench.scoring.estimates import with_influence
from benchbench.scoring.generation import TEXT_METRICS
from benchbench.scoring.score import count_outcomes
from benchbench.stats.intervals import SHARES, Interval, standard_error, wilson
from tests.scoring.make import choice_doc, items_of, spec_of, text_doc

ACC = spec_of("multiple_choice", "acc")


def answers(right: list[int], clusters: list[str] | None = None, spec: ScoringSpec = ACC) -> list[Item]:
    """Items of a two-choice task, right where the list says 1."""
    docs = [choice_doc(["a", "b"], [0 if ok else 1], [-1, -2], doc_id=i) for i, ok in enumerate(right)]
    return items_of(spec, docs, clusters)


def row_of(rows: list[MetricResult], metric: str) -> MetricResult:
    return next(row for row in rows if row.metric == metric)


def test_accuracy_has_the_clt_error_and_wilson_s_interval() -> None:
    row = aggregate(ACC, answers([1] * 137 + [0] * 27))[0]
    assert (row.metric, row.value, row.n, row.n_clusters, row.se_method) == ("acc", 137 / 164, 164, None, "wilson")
    assert row.stderr == pytest.approx(math.sqrt(137 * 27 / 164**2 / 163))
    assert (row.ci_low, row.ci_high) == pytest.approx((0.7711, 0.8843), abs=5e-5)


def test_where_wilson_s_interval_holds_too_little_a_limit_is_moved_outwards() -> None:
    """Of ten docs .95 right are eight or fewer in 8.6 %: 8 of 10 must hold it for 93 % to be held."""
    row = aggregate(ACC, answers([1] * 8 + [0] * 2))[0]
    assert row.ci_low == pytest.approx(wilson(8, 10).low)
    assert row.ci_high is not None
    assert wilson(8, 10).high < 0.95 < row.ci_high < 0.96


def test_clusters_give_a_cluster_robust_error_with_few_degrees() -> None:
    row = aggregate(ACC, answers([1, 1, 1, 0, 0, 0, 1, 0], list("aaabbbcc")))[0]
    assert (row.se_method, row.n, row.n_clusters) == ("cluster", 8, 3)
    assert row.stderr == pytest.approx(0.32476, abs=5e-6)
    assert row.note == "few clusters: 3, as good as 2.9 equal ones"
    assert row.ci_low is not None
    assert row.ci_high is not None
    assert 0 < row.ci_low < wilson(4, 8).low, "wider than of eight docs of their own, and inside of what there is"
    assert wilson(4, 8).high < row.ci_high < 1


def test_clusters_of_one_doc_each_change_nothing() -> None:
    right = [1, 0, 1, 1, 0]
    assert aggregate(ACC, answers(right, list("abcde"))) == aggregate(ACC, answers(right))


def test_one_doc_has_a_value_but_no_error() -> None:
    row = aggregate(ACC, answers([1]))[0]
    assert (row.value, row.stderr, row.note) == (1.0, None, "no standard error: only one item")
    assert (row.ci_low, row.ci_high) == (pytest.approx(0.07), 1.0), "right in 7 % of cases if the share is .07"


def test_no_docs_have_no_value() -> None:
    rows = aggregate(ACC, [])
    assert {(row.value, row.stderr, row.ci_low, row.n, row.note) for row in rows} == {
        (None, None, None, 0, "no item was scored")
    }


def test_failed_items_are_left_out_not_counted_as_wrong() -> None:
    good = answers([1, 1, 0])
    bad = items_of(ACC, [choice_doc(["a", "b"], [0], [math.nan, -1])])
    assert aggregate(ACC, [*good, *bad]) == aggregate(ACC, good)
    assert count_outcomes(ACC, [*good, *bad]) == {
        "answered": 3,
        "unanswered": 0,
        "truncated": 0,
        "failed": 1,
        "ties": 0,
        "wrong": 1,
    }


def test_items_without_a_value_are_named_in_the_note() -> None:
    docs = [choice_doc(["a", "b"], gold, [-1, -2]) for gold in ([0], [], [1])]
    row = aggregate(ACC, items_of(ACC, docs))[0]
    assert (row.value, row.n, row.note) == (0.5, 2, "1 of 3 items have no value")


def test_bits_use_student_s_t_of_their_logarithm() -> None:
    docs = [choice_doc(["aa", "b"], [0], [-bits * 2 * math.log(2), -9]) for bits in (1, 2, 3)]
    row = row_of(aggregate(ACC, items_of(ACC, docs)), "bpb_gold")
    assert (row.value, row.se_method, row.higher_is_better) == (pytest.approx(2.0), "clt", False)
    ratio = math.exp(4.302653 / math.sqrt(3) / 2)
    assert (row.ci_low, row.ci_high) == pytest.approx((2 / ratio, 2 * ratio)), "on the log scale: bits end at 0"


def test_a_median_is_bootstrapped_with_the_seed() -> None:
    spec = spec_of("multiple_choice", "bpb_gold", aggregation="median")
    docs = [choice_doc(["a", "b"], [0], [-nats, -9]) for nats in (1.0, 2.0, 4.0, 8.0)]
    items = items_of(spec, docs)
    row = aggregate(spec, items)[0]
    assert (row.value, row.se_method) == (pytest.approx(4 / math.log(2)), "bootstrap")
    assert row == aggregate(spec, items)[0]
    assert row.stderr != aggregate(spec, items, seed=5)[0].stderr


def test_agreement_metrics_equal_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = random.Random(3)
    spec = spec_of("multiple_choice", "f1", "mcc")
    gold = [rng.randrange(2) for _ in range(50)]
    docs = [choice_doc(["a", "b"], [g], [-1, -2 + 2 * rng.random()]) for g in gold]
    items = items_of(spec, docs)
    guess = [int(item.prediction or 0) for item in items]
    rows = aggregate(spec, items)
    assert row_of(rows, "f1").value == pytest.approx(metrics.f1_score(gold, guess), abs=1e-12)
    assert row_of(rows, "mcc").value == pytest.approx(metrics.matthews_corrcoef(gold, guess), abs=1e-12)
    left_out = [metrics.f1_score(gold[:i] + gold[i + 1 :], guess[:i] + guess[i + 1 :]) for i in range(50)]
    by_hand = math.sqrt(49 / 50 * sum((value - np.mean(left_out)) ** 2 for value in left_out))
    assert row_of(rows, "f1").stderr == pytest.approx(by_hand, rel=1e-9)
    assert row_of(rows, "f1").se_method == "jackknife"


def test_matthews_correlation_of_three_choices_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = random.Random(4)
    spec = spec_of("multiple_choice", "mcc", "f1")
    gold = [rng.randrange(3) for _ in range(40)]
    docs = [choice_doc(["a", "b", "c"], [g], [-rng.random() for _ in range(3)]) for g in gold]
    items = items_of(spec, docs)
    rows = aggregate(spec, items)
    expected = metrics.matthews_corrcoef(gold, [int(item.prediction or 0) for item in items])
    assert row_of(rows, "mcc").value == pytest.approx(expected, abs=1e-12)
    assert row_of(rows, "f1").value is None
    assert "two choices" in (row_of(rows, "f1").note or "")


@pytest.mark.parametrize("classes", [2, 4])
def test_macro_f1_and_auroc_equal_scikit_learn(classes: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = random.Random(classes)
    spec = spec_of("multiple_choice", "macro_f1", "auroc")
    names = ["ano", "ne", "snad", "nikdy"][:classes]
    gold = [rng.randrange(classes) for _ in range(80)]
    tokens = [1, 2, 1, 3][:classes]
    docs = [
        choice_doc(names, [g], [-rng.random() * 4 * t + (k == g) for k, t in enumerate(tokens)], tokens=tokens)
        for g in gold
    ]
    items = items_of(spec, docs)
    rows = aggregate(spec, items)
    guess = [int(item.prediction or 0) for item in items]
    assert row_of(rows, "macro_f1").value == pytest.approx(metrics.f1_score(gold, guess, average="macro"), abs=1e-12)
    means = np.array([np.divide(item.loglikelihoods, tokens) for item in items])
    shares = np.exp(means) / np.exp(means).sum(axis=1, keepdims=True)
    given = shares[:, 1] if classes == 2 else shares
    expected = metrics.roc_auc_score(gold, given, multi_class="ovr", average="macro")
    row = row_of(rows, "auroc")
    assert row.value == pytest.approx(expected, abs=1e-12)
    assert row.se_method == "delong"
    assert 0 < (row.stderr or 0) < 0.1
    influences = [item.scores["auroc_influence"] for item in with_influence(spec, items)]
    assert standard_error(np.array(influences, dtype=float)) == pytest.approx(row.stderr)


def test_auroc_of_a_choice_that_is_hardly_ever_right_is_missing_and_says_why() -> None:
    spec = spec_of("multiple_choice", "auroc")
    rows = aggregate(spec, items_of(spec, [choice_doc(["a", "b"], [0], [-1, -2])] * 3))
    assert row_of(rows, "auroc").value is None
    assert "needs two of each" in (row_of(rows, "auroc").note or "")


def test_agreement_without_variety_is_zero_as_in_scikit_learn() -> None:
    spec = spec_of("multiple_choice", "f1", "mcc")
    rows = aggregate(spec, items_of(spec, [choice_doc(["a", "b"], [0], [-1, -2])] * 3))
    assert [row.value for row in rows[:2]] == [0.0, 0.0]


SENTENCES = ["the cat sat on the mat .", "a dog barks", "petit chat noir", "kočka leze dírou, pes oknem"]


def translations(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Predictions with a word lost here and there, and their targets."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        words = " ".join(rng.choices(SENTENCES, k=2)).split()
        pairs.append((" ".join(word for word in words if rng.random() > 0.25), " ".join(words)))
    return pairs


@pytest.mark.parametrize("metric", ["bleu", "chrf", "chrf++", "ter"])
def test_corpus_scores_are_sacrebleu_s_with_jackknife_errors_and_signature(metric: str) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    score = {
        "bleu": sacrebleu.corpus_bleu,
        "chrf": sacrebleu.corpus_chrf,
        "chrf++": lambda p, r: sacrebleu.corpus_chrf(p, r, word_order=2),
        "ter": sacrebleu.corpus_ter,
    }[metric]
    pairs = translations(15)
    spec = spec_of("generate_until", metric)
    row = aggregate(spec, items_of(spec, [text_doc([p], [t]) for p, t in pairs]))[0]

    def corpus(some: list[tuple[str, str]]) -> float:
        return float(score([p for p, _ in some], [[t for _, t in some]]).score)

    left_out = [corpus(pairs[:i] + pairs[i + 1 :]) for i in range(15)]
    by_hand = math.sqrt(14 / 15 * sum((value - np.mean(left_out)) ** 2 for value in left_out))
    assert row.value == pytest.approx(corpus(pairs), abs=1e-9)
    assert row.stderr == pytest.approx(by_hand, rel=1e-9)
    assert row.se_method == "jackknife"
    assert row.note is not None
    assert f"version:{sacrebleu.__version__}" in row.note


def test_a_jackknife_error_comes_near_sacrebleu_s_bootstrap() -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    pairs = translations(120, seed=2)
    spec = spec_of("generate_until", "chrf")
    row = aggregate(spec, items_of(spec, [text_doc([p], [t]) for p, t in pairs]))[0]
    theirs = metrics.CHRF().corpus_score([p for p, _ in pairs], [[t for _, t in pairs]], n_bootstrap=500)
    assert row.stderr == pytest.approx(theirs._ci / 1.96, rel=0.2)


def test_docs_may_have_different_numbers_of_targets() -> None:
    spec = spec_of("generate_until", "bleu")
    docs = [text_doc(["the cat sat on the mat"], ["a mat", "the cat sat on the mat"]), text_doc(["a dog"], ["a dog"])]
    row = aggregate(spec, items_of(spec, docs))[0]
    assert row.value == pytest.approx(100.0)
    assert "nrefs:var" in (row.note or "")


def test_each_filter_has_its_own_corpus_score() -> None:
    filters = [FilterSpec("as-is", (("take_first", {}),)), FilterSpec("low", (("lowercase", {}), ("take_first", {})))]
    spec = spec_of("generate_until", "chrf", filters=filters)
    rows = aggregate(spec, items_of(spec, [text_doc(["THE CAT SAT"], ["the cat sat"])] * 2))
    assert [row.metric for row in rows] == ["chrf,as-is", "chrf,low"]
    assert row_of(rows, "chrf,low").value == pytest.approx(100.0)
    assert (row_of(rows, "chrf,as-is").value or 0) < 1


def test_three_thousand_segments_take_seconds() -> None:
    spec = spec_of("generate_until", "bleu", "chrf")
    items = items_of(spec, [text_doc([p], [t]) for p, t in translations(3000)])
    start = time.process_time()
    rows = aggregate(spec, items)
    assert time.process_time() - start < 60
    assert all(row.stderr is not None for row in rows)


def test_silence_scores_zero_bleu() -> None:
    spec = spec_of("generate_until", "bleu", "ter")
    rows = aggregate(spec, items_of(spec, [text_doc([""], ["the cat"])] * 3))
    assert (rows[0].value, rows[1].value) == (0.0, 100.0)


def result(task: str, value: float | None, stderr: float | None, n: int, metric: str = "acc") -> MetricResult:
    return MetricResult(task, metric, value, stderr, None, None, n)


def test_a_group_averages_its_tasks_with_the_worked_error() -> None:
    members = {
        name: [result(name, value, se, 500)]
        for name, value, se in (("a", 0.5, 0.005), ("b", 0.6, 0.0138), ("c", 0.7, 0.039))
    }
    (row,) = aggregate_group("g", members, weight_by_size=False)
    assert (row.task, row.metric, row.n, row.se_method) == ("g", "acc", 1500, "group")
    assert row.value == pytest.approx(0.6)
    assert row.stderr == pytest.approx(0.01389, abs=5e-6)


def test_a_group_by_size_is_the_mean_over_all_docs() -> None:
    one, two = answers([1, 0, 1, 1]), answers([0, 0])
    members = {"a": aggregate(ACC, one), "b": aggregate(ACC, two)}
    assert aggregate_group("g", members, weight_by_size=True)[0].value == pytest.approx(0.5)
    assert aggregate_group("g", members, weight_by_size=False)[0].value == pytest.approx(0.375)


def test_a_group_by_size_equals_lm_eval_s_value() -> None:
    metrics = pytest.importorskip("lm_eval.api.metrics")
    members = {"a": [result("a", 0.3, 0.01, 30)], "b": [result("b", 0.9, 0.02, 70)]}
    for by_size in (True, False):
        expected = metrics.aggregate_subtask_metrics([0.3, 0.9], [30, 70], by_size)
        assert aggregate_group("g", members, weight_by_size=by_size)[0].value == pytest.approx(expected, abs=1e-12)


def test_a_group_says_which_member_has_no_value_or_no_error() -> None:
    members = {"a": [result("a", 0.3, 0.01, 30)], "b": [result("b", None, None, 0)]}
    (row,) = aggregate_group("g", members, weight_by_size=False)
    assert (row.value, row.note) == (None, "no value for b")
    members["b"] = [result("b", 1.0, None, 1)]
    (row,) = aggregate_group("g", members, weight_by_size=False)
    assert (row.value, row.stderr, row.ci_low) == (0.65, None, None)
    assert "no standard error for b" in (row.note or "")


def test_a_group_has_only_metrics_that_all_tasks_share() -> None:
    members = {"a": [result("a", 1, 0.1, 9), result("a", 1, 0.1, 9, "bleu")], "b": [result("b", 1, 0.1, 9)]}
    assert [row.metric for row in aggregate_group("g", members, weight_by_size=False)] == ["acc"]
    assert aggregate_group("g", {}, weight_by_size=False) == []


def test_every_named_metric_and_aggregation_exists() -> None:
    assert set(AGGREGATIONS) == set(AGGREGATORS)
    assert {name for name, info in METRICS.items() if "choice" in info.families} == set(ITEM_METRICS)
    assert {name for name, info in METRICS.items() if "text" in info.families} == set(TEXT_METRICS)
    assert all(info.explanation.endswith(".") for info in METRICS.values())


def test_a_metric_may_name_the_interval_of_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Interval(0.0, 1.0)
    monkeypatch.setitem(SHARES, "whole", lambda right, docs: whole)  # type: ignore[arg-type]
    monkeypatch.setitem(METRICS, "acc", replace(METRICS["acc"], share_interval="whole"))  # type: ignore[arg-type]
    rows = aggregate(ACC, answers([1, 1, 1, 0]))
    known, usual = (row_of(rows, name) for name in ("acc", "acc_norm"))
    assert (known.ci_low, known.ci_high, known.se_method) == (0.0, 1.0, "whole")
    assert usual.se_method == "wilson"


def test_every_metric_names_an_interval_that_there_is() -> None:
    assert {info.share_interval for info in METRICS.values()} <= set(SHARES)
