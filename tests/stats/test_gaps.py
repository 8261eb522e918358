"""Products of powers are the sums over units that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.stats.units import (
    Units,
    cubes_of_gaps,
    fourths_of_gaps,
    pairs_of,
    spread,
    spread_of_gaps,
    squares_of_gaps,
)

MODELS = np.random.default_rng(0).exponential(size=(5, 60))
CENTRED = MODELS - MODELS.mean(axis=1, keepdims=True)
FIRST, SECOND = pairs_of(5)
GAPS = CENTRED[FIRST] - CENTRED[SECOND]


@pytest.mark.parametrize(("power", "sums"), [(2, squares_of_gaps), (3, cubes_of_gaps), (4, fourths_of_gaps)])
def test_sums_of_powers_of_gaps(power: int, sums: object) -> None:
    assert sums(CENTRED) == pytest.approx((GAPS**power).sum(axis=1), rel=1e-9, abs=1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("unequal", [False, True])
def test_the_spread_of_all_pairs_is_that_of_each(unequal: bool) -> None:
    weights = np.linspace(0.5, 1.5, 60) if unequal else np.ones(60)
    together = spread_of_gaps(CENTRED, weights, np.ones(10))
    values = MODELS.mean(axis=1)
    units = Units(values[FIRST] - values[SECOND], GAPS, weights[None, :], np.ones(10), np.full(10, 1e-6))
    alone = spread(units)
    for name in ("variance", "extra", "skewness", "alike"):
        assert getattr(together, name) == pytest.approx(getattr(alone, name), rel=1e-9, abs=1e-15), name
    assert np.broadcast_to(together.degrees, 10) == pytest.approx(np.broadcast_to(alone.degrees, 10))
    assert spread_of_gaps(CENTRED, weights, np.ones(10), skewed=False).skewness.tolist() == [0] * 10
