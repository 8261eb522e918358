"""Influence values beside the item scores: what pairs two runs on a corpus metric."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from benchbench.core.types import FilterSpec, Item, ScoringSpec
from benchbench.scoring.aggregation import aggregate
from benchbench.scoring.estimates import with_influence
from benchbench.stats.difference import paired_difference
from benchbench.stats.influence import Estimate
from benchbench.stats.intervals import standard_error
from tests.scoring.make import choice_doc, items_of, rolling_doc, spec_of, text_doc
from tests.scoring.test_aggregation import translations


def texts(spec: ScoringSpec, seed: int, count: int = 60) -> list[Item]:
    return items_of(
        spec, [text_doc([out], [right], doc_id=i) for i, (out, right) in enumerate(translations(count, seed))]
    )


def influence(spec: ScoringSpec, items: list[Item], column: str) -> np.ndarray:
    return np.array([item.scores[f"{column}_influence"] for item in with_influence(spec, items)], dtype=float)


@pytest.mark.parametrize("metric", ["bleu", "chrf", "chrf++", "ter"])
def test_corpus_metrics_give_the_influence_behind_their_error(metric: str) -> None:
    spec = spec_of("generate_until", metric)
    items = texts(spec, 0)
    (row,) = aggregate(spec, items)
    psi = influence(spec, items, metric)
    assert row.stderr == pytest.approx(standard_error(psi), rel=1e-12)
    assert psi.sum() == pytest.approx(0, abs=1e-6)


def test_perplexities_give_that_of_their_logarithm_and_bits_their_own() -> None:
    spec = spec_of("loglikelihood_rolling", "word_perplexity")
    rng = np.random.default_rng(0)
    pages = [("slovo " * int(rng.integers(2, 30)), -float(rng.integers(5, 300))) for _ in range(40)]
    items = items_of(spec, [rolling_doc(text, total) for text, total in pages])
    rows = {row.metric: row for row in aggregate(spec, items)}
    for name in ("word_perplexity", "byte_perplexity"):
        row = rows[name]
        assert row.value is not None
        assert row.stderr == pytest.approx(row.value * (standard_error(influence(spec, items, name)) or 0))
    bits = rows["bits_per_byte"]
    assert bits.stderr == pytest.approx(standard_error(influence(spec, items, "bits_per_byte")))


def test_agreement_gives_influence_for_the_docs_it_judges() -> None:
    spec = spec_of("multiple_choice", "mcc")
    rng = np.random.default_rng(1)
    docs = [
        choice_doc(["ne", "ano"], [int(g)], list(ll), doc_id=i)
        for i, (g, ll) in enumerate(zip(rng.integers(0, 2, 50), rng.normal(-3, 1, (50, 2)), strict=True))
    ]
    items = items_of(spec, docs)
    row = next(row for row in aggregate(spec, items) if row.metric == "mcc")
    assert row.stderr == pytest.approx(standard_error(influence(spec, items, "mcc")))


def test_means_need_no_influence_and_stay_as_they_are() -> None:
    spec = spec_of("multiple_choice", "acc")
    items = items_of(spec, [choice_doc(["ne", "ano"], [1], [-1.0, -2.0])])
    assert with_influence(spec, items) == items


def test_a_failed_item_has_no_influence() -> None:
    spec = spec_of("generate_until", "bleu")
    items = texts(spec, 0, 10)
    items[3] = replace(items[3], outcome="failed", scores={"bleu": None})
    found = with_influence(spec, items)
    assert [item.scores["bleu_influence"] is None for item in found] == [i == 3 for i in range(10)]


def test_each_filter_has_an_influence_of_its_own() -> None:
    filters = [FilterSpec("raw", ()), FilterSpec("low", (("lowercase", {}),))]
    spec = spec_of("generate_until", "bleu", filters=filters)
    items = items_of(
        spec,
        [
            text_doc(
                ["Velký pes číslo tu je" if i % 3 else "velký pes číslo tu není"], ["velký pes číslo tu je"], doc_id=i
            )
            for i in range(8)
        ],
    )
    names = set(with_influence(spec, items)[0].scores)
    assert {"bleu,raw_influence", "bleu,low_influence"} <= names
    assert not np.allclose(influence(spec, items, "bleu,raw"), influence(spec, items, "bleu,low"))


def test_a_paired_bleu_error_comes_near_resampling_the_pairs() -> None:
    spec = spec_of("generate_until", "bleu")
    one, two = texts(spec, 0, 200), texts(spec, 5, 200)
    two = [replace(a, texts=b.texts, prediction=b.prediction) for a, b in zip(one, two, strict=True)]
    two = [item if i % 3 else one[i] for i, item in enumerate(two)]
    rows = [aggregate(spec, items)[0] for items in (one, two)]
    estimates = [
        Estimate(row.value or 0, influence(spec, items, "bleu")) for row, items in zip(rows, (one, two), strict=True)
    ]
    found = paired_difference(*estimates)
    engine = BLEU()
    tables = [
        np.array(engine._extract_corpus_statistics([i.texts[0] for i in items], [[i.targets[0] for i in items]]))
        for items in (one, two)
    ]
    rng, gaps = np.random.default_rng(0), []
    for _ in range(400):
        picks = rng.integers(0, 200, 200)
        scores = [engine._compute_score_from_stats(table[picks].sum(axis=0).tolist()).score for table in tables]
        gaps.append(scores[1] - scores[0])
    assert found.stderr == pytest.approx(float(np.std(gaps, ddof=1)), rel=0.2)
