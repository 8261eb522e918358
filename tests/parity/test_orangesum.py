"""Stored summaries of four systems: ROUGE and sacrebleu figures are those of the libraries called directly."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from benchbench.core.registry import metric_spec
from benchbench.core.types import Completion, GenerateRequest, Item
from benchbench.runner.evaluate import score_item
from benchbench.scoring.aggregation import aggregate
from benchbench.scoring.score import StandardScoring
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests.parity.tasks import packaged

SYSTEMS = ("barthez", "mbart", "mbarthez", "camembert2camembert")
ROUGE = ("rouge1", "rouge2", "rougeL")
MT = ("bleu", "chrf", "chrf++", "ter")


def outputs(data_root: Path, part: str, system: str) -> list[str]:
    """The system's summaries, in the order of the test docs."""
    path = data_root.parent / "data" / "orangesum" / f"test_{part}s" / f"{system}.txt.gz"
    if not path.is_file():
        pytest.skip(f"needs the stored outputs at {path}")
    return gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()


def judged(data_root: Path, part: str, texts: list[str], metrics: tuple[str, ...]) -> dict[str, float | None]:
    """Metric → value of the texts as if a model had written them."""
    task = packaged().task(f"french_bench_orangesum_{part}")
    prepared = prepare(task, RenderSettings(num_fewshot=0, limit=len(texts), data_root=data_root))
    spec = replace(task.scoring, metrics=tuple(metric_spec(name, "generate_until") for name in metrics))
    items: list[Item] = []
    for doc, text in zip(prepared.docs, texts, strict=True):
        request = doc.requests[0]
        assert isinstance(request, GenerateRequest)
        items.append(
            score_item(StandardScoring(spec), doc, [Completion(request, text, "stop", 1)], item_key=str(doc.doc.id))
        )
    return {row.metric: row.value for row in aggregate(spec, items)}


def references(data_root: Path, part: str, count: int) -> list[str]:
    import json

    path = data_root / "EdinburghNLP" / "orange_sum" / part / "test.jsonl"
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["summary"] for line in lines][:count]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("part", ["abstract", "title"])
@pytest.mark.parametrize("count", [100, pytest.param(1500, marks=pytest.mark.slow)])
def test_rouge_of_stored_summaries_is_rouge_scores(count: int, part: str, system: str, data_root: Path) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    texts = outputs(data_root, part, system)[:count]
    scorer = RougeScorer([*ROUGE])
    scores = [scorer.score(r, t) for r, t in zip(references(data_root, part, count), texts, strict=True)]
    found = judged(data_root, part, texts, ROUGE)
    for name in ROUGE:
        assert found[name] == pytest.approx(sum(score[name].fmeasure for score in scores) / count, abs=1e-12)
        assert (found[name] or 0) > 0.05


@pytest.mark.parametrize("system", SYSTEMS)
def test_translation_metrics_of_stored_titles_are_sacrebleus(system: str, data_root: Path) -> None:
    import sacrebleu

    texts = outputs(data_root, "title", system)[:100]
    targets = [references(data_root, "title", 100)]
    expected = {
        "bleu": sacrebleu.corpus_bleu(texts, targets).score,
        "chrf": sacrebleu.corpus_chrf(texts, targets).score,
        "chrf++": sacrebleu.corpus_chrf(texts, targets, word_order=2).score,
        "ter": sacrebleu.corpus_ter(texts, targets).score,
    }
    assert judged(data_root, "title", texts, MT) == pytest.approx(expected, abs=1e-9)
