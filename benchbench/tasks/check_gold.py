"""What a model would answer that knows every right answer, in the form in which models write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchbench.core.registry import METRICS
from benchbench.core.types import (
    Completion,
    GenerateRequest,
    GenerationParams,
    ItemScore,
    Loglikelihood,
    RenderedDoc,
    Request,
    Response,
    ScoringSpec,
)
from benchbench.tasks.check import own_task
from benchbench.tasks.task import PreparedTask, Task
from benchbench.tasks.template import Field

CERTAIN, IMPOSSIBLE = -1e-6, -1e6
"""Log-likelihoods that a perfect model gives to the gold answer and to everything else."""


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """A right answer as a model writes it."""

    text: str
    """As it arrives: before the first stop string."""
    stop: str | None
    """The stop string that cut it."""
    whole: str
    """As it was meant."""


def right_answers(prepared: PreparedTask, rendered: RenderedDoc) -> list[str]:
    """The texts that are right, in the words of `doc_to_answer` if there are any."""
    task = own_task(prepared)
    if task.config.doc_to_answer is None:
        return [*rendered.targets] or [""]
    scope = {**rendered.doc.fields, **task.variables}
    return [str(Field(task.config.doc_to_answer, task.where("doc_to_answer"), scope).text(scope, rendered.doc.id))]


def as_written(rendered: RenderedDoc, text: str) -> WrittenAnswer:
    """A text, cut at the first stop string that is in it."""
    found = [(text.find(stop), stop) for stop in _params(rendered).until if stop and stop in text]
    if not found:
        return WrittenAnswer(text, None, text)
    place, stop = min(found)
    return WrittenAnswer(text[:place], stop, text)


def _params(rendered: RenderedDoc) -> GenerationParams:
    request = rendered.requests[0]
    return request.params if isinstance(request, GenerateRequest) else GenerationParams(())


def room(rendered: RenderedDoc) -> int:
    """Tokens that an answer may have."""
    return _params(rendered).max_gen_toks


def delimiter(task: Task, rendered: RenderedDoc) -> str:
    """What the task's shots have between the end of the prompt and the answer."""
    variant = task.prompt(rendered.prompt_name)
    request = rendered.requests[0]
    question = request.prompt.question if isinstance(request, GenerateRequest) else ""
    if variant.gen_prefix:
        return "" if not question or question[-1].isspace() else " "
    return " " if variant.target_delimiter is None else variant.target_delimiter


def gold_responses(rendered: RenderedDoc, text: str) -> list[Response]:
    """What a model would answer that gives `text`, or the highest log-likelihood to the right choice."""
    return [_gold_response(rendered, request, text) for request in rendered.requests]


def _gold_response(rendered: RenderedDoc, request: Request, text: str) -> Response:
    if isinstance(request, GenerateRequest):
        return Completion(request, text, "stop", 1)
    conditional = not rendered.choices or request.index < len(rendered.choices)
    right = not rendered.choices or request.index in rendered.gold
    total = (CERTAIN if right else IMPOSSIBLE) if conditional else -1.0
    return Loglikelihood(request, total, right, 1)


def imperfect(spec: ScoringSpec, score: ItemScore) -> Mapping[str, float | None]:
    """The metrics among those of the task that are 1 for a right answer, and are not."""
    wanted = {metric.name for metric in spec.metrics if _is_share(metric.name)}
    return {
        name: value
        for name, value in score.scores.items()
        if name.split(",")[0] in wanted and (value is None or abs(value - 1.0) > 1e-9)
    }


def perfect(spec: ScoringSpec, score: ItemScore) -> list[str]:
    """The columns that are 1 for a right answer, and are."""
    wanted = {metric.name for metric in spec.metrics if _is_share(metric.name)}
    return [name for name, value in score.scores.items() if name.split(",")[0] in wanted and value == 1.0]


def has_shares(spec: ScoringSpec) -> bool:
    """Whether a metric of the task is 1 for a right answer."""
    return any(_is_share(metric.name) for metric in spec.metrics)


def _is_share(name: str) -> bool:
    info = METRICS.get(name)
    return info is not None and info.aggregation == "mean" and info.bounds == (0.0, 1.0) and info.higher_is_better
