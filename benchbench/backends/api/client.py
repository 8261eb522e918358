"""One server over HTTP: what `--model-args` may say of it; asked within bounds, patiently, and silent about keys.

What may pass (busy, broken line, half an answer) is tried again with growing waits; what will not pass raises at once.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field

from benchbench.backends.engine_options import WHOLE, EngineOptions, expected, read_options
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError, BackendError, ModelError

Endpoint = Literal["auto", "completions", "chat"]
ENDPOINTS: tuple[Endpoint, ...] = ("auto", "completions", "chat")
KEY_VARIABLE = "OPENAI_API_KEY"
Positive = Annotated[float, Field(ge=1e-3, allow_inf_nan=False), expected("is not a number of at least 0.001")]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False), expected("is not a number of at least 0")]


class ServerOptions(EngineOptions):
    """`--model-args` for a server: which one, and how hard it may be asked."""

    base_url: str = ""
    """Up to and including `/v1`; empty: that of OPENAI_BASE_URL."""
    endpoint: Annotated[Endpoint, expected(f"is not one of {', '.join(ENDPOINTS)}")] = "auto"
    """completions (text goes in as it is) or chat (text becomes a user's message); auto prefers completions."""
    tokenizer: str | None = None
    """Folder or hub name of the model's tokenizer: then token ids are sent to servers that take them."""
    answers_as: str | None = None
    """The name that the server answers with where it is not the one asked for."""
    concurrency: Annotated[int, WHOLE, Field(ge=1), expected("is not a number of at least 1")] = 8
    """Requests under way at once."""
    requests_per_minute: Positive | None = None
    retries: Annotated[int, WHOLE, Field(ge=0), expected("is not a number of at least 0")] = 6
    """How often one request is sent again."""
    timeout: Positive = 300.0
    """Seconds to wait for one answer."""
    key_variable: str = KEY_VARIABLE
    """Environment variable that holds the key."""
    input_price: Price | None = None
    """Of a million prompt tokens, in whatever money; the cost is counted in the same."""
    output_price: Price | None = None
    """Of a million completion tokens."""

    @property
    def host(self) -> str:
        """Name of the machine, without port."""
        return urlsplit(self.base_url).hostname or ""


def server_options(options: ModelOptions) -> ServerOptions:
    """The options in `options.model_args`; the address also from OPENAI_BASE_URL. ArgumentError for a bad value."""
    found = read_options(options.model_args, ServerOptions, backend="api")
    if (found.input_price is None) != (found.output_price is None):
        raise ArgumentError("--model-args needs both input_price and output_price, per million tokens, or neither.")
    return found.model_copy(update={"base_url": _address(found.base_url or os.environ.get("OPENAI_BASE_URL"))})


def read_key(options: ServerOptions) -> str | None:
    """The key, from the environment and nowhere else. BackendError where a variable was named and is not set."""
    key = os.environ.get(options.key_variable, "").strip()
    if not key and options.key_variable != KEY_VARIABLE:
        raise BackendError(f"--model-args names key_variable={options.key_variable}, but that variable is not set.")
    return key or None


def _address(url: str | None) -> str:
    if not url:
        raise ArgumentError(
            "the backend api needs an address: --model-args base_url=http://localhost:8000/v1 (or OPENAI_BASE_URL)."
        )
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentError(f"base_url={url!r} is not an address such as http://localhost:8000/v1.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ArgumentError(
            f"the base_url for {parts.hostname} holds a user, a password or a query, which would go into the record. "
            f"Put the key into the environment variable {KEY_VARIABLE} instead."
        )
    return url.rstrip("/")


T = TypeVar("T")
Parse = Callable[[Mapping[str, Any]], T]

PASSING = frozenset([408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529])
"""Status codes that may be gone the next time."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds. The n-th wait is drawn between half and all of FIRST_WAIT · 2ⁿ."""
LONGEST_PAUSE = 600.0
"""The most that a Retry-After is followed, in seconds."""
DEAD_AFTER = 5
"""Requests in a row that came to nothing, however often they were sent, before the server counts as gone."""
TOO_LONG = ("context length", "context_length", "context window", "maximum context", "too long", "max_model_len")


class AnswerError(Exception):
    """A request that the server did not answer: `kind` for the record, the text a sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class BadAnswerError(ValueError):
    """An answer that is not what was asked for; it may be better the next time."""


class Client:
    """Sends JSON, returns what `parse` makes of the answer. Used from one event loop only."""

    def __init__(self, options: ServerOptions) -> None:
        try:
            import httpx
        except ImportError:
            raise BackendError(
                "the backend api needs httpx, which is not installed here: pip install 'benchbench-eval[api]'."
            ) from None
        self.options = options
        self.counts = Counter[str]()
        """requests, retries, prompt_tokens, cached_tokens, completion_tokens."""
        self._httpx = httpx
        self._key = read_key(options)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        width = options.concurrency
        self._http = httpx.AsyncClient(
            base_url=options.base_url + "/",
            headers=headers,
            timeout=httpx.Timeout(options.timeout, connect=min(options.timeout, 30.0)),
            limits=httpx.Limits(max_connections=width, max_keepalive_connections=width),
            trust_env=options.host not in ("localhost", "127.0.0.1", "::1"),  # proxies are for other machines
            verify=options.base_url.startswith("https:"),  # certificates take a while to read
        )
        self._not_before = 0.0
        self._next_slot = 0.0
        self._lost_in_a_row = 0

    async def get(self, path: str, parse: Parse[T]) -> T:
        """As `post`, for what the server says of itself; soon given up."""
        return await self._patiently("GET", path, None, parse, retries=min(2, self.options.retries))

    async def post(self, path: str, body: Mapping[str, object], parse: Parse[T]) -> T:
        """`parse` of the answer; where it raises BadAnswerError the request is sent again.

        Raises AnswerError for a request that came to nothing, BackendError or ModelError where none would do better.
        """
        answer = await self._patiently("POST", path, body, parse, retries=self.options.retries)
        self._lost_in_a_row = 0
        return answer

    async def _patiently(
        self, method: str, path: str, body: Mapping[str, object] | None, parse: Parse[T], *, retries: int
    ) -> T:
        for attempt in range(retries + 1):
            await self._wait_for_slot()
            if attempt:
                self.counts["retries"] += 1
            try:
                return await self._once(method, path, body, parse)
            except _PassingError as error:
                failure = error
                wait = error.wait if error.wait is not None else _back_off(attempt)
                if error.wait is not None:
                    self._not_before = max(self._not_before, time.monotonic() + wait)
                if attempt < retries:
                    await asyncio.sleep(wait)
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= DEAD_AFTER:
            raise BackendError(
                f"the server at {self.options.base_url} no longer answers: {failure}. What was answered is kept; the "
                "same command goes on from there."
            )
        raise AnswerError(failure.kind, f"{failure}, after {retries + 1} tries.")

    async def _once(self, method: str, path: str, body: Mapping[str, object] | None, parse: Parse[T]) -> T:
        httpx = self._httpx
        try:
            reply = await self._http.request(method, path, json=body)
        except httpx.TimeoutException:
            raise _PassingError("timeout", f"no answer within {self.options.timeout:g} s") from None
        except httpx.ConnectError as error:
            raise _PassingError("unreachable", f"cannot be reached ({self._clean(str(error))})") from None
        except httpx.HTTPError as error:
            raise _PassingError("connection", f"the connection broke ({type(error).__name__})") from None
        if method == "POST":
            self.counts["requests"] += 1
        if reply.status_code >= 400:
            self._refuse(reply)
        try:
            value = reply.json()
        except ValueError:
            raise _PassingError("bad_answer", "an answer was not JSON") from None
        if not isinstance(value, dict):
            raise _PassingError("bad_answer", "an answer was not a JSON object")
        self._count(value.get("usage"))
        try:
            return parse(value)
        except BadAnswerError as error:
            raise _PassingError("bad_answer", str(error)) from None
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise _PassingError("bad_answer", f"an answer lacked {self._clean(repr(error))}") from None

    def _refuse(self, reply: Any) -> None:
        """Raises what the status code means."""
        code, message = reply.status_code, self._clean(_message(reply))
        server = self.options.base_url
        if code in (401, 403):
            has = "the key in" if self._key else "requests without a key; it would be read from"
            raise BackendError(f"the server at {server} refuses {has} {self.options.key_variable} (HTTP {code}).")
        if code == 429 and "insufficient_quota" in reply.text:
            raise BackendError(
                f"the server at {server} says that this key's quota is used up. What was answered is kept; the same "
                "command goes on from there."
            )
        if code in PASSING:
            kind = "rate_limited" if code == 429 else "server_error"
            raise _PassingError(kind, f"the server answered HTTP {code}", _retry_after(reply.headers))
        if any(words in message.lower() for words in TOO_LONG):
            raise AnswerError("context_too_long", f"The server says that the prompt does not fit: {message}")
        if code == 404 and "model" in message.lower():
            raise ModelError(f"the server at {server} has no such model: {message}")
        if code == 404:
            raise AnswerError("no_such_address", f"The server at {server} does not know this address (HTTP 404).")
        raise AnswerError("refused", f"The server refused the request (HTTP {code}): {message}")

    async def _wait_for_slot(self) -> None:
        """Keeps to the rate limit, and to the pause that a Retry-After asked for."""
        if self.options.requests_per_minute is not None:
            slot = max(time.monotonic(), self._next_slot)
            self._next_slot = slot + 60.0 / self.options.requests_per_minute
            await asyncio.sleep(slot - time.monotonic())
        while (left := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        for name in ("prompt_tokens", "completion_tokens"):
            if isinstance(usage.get(name), int):
                self.counts[name] += usage[name]
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        if isinstance(cached, int):
            self.counts["cached_tokens"] += cached

    def cost(self) -> float | None:
        """What the tokens counted so far cost, or None where no prices were given."""
        if self.options.input_price is None or self.options.output_price is None:
            return None
        prompt, completion = self.counts["prompt_tokens"], self.counts["completion_tokens"]
        return (prompt * self.options.input_price + completion * self.options.output_price) / 1e6

    def _clean(self, text: str) -> str:
        """One line of what somebody else said, without the key."""
        line = " ".join(text.split())[:300]
        return line.replace(self._key, "[key]") if self._key else line

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


class _PassingError(Exception):
    """Worth another try. `wait`: seconds that the server asked for."""

    def __init__(self, kind: str, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind, self.wait = kind, wait


def _back_off(attempt: int) -> float:
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - keeps clients apart, no secret


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, given as a number or a date (RFC 9110 §10.2.3)."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(LONGEST_PAUSE, max(0.0, seconds))


def _message(reply: Any) -> str:
    """What an error answer says, wherever it says it."""
    try:
        value = reply.json()
    except ValueError:
        return str(reply.text)
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        parts = [error.get("message") or error.get("detail") or error, error.get("code")]
        return " ".join(str(part) for part in parts if part is not None)
    return str(error)
