"""Docs of several turns through the backend: all first questions of some docs, then all second ones, and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from benchbench.backends.protocol import Backend
from benchbench.core.turns import turn_prompts
from benchbench.core.types import Completion, Failure, GenerateRequest, Item, RenderedDoc

BLOCK = 32
"""Docs whose turns are asked together. A doc is kept when its last turn is answered: a kill costs what is under way."""

Texts = dict[tuple[int, int, int], str]
"""(doc id, repeat, turn) → what the model answered."""


def answer_turns(
    docs: Sequence[RenderedDoc], kept: Mapping[int, Item], backend: Backend
) -> Iterator[Completion | Failure]:
    """Answers of the docs that are not kept, each to the request as it was rendered.

    The layout is that of all docs, so that a resumed run asks the same batches. Where a turn has no answer, those after
    it fail for its reason.
    """
    for start in range(0, len(docs), BLOCK):
        yield from _block(docs[start : start + BLOCK], kept, backend)


def _block(docs: Sequence[RenderedDoc], kept: Mapping[int, Item], backend: Backend) -> Iterator[Completion | Failure]:
    if all(doc.doc.id in kept for doc in docs):
        return
    answered: Texts = {}
    failed: dict[tuple[int, int], Failure] = {}
    for doc in docs:
        if (item := kept.get(doc.doc.id)) is not None:
            answered |= {(doc.doc.id, *place(doc, index)): text for index, text in enumerate(item.texts)}
    for turn in range(max(len(doc.turns) for doc in docs)):
        yield from _turn(docs, turn, kept, backend.generate, answered, failed)


def place(doc: RenderedDoc, index: int) -> tuple[int, int]:
    """Repeat and turn, from 0, of a request of a doc."""
    return divmod(index, len(doc.turns))


def _turn(
    docs: Sequence[RenderedDoc],
    turn: int,
    kept: Mapping[int, Item],
    generate: Callable[..., Iterator[Completion | Failure]],
    answered: Texts,
    failed: dict[tuple[int, int], Failure],
) -> Iterator[Completion | Failure]:
    asked: list[GenerateRequest] = []
    rendered: dict[tuple[str, int, int], tuple[GenerateRequest, int]] = {}
    for doc in docs:
        for request in doc.requests:
            repeat, number = place(doc, request.index)
            if number != turn or not isinstance(request, GenerateRequest):
                continue
            if (why := failed.get((request.doc_id, repeat))) is not None:
                yield Failure(request, why.kind, why.message)
                continue
            before = [answered.get((request.doc_id, repeat, earlier)) for earlier in range(turn)]
            known = [text for text in before if text is not None]
            if len(known) < turn:
                continue  # a kept doc that failed: nothing of it is asked
            first = doc.requests[request.index - turn]
            if isinstance(first, GenerateRequest):
                asked.append(replace(request, prompt=turn_prompts(first.prompt, doc.turns, known)))
                rendered[request.key] = request, repeat
    skip = frozenset(request.key for request in asked if request.doc_id in kept)
    if len(skip) == len(asked):
        return
    for response in generate(asked, skip=skip):
        request, repeat = rendered[response.request.key]
        if isinstance(response, Failure):
            failed[request.doc_id, repeat] = response
        else:
            answered[request.doc_id, repeat, turn] = response.text
        yield replace(response, request=request)
