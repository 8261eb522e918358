"""Likelihood of one target after a prompt (lambada): greedy accuracy and perplexity."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.core.types import ItemScore, Loglikelihood, RenderedDoc, ScoringSpec
from benchbench.scoring.columns import columns


def score_likelihood(spec: ScoringSpec, rendered: RenderedDoc, responses: Sequence[Loglikelihood]) -> ItemScore:
    """`acc`: 1 if every target token was the model's first choice. `perplexity`: the log-likelihood in
    nats, which the aggregation turns into exp(−mean), as lm-eval does. The prediction is the target if
    the model would have written it, else unknown.
    """
    (response,) = responses
    known = {"acc": float(response.is_greedy), "perplexity": response.total}
    scores = {column.name: known[column.metric.name] for column in columns(spec)}
    written = rendered.targets[0] if response.is_greedy and rendered.targets else None
    return ItemScore(scores, written, "answered")
