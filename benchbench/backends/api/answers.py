"""What is sent to a server for one request, and what its answer means: who gives it, text, scores, conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from benchbench.backends.api.client import AnswerError
from benchbench.backends.api.shapes import (
    Answer,
    BadAnswerError,
    EchoedAnswer,
    IdsAnswer,
    ModelEntry,
    TokenLogprob,
    Usage,
    WrittenAnswer,
    WrittenChoice,
    scored,
)
from benchbench.backends.chat import ChatTemplate
from benchbench.backends.writing import Job, Written, cut_at_stop, seed
from benchbench.core.chat import Conversation
from benchbench.core.errors import ModelError
from benchbench.core.types import FinishReason, GenerationParams, Json

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
    """The model's entry in the server's list, as it stands there: it is hashed, and not shown."""
    entry: ModelEntry = field(default_factory=ModelEntry)
    """What is read of it."""

    @property
    def max_length(self) -> int | None:
        """Tokens that the server says the model holds."""
        return self.entry.max_length


MOST_FINGERPRINTS = 100
"""A server that names another one with every answer is not counted further."""


def check_name(facts: ServerFacts, answer: Answer, answers_as: str | None) -> None:
    """ModelError where an answer comes from another model than the one asked for, or than before."""
    name = facts.asked if answer.model is None else answer.model
    dated = name.startswith(f"{facts.asked}-") and name[len(facts.asked) + 1 :][:1].isdigit()
    if name not in (facts.asked, answers_as) and not dated:
        raise ModelError(
            f"{facts.asked} was asked for, but the server answers as {name}. Give --model {name}, or "
            f"--model-args answers_as={name} if that is the same model."
        )
    if facts.answered and name != facts.answered:
        raise ModelError(f"the server answered as {facts.answered} and now answers as {name}: another model.")
    facts.answered = name
    if answer.system_fingerprint and len(facts.fingerprints) < MOST_FINGERPRINTS:
        facts.fingerprints.add(answer.system_fingerprint)


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


def ids_score(answer: IdsAnswer, ids: Sequence[int], context: int) -> TextScore:
    """Score of `ids[context:]` from vLLM's `prompt_logprobs`. BadAnswerError where it is over other tokens."""
    rows = answer.choices[0].prompt_logprobs
    if rows is None:
        raise BadAnswerError("an answer had no prompt_logprobs")
    if len(rows) != len(ids):
        raise BadAnswerError(f"an answer had log-probabilities of {len(rows)} tokens, not {len(ids)}")
    total, greedy = 0.0, True
    for token, row in zip(ids[context:], rows[context:], strict=True):
        entry = (row or {}).get(str(token))
        if entry is None:
            raise BadAnswerError(f"an answer had no log-probability of token {token}")
        total += scored(entry.logprob)
        greedy = greedy and _is_best(entry, row or {})
    return TextScore(total, greedy, len(ids) - context, context)


def _is_best(entry: TokenLogprob, row: Mapping[str, TokenLogprob]) -> bool:
    if entry.rank is not None:
        return entry.rank == 1
    return entry.logprob >= max(other.logprob for other in row.values())


def echoed_tokens(answer: EchoedAnswer, text: str) -> list[EchoedToken]:
    """The prompt's tokens of an answer with `echo`. BadAnswerError where the lists do not fit each other or `text`."""
    first = answer.choices[0]
    if text not in (first.text or ""):
        raise BadAnswerError("an answer did not echo the prompt")
    listed = first.logprobs
    if (
        listed is None
        or listed.tokens is None
        or listed.token_logprobs is None
        or listed.text_offset is None
        or listed.top_logprobs is None
    ):
        raise BadAnswerError("an answer had no log-probabilities of the prompt")
    tokens, logprobs, offsets, best = listed.tokens, listed.token_logprobs, listed.text_offset, listed.top_logprobs
    if len({len(tokens), len(logprobs), len(offsets), len(best)}) != 1 or not tokens:
        raise BadAnswerError("the lists of log-probabilities in an answer were of unlike lengths")
    shift = _special_before(tokens, offsets, text)
    found = [
        EchoedToken(token, offset - shift, value, _tops(value, top))
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
    rest = tokens[first:]
    values = [token.logprob for token in rest]
    if any(value is None for value in values):
        raise AnswerError(
            "first_token_unknown",
            "The server does not say how likely the first token of a text is, so that a text without a context cannot "
            "be scored.",
        )
    total = sum(scored(value) for value in values if value is not None)
    return TextScore(total, all(token.is_best for token in rest), len(rest), first)


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


LONGEST_TOKEN = 1000
"""Characters: no tokenizer has longer ones, so that a longer text was not written within the tokens asked for."""


def written(answer: WrittenAnswer, index: int, params: GenerationParams) -> tuple[Written, int]:
    """The text of an answer, cut at the first stop string, and how many prompt tokens the server counted.

    AnswerError where the server wrote nothing on purpose, or stopped early because its own room was used up.
    """
    first, usage = answer.choices[0], answer.usage or Usage()
    raw = first.text if first.message is None else first.message.content
    tokens = usage.completion_tokens or 0
    if first.finish_reason == "content_filter":
        raise AnswerError("content_filter", "The server withheld its answer (finish_reason content_filter).")
    if raw is None and first.message is not None and first.message.refusal:
        raise AnswerError("refused", "The model refused to answer.")
    if raw is not None and len(raw) > LONGEST_TOKEN * (params.max_gen_toks + 1):
        raise BadAnswerError(f"an answer's text was too long for {params.max_gen_toks} tokens")
    if first.finish_reason == "length" and 0 < tokens < params.max_gen_toks:
        raise AnswerError(
            "context_too_long",
            f"The server stopped after {tokens} of {params.max_gen_toks} tokens, because prompt and text fill its "
            "context.",
        )
    text = cut_at_stop(raw or "", params.until)
    return Written(index, text, _reason(first, params, cut=text != raw), tokens), usage.prompt_tokens or 0


def _reason(first: WrittenChoice, params: GenerationParams, *, cut: bool) -> FinishReason:
    """`stop` also covers ends that the server does not tell from an end token: only vLLM names its stop_reason."""
    if cut:
        return "stop"
    if first.finish_reason == "length":
        return "length"
    told = "stop_reason" in first.model_fields_set
    by_string = isinstance(first.stop_reason, str) if told else any(params.until)
    return "stop" if by_string else "eos"


def question_key(parts: Sequence[object], params: GenerationParams | None = None) -> list[object]:
    """What a request asks, as JSON: texts, and how to write."""
    return [*parts, None if params is None else params.as_json()]


Messages = list[dict[str, Any]]


class ServerChat:
    """The server's own template, of which nothing is known."""

    sha256 = "server"
    system_role = "system"
    arguments: Mapping[str, Json] = {}
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
