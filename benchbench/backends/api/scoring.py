"""Log-probabilities of a prompt, as servers return them, and where the continuation begins among its tokens.

Two forms are read: vLLM's `prompt_logprobs`, one map from token id per prompt token; and the older `echo` with
`logprobs`, lists of tokens, offsets and values over the echoed text. The second says nothing of token ids, and some
servers return values that belong to the neighbouring token, so it is trusted only after a check (`server.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench.backends.api.client import AnswerError, BadAnswerError


@dataclass(frozen=True, slots=True)
class TextScore:
    """Log-likelihood of a continuation."""

    total: float
    is_greedy: bool
    num_tokens: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class EchoedToken:
    """A token of an echoed prompt. `start` counts characters of the text; a special token before it starts below 0."""

    text: str
    start: int
    logprob: float | None
    is_best: bool


def ids_score(answer: Mapping[str, Any], ids: Sequence[int], context: int) -> TextScore:
    """Score of `ids[context:]` from vLLM's `prompt_logprobs`. BadAnswerError where it is over other tokens."""
    rows = choice(answer).get("prompt_logprobs")
    if not isinstance(rows, list):
        raise BadAnswerError("an answer had no prompt_logprobs")
    if len(rows) != len(ids):
        raise BadAnswerError(f"an answer had log-probabilities of {len(rows)} tokens, not {len(ids)}")
    total, greedy = 0.0, True
    for token, row in zip(ids[context:], rows[context:], strict=True):
        entry = (row or {}).get(str(token))
        if entry is None:
            raise BadAnswerError(f"an answer had no log-probability of token {token}")
        total += float(entry["logprob"])
        greedy = greedy and _is_best(entry, row)
    return TextScore(total, greedy, len(ids) - context, context)


def _is_best(entry: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    if entry.get("rank") is not None:
        return int(entry["rank"]) == 1
    return bool(entry["logprob"] >= max(other["logprob"] for other in row.values()))


def echoed_tokens(answer: Mapping[str, Any], text: str) -> list[EchoedToken]:
    """The prompt's tokens of an answer with `echo`. BadAnswerError where the lists do not fit each other or `text`."""
    first = choice(answer)
    if text not in str(first.get("text", "")):
        raise BadAnswerError("an answer did not echo the prompt")
    listed = first.get("logprobs") or {}
    names = ("tokens", "token_logprobs", "text_offset", "top_logprobs")
    columns: list[Any] = [listed.get(name) for name in names]
    if not all(isinstance(column, list) for column in columns):
        raise BadAnswerError("an answer had no log-probabilities of the prompt")
    if len({len(column) for column in columns}) != 1 or not columns[0]:
        raise BadAnswerError("the lists of log-probabilities in an answer were of unlike lengths")
    tokens, logprobs, offsets, best = columns
    shift = _special_before(tokens, offsets, text)
    found = [
        EchoedToken(str(token), int(offset) - shift, None if value is None else float(value), _tops(value, top))
        for token, value, offset, top in zip(tokens, logprobs, offsets, best, strict=True)
    ]
    return [token for token in found if token.start < len(text)]


def _tops(value: float | None, top: Mapping[str, float] | None) -> bool:
    return value is not None and value >= max((top or {}).values(), default=value) - 1e-9


def _special_before(tokens: Sequence[str], offsets: Sequence[int], text: str) -> int:
    """Length of a special token that a server counts as text, though it stands before it."""
    if len(tokens) > 1 and tokens[0] and not text.startswith(tokens[0]) and offsets[1] == len(tokens[0]):
        return len(tokens[0])
    return 0


def echo_score(tokens: Sequence[EchoedToken], context: int) -> TextScore:
    """Score of the tokens from character `context` on.

    AnswerError where no token begins there, or where the server does not say how likely the first one is.
    """
    first = next((i for i, token in enumerate(tokens) if token.start >= context), len(tokens))
    if first == len(tokens) or tokens[first].start != context:
        inside = tokens[first - 1].text if first else ""
        raise AnswerError(
            "boundary_inside_token",
            f"The continuation begins inside the token {inside!r}, so the server's log-probabilities cannot be "
            "divided. Name the model's tokenizer (--model-args tokenizer=...) for a server that takes token ids.",
        )
    scored = tokens[first:]
    values = [token.logprob for token in scored]
    if any(value is None for value in values):
        raise AnswerError(
            "first_token_unknown",
            "The server does not say how likely the first token of a text is, so that a text without a context cannot "
            "be scored.",
        )
    total = sum(value for value in values if value is not None)
    return TextScore(total, all(token.is_best for token in scored), len(scored), first)


def choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The only choice of an answer."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise BadAnswerError(f"an answer had {len(choices) if isinstance(choices, list) else 'no'} choices, not one")
    return choices[0]
