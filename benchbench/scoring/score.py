"""Benchbench's own scoring: one doc and its responses → one item score; from a stored item its responses again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import cast

from benchbench.core import patterns
from benchbench.core.errors import BenchbenchError
from benchbench.core.item_table import table_of
from benchbench.core.registry import FAMILIES
from benchbench.core.task_scoring import Group, ScoredTask, columns
from benchbench.core.types import (
    Completion,
    Failure,
    FinishReason,
    GenerateRequest,
    Item,
    ItemScore,
    Loglikelihood,
    MetricResult,
    RenderedDoc,
    Request,
    Response,
    ScoringSpec,
)
from benchbench.scoring.aggregation import aggregate, aggregate_group
from benchbench.scoring.choice import score_choice, score_likelihood, score_rolling
from benchbench.scoring.estimates import correlations, with_influence
from benchbench.scoring.generation import score_text


class StandardScoring:
    """What a run calls: see `core.task_scoring.TaskScoring`."""

    def __init__(self, spec: ScoringSpec) -> None:
        self.spec = spec

    def score(self, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
        """See TaskScoring."""
        return score_doc(self.spec, rendered, responses)

    def with_influence(self, items: Sequence[Item]) -> list[Item]:
        """See TaskScoring."""
        return with_influence(self.spec, items)

    def rows(self, items: Sequence[Item], seed: int) -> list[MetricResult]:
        """See TaskScoring."""
        return aggregate(self.spec, items, seed=seed)

    def complete(self, rows: Sequence[MetricResult]) -> ScoringSpec:
        """See TaskScoring: every metric is known beforehand."""
        return self.spec

    def group_rows(self, group: Group, members: Mapping[str, ScoredTask]) -> list[MetricResult]:
        """See TaskScoring: each metric that every member has, with what members share counted once."""
        rows = {name: member.rows for name, member in members.items()}
        shared = correlations([*members.values()])
        return aggregate_group(group.name, rows, weight_by_size=group.weight_by_size, correlations=shared)


def score_doc(spec: ScoringSpec, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
    """Score the responses to one doc.

    A failed, missing or NaN response makes the item `failed` with all scores None, never wrong; so does a
    metric that raises.

    Raises:
        TaskError: the task names a metric, filter or option that does not exist.
    """
    ordered = sorted(responses, key=_INDEX)
    if (reason := why_failed(rendered, ordered)) is not None:
        return failed(spec, reason)
    try:
        return _score(spec, rendered, ordered)
    except BenchbenchError:
        raise
    except patterns.TooMuchWorkError as error:
        return failed(spec, too_much(error))
    except Exception as error:  # noqa: BLE001 - a metric that breaks on one doc becomes a record of it
        return failed(spec, f"scoring raised {type(error).__name__}: {error}")


_INDEX = attrgetter("request.index")


def too_much(error: patterns.TooMuchWorkError) -> str:
    """Why a doc failed whose answer a pattern of the task could not be tried on in time."""
    return f"too_much_work: the task {error}"


def failed(spec: ScoringSpec, reason: str) -> ItemScore:
    """An item that could not be scored: every score is None."""
    return ItemScore({column.name: None for column in columns(spec)}, None, "failed", explanation=reason)


def _score(spec: ScoringSpec, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
    match FAMILIES[spec.output_type]:
        case "choice":
            return score_choice(spec, rendered, [r for r in responses if isinstance(r, Loglikelihood)])
        case "text":
            with patterns.one_doc():
                return score_text(spec, rendered, [r for r in responses if isinstance(r, Completion)])
        case "likelihood":
            return score_likelihood(spec, rendered, [r for r in responses if isinstance(r, Loglikelihood)])
        case "rolling":
            return score_rolling(spec, rendered, [r for r in responses if isinstance(r, Loglikelihood)])


def why_failed(rendered: RenderedDoc, responses: Sequence[Response]) -> str | None:
    """Why the doc cannot be scored: a failed, missing or NaN response; None if it can."""
    for response in responses:
        if isinstance(response, Loglikelihood):
            if math.isnan(response.total):
                return f"nan_logits: the log-likelihood of request {response.request.index} is not a number"
        elif isinstance(response, Failure):
            return f"{response.kind}: {response.message}"
    if [response.request for response in responses] != [*rendered.requests]:
        missing = {request.index for request in rendered.requests} - {*map(_INDEX, responses)}
        if missing:
            return f"no_response: request {min(missing)} was never answered"
    return None


def count_outcomes(spec: ScoringSpec, items: Sequence[Item]) -> dict[str, int]:
    """Counts `answered`, `unanswered`, `truncated`, `failed` (they sum to the number of items), and apart
    from them `ties` and, where the task's first metric is 0 or 1 for every item, `wrong`: answered items
    that score 0. Truncated and unanswered items are scored too, so accuracy counts theirs as well.
    """
    table, counts = table_of(items), dict.fromkeys(("answered", "unanswered", "truncated", "failed"), 0)
    outcomes = table.outcomes()
    counts |= Counter(outcomes)
    counts["ties"] = sum(table.numbers("tie"))
    first = next((column.name for column in columns(spec)), "")  # none: the rows will tell the metrics
    scores = [score for score, outcome in zip(table.scores(first), outcomes, strict=True) if outcome == "answered"]
    if {*scores} <= {0.0, 1.0}:
        counts["wrong"] = scores.count(0.0)
    return counts


def kept_responses(item: Item, requests: Sequence[Request]) -> list[Response] | None:
    """The responses that `item` holds, as answers to `requests`; None if it does not hold one for each."""
    if item.outcome == "failed" or len(item.num_tokens) != len(requests):
        return None
    return [_response(item, position, request) for position, request in enumerate(requests)]


def _response(item: Item, position: int, request: Request) -> Response:
    """A doc that asks for both kinds has its log-likelihoods first."""
    tokens, prompt_tokens = item.num_tokens[position], item.prompt_tokens[position]
    dropped, truncated = item.dropped_shots, item.truncated_tokens
    if isinstance(request, GenerateRequest):
        place = position - len(item.loglikelihoods)
        reason = cast(FinishReason, item.finish_reasons[place])
        return Completion(request, item.texts[place], reason, tokens, prompt_tokens, dropped, truncated)
    total, greedy = item.loglikelihoods[position], item.is_greedy[position]
    return Loglikelihood(request, total, greedy, tokens, prompt_tokens, dropped, truncated)
