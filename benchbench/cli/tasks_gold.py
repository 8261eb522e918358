"""Whether right answers count as right, and empty ones not: the part of `tasks check` that scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from benchbench.core.registry import METRICS
from benchbench.core.types import GenerateRequest, ItemScore, RenderedDoc
from benchbench.scoring.generation import NORMALIZED, simplified
from benchbench.scoring.score import score_doc
from benchbench.tasks.check import own_task
from benchbench.tasks.check_gold import (
    WrittenAnswer,
    as_written,
    delimiter,
    gold_responses,
    has_shares,
    imperfect,
    perfect,
    right_answers,
    room,
)
from benchbench.tasks.finding import Finding

if TYPE_CHECKING:
    from benchbench.tasks.task import PreparedTask

MOST_LOST = 0.2
"""Share of documents that may be lost as the task says; beyond it something else is wrong."""
Sizes = Callable[[Sequence[str]], list[int]]


def gold_findings(prepared: PreparedTask, sizes: Sizes | None) -> Iterator[Finding]:
    """Documents that no answer gets right, or that an empty one does; metrics that cannot be what they seem.

    `sizes` counts tokens; without it, an answer is taken to have one for each of its words at least. Where the
    task says in `metadata.unanswerable` why some documents are lost, these are told as warnings, unless they are many.
    """
    if not prepared.task.scoring.metrics:
        return  # all that it lists is computed after the run, from answers
    trial = _Trial(prepared, sizes)
    found = [*chain.from_iterable(map(trial.findings, prepared.docs))]
    stated = (own_task(prepared).config.metadata or {}).get("unanswerable")
    wrong = {finding.doc_id for finding in found if finding.is_error}
    known = isinstance(stated, str) and len(wrong) <= MOST_LOST * len(prepared.docs)
    yield from (replace(finding, is_error=finding.is_error and not known) for finding in found)
    yield from trial.summary()
    yield from _corpus(prepared)


class _Trial:
    """Right answers of one prepared task, scored."""

    def __init__(self, prepared: PreparedTask, sizes: Sizes | None) -> None:
        self._prepared, self._sizes = prepared, sizes
        self._spec = prepared.task.scoring
        self._has_shares = has_shares(self._spec)
        self._apart: list[tuple[int, WrittenAnswer, Mapping[str, float | None]]] = []
        """Documents whose right answer is wrong behind the delimiter."""

    def findings(self, rendered: RenderedDoc) -> Iterator[Finding]:
        """What is wrong with one document."""
        if not isinstance(rendered.requests[0], GenerateRequest):
            yield from (Finding(rendered.doc.id, text, True) for text in self._faults(rendered, ""))
            return
        texts = right_answers(self._prepared, rendered)
        answers = [as_written(rendered, text) for text in texts]
        faults = [self._answer_faults(rendered, answer) for answer in answers[:1]]
        for answer in answers[1:]:
            if not faults[-1]:
                break
            faults.append(self._answer_faults(rendered, answer))
        if faults[-1]:
            yield from (Finding(rendered.doc.id, text, True) for text in faults[0])
        else:
            self._try_apart(rendered, answers[len(faults) - 1])
        right_if_empty = [*self._empty(rendered, texts)]
        yield from right_if_empty or self._nothing_left(rendered)

    def _answer_faults(self, rendered: RenderedDoc, answer: WrittenAnswer) -> list[str]:
        if (least := self._least(answer.text)) > room(rendered):
            return [
                f"the right answer takes {least} tokens or more, `max_gen_toks` is {room(rendered)}: "
                f"{answer.text!r:.80}"
            ]
        cut = ""
        if answer.stop is not None:
            cut = f" (the stop string {answer.stop!r} cuts {answer.whole!r:.60} to {answer.text!r:.60})"
        return [f"{fault}{cut}" for fault in self._faults(rendered, answer.text)]

    def _least(self, text: str) -> int:
        return len(text.split()) if self._sizes is None else self._sizes([text])[0]

    def _score(self, rendered: RenderedDoc, text: str) -> ItemScore:
        return score_doc(self._spec, rendered, gold_responses(rendered, text))

    def _faults(self, rendered: RenderedDoc, text: str) -> list[str]:
        score = self._score(rendered, text)
        found = []
        if score.outcome not in ("answered", "truncated"):
            nothing = (
                f": the filters find nothing in {text!r:.60}" if text.strip() and score.outcome != "failed" else ""
            )
            return [
                f"the gold answer counts as {score.outcome}"
                + (f": {score.explanation}" if score.explanation else nothing)
            ]
        found += [
            f"the gold answer gets {name} = {value}, not 1" + (f": {score.explanation}" if value is None else "")
            for name, value in imperfect(self._spec, score).items()
        ]
        return found

    def _try_apart(self, rendered: RenderedDoc, answer: WrittenAnswer) -> None:
        before = delimiter(own_task(self._prepared), rendered) if self._has_shares else ""
        written = as_written(rendered, before + answer.whole)
        if before and (wrong := imperfect(self._spec, self._score(rendered, written.text))):
            self._apart.append((rendered.doc.id, written, wrong))

    def _empty(self, rendered: RenderedDoc, texts: Sequence[str]) -> Iterator[Finding]:
        if self._has_shares and all(text.strip() for text in texts):
            for name in perfect(self._spec, self._score(rendered, "")):
                yield Finding(
                    rendered.doc.id, f"an empty answer gets {name} = 1; the right one is {texts[0]!r:.60}", True
                )

    def _nothing_left(self, rendered: RenderedDoc) -> Iterator[Finding]:
        """Targets of which a metric's normalisation leaves nothing."""
        for metric in self._spec.metrics:
            for target in rendered.targets if metric.name in NORMALIZED else ():
                if target.strip() and not simplified(metric.name, target, metric.kwargs).strip():
                    text = (
                        f"{metric.name} leaves nothing of the right answer {target!r:.60}; only the same text is right"
                    )
                    yield Finding(rendered.doc.id, text, is_error=False)

    def summary(self) -> Iterator[Finding]:
        """What holds for many documents, once."""
        if self._apart:
            number, answer, wrong = self._apart[0]
            values = ", ".join(f"{name} = {value}" for name, value in wrong.items())
            cut = f" and cut at the stop string {answer.stop!r}" if answer.stop is not None else ""
            way = "another stop string" if cut else "a filter remove_whitespace, or another `target_delimiter`"
            yield Finding(
                None,
                f"{len(self._apart):,} right answers, written as in the shots behind `target_delimiter`{cut}, are "
                f"wrong: document {number}: {answer.text!r:.60} gets {values}. It takes {way}",
                is_error=False,
            )


def _corpus(prepared: PreparedTask) -> Iterator[Finding]:
    """BLEU of texts that are too short, or of a script without spaces."""
    from benchbench.scoring.bleu_limits import limits_of_bleu

    pairs = [(right_answers(prepared, rendered)[0], rendered.targets) for rendered in prepared.docs if rendered.targets]
    for metric in prepared.task.scoring.metrics:
        if pairs and metric.name in METRICS and metric.aggregation == "bleu":
            for text in limits_of_bleu(pairs, metric.kwargs):
                yield Finding(None, text, is_error=False)
