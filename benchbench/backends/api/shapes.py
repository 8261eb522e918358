"""The JSON of a server's answers, as far as it is read: types and ranges, checked where an answer comes in.

Unknown fields are ignored. Each question has the shape of its answer: an odd field that nobody asked for costs nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from benchbench.backends.api.key import Key

MOST_TOKENS = 2**31 - 1
LONGEST_NAME = 500
ROUNDING = 0.01
"""A log-probability may be above 0 by as much: servers compute in half precision."""
LOWEST = -1e6
"""No scored token is less likely, in nats; vLLM writes -9999 for what is impossible."""
MOST_ERRORS = 1000
KEY_IN_ANSWER = "key_in_answer"


class BadAnswerError(ValueError):
    """An answer that is not what was asked for; it may be better the next time."""


class KeyInAnswerError(ValueError):
    """An answer that holds the key: not to be stored."""


def _without_key(text: str, info: ValidationInfo) -> str:
    key = (info.context or {}).get("key")
    if isinstance(key, Key) and key.is_in_answer(text):
        raise PydanticCustomError(KEY_IN_ANSWER, "holds the key")
    return text


def _likely(value: float) -> float:
    if not value <= ROUNDING:  # also NaN
        raise PydanticCustomError("logprob", "is no log-probability")
    return value


Text = Annotated[str, AfterValidator(_without_key)]
"""Kept, shown or both."""
Name = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(_without_key)]
Place = Annotated[int, Field(ge=-MOST_TOKENS, le=MOST_TOKENS)]
Count = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
Logprob = Annotated[float, AfterValidator(_likely)]
"""In nats; -inf is possible where a token cannot come. What is scored goes through `scored`."""


V = TypeVar("V")
Listed = Annotated[list[V], Field(fail_fast=True)]
"""A long list that is wrong throughout is one error, not millions."""
Choice = TypeVar("Choice")
OnlyChoice = Annotated[tuple[Choice, ...], Field(min_length=1, max_length=1)]


def scored(value: float) -> float:
    """A log-probability that is part of a score. BadAnswerError where it is not finite, or beyond all sense."""
    if value < LOWEST:
        raise BadAnswerError(f"an answer had a log-probability of {value:g}")
    return value


class Shape(BaseModel):
    """Base of all that is read of a server's JSON."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class CachedTokens(Shape):
    """Details of the prompt's tokens."""

    cached_tokens: Count | None = None


class Usage(Shape):
    """What the server counted."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: CachedTokens | None = None


class Answer(Shape):
    """What every answer may say."""

    model: Name | None = None
    system_fingerprint: Name | None = None
    usage: Usage | None = None


class Message(Shape):
    """A turn of the chat endpoint."""

    content: Text | None = None
    refusal: Text | None = None


class WrittenChoice(Shape):
    """A text of either endpoint, and why it ends."""

    text: Text | None = None
    message: Message | None = None
    finish_reason: Name | None = None
    stop_reason: Text | int | None = None
    """Of vLLM: the stop string or token."""

    @model_validator(mode="after")
    def _is_written(self) -> Self:
        if self.message is None and ("text" not in self.model_fields_set or "message" in self.model_fields_set):
            raise PydanticCustomError("text", "has neither text nor message")
        return self


class EchoedLogprobs(Shape):
    """One entry per token, in the older form of the completions endpoint."""

    tokens: Listed[str] | None = None
    token_logprobs: Listed[Logprob | None] | None = None
    text_offset: Listed[Place] | None = None
    top_logprobs: Listed[dict[str, Logprob] | None] | None = None


class EchoedChoice(Shape):
    """A prompt that comes back with its log-probabilities."""

    text: str | None = None
    logprobs: EchoedLogprobs | None = None


class NextLogprobs(Shape):
    """What could be written next."""

    top_logprobs: Listed[dict[str, Logprob] | None] | None = None


class NextChoice(Shape):
    """A text with what could have stood in its place."""

    logprobs: NextLogprobs | None = None


class TokenLogprob(Shape):
    """One token of vLLM's `prompt_logprobs`."""

    logprob: Logprob
    rank: int | None = None
    decoded_token: str | None = None


class IdsChoice(Shape):
    """A prompt of token ids with vLLM's log-probabilities: token id → entry, for each place."""

    prompt_logprobs: Listed[dict[str, TokenLogprob] | None] | None = None


class WrittenAnswer(Answer):
    """Answer to a request for text."""

    choices: OnlyChoice[WrittenChoice]


class EchoedAnswer(Answer):
    """Answer to a request that echoes its prompt."""

    choices: OnlyChoice[EchoedChoice]


class NextAnswer(Answer):
    """Answer to a request for the most likely next tokens."""

    choices: OnlyChoice[NextChoice]


class IdsAnswer(Answer):
    """Answer to a request in token ids."""

    choices: OnlyChoice[IdsChoice]


class ModelList(Shape):
    """The server's models; their entries are read one by one, for only one of them matters."""

    data: Listed[JsonValue]


class ModelMeta(Shape):
    """What llama.cpp says of a model."""

    n_ctx_train: Count | None = None


class ModelEntry(Shape):
    """What a server says of one model."""

    max_model_len: Count | None = None
    meta: ModelMeta | None = None

    @property
    def max_length(self) -> int | None:
        """Tokens that the model holds; None where the server does not tell."""
        return self.max_model_len or (self.meta.n_ctx_train if self.meta else None) or None


S = TypeVar("S", bound=Shape)


def read_shape(shape: type[S], body: bytes, key: Key) -> S:
    """The JSON in `body`. BadAnswerError or KeyInAnswerError, with a sentence, where it is not what was expected."""
    try:
        return shape.model_validate_json(body.removeprefix(b"\xef\xbb\xbf"), context={"key": key})
    except ValidationError as error:
        raise _meaning(error) from None


def read_entry(entry: Any) -> ModelEntry:
    """One entry of the list of models. BadAnswerError where a number in it cannot be."""
    try:
        return ModelEntry.model_validate(entry)
    except ValidationError as error:
        raise _meaning(error) from None


def _meaning(error: ValidationError) -> ValueError:
    """What is wrong first. Nothing of the answer itself is quoted, for it may hold anything."""
    if error.error_count() > MOST_ERRORS:
        return BadAnswerError("an answer could not be used")
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if any(one["type"] == KEY_IN_ANSWER for one in found):
        return KeyInAnswerError("an answer holds the key or a part of it")
    first = found[0]
    if first["type"] == "json_invalid":
        return BadAnswerError("an answer was not JSON")
    if not first["loc"]:
        return BadAnswerError("an answer was not a JSON object")
    where = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part.isidentifier())
    if where == "choices" and first["type"] in ("too_long", "too_short"):
        return BadAnswerError("an answer had not one choice")
    return BadAnswerError(f"an answer could not be used at {where[:100]}: {first['msg']}")
