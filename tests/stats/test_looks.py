"""The chance of a false claim is shared out among looks and tasks, and never more than all of it."""

from __future__ import annotations

import math

import pytest

from benchbench.stats.testing import Family, spent


@pytest.mark.parametrize("early", [False, True])
def test_the_shares_of_all_looks_sum_to_one(early: bool) -> None:
    first = math.fsum(spent(k, early=early) for k in range(20_000))
    rest = spent(20_000, early=early) * 20_000 / (2 if early else 1)  # the sum of c/k³ or c/k² from there on
    assert first + rest == pytest.approx(1.0, abs=1e-4)
    assert first < 1


def test_a_look_without_two_checkpoints_spends_nothing() -> None:
    assert spent(0) == spent(1) == 0


def test_tasks_share_the_error_of_a_look() -> None:
    one = Family().level(10)
    assert Family(tasks=30).level(10) == pytest.approx(one / 30)
    assert Family(tasks=30, share=0.5).level(10) == pytest.approx(one / 2)
    assert Family().num_looks(10) == 9


def test_one_look_has_far_more_to_spend_than_one_of_many() -> None:
    assert Family(looks=1).level(27) > 10 * Family().level(27)
    assert Family(looks=1).level(27) == Family(looks=1).level(5)
    assert Family(looks=1).num_looks(27) == 1


def test_the_first_looks_of_an_early_test_get_more() -> None:
    assert Family().level(5, early=True) > Family().level(5)
    assert Family().level(40, early=True) < Family().level(40)
