"""Asking a server, when it is opened, what it is and what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from benchbench.backends.api.answers import choice, echoed_tokens, ids_score
from benchbench.backends.api.client import AnswerError, BadAnswerError, Client
from benchbench.core.errors import BackendError, ModelError, did_you_mean

Scoring = Literal["ids", "echo"]

PROBES = ("The quick brown fox jumps over the", "2, 4, 6, 8, 10,", "Paris is the capital of", "once upon a time there")
CHECKS = 4
"""How many tokens are compared between what the server would write and what it says of the same text as a prompt."""
TOLERANCE = 0.25
"""In nats. Half-precision servers differ from themselves by a few hundredths; a neighbour's value by many nats."""
CONNECTION_TROUBLE = frozenset(["timeout", "unreachable", "connection", "server_error", "rate_limited"])


@dataclass(slots=True)
class ServerFacts:
    """What a server said and showed of one model."""

    asked: str
    answered: str = ""
    """The model's name in its answers."""
    chat: bool = False
    """Only the chat endpoint is there (or was asked for)."""
    scoring: Scoring | None = None
    why_no_scoring: str = ""
    fingerprints: set[str] = field(default_factory=set)
    """Every `system_fingerprint` seen."""
    listed: Mapping[str, Any] = field(default_factory=dict)
    """The model's entry in the server's list."""

    @property
    def max_length(self) -> int | None:
        """Tokens that the server says the model holds."""
        meta = self.listed.get("meta")
        length = self.listed.get("max_model_len") or (meta or {}).get("n_ctx_train")
        return int(length) if length else None


async def explore(client: Client, model: str, ids: Sequence[int] | None) -> ServerFacts:
    """Who answers, at which endpoint, and how prompts can be scored. `ids` are the first probe's, if they are known.

    Raises BackendError or ModelError where the server cannot be reached, has no such model or answers as another one.
    """
    facts = ServerFacts(model, listed=await _listed(client, model))
    options = client.options
    facts.chat = options.endpoint == "chat"
    if not facts.chat:
        try:
            await _ask(client, facts, {"prompt": PROBES[0], "max_tokens": 1, "temperature": 0})
        except AnswerError as error:
            if options.endpoint == "completions" or error.kind in CONNECTION_TROUBLE:
                raise BackendError(f"the server at {options.base_url} does not complete text: {error}") from None
            facts.chat = True
    if facts.chat:
        await _probe_chat(client, facts)
        facts.why_no_scoring = "its chat endpoint returns no log-probabilities of prompts"
        return facts
    await _probe_scoring(client, facts, ids)
    return facts


def check_name(facts: ServerFacts, answer: Mapping[str, Any], answers_as: str | None) -> None:
    """ModelError where an answer comes from another model than the one asked for, or than before."""
    name = str(answer.get("model", facts.asked))
    dated = name.startswith(f"{facts.asked}-") and name[len(facts.asked) + 1 :][:1].isdigit()
    if name not in (facts.asked, answers_as) and not dated:
        raise ModelError(
            f"{facts.asked} was asked for, but the server answers as {name}. Give --model {name}, or "
            f"--model-args answers_as={name} if that is the same model."
        )
    if facts.answered and name != facts.answered:
        raise ModelError(f"the server answered as {facts.answered} and now answers as {name}: another model.")
    facts.answered = name
    if answer.get("system_fingerprint"):
        facts.fingerprints.add(str(answer["system_fingerprint"]))


async def _listed(client: Client, model: str) -> Mapping[str, Any]:
    """The model's entry in the server's list; {} where it keeps none."""
    try:
        entries = await client.get("models", lambda answer: list(answer["data"]))
    except AnswerError as error:
        if error.kind in CONNECTION_TROUBLE:
            raise BackendError(f"the server at {client.options.base_url} {error}") from None
        return {}
    by_name = {str(entry.get("id")): entry for entry in entries if isinstance(entry, dict)}
    if not by_name or model in by_name:
        return by_name.get(model, {})
    names = ", ".join(sorted(by_name)[:5])
    raise ModelError(
        f"the server at {client.options.base_url} has no model {model!r}; it has {names}.{did_you_mean(model, by_name)}"
    )


async def _ask(client: Client, facts: ServerFacts, body: Mapping[str, object], *, path: str = "completions") -> Any:
    """One probe; its only choice."""

    def parse(answer: Mapping[str, Any]) -> Mapping[str, Any]:
        choice(answer)
        return answer

    answer = await client.post(path, {"model": facts.asked, **body}, parse)
    check_name(facts, answer, client.options.answers_as)
    return answer


async def _probe_chat(client: Client, facts: ServerFacts) -> None:
    body = {"messages": [{"role": "user", "content": PROBES[0]}]}
    try:
        await _ask(client, facts, body | {"max_tokens": 1}, path="chat/completions")
    except AnswerError as error:
        if "max_completion_tokens" not in str(error):
            raise BackendError(
                f"the server at {client.options.base_url} neither completes nor chats: {error}"
            ) from None
        await _ask(client, facts, body | {"max_completion_tokens": 16}, path="chat/completions")


async def _probe_scoring(client: Client, facts: ServerFacts, ids: Sequence[int] | None) -> None:
    if ids is not None and await _scores_ids(client, facts, ids):
        facts.scoring = "ids"
        return
    try:
        facts.why_no_scoring = await _echo_trouble(client, facts)
    except (AnswerError, BadAnswerError) as error:
        facts.why_no_scoring = f"it returns no log-probabilities of prompts ({str(error).rstrip('.')})"
    facts.scoring = "echo" if not facts.why_no_scoring else None


async def _scores_ids(client: Client, facts: ServerFacts, ids: Sequence[int]) -> bool:
    """Whether the server takes token ids, and its tokens are those of the tokenizer that was named."""
    try:
        answer = await _ask(client, facts, {"prompt": list(ids), "max_tokens": 1, "prompt_logprobs": 0})
        ids_score(answer, ids, 1)
    except (AnswerError, BadAnswerError, ValueError):
        return False
    rows = [row for row in choice(answer)["prompt_logprobs"] if row]
    decoded = [str(row[str(token)].get("decoded_token", "")) for token, row in zip(ids[1:], rows, strict=True)]
    if not PROBES[0].endswith("".join(decoded)):
        raise ModelError(
            f"the tokenizer {client.options.tokenizer} is not that of {facts.asked}: the server reads its tokens as "
            f"{''.join(decoded)!r}, not as {PROBES[0]!r}."
        )
    return True


async def _echo_trouble(client: Client, facts: ServerFacts) -> str:
    """Compares what the server would write next with what it says of the same token in a prompt; "" if they agree."""
    checked, worst = 0, 0.0
    for text in PROBES:
        answer = await _ask(client, facts, {"prompt": text, "max_tokens": 1, "temperature": 0, "logprobs": 5})
        written = ((choice(answer).get("logprobs") or {}).get("top_logprobs") or [None])[0] or {}
        for token, value in sorted(written.items(), key=lambda pair: -pair[1])[:CHECKS]:
            as_prompt = await _as_prompt(client, facts, text, token)
            if as_prompt is not None:
                checked, worst = checked + 1, max(worst, abs(as_prompt - value))
            if checked >= CHECKS:
                break
    if not checked:
        return "its log-probabilities of prompts could not be checked"
    if worst > TOLERANCE:
        return (
            f"the log-probabilities it returns for prompts are not those of their tokens: one is {worst:.1f} nats off "
            "what the same server gives the same token when it writes"
        )
    return ""


async def _as_prompt(client: Client, facts: ServerFacts, text: str, token: str) -> float | None:
    """Log-probability of `token` at the end of a prompt; None where it does not stand there as one token."""
    if not token.isascii() or not token.isprintable() or not token.strip():
        return None
    whole = text + token
    answer = await _ask(client, facts, echo_body(whole))
    last = echoed_tokens(answer, whole)[-1]
    return last.logprob if last.text == token and last.start == len(text) else None


def echo_body(text: str) -> dict[str, object]:
    """A request for the log-probabilities of a prompt, in the older form. One token is written and left unread."""
    return {"prompt": text, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
