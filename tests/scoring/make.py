"""Docs, responses and items for scoring tests, and lm-eval's own task class fed the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchbench.core.registry import metric_spec
from benchbench.core.types import (
    Completion,
    Doc,
    FilterSpec,
    FinishReason,
    GenerateRequest,
    GenerationParams,
    Item,
    ItemScore,
    Loglikelihood,
    LoglikelihoodRequest,
    OutputType,
    Prompt,
    RenderedDoc,
    Response,
    RollingRequest,
    ScoringSpec,
)
from benchbench.scoring.score import score_doc

PROMPT = Prompt("", (), "Q:")
PARAMS = GenerationParams(until=("\n",))


def spec_of(
    output_type: OutputType,
    *metrics: str | tuple[str, Mapping[str, Any]],
    filters: Sequence[FilterSpec] = (),
    aggregation: str | None = None,
) -> ScoringSpec:
    """A scoring spec with the metrics' own defaults."""
    pairs = [(metric, {}) if isinstance(metric, str) else metric for metric in metrics]
    specs = tuple(metric_spec(name, output_type, aggregation=aggregation, kwargs=kw) for name, kw in pairs)
    return ScoringSpec("toy", output_type, specs, tuple(filters))


def doc_of(doc_id: int = 0, cluster: str | None = None, **fields: Any) -> Doc:
    return Doc(doc_id, fields, f"{doc_id:016x}", cluster)


def choice_doc(
    choices: Sequence[str],
    gold: Sequence[int],
    lls: Sequence[float],
    *,
    doc_id: int = 0,
    greedy: Sequence[bool] | None = None,
    tokens: Sequence[int] | None = None,
    alone: Sequence[float] = (),
) -> tuple[RenderedDoc, list[Response]]:
    """A multiple choice doc and its log-likelihoods, then those of the choices alone."""
    texts = [*choices, *(choices if alone else ())]
    requests = tuple(LoglikelihoodRequest("toy", doc_id, i, PROMPT, f" {text}") for i, text in enumerate(texts))
    greedy = greedy or [False] * len(texts)
    tokens = tokens or [1] * len(texts)
    totals = [*lls, *alone]
    responses: list[Response] = [
        Loglikelihood(request, totals[i], greedy[i % len(choices)], tokens[i % len(choices)])
        for i, request in enumerate(requests)
    ]
    return RenderedDoc("toy", doc_of(doc_id), requests, tuple(choices), tuple(gold)), responses


def text_doc(
    texts: Sequence[str],
    targets: Sequence[str],
    *,
    doc_id: int = 0,
    finish: FinishReason = "stop",
    **fields: Any,
) -> tuple[RenderedDoc, list[Response]]:
    """A generation doc and its completions, one per repeat."""
    requests = tuple(GenerateRequest("toy", doc_id, i, PROMPT, PARAMS) for i in range(len(texts)))
    responses: list[Response] = [
        Completion(request, text, finish, 3) for request, text in zip(requests, texts, strict=True)
    ]
    return RenderedDoc("toy", doc_of(doc_id, **fields), requests, targets=tuple(targets)), responses


def target_doc(total: float, *, greedy: bool = False, target: str = "word") -> tuple[RenderedDoc, list[Response]]:
    """A loglikelihood doc."""
    request = LoglikelihoodRequest("toy", 0, 0, PROMPT, f" {target}")
    rendered = RenderedDoc("toy", doc_of(), (request,), targets=(f" {target}",))
    return rendered, [Loglikelihood(request, total, greedy, 1)]


def rolling_doc(text: str, total: float, counted: str | None = None) -> tuple[RenderedDoc, list[Response]]:
    """A rolling doc; `counted` is the text whose words and bytes count."""
    request = RollingRequest("toy", 0, 0, text)
    rendered = RenderedDoc("toy", doc_of(), (request,), targets=(text if counted is None else counted,))
    return rendered, [Loglikelihood(request, total, False, 9)]


def item_of(
    rendered: RenderedDoc, responses: Sequence[Response], score: ItemScore, *, cluster: str | None = None
) -> Item:
    """The row that the runner would store."""
    lls = [r for r in responses if isinstance(r, Loglikelihood)]
    texts = [r for r in responses if isinstance(r, Completion)]
    gold = str(rendered.gold[0]) if rendered.gold else (rendered.targets[0] if rendered.targets else None)
    return Item(
        task=rendered.task,
        doc_id=rendered.doc.id,
        doc_hash=rendered.doc.hash,
        cluster=cluster,
        prompt_name="default",
        item_key="",
        gold=gold,
        targets=rendered.choices or rendered.targets,
        prediction=score.prediction,
        outcome=score.outcome,
        tie=score.tie,
        loglikelihoods=tuple(r.total for r in lls),
        is_greedy=tuple(r.is_greedy for r in lls),
        num_tokens=tuple(r.num_tokens for r in lls),
        texts=tuple(r.text for r in texts),
        finish_reasons=tuple(r.finish_reason for r in texts),
        dropped_shots=0,
        truncated_tokens=0,
        failure=score.explanation,
        scores=score.scores,
    )


def items_of(
    spec: ScoringSpec,
    docs: Sequence[tuple[RenderedDoc, list[Response]]],
    clusters: Sequence[str | None] | None = None,
) -> list[Item]:
    """Score docs and store them as items."""
    names = clusters or [None] * len(docs)
    return [
        item_of(rendered, responses, score_doc(spec, rendered, responses), cluster=name)
        for (rendered, responses), name in zip(docs, names, strict=True)
    ]


def lm_eval_task(rows: Sequence[Mapping[str, Any]], **config: Any) -> Any:
    """lm-eval's ConfigurableTask over these rows, offline."""
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask

    data = DatasetDict({"test": Dataset.from_list([dict(row) for row in rows])})
    return ConfigurableTask(
        config={"task": "toy", "custom_dataset": lambda **_: data, "test_split": "test", "doc_to_text": "q", **config}
    )
