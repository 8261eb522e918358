"""Cohen's kappa and the judge's noise against published and worked values."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest

from benchbench.stats.judging import judge_noise
from benchbench.stats.kappa import weighted_kappa


def test_kappa_is_that_of_the_textbook() -> None:
    """20 and 15 agreements, 5 and 10 disagreements of 50: po = .7, pe = .5, κ = .4."""
    first = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert weighted_kappa(first, second, weights="none").value == pytest.approx(0.4)


@pytest.mark.parametrize("weights", ["none", "quadratic"])
def test_kappa_is_scikit_learns(weights: Literal["none", "quadratic"]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    first = rng.integers(1, 6, 200)
    second = np.clip(first + rng.integers(-1, 2, 200), 1, 5)
    expected = metrics.cohen_kappa_score(first, second, weights=None if weights == "none" else weights)
    found = weighted_kappa(first.tolist(), second.tolist(), weights=weights)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert found.low < expected < found.high < 1


def test_questions_asked_twice_do_not_make_the_interval_narrower() -> None:
    rng = np.random.default_rng(4)
    first = rng.integers(1, 4, 60).tolist()
    second = [grade if rng.random() < 0.7 else 2 for grade in first]
    once = weighted_kappa(first, second)
    twice = weighted_kappa(first * 2, second * 2, clusters=[*range(60)] * 2)
    assert twice == pytest.approx(once)


def test_what_is_undefined_is_none() -> None:
    assert weighted_kappa([3, 3, 3], [3, 3, 3]).value is None
    assert weighted_kappa([1, 2, 3, 4], [1, 2, 3, 4]) == (1.0, None, None)
    with pytest.raises(ValueError, match="at least one"):
        weighted_kappa([], [])


def test_noise_is_the_spread_within_answers_and_its_share_of_the_error() -> None:
    found = judge_noise([[4, 6], [7, 9], [5, 5], [8, 8]])
    assert found is not None
    assert found.sd == pytest.approx(math.sqrt((2 + 2 + 0 + 0) / 4))
    assert found.share == pytest.approx((1 / 2) / np.var([5, 8, 5, 8], ddof=1))
    assert judge_noise([[4], [5]]) is None


def test_noise_alone_is_all_of_the_error() -> None:
    rng = np.random.default_rng(1)
    found = judge_noise((5 + rng.normal(0, 1, (2000, 3))).tolist())
    assert found is not None
    assert found.sd == pytest.approx(1, abs=0.05)
    assert found.share == pytest.approx(1, abs=0.1)
