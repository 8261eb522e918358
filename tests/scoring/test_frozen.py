"""What every metric gives for fixed docs, with its interval, digit by digit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchbench.core.registry import METRICS
from benchbench.scoring.aggregation import aggregate
from benchbench.scoring.agreement import agreement, agreement_uncertainty
from benchbench.scoring.score import count_outcomes
from tests.frozen import stands
from tests.scoring.make import choice_doc, items_of, rolling_doc, spec_of, target_doc, text_doc

FILE = Path(__file__).with_name("frozen.json")
RNG = np.random.default_rng(4)
DOCS = 45
GROUPS = [f"p{i // 3}" for i in range(DOCS)]
WORDS = ["le", "chat", "noir", "dort", "sur", "une", "vieille", "chaise", "rouge", "ici"]
CHOICES = [
    choice_doc(
        ["one", "a longer one", "été"], [int(gold)], lls.tolist(), doc_id=i, tokens=[1, 3, 2], alone=[-2.0, -5.0, -3.0]
    )
    for i, (gold, lls) in enumerate(zip(RNG.integers(0, 3, DOCS), -4 * RNG.random((DOCS, 3)), strict=True))
]
TEXTS = [
    text_doc([" ".join(RNG.choice(WORDS, 7))], [" ".join(RNG.choice(WORDS[: 2 + i % 9], 8))], doc_id=i)
    for i in range(DOCS)
]
TARGETS = [target_doc(float(total), greedy=bool(total > -2)) for total in -4 * RNG.random(DOCS)]
ROLLING = [rolling_doc(" ".join(WORDS[: 2 + i % 8]), -3.0 * (2 + i % 8) - i % 5) for i in range(DOCS)]
ASKED: dict[str, tuple[str, Sequence[Any]]] = {
    "choice": ("multiple_choice", CHOICES),
    "generation": ("generate_until", TEXTS),
    "likelihood": ("loglikelihood", TARGETS),
    "rolling": ("loglikelihood_rolling", ROLLING),
}


@pytest.mark.parametrize("clusters", [None, GROUPS], ids=["alone", "passages"])
@pytest.mark.parametrize(
    ("family", "metric"), [(f, name) for f in ASKED for name, known in METRICS.items() if f in known.families]
)
def test_metrics_stand(family: str, metric: str, clusters: list[str] | None) -> None:
    output_type, docs = ASKED[family]
    spec = spec_of(output_type, metric)  # type: ignore[arg-type]
    items = items_of(spec, docs, clusters)
    place = "passages" if clusters else "alone"
    rows = aggregate(spec, items)
    assert rows
    stands(FILE, f"{family} {metric} {place}", [rows, count_outcomes(spec, items)])


@pytest.mark.parametrize("metric", ["f1", "macro_f1", "matthews_corrcoef"])
@pytest.mark.parametrize("clusters", [None, GROUPS], ids=["alone", "passages"])
def test_agreement_stands(metric: str, clusters: list[str] | None) -> None:
    rng = np.random.default_rng(9)
    gold = rng.integers(0, 2, DOCS).tolist()
    guess = [one if rng.random() < 0.7 else 1 - one for one in gold]
    found = agreement(metric, gold, guess)
    stands(
        FILE,
        f"agreement {metric} {'passages' if clusters else 'alone'}",
        [found, agreement_uncertainty(metric, found, gold, guess, clusters)],
    )
