"""The verdict on a sweep: its five outcomes, and the sentence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchbench.stats.sentence import probability, size, step_name
from benchbench.stats.series import series_of_scores
from benchbench.stats.verdict import Verdict, series_verdict, sweep_verdict
from tests.simulate.worlds import CARD_COUNTS, CARD_N, CARD_STEPS, Curve, card
from tests.stats.test_sweep import real_scores

STEPS = (1000, 2000, 3000, 4000)
FORBIDDEN = ("converged", "same as", "identical", "equal to")


def curve(*accuracy: float, n: int = 5000, disagreement: float = 0.1, delta: float = 0.005) -> Verdict:
    rows = Curve(accuracy, n, disagreement).draw(np.random.default_rng(0))
    return sweep_verdict(STEPS[: len(accuracy)], rows, chance=0.25, delta=delta)


def test_the_published_curve_in_a_sentence() -> None:
    rows = card(0.2, np.random.default_rng(0))
    found = sweep_verdict(CARD_STEPS, rows, chance=0.25, delta=0.005)
    assert (found.outcome, found.since, found.n) == ("no detectable improvement", 100_000, 10042)
    assert found.sentence("cs_hellaswag", "acc") == (
        "cs_hellaswag acc (n=10042): every checkpoint before 100k is significantly worse than the last (130k); "
        "from 100k on no improvement is detectable "
        "(+0.45 pp, 95 % CI −0.43…+1.32, one-sided upper bound +1.18 pp). "
        "This could have shown a gain of 1.25 pp (80 % power), so a smaller one cannot be ruled out. "
        "Checkpoint-to-checkpoint noise not estimated (fewer than 4 late checkpoints): this is about these files, "
        "not about training longer."
    )


def test_a_last_checkpoint_better_than_all_is_improving() -> None:
    found = curve(0.40, 0.45, 0.50, 0.55)
    assert (found.outcome, found.since, len(found.sequence)) == ("improving", 4000, 3)
    said = found.sentence("t", "acc")
    assert "improving: every earlier checkpoint is significantly worse than the last (4k), which gains +" in said
    assert "on 3k" in said


def test_a_gain_surely_below_delta_is_a_plateau() -> None:
    found = curve(0.40, 0.50, 0.50, 0.50, delta=0.02)
    assert (found.outcome, found.since) == ("plateau", 2000)
    assert found.upper is not None
    assert found.upper < 0.02
    assert "no improvement is detectable and any gain is below δ = 2.00 pp" in found.sentence("t", "acc")
    assert curve(0.40, 0.50, 0.50, 0.50, delta=0.001).outcome == "no detectable improvement"


def test_a_last_checkpoint_worse_than_an_earlier_one_has_regressed() -> None:
    found = curve(0.40, 0.55, 0.54, 0.45)
    assert (found.outcome, found.since) == ("regressed", 2000)
    said = found.sentence("t", "acc")
    assert "regressed: the last checkpoint (4k) is significantly worse than 2k (−" in said
    assert "Significant drops between neighbours: " in said
    assert "3k→4k (−9.74 pp)." in said


def test_a_dip_that_healed_is_named_but_is_no_regression() -> None:
    found = curve(0.40, 0.50, 0.42, 0.55)
    assert found.outcome == "improving"
    assert [(test.start, test.end) for test in found.drops] == [(1, 2)]


def test_many_drops_are_named_by_the_worst_three() -> None:
    accuracy = (0.5, 0.4, 0.5, 0.3, 0.5, 0.2, 0.5, 0.35, 0.5)
    rows = Curve(accuracy, 2000).draw(np.random.default_rng(0))
    said = sweep_verdict(range(1, 10), rows, delta=0.005).sentence("t", "acc")
    assert "3→4 (−" in said
    assert "5→6 (−" in said
    assert "7→8 (−" in said
    assert said.endswith(" and 1 smaller.")


@pytest.mark.parametrize(
    ("steps", "rows", "reason"),
    [
        ([1000], [np.ones(50)], "one checkpoint makes no curve"),
        ([1, 2], [np.ones(9), np.zeros(9)], "9 independent items are too few"),
    ],
)
def test_too_little_data_is_said(steps: list[int], rows: list[np.ndarray], reason: str) -> None:
    found = sweep_verdict(steps, rows, delta=0.01)
    assert (found.outcome, found.gain) == ("too little data", None)
    assert found.sentence("t", "acc") == f"t acc (n={rows[0].size}): too little data: {reason}."


def test_one_shared_passage_is_too_little_data_however_many_docs() -> None:
    rows = Curve((0.4, 0.6), 100).draw(np.random.default_rng(0))
    found = sweep_verdict([1, 2], rows, clusters=["one"] * 100, delta=0.01)
    assert found.reason == "1 independent clusters of items are too few"
    assert "(n=100 in 1 clusters)" in found.sentence("t", "acc")


def test_a_flat_run_is_judged_from_its_first_checkpoint() -> None:
    found = curve(0.5, 0.5, 0.5)
    assert found.start == 0
    assert "from the first checkpoint (1k) to the last (3k) no improvement is detectable" in found.sentence("t", "acc")


def test_noise_is_counted_in_and_told() -> None:
    steps = range(1000, 9000, 1000)
    rows = Curve((0.5,) * 8, 5000, tau=0.02).draw(np.random.default_rng(3))
    found = sweep_verdict(steps, rows, delta=0.005)
    assert found.noise is not None
    assert found.noise.tau > 0.005
    assert f"noise {100 * found.noise.tau:.2f} pp (the last 5 checkpoints) is counted in." in found.sentence("t", "acc")
    assert found.detectable is not None
    assert found.detectable > 2.8 * math.sqrt(2) * found.noise.tau
    still = sweep_verdict(steps, [rows[0]] * 8, delta=0.005)
    assert "noise: none beyond the sampling of items (the last 5 checkpoints)" in still.sentence("t", "acc")


def test_a_run_at_chance_is_called_so() -> None:
    found = sweep_verdict(STEPS, Curve((0.25,) * 4, 500).draw(np.random.default_rng(1)), chance=0.25, delta=0.005)
    assert "At chance: the last checkpoint is not detectably above guessing (0.25)." in found.sentence("t", "acc")
    assert "At chance" not in curve(0.5, 0.5, 0.5).sentence("t", "acc")


def test_a_trend_that_no_pair_shows_is_told() -> None:
    steps = [1000 * 2**i for i in range(12)]
    values = [0.0, *(0.04 + 0.0055 * i for i in range(11))]
    found = sweep_verdict(steps, real_scores(values, n=400, seed=1), delta=0.005)
    if found.trend is None or (found.trend.interval() or (0,))[0] <= 0:
        pytest.fail(f"the world should show a trend, not {found.trend}")
    assert found.outcome == "no detectable improvement"
    assert "together do rise" in found.sentence("t", "score")


def test_bits_are_told_in_bits_and_falling_is_improving() -> None:
    found = sweep_verdict(STEPS, real_scores([1.4, 1.2, 1.1, 0.8]), delta=0.01, higher_is_better=False)
    assert found.outcome == "improving"
    assert found.values == pytest.approx((1.4, 1.2, 1.1, 0.8))
    said = found.sentence("t", "bpb_gold")
    assert "gains +0.3000, 95 % CI +0." in said
    assert " pp" not in said


def test_a_run_judged_backwards_regressed() -> None:
    rows = real_scores([0.1, 0.4, 0.6])
    assert sweep_verdict([1, 2, 3], rows, delta=0.01).outcome == "improving"
    assert sweep_verdict([1, 2, 3], rows[::-1], delta=0.01).outcome == "regressed"
    assert sweep_verdict([1, 2, 3], rows[::-1], delta=0.01, higher_is_better=False).outcome == "improving"


def test_unpaired_docs_are_judged_too_and_less_surely() -> None:
    rows = real_scores([0.0, 0.12])
    paired, alone = (sweep_verdict([1, 2], rows, delta=0.01, paired=p) for p in (True, False))
    assert paired.outcome == "improving"
    assert (paired.detectable or 0) < (alone.detectable or 0)
    assert "without pairing the docs" in alone.sentence("t", "acc")
    assert "pairing" not in paired.sentence("t", "acc")


def test_published_scores_with_errors_get_a_verdict_too() -> None:
    """The card's scores with the errors that 10042 docs give: unpaired, only the first step is not the end's equal."""
    values = [count / CARD_N for count in CARD_COUNTS]
    errors = [math.sqrt(v * (1 - v) / (CARD_N - 1)) for v in values]
    found = series_verdict(series_of_scores(CARD_STEPS, values, errors, CARD_N), chance=0.25, delta=0.005)
    assert (found.outcome, found.since) == ("no detectable improvement", 75_000)
    assert "Compared without pairing" in found.sentence("cs_hellaswag", "acc")


def test_delta_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        curve(0.4, 0.5, delta=0.0)


@pytest.mark.parametrize("seed", range(20))
def test_no_sentence_says_more_than_was_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    accuracy = tuple(np.clip(rng.normal(0.5, 0.05, 4), 0.1, 0.9))
    rows = Curve(accuracy, int(rng.integers(12, 2000)), tau=0.01).draw(rng)
    said = sweep_verdict(STEPS, rows, chance=0.25, delta=0.005).sentence("t", "acc")
    assert not [word for word in FORBIDDEN if word in said]
    assert "nan" not in said
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("step", "name"),
    [(26_500, "26.5k"), (130_000, "130k"), (600, "600"), (1234, "1234"), (0, "0"), (1_000_000, "1000k")],
)
def test_steps_are_written_as_people_do(step: int, name: str) -> None:
    assert step_name(step) == name


def test_sizes_and_probabilities_for_people() -> None:
    assert size(0.0045, share=True, sign=True) == "+0.45 pp"
    assert size(-0.0045, share=True) == "−0.45 pp"
    assert size(-12.345, share=False) == "−12.35"
    assert size(0.01234, share=False) == "0.0123"
    assert [probability(p) for p in (0.8061, 0.0467, 0.0018, 1e-9, 1.0)] == [".806", ".047", ".0018", "<.0001", "1"]


def test_a_tiny_bleu_is_not_told_in_percentage_points() -> None:
    rng = np.random.default_rng(0)
    items = [np.clip(rng.normal(0.3 + 0.05 * k, 0.1, 200), 0, 1) for k in range(3)]
    verdict = sweep_verdict([1, 2, 3], items, delta=0.5)
    assert " pp" in verdict.sentence("a task", "acc")
    assert " pp" not in verdict.sentence("a task", "bleu", is_share=False)
