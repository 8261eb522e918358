"""What is sent for one request, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchbench.backends.abilities import Abilities
from benchbench.backends.api.client import AnswerError, BadAnswerError
from benchbench.backends.api.scoring import choice
from benchbench.backends.tokens import Job, Written, cut_at_stop, seed
from benchbench.core.types import FinishReason, GenerationParams

MOST_STOPS = 4
"""The API's limit on stop strings; the others are applied to the text that comes back."""


ABLE = Abilities(beams=False, ngrams=False)
"""What the API has settings for."""


def writing_body(job: Job, *, length_name: str = "max_tokens") -> dict[str, Any]:
    """The part of a request that says how to write. Only what differs from the default is sent beyond the standard."""
    params = job.params
    body: dict[str, Any] = {
        length_name: params.max_gen_toks,
        "temperature": params.temperature if params.do_sample else 0,
    }
    if stops := [stop for stop in params.until if stop][:MOST_STOPS]:
        body["stop"] = stops
    if params.do_sample:
        body["seed"] = seed(job) % 2**31
        if params.top_p is not None:
            body["top_p"] = params.top_p
        if params.top_k is not None:
            body["top_k"] = params.top_k
    if params.repetition_penalty != 1.0:
        body["repetition_penalty"] = body["repeat_penalty"] = params.repetition_penalty
    return body


def written(answer: Mapping[str, Any], index: int, params: GenerationParams) -> tuple[Written, int]:
    """The text of an answer, cut at the first stop string, and how many prompt tokens the server counted.

    AnswerError where the server wrote nothing on purpose, or stopped early because its own room was used up.
    """
    first = choice(answer)
    raw = first["message"].get("content") if "message" in first else first["text"]
    said = first.get("finish_reason")
    usage = answer.get("usage") or {}
    tokens = int(usage.get("completion_tokens") or 0)
    if said == "content_filter":
        raise AnswerError("content_filter", "The server withheld its answer (finish_reason content_filter).")
    if raw is None and first.get("message", {}).get("refusal"):
        raise AnswerError("refused", "The model refused to answer.")
    if raw is not None and not isinstance(raw, str):
        raise BadAnswerError("an answer's text was not a string")
    if said == "length" and 0 < tokens < params.max_gen_toks:
        raise AnswerError(
            "context_too_long",
            f"The server stopped after {tokens} of {params.max_gen_toks} tokens, because prompt and text fill its "
            "context.",
        )
    text = cut_at_stop(raw or "", params.until)
    return Written(index, text, _reason(said, first, params, cut=text != raw), tokens), int(
        usage.get("prompt_tokens") or 0
    )


def _reason(said: Any, first: Mapping[str, Any], params: GenerationParams, *, cut: bool) -> FinishReason:
    """`stop` also covers ends that the server does not tell from an end token: only vLLM names its stop_reason."""
    if cut:
        return "stop"
    if said == "length":
        return "length"
    told = "stop_reason" in first
    by_string = isinstance(first.get("stop_reason"), str) if told else any(params.until)
    return "stop" if by_string else "eos"


def question_key(parts: Sequence[Any], params: GenerationParams | None = None) -> list[Any]:
    """What a request asks, as JSON: texts, and how to write."""
    return [*parts, None if params is None else params.as_json()]
