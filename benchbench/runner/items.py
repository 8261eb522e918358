"""Responses to items: what is kept of a doc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchbench.core.errors import BenchbenchError
from benchbench.core.task_scoring import TaskScoring
from benchbench.core.types import (
    Completion,
    Failure,
    Item,
    ItemScore,
    Loglikelihood,
    RenderedDoc,
    Response,
)

if TYPE_CHECKING:
    from benchbench.tasks.prepared import PreparedTask


def scoring_of(prepared: PreparedTask) -> TaskScoring:
    """The scoring that the task's source brought, else benchbench's own."""
    from benchbench.scoring.standard import StandardScoring

    return prepared.own_scoring or StandardScoring(prepared.task.scoring)


def score_item(scoring: TaskScoring, rendered: RenderedDoc, responses: Sequence[Response], item_key: str) -> Item:
    """The item of a doc whose responses are all in, `responses` in request order.

    A scorer that raises makes a failed item, never a wrong one. TaskError and its like pass: the task is
    wrong, and would be for every doc.
    """
    from benchbench.scoring.score import failed

    failure = next((_failure_text(r) for r in responses if isinstance(r, Failure)), None)
    try:
        score = scoring.score(rendered, responses)
    except BenchbenchError:
        raise
    except Exception as error:  # noqa: BLE001 - a scorer that raises becomes a record, not the end of a run
        score = failed(scoring.spec, f"scoring_error: {error!r}")
    if failure is None and score.outcome == "failed":
        failure = score.explanation or "the item could not be scored"
    return _item(rendered, responses, item_key, score, failure)


def _failure_text(failure: Failure) -> str:
    return f"{failure.kind}: {failure.message}"


def _item(
    rendered: RenderedDoc, responses: Sequence[Response], item_key: str, score: ItemScore, failure: str | None
) -> Item:
    lls = [r for r in responses if isinstance(r, Loglikelihood)] if failure is None else []
    completions = [r for r in responses if isinstance(r, Completion)] if failure is None else []
    good: list[Loglikelihood | Completion] = [*lls, *completions]
    return Item(
        task=rendered.task,
        doc_id=rendered.doc.id,
        doc_hash=rendered.doc.hash,
        cluster=rendered.doc.cluster,
        prompt_name=rendered.prompt_name,
        item_key=item_key,
        gold=_gold(rendered),
        targets=tuple(map(_storable, rendered.choices or rendered.targets)),
        prediction=None if score.prediction is None else _storable(score.prediction),
        outcome=score.outcome,
        tie=score.tie,
        loglikelihoods=tuple(r.total for r in lls),
        is_greedy=tuple(r.is_greedy for r in lls),
        num_tokens=tuple(r.num_tokens for r in good),
        texts=tuple(_storable(r.text) for r in completions),
        finish_reasons=tuple(r.finish_reason for r in completions),
        dropped_shots=max((r.dropped_shots for r in good), default=0),
        truncated_tokens=max((r.truncated_tokens for r in good), default=0),
        failure=None if failure is None else _storable(failure),
        scores={name: None if value is None else float(value) for name, value in score.scores.items()},
        prompt_tokens=tuple(r.prompt_tokens for r in good),
    )


def _gold(rendered: RenderedDoc) -> str | None:
    if rendered.gold:
        return str(rendered.gold[0])
    return _storable(rendered.targets[0]) if rendered.targets else None


def _storable(text: str) -> str:
    """Half surrogate pairs, which a model may write byte by byte, cannot be stored as UTF-8: they become `?`."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
