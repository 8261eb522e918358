"""One doc and its responses → one item score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchbench.core.errors import BenchbenchError
from benchbench.core.registry import FAMILIES
from benchbench.core.types import (
    Completion,
    Failure,
    ItemScore,
    Loglikelihood,
    RenderedDoc,
    Response,
    ScoringSpec,
)
from benchbench.scoring.choice import score_choice
from benchbench.scoring.columns import columns
from benchbench.scoring.likelihood import score_likelihood
from benchbench.scoring.rolling import score_rolling
from benchbench.scoring.text import score_text


def score_doc(spec: ScoringSpec, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
    """Judge the responses to one doc.

    A failed, missing or NaN response makes the item `failed` with all scores None, never wrong; so does a
    metric that raises.

    Raises:
        TaskError: the task names a metric, filter or option that does not exist.
    """
    ordered = sorted(responses, key=lambda response: response.request.index)
    if (reason := why_failed(rendered, ordered)) is not None:
        return failed(spec, reason)
    try:
        return _score(spec, rendered, ordered)
    except BenchbenchError:
        raise
    except Exception as error:  # noqa: BLE001 - a metric that breaks on one doc becomes a record of it
        return failed(spec, f"scoring raised {type(error).__name__}: {error}")


def failed(spec: ScoringSpec, reason: str) -> ItemScore:
    """An item that could not be scored: every score is None."""
    return ItemScore({column.name: None for column in columns(spec)}, None, "failed", explanation=reason)


def _score(spec: ScoringSpec, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
    match FAMILIES[spec.output_type]:
        case "text":
            return score_text(spec, rendered, [r for r in responses if isinstance(r, Completion)])
        case "choice":
            return score_choice(spec, rendered, [r for r in responses if isinstance(r, Loglikelihood)])
        case "likelihood":
            return score_likelihood(spec, rendered, [r for r in responses if isinstance(r, Loglikelihood)])
        case "rolling":
            return score_rolling(spec, rendered, [r for r in responses if isinstance(r, Loglikelihood)])


def why_failed(rendered: RenderedDoc, responses: Sequence[Response]) -> str | None:
    """Why the doc cannot be judged: a failed, missing or NaN response; None if it can."""
    for response in responses:
        if isinstance(response, Failure):
            return f"{response.kind}: {response.message}"
        if isinstance(response, Loglikelihood) and math.isnan(response.total):
            return f"nan_logits: the log-likelihood of request {response.request.index} is not a number"
    asked = {request.index for request in rendered.requests}
    if missing := sorted(asked - {response.request.index for response in responses}):
        return f"no_response: request {missing[0]} was never answered"
    return None
