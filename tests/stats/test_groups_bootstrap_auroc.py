"""Group means, the bootstrap and DeLong's test."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchbench.stats.auroc import auroc, compare, macro_auroc
from benchbench.stats.groups import error_correlation, group_mean
from benchbench.stats.influence import mean
from benchbench.stats.intervals import standard_error, wilson
from benchbench.stats.scores import bootstrap

LABELS = [1, 1, 1, 1, 0, 0, 0, 0, 1, 0]
A = [0.9, 0.8, 0.7, 0.35, 0.4, 0.3, 0.2, 0.1, 0.6, 0.5]
B = [0.6, 0.9, 0.4, 0.3, 0.5, 0.35, 0.45, 0.2, 0.8, 0.1]


def test_equal_weights_give_the_worked_group_error() -> None:
    found = group_mean([0.5, 0.6, 0.7], [0.005, 0.0138, 0.039], [100, 100, 100])
    assert found.value == pytest.approx(0.6)
    assert found.stderr == pytest.approx(0.01389, abs=5e-6)


def test_size_weights_follow_the_sizes() -> None:
    found = group_mean([0.0, 1.0], [0.1, 0.2], [9, 29], [10, 30])
    assert found.value == 0.75
    assert found.stderr == pytest.approx(math.hypot(0.25 * 0.1, 0.75 * 0.2))


def test_a_group_of_one_is_its_member() -> None:
    found = group_mean([0.5], [0.1], [9])
    assert found.interval is not None
    assert found.interval.high - 0.5 == pytest.approx(2.262157 * 0.1, abs=1e-6)


def test_a_member_without_error_leaves_the_group_without() -> None:
    assert group_mean([0.5, 0.5], [0.1, None], [9, 0]) == (0.5, None, None)


def test_errors_of_zero_give_no_interval_without_the_members_own() -> None:
    assert group_mean([1.0, 1.0], [0.0, 0.0], [9, 9]).interval is None
    ends = group_mean([1.0, 1.0], [0.0, 0.0], [9, 9], intervals=[wilson(10, 10)] * 2).interval
    assert ends == pytest.approx(wilson(20, 20), abs=1e-6), "as of all docs together"


def test_the_interval_of_equal_members_is_that_of_all_their_docs() -> None:
    ends = group_mean([0.7, 0.7], [(0.21 / 49) ** 0.5] * 2, [49, 49], intervals=[wilson(35, 50)] * 2).interval
    assert ends == pytest.approx(wilson(70, 100), abs=2e-3)


def test_members_that_are_the_same_questions_have_the_interval_of_one() -> None:
    errors, ends = [(0.21 / 49) ** 0.5] * 2, [wilson(35, 50)] * 2
    found = group_mean([0.7, 0.7], errors, [49, 49], intervals=ends, correlation=[[1, 1], [1, 1]])
    assert found.interval == pytest.approx(wilson(35, 50), abs=1e-6)
    assert found.stderr == pytest.approx(errors[0])


def test_errors_of_tasks_go_together_as_far_as_their_docs_do() -> None:
    rng = np.random.default_rng(3)
    psi = rng.normal(size=(3, 400))
    psi[1] = 0.6 * psi[0] + 0.8 * psi[1]
    psi -= psi.mean(axis=1, keepdims=True)
    names = [f"question {i}" for i in range(400)]
    turned = list(reversed(names))
    found = error_correlation([psi[0], psi[1][::-1], psi[2]], [names, turned, None])
    assert found[0, 1] == pytest.approx(np.corrcoef(psi[0], psi[1])[0, 1])
    assert found[2].tolist() == [0, 0, 1]
    assert error_correlation(psi, [None, None, names]).tolist() == np.eye(3).tolist()


def test_the_bootstrap_of_a_mean_comes_near_its_formula_and_repeats() -> None:
    x = np.random.default_rng(5).normal(size=200)
    first = bootstrap(x, lambda v: float(v.mean()), seed=7)
    assert first == bootstrap(x, lambda v: float(v.mean()), seed=7)
    assert first != bootstrap(x, lambda v: float(v.mean()), seed=8)
    assert first.stderr == pytest.approx(standard_error(mean(x).influence), rel=0.1)


def test_the_bootstrap_resamples_whole_clusters() -> None:
    x = np.repeat([0.0, 1.0, 0.0, 1.0], 25)
    names = [f"c{i}" for i in np.repeat(range(4), 25)]
    by_cluster = bootstrap(x, lambda v: float(v.mean()), names, seed=1)
    by_item = bootstrap(x, lambda v: float(v.mean()), seed=1)
    assert by_cluster.n_clusters == 4
    assert by_item.n_clusters is None
    assert by_cluster.stderr is not None
    assert by_item.stderr is not None
    assert by_cluster.stderr > 4 * by_item.stderr
    assert bootstrap([1.0], lambda v: 0.0, seed=1).stderr is None


def test_delong_has_the_worked_areas_covariance_and_p() -> None:
    found = auroc(LABELS, [A, B])
    assert found.values == pytest.approx([0.92, 0.80])
    assert found.covariance == pytest.approx(np.array([[0.0088, 0.008], [0.008, 0.024]]))
    duel = compare(found)
    assert (duel.stderr, duel.z, duel.p) == pytest.approx((0.129615, 0.92582, 0.354539), abs=1e-6)


def test_delong_areas_equal_sklearn_with_ties() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    y, x = rng.integers(0, 2, 80), rng.integers(0, 6, 80)
    assert auroc(y, x).values[0] == pytest.approx(metrics.roc_auc_score(y, x), abs=1e-12)


def test_a_duel_with_oneself_has_p_one() -> None:
    duel = compare(auroc(LABELS, [A, A]))
    assert (duel.difference, duel.p) == (0.0, 1.0)


def test_delong_refuses_a_single_positive() -> None:
    with pytest.raises(ValueError, match="two positives"):
        auroc([1, 0, 0], [[0.1, 0.2, 0.3]])


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_macro_auroc_is_scikit_learns_one_vs_rest_mean(classes: int) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(classes)
    gold = rng.integers(0, classes, 120)
    scores = rng.random((120, classes)) + np.eye(classes)[gold] * 0.4
    scores = np.round(scores / scores.sum(axis=1, keepdims=True), 2)  # ties
    scores[:, -1] = 1 - scores[:, :-1].sum(axis=1)
    given = scores[:, 1] if classes == 2 else scores
    expected = roc_auc_score(gold, given, multi_class="ovr", average="macro")
    found = macro_auroc(gold, scores)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.influence.sum() == pytest.approx(0, abs=1e-9)


def test_the_standard_error_of_two_classes_is_delongs() -> None:
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 0])
    scores = np.array([0.6, 0.9, 0.4, 0.3, 0.5, 0.35, 0.45, 0.2, 0.8, 0.1])
    found = macro_auroc(labels, np.column_stack([1 - scores, scores]))
    assert found.value == pytest.approx(0.8)
    assert found.influence.std(ddof=1) ** 2 / 10 == pytest.approx(0.024)


def test_an_area_without_two_docs_of_a_class_is_refused() -> None:
    with pytest.raises(ValueError, match="choice 0 is right for 3 of 4 docs"):
        macro_auroc([0, 0, 0, 1], np.full((4, 2), 0.5))
