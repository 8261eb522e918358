"""The verdict on a sweep: its five outcomes, and the sentence."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from benchbench.stats.sentence import Verdict, size
from benchbench.stats.series import series_of_items, series_of_scores
from benchbench.stats.sweep import series_verdict, sweep_verdict
from benchbench.stats.testing import Family
from tests.simulate.worlds import CARD_COUNTS, CARD_N, CARD_STEPS, Curve, card
from tests.stats.test_sweep import real_scores

FORBIDDEN = ("converged", "same as", "identical", "equal to", "none beyond", "nan")


def curve(*accuracy: float, n: int = 5000, disagreement: float = 0.1, delta: float = 0.005) -> Verdict:
    rows = Curve(accuracy, n, disagreement).draw(np.random.default_rng(0))
    return sweep_verdict(range(1000, 1000 * len(accuracy) + 1, 1000), rows, chance=0.25, delta=delta)


def test_the_published_curve_in_a_sentence() -> None:
    rows = card(0.2, np.random.default_rng(0))
    found = sweep_verdict(CARD_STEPS, rows, chance=0.25, delta=0.005)
    assert (found.outcome, found.since, found.n) == ("no detectable improvement", 100_000, 10042)
    assert found.sentence("cs_hellaswag", "acc") == (
        "cs_hellaswag acc (n=10042): the last 30k steps (100k→130k) bought +0.45 pp, 95 % CI −0.80…+1.69. "
        "Every checkpoint before 100k is significantly worse than the last (130k); "
        "from 100k on no improvement is detectable "
        "(+0.45 pp, 95 % CI −0.80…+1.69, one-sided upper bound +1.41 pp). "
        "This could have shown a gain of 1.15 pp since 100k (80 % power), so a smaller one cannot be ruled out. "
        "Checkpoint-to-checkpoint noise is not distinguishable from 0, up to 1.25 pp (from 4 earlier checkpoints); "
        "it is allowed for. Adjusted for 4 looks."
    )


def test_a_last_checkpoint_better_than_those_before_is_improving() -> None:
    found = curve(*np.linspace(0.40, 0.62, 12))
    assert (found.outcome, found.since) == ("improving", 12_000)
    said = found.sentence("t", "acc")
    assert "Improving: from 6k to 12k it rises, per doubling of steps (+" in said
    assert "the last 3k steps (9k→12k) bought +" in said


def test_a_curve_that_stopped_rising_says_since_when() -> None:
    found = curve(*np.minimum(np.linspace(0.3, 0.6, 12), 0.5), disagreement=0.05)
    assert (found.outcome, found.since) == ("no detectable improvement", 7000)
    said = found.sentence("t", "acc")
    assert "Every checkpoint before 7k is significantly worse than the last (12k); from 7k on no improvement" in said


def test_a_change_surely_within_delta_is_a_plateau() -> None:
    found = curve(*[0.3, 0.4, 0.45, *[0.5] * 9], delta=0.02, n=20_000, disagreement=0.02)
    assert found.outcome == "plateau"
    assert found.findings is not None
    low, high = found.findings.gain.interval()
    assert -0.02 < low < high < 0.02
    assert "the change lies within ±δ = 2.00 pp (" in found.sentence("t", "acc")
    assert curve(*[0.3, 0.4, 0.45, *[0.5] * 9], delta=0.005).outcome == "no detectable improvement"


@pytest.mark.parametrize(
    ("before", "last", "n"), [(11, 0.02, 2000), (11, 0.30, 2000), (11, 0.45, 10_000), (40, 0.3, 2000)]
)
def test_a_collapse_at_the_last_checkpoint_is_no_plateau(before: int, last: float, n: int) -> None:
    rows = [(np.random.default_rng(k).random(n) < p).astype(float) for k, p in enumerate([0.5] * before + [last])]
    found = sweep_verdict(range(1, before + 2), rows, delta=0.005)
    assert found.outcome == "regressed"
    assert re.search(
        r"Regressed: the last checkpoint \(\d+\) is worse than the mean of \d+ to \d+ \(−", found.sentence("t", "acc")
    )


def test_a_last_checkpoint_worse_than_an_earlier_one_has_regressed() -> None:
    found = curve(0.40, 0.45, 0.50, 0.51, 0.52, 0.53, 0.54, 0.545, 0.55, 0.40)
    assert (found.outcome, found.since) == ("regressed", 9000)
    said = found.sentence("t", "acc")
    assert "Significant drops between neighbours: 9k→10k (−1" in said


def test_a_dip_that_healed_is_named_but_is_no_regression() -> None:
    found = curve(0.50, 0.50, 0.50, 0.50, 0.50, 0.35, 0.50, 0.50, 0.50, 0.50)
    assert found.outcome == "no detectable improvement"
    assert [(test.start, test.end) for test in found.findings.drops] == [(4, 5)]


def test_a_curve_that_sinks_first_is_judged_from_its_lowest_checkpoint() -> None:
    found = curve(0.40, 0.20, 0.30, 0.35, 0.40, 0.42, 0.42, 0.42, 0.42, 0.42, n=20_000, disagreement=0.02)
    assert (found.findings is not None, found.findings and found.findings.lowest) == (True, 1)
    said = found.sentence("t", "acc")
    assert "very checkpoint from the lowest (2k) up to " in said
    assert "from the first checkpoint" not in said


def test_many_drops_are_named_by_the_worst_three() -> None:
    accuracy = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4, 0.6, 0.3, 0.6, 0.2, 0.6, 0.35, 0.6]
    rows = Curve(tuple(accuracy), 20_000).draw(np.random.default_rng(0))
    series = series_of_items(range(1, 15), rows)
    said = series_verdict(series, delta=0.005).sentence("t", "acc")
    assert "8→9 (−" in said
    assert "10→11 (−" in said
    assert "12→13 (−" in said


@pytest.mark.parametrize(
    ("steps", "rows", "reason"),
    [
        ([1000], [np.ones(50)], "one checkpoint makes no curve"),
        ([1, 2], [np.ones(9), np.zeros(9)], "9 independent items are too few"),
    ],
)
def test_too_little_data_is_said(steps: list[int], rows: list[np.ndarray], reason: str) -> None:
    found = sweep_verdict(steps, rows, delta=0.01)
    assert (found.outcome, found.findings) == ("too little data", None)
    assert found.sentence("t", "acc") == f"t acc (n={rows[0].size}): too little data: {reason}."


def test_one_shared_passage_is_too_little_data_however_many_docs() -> None:
    rows = Curve((0.4, 0.6), 100).draw(np.random.default_rng(0))
    found = sweep_verdict([1, 2], rows, clusters=["one"] * 100, delta=0.01)
    assert found.reason == "1 independent clusters of items are too few"
    assert "(n=100 in 1 clusters)" in found.sentence("t", "acc")


def test_a_flat_run_is_judged_from_its_first_checkpoint() -> None:
    found = curve(0.5, 0.5, 0.5)
    assert found.start == 0
    assert "From the first checkpoint (1k) to the last (3k) no improvement is detectable" in found.sentence("t", "acc")
    assert "Too few checkpoints to tell their noise, which is allowed to be up to 2.50 pp." in found.sentence(
        "t", "acc"
    )


def test_noise_is_counted_in_and_told() -> None:
    steps = range(1000, 13_000, 1000)
    rows = Curve((0.5,) * 12, 5000, tau=0.02).draw(np.random.default_rng(3))
    found = sweep_verdict(steps, rows, delta=0.005)
    noise = found.findings.noise
    assert noise.is_seen
    shown = f"noise {100 * noise.tau:.2f} pp, up to {100 * noise.upper:.2f} pp (from 10 earlier checkpoints), "
    assert f"{shown}is counted in." in found.sentence("t", "acc")
    still = sweep_verdict(steps, [rows[0]] * 12, delta=0.005)
    assert "is not distinguishable from 0, up to " in still.sentence("t", "acc")
    assert (still.detectable or 1) < (found.detectable or 0)


def test_answers_that_never_change_are_no_rise_and_no_certainty() -> None:
    rng = np.random.default_rng(0)
    for n in (12, 40, 500):
        right, f1 = (rng.random(n) < 0.4).astype(float), np.round(rng.random(n), 4)
        for x in (right, f1):
            found = sweep_verdict([1000, 2000, 3000, 4000], [x] * 4, delta=0.005)
            assert found.outcome == "no detectable improvement"
            assert found.detectable is not None
            assert found.detectable > 3 / n / 2


def test_a_run_at_chance_is_called_so() -> None:
    rows = Curve((0.25,) * 4, 500).draw(np.random.default_rng(1))
    found = sweep_verdict([1000, 2000, 3000, 4000], rows, chance=0.25, delta=0.005)
    assert "At chance: the last checkpoint is not detectably above guessing (0.25)." in found.sentence("t", "acc")
    assert "At chance" not in curve(0.5, 0.5, 0.5).sentence("t", "acc")


def test_an_interval_above_zero_that_is_no_claim_says_why() -> None:
    """One look's interval leaves 0 out; over all looks and tasks chance does that too."""
    rows = Curve((0.5,) * 9 + (0.53,), 5000).draw(np.random.default_rng(0))
    found = series_verdict(series_of_items(range(1, 11), rows), delta=0.005, family=Family(tasks=40))
    assert found.outcome == "no detectable improvement"
    assert found.findings is not None
    assert found.findings.recent.interval().low > 0
    said = found.sentence("t", "acc")
    assert ", which 9 looks at 40 tasks can bring about by chance." in said
    assert said.endswith("Adjusted for 9 looks at 40 tasks.")


def test_one_look_and_the_newest_part_can_be_asked_for() -> None:
    rows = Curve(tuple(np.linspace(0.4, 0.6, 10)), 2000).draw(np.random.default_rng(0))
    series = series_of_items(range(1000, 11_000, 1000), rows)
    found = series_verdict(series, delta=0.005, since=3500, family=Family(looks=1))
    said = found.sentence("t", "acc")
    assert "the last 7k steps (3k→10k) bought +" in said
    assert said.endswith("Adjusted for one look.")


def test_bits_are_told_with_the_sign_they_move_by() -> None:
    """bits per byte fall from 1.4 to 0.8: better, and a minus."""
    rows = real_scores(list(np.linspace(1.4, 0.8, 8)))
    found = sweep_verdict(range(1, 9), rows, delta=0.01, higher_is_better=False)
    assert found.outcome == "improving"
    assert found.values == pytest.approx(tuple(np.linspace(1.4, 0.8, 8)))
    said = found.sentence("t", "bpb_gold")
    assert said.startswith("t bpb_gold (n=400, lower is better): the last 2 steps (6→8) bought −0.1714, 95 % CI −")
    assert " pp" not in said
    rose = sweep_verdict(range(1, 9), rows[::-1], delta=0.01, higher_is_better=False)
    assert rose.outcome == "regressed"
    assert "bought +0.1714, 95 % CI +" in rose.sentence("t", "bpb_gold")


def test_a_run_judged_backwards_regressed() -> None:
    rows = real_scores(list(np.linspace(0.1, 0.6, 8)))
    assert sweep_verdict(range(1, 9), rows, delta=0.01).outcome == "improving"
    assert sweep_verdict(range(1, 9), rows[::-1], delta=0.01).outcome == "regressed"
    assert sweep_verdict(range(1, 9), rows[::-1], delta=0.01, higher_is_better=False).outcome == "improving"


def test_unpaired_docs_are_judged_too_and_less_surely() -> None:
    rows = real_scores([0.0, 0.1, 0.2, 0.3])
    paired, alone = (sweep_verdict([1, 2, 3, 4], rows, delta=0.01, paired=p) for p in (True, False))
    assert (paired.detectable or 0) < (alone.detectable or 0)
    assert "without pairing the docs" in alone.sentence("t", "acc")
    assert "pairing" not in paired.sentence("t", "acc")


def test_published_scores_with_errors_get_a_verdict_too() -> None:
    """The card's scores with the errors that 10042 docs give, unpaired."""
    values = [count / CARD_N for count in CARD_COUNTS]
    errors = [math.sqrt(v * (1 - v) / (CARD_N - 1)) for v in values]
    series = series_of_scores(CARD_STEPS, values, errors, CARD_N)
    found = series_verdict(series, chance=0.25, delta=0.005, family=Family(looks=1))
    assert (found.outcome, found.since) == ("no detectable improvement", 75_000)
    assert "Compared without pairing" in found.sentence("cs_hellaswag", "acc")


def test_delta_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        curve(0.4, 0.5, delta=0.0)


@pytest.mark.parametrize("seed", range(20))
def test_no_sentence_says_more_than_was_seen_or_contradicts_itself(seed: int) -> None:
    rng = np.random.default_rng(seed)
    accuracy = tuple(np.clip(rng.normal(0.5, 0.05, int(rng.integers(2, 14))), 0.1, 0.9))
    rows = Curve(accuracy, int(rng.integers(12, 2000)), tau=0.01).draw(rng)
    found = sweep_verdict(range(1, len(accuracy) + 1), rows, chance=0.25, delta=0.005)
    said = found.sentence("t", "acc")
    assert not [word for word in FORBIDDEN if word in said]
    assert said.endswith(".")
    assert ("no improvement is detectable" in said) == (found.outcome == "no detectable improvement")
    assert found.outcome != "plateau" or (found.detectable or 0) < 4 * found.delta


def test_differences_stand_in_percentage_points_or_the_unit_of_the_metric() -> None:
    assert size(0.0045, share=True, sign=True) == "+0.45 pp"
    assert size(-0.0045, share=True) == "−0.45 pp"
    assert size(-12.345, share=False) == "−12.35"
    assert size(0.01234, share=False) == "0.0123"


def test_a_tiny_bleu_is_not_told_in_percentage_points() -> None:
    rng = np.random.default_rng(0)
    items = [np.clip(rng.normal(0.3 + 0.05 * k, 0.1, 200), 0, 1) for k in range(3)]
    verdict = sweep_verdict([1, 2, 3], items, delta=0.5)
    assert " pp" in verdict.sentence("a task", "acc")
    assert " pp" not in verdict.sentence("a task", "bleu", is_share=False)
