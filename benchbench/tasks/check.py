"""What can be wrong with a task's documents although they render, and what a perfect model would answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchbench.core.errors import TaskError
from benchbench.core.registry import METRICS
from benchbench.core.types import (
    Completion,
    GenerateRequest,
    ItemScore,
    Loglikelihood,
    LoglikelihoodRequest,
    RenderedDoc,
    Request,
    Response,
    ScoringSpec,
)
from benchbench.tasks.recorded_task import source_texts
from benchbench.tasks.task import PreparedTask, Task
from benchbench.tasks.template import Field

CERTAIN, IMPOSSIBLE = -1e-6, -1e6
"""Log-likelihoods that a perfect model gives to the gold answer and to everything else."""


EMPTY_PROMPT = "the prompt is empty"
"""Nothing to look at where the task itself says that nothing is asked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at."""

    doc_id: int
    text: str
    is_error: bool
    """The task cannot be scored rightly as it is; otherwise it is only worth knowing."""


def findings(prepared: PreparedTask) -> Iterator[Finding]:
    """Empty or equal choices, empty prompts, sources and targets, documents that come twice, broken text."""
    first_with: dict[str, int] = {}
    for rendered in prepared.docs:
        doc = rendered.doc
        found = dict.fromkeys([*_texts(rendered), *_choices(rendered)])
        meant = own_task(prepared).prompt(rendered.prompt_name).doc_to_text == ""
        yield from (finding for finding in found if not (meant and finding.text == EMPTY_PROMPT))
        earlier = first_with.setdefault(doc.hash, doc.id)
        if earlier != doc.id:
            yield Finding(doc.id, f"the same document as {earlier}", False)
    yield from _sources(prepared)


def _sources(prepared: PreparedTask) -> Iterator[Finding]:
    task = own_task(prepared)
    template = task.config.doc_to_source
    if template is not None:
        texts = source_texts(task, prepared.docs, template, task.where("doc_to_source"))
        yield from (Finding(number, "the source is empty", True) for number, text in texts.items() if not text.strip())


def own_task(prepared: PreparedTask) -> Task:
    """The task, if a file in our dialect defines it; else TaskError."""
    if isinstance(prepared.task, Task):
        return prepared.task
    raise TaskError(f"{prepared.task.name} is not defined in our dialect; only tasks that are can be checked.")


def _texts(rendered: RenderedDoc) -> Iterator[Finding]:
    number = rendered.doc.id
    for request in rendered.requests[:1]:
        text = request_text(request)
        if not text.strip():
            yield Finding(number, EMPTY_PROMPT, rendered.requests[0].index == 0 and not rendered.choices)
        yield from _broken(number, "the prompt", text)
    for target in (*rendered.targets, *rendered.choices):
        yield from _broken(number, "an answer", target)
    if rendered.targets and not rendered.targets[0].strip():
        yield Finding(number, "the target is empty", True)


def _broken(number: int, what: str, text: str) -> Iterator[Finding]:
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        yield Finding(number, f"{what} holds half of a character (a lone surrogate)", True)
    for sign, name in (("\0", "a NUL character"), ("\ufffd", "a replacement character: text lost in decoding")):
        if sign in text:
            yield Finding(number, f"{what} holds {name}", False)


def _choices(rendered: RenderedDoc) -> Iterator[Finding]:
    choices = rendered.choices
    number = rendered.doc.id
    if any(not choice.strip() for choice in choices):
        yield Finding(number, "a choice is empty", True)
    if len(set(choices)) < len(choices):
        gold_twice = any(choices.count(choices[index]) > 1 for index in rendered.gold)
        yield Finding(number, "two choices are equal" + (", one of them right" if gold_twice else ""), False)
    if rendered.gold and len(set(rendered.gold)) == len(choices):
        yield Finding(number, "every choice is right", False)


def request_text(request: Request) -> str:
    """Everything the model would read for a request before it answers; a rolling text as a whole."""
    return request.prompt.text if isinstance(request, (LoglikelihoodRequest, GenerateRequest)) else request.text


def gold_responses(prepared: PreparedTask, rendered: RenderedDoc) -> list[Response]:
    """What a model would answer that always gives the gold answer, in the words of `doc_to_answer` if there are any."""
    task = own_task(prepared)
    text = rendered.targets[0] if rendered.targets else ""
    if task.config.doc_to_answer is not None:
        scope = {**rendered.doc.fields, **task.variables}
        text = str(Field(task.config.doc_to_answer, task.where("doc_to_answer"), scope).text(scope, rendered.doc.id))
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


def _is_share(name: str) -> bool:
    info = METRICS.get(name)
    return info is not None and info.aggregation == "mean" and info.bounds == (0.0, 1.0) and info.higher_is_better
