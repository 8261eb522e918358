"""The promises in small by default, in full as a slow test; and that a check is able to fail."""

from __future__ import annotations

import numpy as np
import pytest

from tests.simulate import checks, worlds
from tests.simulate.__main__ import main
from tests.simulate.checks import Check
from tests.simulate.worlds import Curve


def broken(found: list[Check]) -> list[str]:
    return [f"{check.promise}: {check.found}" for check in found if check.holds is False]


def test_the_published_curve_gets_the_published_reading() -> None:
    found = list(checks.the_card(2, seed=1))
    assert broken(found) == []
    assert len(found) == 12


def test_flat_runs_claim_little() -> None:
    """250 runs of 5 % give at most 9.5 % in 999 of 1000 seeds; naive best-against-first claims 20 %."""
    assert broken(list(checks.flat_runs(250, seed=1, most=0.095))) == []


def test_rising_runs_are_seen_to_rise() -> None:
    rising = Curve(tuple(0.4 + 0.02 * np.arange(8)), 2000)
    assert checks.claims(rising, 30, seed=1) == 1.0


def test_unknown_checkpoint_noise_is_what_flat_runs_are_fooled_by() -> None:
    short = worlds.flat(checkpoints=4, n=5000, tau=0.01)
    assert checks.claims(short, 150, seed=1) > 0.15, "four checkpoints, two of them late: not estimable"
    assert checks.claims(worlds.flat(n=5000, tau=0.01), 150, seed=1) < 0.12, "eight: estimated"


def test_known_checkpoint_noise_restores_the_level() -> None:
    from benchbench.stats.power import ALPHA
    from benchbench.stats.series import Noise, series_of_items
    from benchbench.stats.sweep import fixed_sequence

    rng, claimed = np.random.default_rng(1), 0
    for _ in range(300):
        rows = worlds.flat(n=5000, tau=0.01).draw(rng)
        tests = fixed_sequence(series_of_items(checks.STEPS, rows), Noise(0.01, 10_000, 100))
        claimed += tests[0].p <= ALPHA
    assert claimed / 300 < 0.05 + 3 * worlds.standard_error(0.05, 300)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    for check in checks.coverage(400, seed=1):
        share = float(check.found.rstrip("%")) / 100
        assert abs(share - 0.95) < 4 * worlds.standard_error(0.95, 400), check


def test_rank_intervals_hold_all_places_at_once() -> None:
    assert broken(list(checks.rank_coverage(100, seed=1))) == []


def test_the_worlds_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    rows = worlds.card(0.2, rng)
    assert [int(row.sum()) for row in rows] == list(worlds.CARD_COUNTS)
    assert [float((row != rows[-1]).mean()) for row in rows[:-1]] == pytest.approx([0.2] * 4, abs=2e-4)
    drawn = np.stack(Curve((0.5, 0.55, 0.5), 100_000, disagreement=0.2).draw(rng))
    assert drawn.mean(axis=1) == pytest.approx([0.5, 0.55, 0.5], abs=0.006)
    assert float((drawn[0] != drawn[2]).mean()) == pytest.approx(0.2, abs=0.006)


def test_a_broken_promise_is_printed_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def every_check(runs: int, seed: int) -> list[Check]:
        return list(checks.flat_runs(20, seed, most=-0.01))[:1]

    monkeypatch.setattr("tests.simulate.__main__.every_check", every_check)
    assert main(["--runs", "20"]) == 1
    assert "BROKEN" in capsys.readouterr().out


@pytest.mark.slow
def test_every_promise_holds_in_full() -> None:
    assert main(["--runs", "1000"]) == 0
