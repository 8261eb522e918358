"""Forecasts from other trainings: figures, refusals, the back-test, and the published Pythia results."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer

from benchbench.cli.sweep import app
from benchbench.core.errors import ArgumentError
from benchbench.leaderboard.forecasts import back_test, courses_of, forecast_training, summed
from benchbench.leaderboard.records import read_records
from benchbench.stats.forecast import Course, forecast, power_law
from tests.cli.command import benchbench

COMMAND = typer.main.get_command(app).get_command(None, "forecast")
PLACES = np.array([1000.0, 2000, 4000, 8000, 16000])


def course(name, end, *, speed=1.0):
    return Course(name, PLACES, end - 0.3 * (1 + speed * PLACES / 2000) ** -1.0)


def table(path, ends):
    """A table of scores as other harnesses publish them."""
    lines = ["model,step,task,metric,value,stderr,n"]
    for k, end in enumerate(ends):
        for place, value in zip(PLACES.astype(int), course("x", end).values, strict=True):
            lines.append(f"run{k},{place},quiz,acc,{value + 0.002 * ((k * 7 + place // 1000) % 5 - 2):.5f},0.01,1000")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    place = tmp_path_factory.mktemp("bank")
    made = table(place / "scores.csv", np.linspace(0.5, 0.8, 11))
    done = benchbench("results", "import", made, "--chance", "quiz=0.25", "--output", place / "results")
    assert done.returncode == 0, done.stderr
    return place / "results"


def test_a_training_like_the_others_is_forecast_nearly_exactly():
    bank = [course(str(k), end) for k, end in enumerate(np.linspace(0.5, 0.8, 10))]
    own = course("own", 0.63)
    found = forecast(own.until(4000), bank, 16000)
    assert found.value == pytest.approx(own.values[-1], abs=0.002)
    assert found.refused is None
    assert found.test.forecast < found.test.stays
    assert found.half_80 <= found.half_90


def test_the_smooth_signal_is_used_where_all_have_it():
    def with_smooth(one):
        return Course(one.name, one.places, one.values, 2 - one.values)

    bank = [course(str(k), end) for k, end in enumerate(np.linspace(0.5, 0.8, 10))]
    own = course("own", 0.63).until(4000)
    assert not forecast(own, bank, 16000).uses_smooth
    assert forecast(with_smooth(own), [with_smooth(one) for one in bank], 16000).uses_smooth
    assert not forecast(with_smooth(own), bank, 16000).uses_smooth


def test_a_power_law_is_found_again():
    truth = Course("p", PLACES, 0.7 - 3 * (PLACES + 1) ** -0.5)
    assert power_law(truth.until(8000), 16000) == pytest.approx(truth.values[-1], abs=1e-3)


def test_scores_that_do_not_move_are_not_forecast():
    rng = np.random.default_rng(1)
    flat = [Course(str(k), PLACES, 0.25 + np.array([0, 0, 0, 0, 0.05 * rng.choice([-1, 1])])) for k in range(10)]
    found = forecast(flat[0].until(8000), flat[1:], 16000)
    assert found.refused is not None
    assert "'stays as it is'" in found.refused


@pytest.mark.parametrize(
    ("seen", "bank", "at", "what"),
    [
        (8000, 10, 4000, "not ahead"),
        (2000, 10, 16000, "2 checkpoints tell too little"),
        (8000, 5, 16000, "5 other trainings"),
        (8000, 10, 99000, "0 other trainings .* reach from 8,000 to 99,000"),
    ],
)
def test_what_cannot_be_forecast_gets_a_sentence(seen, bank, at, what):
    with pytest.raises(ValueError, match=what):
        forecast(course("own", 0.6).until(seen), [course(str(k), 0.5 + k / 50) for k in range(bank)], at)


def test_the_back_test_counts_every_training_and_beats_both_plain_forecasts(store):
    rows = back_test(read_records([store]))
    assert [(row.share, row.trainings) for row in rows] == [(0.3, 11), (0.5, 11)]
    assert rows[0].forecast < 0.75 * rows[0].stays
    assert summed(rows, 0.5).trainings == 11


@pytest.mark.slow
def test_the_commands(store):
    tested = benchbench("sweep", "forecast", "--backtest", "--json", "--output", store)
    assert json.loads(tested.stdout)[0]["task"] == "quiz"
    assert "power law" in benchbench("sweep", "forecast", "--backtest", "--output", store, columns=120).stdout
    late = benchbench("sweep", "forecast", "run3", "--at", "16k", "--output", store, columns=300)
    assert "no forecast: 16,000 is not ahead" in late.stdout
    with pytest.raises(ArgumentError, match="name the training"):
        forecast_training(read_records([store]), None, 20_000)


@pytest.mark.parametrize("words", [("--at", "soon"), (), ("--at", "5", "--backtest")])
def test_command_lines_that_make_no_sense_get_a_sentence(words):
    with pytest.raises(ArgumentError, match="--at"):
        COMMAND.main(["run3", *words], standalone_mode=False)


@pytest.mark.slow
def test_published_pythia_results_are_forecast_as_promised(data_root, tmp_path):
    """At 30 %: an error at least a quarter below both plain forecasts, 90 % intervals that hold 85 to 95 %."""
    source = data_root.parent / "data" / "pythia_evals" / "zero_shot_series.jsonl"
    if not source.exists():
        pytest.skip("the published results are not beside the data root")
    done = benchbench("results", "import", source, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = back_test(read_records([tmp_path]))
    for share in (0.3, 0.5):
        total = summed(rows, share)
        assert total.trainings >= 110
        assert 0.85 <= total.covered_90 <= 0.95
        assert total.forecast < total.power_law
    early = summed(rows, 0.3)
    assert early.forecast < 0.75 * min(early.stays, early.power_law)
    found = np.array(list(without_twins(courses_of(read_records([tmp_path])), 0.3)))
    off, stays, power, held = found.mean(axis=0)
    assert off < 0.75 * min(stays, power)
    assert 0.85 <= held <= 0.95


def without_twins(courses, share):
    """Errors of the forecast, of both plain ones, and whether the 90 % interval held, without the deduplicated twin."""
    for by_name in courses.values():
        for name, one in by_name.items():
            at, truth, seen = one.places[-1], one.values[-1], one.until(share * one.places[-1])
            size = name.removesuffix("-deduped").removesuffix("-bf16")
            others = [other for n, other in by_name.items() if n.removesuffix("-deduped").removesuffix("-bf16") != size]
            found = forecast(seen, others, at)
            if found.refused is None:
                off = abs(found.value - truth)
                yield off, abs(seen.values[-1] - truth), abs(power_law(seen, at) - truth), off <= found.half_90
