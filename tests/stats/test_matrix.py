"""All pairs at once are the duels one by one."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from benchbench.stats.duel import duel, duel_of_estimates
from benchbench.stats.influence import ratio
from benchbench.stats.matrix import duel_matrix
from benchbench.stats.ranks import duel_win_score
from benchbench.stats.testing import holm

RNG = np.random.default_rng(0)
RIGHT = (RNG.random((5, 300)) < np.linspace(0.4, 0.6, 5)[:, None]).astype(float)
REAL = RNG.normal(size=(5, 300)) + np.linspace(0, 0.4, 5)[:, None]
F1 = np.where(RNG.random((5, 300)) < 0.9, 0.0, RNG.random((5, 300)))
WORLDS = {
    "right or wrong": (RIGHT, None),
    "right or wrong in passages": (RIGHT, [f"p{i // 3}" for i in range(300)]),
    "right or wrong in passages of any length": (RIGHT, [f"p{int(i**0.8)}" for i in range(300)]),
    "real": (REAL, None),
    "real in few passages": (REAL, [f"p{i % 20}" for i in range(300)]),
    "one passage has half": (REAL, [f"p{max(0, i - 149)}" for i in range(300)]),
    "few docs": (REAL[:, :9], None),
    "thirty docs": (REAL[:, :30], None),
    "mostly zeros": (F1, None),
    "mostly zeros of few docs": (F1[:, :25], None),
    "hardly any that is no zero": (np.where(RNG.random((5, 300)) < 0.95, 0.0, F1), None),
    "a model twice": (np.vstack([RIGHT, RIGHT[0]]), None),
    "a real model twice": (np.vstack([REAL, REAL[0]]), None),
    "nearly the same models": (REAL[:1] + 1e-3 * REAL, None),
    "the same but for rounding": (REAL[:1] * (1 + 1e-16 * np.arange(5)[:, None]), None),
    "all pulling alike": (np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]]), None),
    "one doc": (np.array([[0.1], [0.6]]), None),
    "one passage": (REAL[:, :4], ["p"] * 4),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("scale", [None, 10.0])
def test_every_pair_is_its_duel(name: str, scale: float | None) -> None:
    scores, clusters = WORLDS[name]
    found = duel_matrix(scores, clusters, seed=3, scale=scale)
    assert found.p.shape == found.stderr.shape == (len(scores), len(scores))
    for i in range(len(scores)):
        for j in range(len(scores)):
            one = duel(scores[j], scores[i], clusters, seed=3, scale=scale)
            assert found.difference[i, j] == pytest.approx(one.difference.value, abs=1e-12)
            if one.p is None:
                assert i == j or math.isnan(found.p[i, j])
                continue
            assert found.p[i, j] == pytest.approx(one.p, rel=1e-6), (i, j)
            assert found.stderr[i, j] == pytest.approx(one.difference.stderr, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("docs", [8, 30, 300])
@pytest.mark.parametrize("passages", [False, True])
@pytest.mark.parametrize("are_weighed", [False, True])
def test_every_pair_of_estimates_is_its_duel(docs: int, passages: bool, are_weighed: bool) -> None:
    """Bits per byte: the scores of the table are the value plus the doc's influence."""
    rng = np.random.default_rng(docs)
    length = np.exp(rng.normal(size=docs))
    models = [ratio(length * (0.7 + 0.1 * rng.normal(size=docs)), length) for _ in range(4)]
    table = np.array([model.value + model.influence for model in models])
    names, weights = [i // 2 for i in range(docs)] if passages else None, length if are_weighed else None
    found = duel_matrix(table, names, seed=3, estimates=True, weights=weights)
    for i in range(4):
        for j in range(4):
            one = duel_of_estimates(models[j], models[i], names, weights=weights, seed=3)
            assert found.p[i, j] == pytest.approx(one.p, rel=1e-6)
            assert found.stderr[i, j] == pytest.approx(one.difference.stderr, rel=1e-6, abs=1e-12)


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
    start = time.process_time()
    found = duel_matrix(scores, seed=0)
    assert time.process_time() - start < 60
    assert found.wins().sum() <= 2


@pytest.mark.parametrize("bad", [[[1.0, 0.0]], [1.0, 0.0], [[np.nan], [1.0]]])
def test_what_is_no_table_is_refused(bad: list) -> None:
    with pytest.raises(ValueError, match="models × items"):
        duel_matrix(bad, seed=0)
