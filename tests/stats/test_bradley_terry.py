"""Strengths from comparisons against two other implementations, and where there is no maximum."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.stats.bradley_terry import bradley_terry, expected_gains

WINS = np.array([[0, 7, 8], [3, 0, 6], [2, 4, 0]])
"""Row beats column so often."""


def compared(wins: np.ndarray) -> tuple[list[int], list[int]]:
    """Winner and loser of each comparison."""
    won = [(i, j) for i, row in enumerate(wins) for j, count in enumerate(row) for _ in range(count)]
    first, second = zip(*won, strict=True)
    return list(first), list(second)


def random_wins(seed: int, models: int) -> np.ndarray:
    wins = np.random.default_rng(seed).integers(1, 12, (models, models))
    np.fill_diagonal(wins, 0)
    return wins


def test_strengths_are_those_of_choix_ilsr() -> None:
    """Golden values of choix 0.4.1, `ilsr_pairwise` with alpha=0, centred."""
    first, second = compared(WINS)
    found = bradley_terry(first, second, np.ones(len(first)), models=3)
    assert found.values == pytest.approx([0.74056994, -0.14910226, -0.59146768], abs=1e-8)
    assert not found.separated


@pytest.mark.parametrize("seed", range(5))
def test_strengths_are_those_of_a_logistic_regression(seed: int) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    wins = random_wins(seed, 6)
    first, second = compared(wins)
    design = np.zeros((len(first), 6))
    design[np.arange(len(first)), first], design[np.arange(len(first)), second] = 1, -1
    rows, won = np.concatenate([design, -design]), np.repeat([1, 0], len(first))
    model = linear.LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10_000).fit(rows, won)
    expected = model.coef_[0] - model.coef_[0].mean()
    found = bradley_terry(first, second, np.ones(len(first)), models=6)
    assert found.values == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_strengths_are_those_of_choix(seed: int) -> None:
    choix = pytest.importorskip("choix")
    first, second = compared(random_wins(seed, 8))
    expected = choix.ilsr_pairwise(8, list(zip(first, second, strict=True)), max_iter=1000, tol=1e-13)
    found = bradley_terry(first, second, np.ones(len(first)), models=8)
    assert found.values == pytest.approx(expected - expected.mean(), abs=1e-6)


def test_a_tie_is_half_a_win_for_each() -> None:
    first, second = compared(WINS)
    outcomes = np.ones(len(first))
    twice = bradley_terry([*first, *first, 0, 0], [*second, *second, 1, 1], [*outcomes, *outcomes, 1, 0], models=3)
    ties = bradley_terry([*first, *first, 0, 0], [*second, *second, 1, 1], [*outcomes, *outcomes, 0.5, 0.5], models=3)
    assert ties.values == pytest.approx(twice.values, abs=1e-10)


def test_the_order_of_two_models_does_not_matter() -> None:
    first, second = compared(WINS)
    one = bradley_terry(first, second, np.ones(len(first)), models=3, clusters=list(range(10)) * 3)
    other = bradley_terry(second, first, np.zeros(len(first)), models=3, clusters=list(range(10)) * 3)
    assert one.values == pytest.approx(other.values)
    assert one.covariance == pytest.approx(other.covariance)


def test_questions_that_are_asked_twice_do_not_make_intervals_narrower() -> None:
    rng = np.random.default_rng(2)
    outcomes = (rng.random(60) < 0.6).astype(float)
    once = bradley_terry([0] * 60, [1] * 60, outcomes, models=2, clusters=list(range(60)))
    twice = bradley_terry([0] * 120, [1] * 120, [*outcomes] * 2, models=2, clusters=[*range(60)] * 2)
    assert twice.errors == pytest.approx(once.errors, rel=1e-9)


def test_a_model_that_never_lost_has_a_strength_and_a_warning() -> None:
    found = bradley_terry([0, 0, 0, 1, 2], [1, 2, 1, 2, 1], [1, 1, 1, 1, 1], models=3)
    assert found.separated
    assert np.isfinite(found.values).all()
    assert found.values[0] > found.values[1]


def test_two_clusters_are_too_few_for_an_interval() -> None:
    first, second = compared(WINS)
    found = bradley_terry(first, second, np.ones(len(first)), models=3, clusters=[n % 2 for n in range(len(first))])
    assert found.interval(0) is None


@pytest.mark.parametrize(("first", "second", "outcomes"), [([], [], []), ([0], [0], [1]), ([0, 1], [1], [1, 0])])
def test_what_is_no_comparison_is_refused(first: list[int], second: list[int], outcomes: list[float]) -> None:
    with pytest.raises(ValueError, match="two different models"):
        bradley_terry(first, second, outcomes, models=2)


def test_the_next_comparison_tells_most_where_two_met_least() -> None:
    counts = np.array([[0, 20, 4], [20, 0, 20], [4, 20, 0]])
    pairs = [(0, 1), (0, 2), (1, 2)]
    gains = expected_gains(counts, pairs)
    assert gains.argmax() == 1
    counts[0, 2] = counts[2, 0] = 5
    assert expected_gains(counts, pairs)[1] < gains[1]


def test_a_comparison_is_worth_what_it_takes_off_the_determinant() -> None:
    """ln det of the information grows by ln(1 + variance / 4)."""
    counts = np.array([[0, 3, 1, 2], [3, 0, 2, 0], [1, 2, 0, 5], [2, 0, 5, 0]], dtype=float)

    def log_det(met: np.ndarray) -> float:
        values = np.linalg.eigvalsh((np.diag(met.sum(axis=1)) - met) / 4)
        return float(np.log(values[1:]).sum())

    more = counts.copy()
    more[1, 3] += 1
    more[3, 1] += 1
    assert expected_gains(counts, [(1, 3)])[0] == pytest.approx(log_det(more) - log_det(counts), rel=1e-4)
