"""What can be wrong with a task's documents although they render."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchbench.core.errors import TaskError
from benchbench.core.types import RenderedDoc
from benchbench.tasks.check_templates import unseen
from benchbench.tasks.finding import Finding, asked, look, question_text, request_text, right_texts, shots_of
from benchbench.tasks.recorded_task import source_texts
from benchbench.tasks.task import PreparedTask, Task

EMPTY_PROMPT = "the prompt is empty"
"""Nothing to look at where the task itself says that nothing is asked."""


def findings(prepared: PreparedTask) -> Iterator[Finding]:
    """Templates that missed the document; empty or equal choices, empty prompts, sources and targets; documents that
    come twice, by themselves or as shots; broken text.
    """
    task = own_task(prepared)
    yield from unseen(task, prepared.docs)
    first_with: dict[str, int] = {}
    for rendered in prepared.docs:
        doc = rendered.doc
        found = dict.fromkeys([*_texts(rendered), *_choices(rendered)])
        meant = task.prompt(rendered.prompt_name).doc_to_text == ""
        yield from (finding for finding in found if not (meant and finding.text == EMPTY_PROMPT))
        earlier = first_with.setdefault(doc.hash, doc.id)
        if earlier != doc.id:
            yield Finding(doc.id, f"the same document as {earlier}", False)
    yield from _repeated(prepared.docs)
    yield from _sources(prepared)


def _repeated(docs: Sequence[RenderedDoc]) -> Iterator[Finding]:
    """Questions that are asked twice, in documents that differ in something that is not asked; or told as a shot."""
    first_with: dict[tuple[str, ...], RenderedDoc] = {}
    for rendered in docs:
        requests = asked(rendered)
        questions = [look(question_text(request)) for request in requests]
        if not any(questions):
            continue
        earlier = first_with.setdefault((*questions, "", *sorted(map(look, rendered.choices))), rendered)
        if earlier.doc.hash != rendered.doc.hash:
            also = "" if right_texts(earlier) == right_texts(rendered) else ", with another right answer"
            yield Finding(rendered.doc.id, f"the same question as document {earlier.doc.id}{also}", False)
        told = [look(shot) for shot in shots_of(requests[0])]
        if any(question and any(shot.startswith(question) for shot in told) for question in questions):
            yield Finding(rendered.doc.id, "a shot is the same question, with its answer", False)


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
    if rendered.targets and not rendered.targets[0].strip() and not rendered.turns:
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
    yield from _look_alikes(rendered)
    if rendered.gold and len(set(rendered.gold)) == len(choices):
        yield Finding(number, "every choice is right", False)


def _look_alikes(rendered: RenderedDoc) -> Iterator[Finding]:
    """Choices that differ in nothing but case, white space or the form of their characters."""
    seen: dict[str, str] = {}
    for choice in dict.fromkeys(rendered.choices):
        other = seen.setdefault(look(choice), choice)
        if other != choice:
            text = f"the choices {other!r} and {choice!r} differ only in case, white space or Unicode form"
            yield Finding(rendered.doc.id, text, False)
