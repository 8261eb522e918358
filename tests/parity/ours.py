"""The benchbench side: the public path from a task's name to its metrics, nothing private."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.backends.protocol import Backend
from benchbench.core.chat import ChatSettings
from benchbench.core.registry import has_ties
from benchbench.core.types import (
    Completion,
    GenerateRequest,
    Item,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    Response,
    RollingRequest,
    ScoringSpec,
)
from benchbench.runner.evaluate import score_item
from benchbench.scoring.score import StandardScoring
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from benchbench.tasks.task import PreparedTask
from tests.parity.tasks import packaged
from tests.parity.upstream import SEED, Source


def load(
    name: str, source: Source, num_fewshot: int, limit: int | None, chat: ChatSettings | None = None
) -> PreparedTask:
    """The task's rendered docs in few-shot mode `lm_eval`, with the source's overrides laid over its file."""
    index = packaged()
    task = index.task(name)
    if source.overrides:
        with tempfile.TemporaryDirectory() as folder:
            overlay = Path(folder) / f"{name}.yaml"
            overlay.write_text(yaml.safe_dump({"include": str(task.path), **source.overrides}), encoding="utf-8")
            task = TaskIndex([overlay]).task(name)
    settings = RenderSettings(
        num_fewshot=num_fewshot,
        fewshot_mode="lm_eval",
        seed=SEED,
        limit=limit,
        data_root=source.data_root,
        chat=chat,
    )
    return prepare(task, settings)


@cache
def backend(model: str, trust_remote_code: bool) -> Backend:
    """benchbench's own backend in fp32 on the CPU, opened once per process."""
    return open_backend(ModelOptions(model, dtype="float32", device="cpu", trust_remote_code=trust_remote_code))


def answer(engine: Backend, prepared: PreparedTask) -> list[list[Response]]:
    """The engine's responses, one list per doc in request order."""
    requests = [request for doc in prepared.docs for request in doc.requests]
    answered = {response.request.key: response for response in _ask(engine, requests)}
    return [[answered[request.key] for request in doc.requests] for doc in prepared.docs]


def _ask(engine: Backend, requests: list[Any]) -> list[Response]:
    match requests[0]:
        case LoglikelihoodRequest():
            return list(engine.loglikelihood(requests))
        case RollingRequest():
            return list(engine.loglikelihood_rolling(requests))
        case _:
            return list(engine.generate(requests))


def response(request: Request, raw: Any) -> Response:
    """What lm-eval's backend said, as a response of ours."""
    if isinstance(request, GenerateRequest):
        return Completion(request, raw, "stop", num_tokens=1)
    if isinstance(request, RollingRequest):
        return Loglikelihood(request, raw, is_greedy=False, num_tokens=1)
    return Loglikelihood(request, raw[0], is_greedy=bool(raw[1]), num_tokens=1)


def scoring(prepared: PreparedTask) -> ScoringSpec:
    """The task's, by lm-eval's rule for ties: the first choice."""
    spec = prepared.task.scoring
    if spec.output_type != "multiple_choice":
        return spec
    metrics = (
        replace(metric, kwargs={**metric.kwargs, "ties": "first"}) if has_ties(metric.name) else metric
        for metric in spec.metrics
    )
    return replace(spec, metrics=tuple(metrics))


def score(prepared: PreparedTask, responses: Sequence[Sequence[Response]]) -> list[Item]:
    """One scored item per doc."""
    spec = scoring(prepared)
    return [
        score_item(StandardScoring(spec), doc, said, item_key=str(doc.doc.id))
        for doc, said in zip(prepared.docs, responses, strict=True)
    ]


def metrics(prepared: PreparedTask, items: Sequence[Item]) -> dict[str, float | None]:
    """Metric name → value over all items."""
    from benchbench.scoring.aggregation import aggregate

    return {result.metric: result.value for result in aggregate(scoring(prepared), items)}
