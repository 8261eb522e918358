"""What is sent to a server for one request, and what its answer means: who gives it, text, scores, conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from benchbench.backends.api.client import AnswerError, BadAnswerError
from benchbench.backends.chat import ChatTemplate
from benchbench.backends.writing import Job, Written, cut_at_stop, seed
from benchbench.core.chat import Conversation
from benchbench.core.errors import ModelError
from benchbench.core.types import FinishReason, GenerationParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Scoring = Literal["ids", "echo"]


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


def echo_body(text: str) -> dict[str, object]:
    """A request for the log-probabilities of a prompt, in the older form. One token is written and left unread."""
    return {"prompt": text, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}


MOST_STOPS = 4
"""The API's limit on stop strings; the others are applied to the text that comes back."""


def writing_body(job: Job, *, length_name: str = "max_tokens") -> dict[str, object]:
    """The part of a request that says how to write. Only what differs from the default is sent beyond the standard."""
    params = job.params
    body: dict[str, object] = {
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
    finish = first.get("finish_reason")
    usage = answer.get("usage") or {}
    tokens = int(usage.get("completion_tokens") or 0)
    if finish == "content_filter":
        raise AnswerError("content_filter", "The server withheld its answer (finish_reason content_filter).")
    if raw is None and first.get("message", {}).get("refusal"):
        raise AnswerError("refused", "The model refused to answer.")
    if raw is not None and not isinstance(raw, str):
        raise BadAnswerError("an answer's text was not a string")
    if finish == "length" and 0 < tokens < params.max_gen_toks:
        raise AnswerError(
            "context_too_long",
            f"The server stopped after {tokens} of {params.max_gen_toks} tokens, because prompt and text fill its "
            "context.",
        )
    text = cut_at_stop(raw or "", params.until)
    return Written(index, text, _reason(finish, first, params, cut=text != raw), tokens), int(
        usage.get("prompt_tokens") or 0
    )


def _reason(finish: Any, first: Mapping[str, Any], params: GenerationParams, *, cut: bool) -> FinishReason:
    """`stop` also covers ends that the server does not tell from an end token: only vLLM names its stop_reason."""
    if cut:
        return "stop"
    if finish == "length":
        return "length"
    told = "stop_reason" in first
    by_string = isinstance(first.get("stop_reason"), str) if told else any(params.until)
    return "stop" if by_string else "eos"


def question_key(parts: Sequence[object], params: GenerationParams | None = None) -> list[object]:
    """What a request asks, as JSON: texts, and how to write."""
    return [*parts, None if params is None else params.as_json()]


Messages = list[dict[str, Any]]


class ServerChat:
    """The server's own template, of which nothing is known."""

    sha256 = "server"
    system_role = "system"
    notes = ("Conversations were sent as messages; which chat template the server makes text of them with is unknown.",)

    def text(self, conversation: Conversation) -> str:
        """The turns, each under its role."""
        return "\n\n".join(f"[{message.role}]\n{message.content}" for message in conversation.messages)

    def continuation(self, conversation: Conversation, continuation: str) -> str:
        """As it is."""
        return continuation


def as_messages(conversation: Conversation) -> Messages:
    """The turns as the API wants them."""
    return [asdict(message) for message in conversation.messages]


def going_on(messages: Messages) -> dict[str, bool]:
    """What tells vLLM and its like that the answer goes on with the last message; the API itself has no word for it."""
    is_begun = messages[-1]["role"] == "assistant"
    return {"add_generation_prompt": False, "continue_final_message": True} if is_begun else {}


class TemplatedText:
    """Conversations as text for a server that reads text: it adds the beginning-of-sequence token itself."""

    def __init__(self, template: ChatTemplate, tokenizer: PreTrainedTokenizerBase) -> None:
        self.template = template
        first = list(tokenizer("a")["input_ids"])[:1]
        self._added = tokenizer.bos_token if first and first[0] == tokenizer.bos_token_id else ""

    def text(self, conversation: Conversation) -> str:
        """AnswerError where a turn mentions a control token: within text, a server cannot tell it from a real one."""
        for message in conversation.messages:
            self._refuse_control(message.content)
        return self.template.text(conversation).removeprefix(self._added or "")

    def continuation(self, conversation: Conversation, continuation: str) -> str:
        """What follows `text`; AnswerError as there."""
        self._refuse_control(continuation)
        return self.template.continuation(conversation, continuation)

    def _refuse_control(self, text: str) -> None:
        if self.template.control.mark(text) != text:
            raise AnswerError(
                "control_token",
                "The document mentions a control token of the model, which this server would read as a real one. A "
                "server that takes token ids (vLLM) or the model itself can be asked.",
            )
