"""Something that `tasks check` found, and what of a document it looks at."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, Prompt, RenderedDoc, Request


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at."""

    doc_id: int | None
    """None: it is the task's, not one document's."""
    text: str
    is_error: bool
    """The task cannot be scored rightly as it is; otherwise it is only worth knowing."""


def request_text(request: Request) -> str:
    """Everything the model would read for a request before it answers; a rolling text as a whole."""
    return request.prompt.text if isinstance(request, (LoglikelihoodRequest, GenerateRequest)) else request.text


def question_text(request: Request) -> str:
    """What a request asks, without description and shots."""
    if isinstance(request, (LoglikelihoodRequest, GenerateRequest)):
        return request.prompt.question
    return request.text


def shots_of(request: Request) -> tuple[str, ...]:
    """The worked examples before a question."""
    if isinstance(request, (LoglikelihoodRequest, GenerateRequest)) and isinstance(request.prompt, Prompt):
        return request.prompt.shots
    return ()


def asked(rendered: RenderedDoc) -> list[Request]:
    """One request for each question of a document: several where the choices are contexts."""
    found = {question_text(request): request for request in reversed(rendered.requests)}
    return [*reversed([request for text, request in found.items() if text or len(found) == 1])]


@lru_cache(maxsize=1024)
def look(text: str) -> str:
    """What a text looks like to somebody who passes over case, white space and the form of its characters."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def right_texts(rendered: RenderedDoc) -> tuple[str, ...]:
    """The texts of the right choices, else the targets."""
    return tuple(rendered.choices[index] for index in rendered.gold) if rendered.choices else rendered.targets
