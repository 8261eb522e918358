"""The promises in small (in full: `make simulate`), and that a check is able to fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from benchbench.stats.intervals import Interval
from tests.simulate import cells, decisions, duels, forecasts, judges, programs, samples, sweeps, training_pairs, worlds
from tests.simulate.__main__ import main
from tests.simulate.coverage import Cell, in_range
from tests.simulate.sweeps import Flat
from tests.simulate.table import Row


def broken(rows: Sequence[Row]) -> list[str]:
    return [str(row) for row in rows if row.verdict == "BROKEN"]


def some(jobs: Sequence[Callable[[], list[Row]]], every: int, start: int = 0) -> list[Row]:
    return [row for job in jobs[start::every] for row in job()]


def test_intervals_of_one_score_hold_it() -> None:
    """Some cells, with few runs: bounds allow for the simulation's own error."""
    rows = some(list(cells.jobs(200, seed=3)), 31)
    assert broken(rows) == []
    assert len({row.name for row in rows}) > 12


def test_duels_and_ranks_claim_little_and_their_intervals_hold_the_difference() -> None:
    rows = some(list(duels.jobs(200, seed=3)), 31, start=1)
    assert broken(rows) == []
    assert len({row.name for row in rows}) > 8


def test_no_duel_is_certain_without_variance() -> None:
    rows = [row for cell, runs in duels.every_other(1) if cell.name == "no variance" for row in cell.rows(runs, 1)]
    assert [row.rate for row in rows] == [0.0]


def test_a_mean_grade_and_kappa_hold_what_is_true() -> None:
    assert broken([*judges.judged_means(3, 300, 1), *judges.kappas("weighted", 60, 1)]) == []


@pytest.mark.slow
def test_judges_are_read_as_they_are() -> None:
    """Strengths, biases and the places of ten models, with a few runs each."""
    jobs = [
        partial(judges.strengths, "2 models, 80 questions, first +0.7", 60),
        partial(judges.ranks, "10 models alike, 400 of 3,600 matches chosen", 12),
    ]
    assert broken([row for job in jobs for row in job(seed=1)]) == []


def test_programs_and_recipes_are_read_as_they_are() -> None:
    jobs = [partial(programs.passes, 40, 10, 1, 300), partial(programs.recipes, (3, 3), 100, 150)]
    assert broken([row for job in jobs for row in job(seed=1)]) == []


def test_trainings_are_read_as_they_are() -> None:
    """Every kind of training once, with a few runs each."""
    jobs = [
        partial(sweeps.flat_runs, Flat(1000, checkpoints=12), 40),
        partial(sweeps.flat_runs, Flat(1000, 0.01, 0.7, checkpoints=12), 40),
        partial(sweeps.change_at_the_end, 3, -0.20, 2000, 0.99, 0.0, 10),
        partial(sweeps.change_at_the_end, 40, -0.05, 10_000, 0.95, 0.0, 5),
        partial(sweeps.change_at_the_end, 20, 0.05, 2000, 0.90, 0.0, 20),
        partial(sweeps.published_curve, 0.2, 20),
        partial(sweeps.power, (1000, 2000), 1000, 0.0, 60),
    ]
    assert broken([row for job in jobs for row in job(seed=1)]) == []


def test_equal_trainings_are_seldom_called_different_and_what_is_saved_is_held() -> None:
    jobs = [
        *(partial(training_pairs.false_better, training_pairs.Two(k, 2000, 0.02, 0.7), 30) for k in (2, 6)),
        partial(training_pairs.saved_training, training_pairs.Two(8, 5000, 0.005, 0.35, 1.6), 25),
    ]
    assert broken([row for job in jobs for row in job(seed=1)]) == []


def test_forecasts_hold_what_comes_as_often_as_they_say() -> None:
    assert broken(forecasts.coverage(forecasts.Family(12, 0.01), 0.3, 60, seed=1)) == []


def test_looking_after_every_doc_seldom_finds_what_is_not_there() -> None:
    jobs = [
        partial(decisions.abused, decisions.Pairs(300, 0.3), 150),
        partial(decisions.spared, 1000, 0.2, 3.0, 10),
        partial(decisions.spared, 300, 0.2, 0.0, 10),
    ]
    assert broken([row for job in jobs for row in job(seed=1)]) == []


def test_a_rate_beside_its_limit_by_more_than_chance_is_broken() -> None:
    assert Row("a", "b", "c", 1000, 0.95, 0.93, 0.98).verdict == "ok"
    assert Row("a", "b", "c", 1000, 0.89, 0.93, 0.98).verdict == "BROKEN"
    assert Row("a", "b", "c", 1000, 0.999, 0.93, 0.98).verdict == "BROKEN"
    assert Row("a", "b", "c", 1000, 0.999, 0.93, 0.98, is_discrete=True).verdict == "discrete"
    assert Row("a", "b", "c", 0, 0.929, 0.93, 0.98).verdict == "BROKEN", "counted: no error of simulation"
    assert Row("a", "b", "c", 20, 0.5, 0.93, 0.98, refused=0.99).verdict == "refused"
    assert Row("a", "b", "c", 1000, 0.09, 0.0, 0.05).verdict == "BROKEN"
    assert Row("a", "b", "c", 1000, 0.9).verdict == ""


def test_an_interval_that_is_too_narrow_is_found() -> None:
    def textbook(rng: np.random.Generator) -> tuple[Interval, float]:
        x = (rng.random(10) < 0.9).astype(float)
        half = 1.96 * math.sqrt(max(x.mean() * (1 - x.mean()), 0.01) / 10)
        return Interval(x.mean() - half, x.mean() + half), float(x.sum())

    assert Cell("accuracy", "Wald", 0.9, textbook).row(2000, [1]).verdict == "BROKEN"


def test_discrete_are_cells_in_which_no_outcomes_have_the_probability_asked_for() -> None:
    assert not in_range([0.0] * 99 + [1.0])
    assert in_range([0.0] * 95 + [1.0] * 5)


def test_a_broken_promise_is_printed_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [Row("accuracy", "n=5", "coverage", 1000, 0.5, 0.93, 0.98)]
    monkeypatch.setattr("tests.simulate.__main__.every_row", lambda *_: rows)
    assert main([]) == 1
    said = capsys.readouterr().out
    assert "BROKEN" in said
    assert "Broken:" in said


def test_the_worlds_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    rows = worlds.card(0.2, rng)
    assert [int(row.sum()) for row in rows] == list(worlds.CARD_COUNTS)
    assert [float((row != rows[-1]).mean()) for row in rows[:-1]] == pytest.approx([0.2] * 4, abs=2e-4)
    noise = np.stack([sweeps.noise_of(Flat(10, 0.02, 0.7), rng) for _ in range(500)])
    assert noise.std() == pytest.approx(0.02, rel=0.05)
    assert np.corrcoef(noise[:, 3], noise[:, 4])[0, 1] == pytest.approx(0.7, abs=0.1)
    sizes = np.full(20_000, 4)
    right = samples.in_clusters(sizes, 0.3, 0.1, rng).reshape(-1, 4)
    assert right.mean() == pytest.approx(0.1, abs=0.005)
    assert np.corrcoef(right[:, 0], right[:, 1])[0, 1] == pytest.approx(0.3, abs=0.05)
