"""Multiple choice: every normalisation side by side, from one set of log-likelihoods.

Of equally likely choices one is drawn by the doc's hash, so that a model which cannot tell choices apart scores chance;
with the metric's option `ties: first` the first is taken, as numpy's argmax in lm-eval does. Ties are flagged. Lengths
are those of the choice as rendered, without the delimiter before it. A choice of no characters, bytes or tokens
has no value per character, byte or token, and never wins by that measure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter, truediv

from benchbench.core.quick_dataclass import quick_dataclass
from benchbench.core.task_scoring import columns, once_per_spec
from benchbench.core.types import ItemScore, Loglikelihood, LoglikelihoodRequest, RenderedDoc, ScoringSpec


@quick_dataclass(frozen=True, slots=True)
class ScoredChoices:
    """The choices of one doc and what the model thinks of each; all tuples have one entry per choice."""

    choices: tuple[str, ...]
    gold: tuple[int, ...]
    totals: tuple[float, ...]
    """Log-likelihoods in nats."""
    greedy: tuple[bool, ...]
    tokens: tuple[int, ...]
    requests: Sequence[LoglikelihoodRequest]
    """What asked for each choice."""
    draw: str | None
    """Hexadecimal digits that say which of equally good choices is taken; None takes the first."""
    winner: int
    """The choice that `acc` takes."""
    unconditional: tuple[float, ...] | None = None
    """Log-likelihoods without the prompt, where the task asks for acc_mutual_info."""

    def text(self, index: int) -> str:
        """What was scored for a choice: the choice, or the shared ending where choices are contexts (winogrande)."""
        choice, continuation = self.choices[index], self.requests[index].continuation
        return choice if continuation.endswith(choice) else continuation.lstrip()


def best(values: Sequence[float], choices: Sequence[str], draw: str | None) -> int:
    """Position of the largest value; of equal ones that which `draw` says, or the first if it is None.

    Of choices with one and the same text the first stands for all: no model can tell these apart.
    """
    top = max(values)
    place = values.index(top)
    if draw is None or values.count(top) == 1:
        return place
    tied: dict[str, int] = {}
    for index, value in enumerate(values):
        if value == top:
            tied.setdefault(choices[index], index)
    return [*tied.values()][int(draw, 16) % len(tied)]


def per_unit(totals: Sequence[float], units: Sequence[int]) -> list[float]:
    """Log-likelihood per character, byte or token; minus infinity where there is no unit."""
    try:
        return [*map(truediv, totals, units)]
    except ZeroDivisionError:
        return [total / unit if unit > 0 else -math.inf for total, unit in zip(totals, units, strict=True)]


def softmax(totals: Sequence[float]) -> list[float]:
    """Probabilities proportional to exp of the log-likelihoods; uniform if all are minus infinity."""
    top = max(totals)
    if math.isinf(top):
        return [1 / len(totals)] * len(totals)
    weights = [math.exp(total - top) for total in totals]
    total = sum(weights)
    return [weight / total for weight in weights]


def count_bytes(text: str) -> int:
    """UTF-8 bytes of a text; accented Czech and French letters are two each."""
    return len(text) if text.isascii() else len(text.encode("utf-8", errors="surrogatepass"))


def _right(values: Sequence[float], scored: ScoredChoices) -> float:
    return 1.0 if best(values, scored.choices, scored.draw) in scored.gold else 0.0


def acc(scored: ScoredChoices) -> float:
    """1 if the choice with the highest log-likelihood is right."""
    return 1.0 if scored.winner in scored.gold else 0.0


def acc_norm(scored: ScoredChoices) -> float:
    """1 if the choice with the highest log-likelihood per character is right."""
    return _right(per_unit(scored.totals, [*map(len, scored.choices)]), scored)


def acc_bytes(scored: ScoredChoices) -> float:
    """1 if the choice with the highest log-likelihood per UTF-8 byte is right."""
    return _right(per_unit(scored.totals, [*map(count_bytes, scored.choices)]), scored)


def acc_token(scored: ScoredChoices) -> float:
    """1 if the choice with the highest mean token log-probability is right (BenCzechMark)."""
    return _right(per_unit(scored.totals, scored.tokens), scored)


def acc_mutual_info(scored: ScoredChoices) -> float | None:
    """1 if the choice whose log-likelihood the prompt raises most is right. None if that was not asked."""
    if scored.unconditional is None:
        return None
    return _right([given - alone for given, alone in zip(scored.totals, scored.unconditional, strict=True)], scored)


def exact_match(scored: ScoredChoices) -> float:
    """1 if greedy decoding would write a right choice."""
    return float(any(scored.greedy[index] for index in scored.gold))


def bpb_gold(scored: ScoredChoices) -> float | None:
    """Bits per UTF-8 byte of the right choice; of several right ones, the cheapest. None if it is empty."""
    least = math.inf
    for index in scored.gold:
        if (size := count_bytes(scored.text(index))) > 0:
            least = min(least, -scored.totals[index] / (_LN2 * size))
    return least if math.isfinite(least) else None


_LN2 = math.log(2)


def brier_score(scored: ScoredChoices) -> float:
    """Squared distance of the softmax probabilities from the right choice; of several, the likeliest."""
    probabilities = softmax(scored.totals)
    right = max(scored.gold, key=probabilities.__getitem__)
    return sum((p - (index == right)) ** 2 for index, p in enumerate(probabilities))


def likelihood(scored: ScoredChoices) -> float:
    """Softmax probability of the right choices together."""
    probabilities = softmax(scored.totals)
    return sum(probabilities[index] for index in set(scored.gold))


def corpus_only(scored: ScoredChoices) -> None:
    """F1, Matthews correlation and areas under the ROC curve belong to all docs together: no item score."""


ITEM_METRICS: dict[str, Callable[[ScoredChoices], float | None]] = {
    "acc": acc,
    "acc_norm": acc_norm,
    "acc_bytes": acc_bytes,
    "acc_token": acc_token,
    "acc_mutual_info": acc_mutual_info,
    "auroc": corpus_only,
    "bpb_gold": bpb_gold,
    "brier_score": brier_score,
    "exact_match": exact_match,
    "f1": corpus_only,
    "likelihood": likelihood,
    "macro_f1": corpus_only,
    "mcc": corpus_only,
}


def score_choice(spec: ScoringSpec, rendered: RenderedDoc, responses: Sequence[Loglikelihood]) -> ItemScore:
    """Score one doc from its log-likelihoods: choices first, then the choices alone if they were asked.

    A doc without a right choice among its choices gets None for every score, with an explanation; lm-eval
    counts it as wrong.
    """
    choices, draw = rendered.choices, rendered.doc.hash
    count = len(choices)
    totals, greedy, tokens, requests = zip(*map(_PARTS, responses[:count]), strict=True)
    scored = ScoredChoices(
        choices,
        tuple([index for index in rendered.gold if 0 <= index < count]),
        totals,
        greedy,
        tokens,
        requests,
        draw,
        best(totals, choices, draw),
        tuple([one.total for one in responses[count:]]) if len(responses) == 2 * count else None,
    )
    tie = totals.count(totals[scored.winner]) > 1
    metrics = _metrics(spec)
    if not scored.gold:
        scores: dict[str, float | None] = dict.fromkeys(name for name, _, _ in metrics)
        return ItemScore(scores, str(scored.winner), "answered", tie, "the doc names no right choice")
    first, found = scored, {}
    for name, metric, takes_first in metrics:
        if takes_first:
            first = replace(scored, draw=None, winner=best(totals, choices, None))
            found[name] = metric(first)
        else:
            found[name] = metric(scored)
    return ItemScore(found, str(first.winner), "answered", tie)


_PARTS = attrgetter("total", "is_greedy", "num_tokens", "request")


@once_per_spec
def _metrics(spec: ScoringSpec) -> list[tuple[str, Callable[[ScoredChoices], float | None], bool]]:
    """Of each column its name, its metric, and whether of equally good choices the first is taken."""
    return [
        (column.name, ITEM_METRICS[column.metric.name], column.metric.kwargs.get("ties") == "first")
        for column in columns(spec)
    ]


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


def count_words(text: str) -> int:
    """Pieces between white space; an empty text and one at a text's edge count too, as in lm-eval."""
    return len(re.split(r"\s+", text))


def units(metric: str, text: str) -> int:
    """How many words (word_perplexity) or UTF-8 bytes (all others) a text has."""
    return count_words(text) if metric == "word_perplexity" else count_bytes(text)


def score_rolling(spec: ScoringSpec, rendered: RenderedDoc, responses: Sequence[Loglikelihood]) -> ItemScore:
    """Each text's own perplexities; None where a text has no bytes or the value exceeds a float."""
    total = math.fsum(response.total for response in responses)
    text = rendered.targets[0]
    scores = {
        column.name: _item_score(column.metric.name, total, units(column.metric.name, text)) for column in columns(spec)
    }
    return ItemScore(scores, None, "answered")


def _item_score(metric: str, total: float, count: int) -> float | None:
    if count == 0:
        return None
    if metric == "bits_per_byte":
        return -total / count / math.log(2)
    try:
        return math.exp(-total / count)
    except OverflowError:
        return None
