"""pass@k by the unbiased estimator, held against its definition and against draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchbench.scoring.estimates import mean_uncertainty
from benchbench.stats.pass_at_k import pass_at_k


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (1, 0, 1, 0.0), (1, 1, 1, 1.0), (10, 3, 1, 0.3), (10, 3, 10, 1.0), (10, 0, 10, 0.0), (10, 10, 1, 1.0),
        (5, 2, 2, 0.7), (5, 4, 2, 1.0), (200, 1, 100, 0.5), (200, 7, 10, 0.3055988), (100, 5, 10, 0.4162476),
    ],
)  # fmt: skip
def test_a_table_of_cases(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("n", [1, 2, 5, 20, 200])
def test_it_is_the_published_formula(n: int) -> None:
    cases = [*itertools.product({0, 1, n // 2, n - 1, n}, {1, (n + 1) // 2, n})]
    assert (n, n) in cases
    for c, k in cases:
        published = 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
        assert pass_at_k(n, c, k) == pytest.approx(published, abs=1e-12)


def test_it_is_the_share_of_draws_that_hold_one_that_passed() -> None:
    answers = [1, 0, 0, 1, 0, 0]
    draws = list(itertools.combinations(answers, 3))
    assert pass_at_k(6, 2, 3) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, -1, 1), (5, 2, 0), (5, 2, 6)])
def test_counts_that_make_no_sense_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        pass_at_k(n, c, k)


def covered(problems: int, n: int, k: int, tries: int, seed: int) -> tuple[float, float]:
    """How often the interval of the mean holds the truth over problems whose difficulty varies, and the mean's bias."""
    rng = np.random.default_rng(seed)
    a, b = 0.4, 0.8
    grid = (np.arange(100_000) + 0.5) / 100_000
    weight = grid ** (a - 1) * (1 - grid) ** (b - 1)
    truth = float(((1 - (1 - grid) ** k) * weight).sum() / weight.sum())
    hits, total = 0, 0.0
    for _ in range(tries):
        passed = rng.binomial(n, rng.beta(a, b, problems))
        scores = [pass_at_k(n, int(c), k) for c in passed]
        known, _ = mean_uncertainty(scores, [None] * problems, (0.0, 1.0), "wilson")
        assert known.interval is not None
        hits += known.interval.low <= truth <= known.interval.high
        total += float(np.mean(scores)) - truth
    return hits / tries, total / tries


@pytest.mark.parametrize(("n", "k"), [(1, 1), (10, 1), (20, 10)])
def test_intervals_over_problems_cover_the_truth(n: int, k: int) -> None:
    """164 problems; the Monte Carlo error of 300 tries is 1.3 points."""
    rate, bias = covered(164, n, k, tries=300, seed=7)
    assert rate == pytest.approx(0.95, abs=0.038)
    assert abs(bias) < 0.005
