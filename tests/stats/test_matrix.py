"""All pairs at once are the duels one by one."""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchbench.stats.board import duel_win_score
from benchbench.stats.duel import duel
from benchbench.stats.matrix import duel_matrix
from benchbench.stats.multiple import holm

RNG = np.random.default_rng(0)
RIGHT = (RNG.random((5, 300)) < np.linspace(0.4, 0.6, 5)[:, None]).astype(float)
REAL = RNG.normal(size=(5, 300)) + np.linspace(0, 0.4, 5)[:, None]
WORLDS = {
    "right or wrong": (RIGHT, None),
    "right or wrong in passages": (RIGHT, [f"p{i // 3}" for i in range(300)]),
    "real": (REAL, None),
    "real in few passages": (REAL, [f"p{i % 20}" for i in range(300)]),
    "few docs": (REAL[:, :9], None),
    "a model twice": (np.vstack([RIGHT, RIGHT[0]]), None),
    "a real model twice": (np.vstack([REAL, REAL[0]]), None),
    "all pulling alike": (np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]]), None),
}


@pytest.mark.parametrize("name", WORLDS)
def test_every_pair_is_its_duel(name: str) -> None:
    scores, clusters = WORLDS[name]
    found = duel_matrix(scores, clusters, seed=3)
    for i in range(len(scores)):
        for j in range(len(scores)):
            one = duel(scores[j], scores[i], clusters, seed=3)
            assert found.difference[i, j] == pytest.approx(one.difference.value, abs=1e-12)
            assert found.p[i, j] == pytest.approx(one.p, rel=1e-6), (i, j)
            assert found.stderr[i, j] == pytest.approx(one.difference.stderr, rel=1e-5, abs=1e-9)


def test_holm_goes_over_all_pairs_once() -> None:
    found = duel_matrix(RIGHT, seed=0)
    upper = np.triu_indices(5, 1)
    assert found.p_adjusted[upper] == pytest.approx(holm(found.p[upper]))
    assert (found.p_adjusted == found.p_adjusted.T).all()


def test_wins_follow_the_direction_and_feed_the_duel_win_score() -> None:
    found = duel_matrix(RIGHT, seed=0)
    assert found.wins()[4, 0]
    assert not found.wins()[0, 4]
    assert (found.wins(higher_is_better=False) == found.wins().T).all()
    assert duel_win_score([found.wins()])[4] > duel_win_score([found.wins()])[0] == 0


def test_two_hundred_models_take_moments() -> None:
    scores = (np.random.default_rng(1).random((200, 2000)) < 0.5).astype(float)
    start = time.monotonic()
    found = duel_matrix(scores, seed=0)
    assert time.monotonic() - start < 20
    assert found.wins().sum() <= 2


@pytest.mark.parametrize("bad", [[[1.0, 0.0]], [1.0, 0.0], [[np.nan], [1.0]]])
def test_what_is_no_table_is_refused(bad: list) -> None:
    with pytest.raises(ValueError, match="models × items"):
        duel_matrix(bad, seed=0)
