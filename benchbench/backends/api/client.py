"""One server over HTTP: asked within bounds of time and size, patiently, and silent about its key.

What may pass (busy, broken line, half an answer) is tried again with growing waits; what will not pass raises at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn, TypeVar

from pydantic_core import from_json

from benchbench.backends.api.options import ServerOptions, read_key
from benchbench.backends.api.shapes import (
    KEY_IN_ANSWER,
    Answer,
    BadAnswerError,
    KeyInAnswerError,
    Shape,
    Usage,
    read_shape,
)
from benchbench.core.errors import ArgumentError, BackendError, ModelError

S = TypeVar("S", bound=Shape)
T = TypeVar("T")

PASSING = frozenset([408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529])
"""Status codes that may be gone the next time."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds. The n-th wait is drawn between half and all of FIRST_WAIT · 2ⁿ."""
TOLD_WAIT = 5.0
"""A wait that the server asked for is told from so many seconds on."""
DEAD_AFTER = 5
"""Requests in a row that came to nothing, however often they were sent, before the server counts as gone."""
LARGEST_ANSWER = 16 * 2**20
"""Bytes, unpacked: the log-probabilities of 150,000 tokens."""
LARGEST_ERROR = 64 * 2**10
"""Bytes of an answer that says what went wrong; a longer one is not read for its words."""
TOO_LONG = ("context length", "context_length", "context window", "maximum context", "too long", "max_model_len")

_log = logging.getLogger("benchbench.api")


class AnswerError(Exception):
    """A request that the server did not answer: `kind` for the record, the text a sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Client:
    """Sends JSON, returns what is read of the answer. Used from one event loop only."""

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
        self.waited = 0.0
        """Seconds that the server asked to wait and that were waited."""
        self.longest_asked = 0.0
        """The longest Retry-After, in seconds."""
        self._httpx = httpx
        self.key = read_key(options)
        headers = {"Accept-Encoding": "gzip"} | ({"Authorization": f"Bearer {self.key.text}"} if self.key.text else {})
        width = options.concurrency
        try:
            self._http = httpx.AsyncClient(
                base_url=options.base_url + "/",
                headers=headers,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                timeout=httpx.Timeout(options.timeout, connect=min(options.timeout, 30.0)),
                limits=httpx.Limits(max_connections=width, max_keepalive_connections=width),
                trust_env=options.host not in ("localhost", "127.0.0.1", "::1"),  # proxies are for other machines
                verify=options.base_url.startswith("https:"),  # certificates take a while to read
            )
        except httpx.InvalidURL as error:
            raise ArgumentError(f"base_url={options.base_url!r} is not an address ({error}).") from None
        self._not_before = 0.0
        self._next_slot = 0.0
        self._lost_in_a_row = 0

    async def get(self, path: str, shape: type[S]) -> S:
        """What the server says of itself; soon given up."""
        return await self._patiently(
            "GET", path, None, shape, lambda found: found, retries=min(2, self.options.retries)
        )

    async def post(self, path: str, body: Mapping[str, object], shape: type[S], parse: Callable[[S], T]) -> T:
        """`parse` of the answer; where that raises BadAnswerError the request is sent again.

        Raises AnswerError for a request that came to nothing, BackendError or ModelError where none would do better.
        """
        answer = await self._patiently("POST", path, body, shape, parse, retries=self.options.retries)
        self._lost_in_a_row = 0
        return answer

    async def _patiently(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        shape: type[S],
        parse: Callable[[S], T],
        *,
        retries: int,
    ) -> T:
        for attempt in range(retries + 1):
            await self._wait_for_slot()
            if attempt:
                self.counts["retries"] += 1
            try:
                return await self._once(method, path, body, shape, parse)
            except _PassingError as error:
                failure = error
                if attempt < retries:
                    await asyncio.sleep(_back_off(attempt) if error.wait is None else self._told_to_wait(error.wait))
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= DEAD_AFTER:
            raise BackendError(
                f"the server at {self.options.base_url} no longer answers: {failure}. What was answered is kept; the "
                "same command goes on from there."
            )
        raise AnswerError(failure.kind, f"{failure}, after {retries + 1} tries.")

    async def _once(
        self, method: str, path: str, body: Mapping[str, object] | None, shape: type[S], parse: Callable[[S], T]
    ) -> T:
        reply = await self._send(method, path, body)
        if method == "POST":
            self.counts["requests"] += 1
        if reply.status >= 300:
            self._refuse(reply)
        if reply.body is None:
            raise _PassingError("bad_answer", f"an answer was larger than {LARGEST_ANSWER >> 20} MB")
        try:
            answer = read_shape(shape, reply.body, self.key)
            if isinstance(answer, Answer) and answer.usage is not None:
                self._count(answer.usage)
            return parse(answer)
        except BadAnswerError as error:
            raise _PassingError("bad_answer", self.key.hide(str(error))) from None
        except KeyInAnswerError as error:
            raise AnswerError(KEY_IN_ANSWER, f"{error}; it is not kept.") from None
        except AnswerError as error:
            raise AnswerError(error.kind, self.key.hide(str(error))) from None

    async def _send(self, method: str, path: str, body: Mapping[str, object] | None) -> _Reply:
        """The whole answer, within the time and the size that one may have."""
        httpx = self._httpx
        late = f"no whole answer within {self.options.timeout:g} s"
        try:
            async with asyncio.timeout(self.options.timeout), self._http.stream(method, path, json=body) as reply:
                return await _read(reply)
        except (TimeoutError, httpx.TimeoutException):
            raise _PassingError("timeout", late) from None
        except httpx.ConnectError as error:
            raise _PassingError("unreachable", f"cannot be reached ({self.key.redact(str(error))})") from None
        except httpx.HTTPError as error:
            raise _PassingError("connection", f"the connection broke ({type(error).__name__})") from None
        except BadAnswerError as error:
            raise _PassingError("bad_answer", self.key.hide(str(error))) from None
        except Exception as error:  # noqa: BLE001 - what strange bytes do to the libraries is a failed request
            raise _PassingError("connection", f"the answer could not be read ({type(error).__name__})") from None

    def _refuse(self, reply: _Reply) -> NoReturn:
        """Raises what the status code means."""
        code, said = reply.status, _message(reply.body)
        message = self.key.redact(said)
        server = self.options.base_url
        if code < 400:
            raise AnswerError(
                "refused",
                f"The server sends requests elsewhere (HTTP {code}), which is not followed; give the address that "
                "answers itself as base_url.",
            )
        if code in (401, 403):
            has = "the key in" if self.key.text else "requests without a key; it would be read from"
            raise BackendError(f"the server at {server} refuses {has} {self.options.key_variable} (HTTP {code}).")
        if code == 429 and "insufficient_quota" in said:
            raise BackendError(
                f"the server at {server} says that this key's quota is used up. What was answered is kept; the same "
                "command goes on from there."
            )
        if code in PASSING:
            kind = "rate_limited" if code == 429 else "server_error"
            raise _PassingError(kind, f"the server answered HTTP {code}", _retry_after(reply.retry_after))
        if any(words in message.lower() for words in TOO_LONG):
            raise AnswerError("context_too_long", f"The server says that the prompt does not fit: {message}")
        if code == 404 and "model" in message.lower():
            raise ModelError(f"the server at {server} has no such model: {message}")
        if code == 404:
            raise AnswerError("no_such_address", f"The server at {server} does not know this address (HTTP 404).")
        raise AnswerError("refused", f"The server refused the request (HTTP {code}): {message}")

    def _told_to_wait(self, asked: float) -> float:
        """Seconds that a Retry-After is followed: all requests wait, but no longer than one answer may take."""
        wait = min(asked, self.options.timeout)
        until = time.monotonic() + wait
        longer = until - max(self._not_before, time.monotonic())
        self.longest_asked = max(self.longest_asked, asked)
        if longer > 0:
            self._not_before = until
            self.waited += longer
        if longer > 1 and max(wait, asked - wait) >= TOLD_WAIT:
            most = f", the most that is waited at once ({asked:,.0f} s were asked for)" if wait < asked else ""
            _log.warning("The server asks to wait (Retry-After): going on in %.0f s%s.", wait, most)
        return wait

    async def _wait_for_slot(self) -> None:
        """Keeps to the rate limit, and to the pause that a Retry-After asked for."""
        if self.options.requests_per_minute is not None:
            slot = max(time.monotonic(), self._next_slot)
            self._next_slot = slot + 60.0 / self.options.requests_per_minute
            await asyncio.sleep(slot - time.monotonic())
        while (left := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _count(self, usage: Usage) -> None:
        prompt = usage.prompt_tokens or 0
        self.counts["prompt_tokens"] += prompt
        self.counts["completion_tokens"] += usage.completion_tokens or 0
        if usage.prompt_tokens_details is not None:
            self.counts["cached_tokens"] += min(prompt, usage.prompt_tokens_details.cached_tokens or 0)

    def cost(self) -> float | None:
        """What the tokens counted so far cost, or None where no prices were given."""
        if self.options.input_price is None or self.options.output_price is None:
            return None
        prompt, completion = self.counts["prompt_tokens"], self.counts["completion_tokens"]
        return (prompt * self.options.input_price + completion * self.options.output_price) / 1e6

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


class _PassingError(Exception):
    """Worth another try. `wait`: seconds that the server asked for."""

    def __init__(self, kind: str, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind, self.wait = kind, wait


def _back_off(attempt: int) -> float:
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt, 30))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - keeps clients apart, no secret


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer as it came."""

    status: int
    body: bytes | None
    """Unpacked; None where it was larger than it may be."""
    retry_after: str | None


async def _read(reply: Any) -> _Reply:
    """A reply of httpx to its end, or to the size that it may have. BadAnswerError where it cannot be unpacked."""
    most = LARGEST_ANSWER if reply.status_code < 300 else LARGEST_ERROR
    packed = bytearray()
    async for piece in reply.aiter_raw():
        packed += piece
        if len(packed) > most:
            break
    body = None if len(packed) > most else _unpacked(bytes(packed), reply.headers.get("content-encoding", ""), most)
    return _Reply(reply.status_code, body, reply.headers.get("retry-after"))


def _unpacked(data: bytes, packing: str, most: int) -> bytes | None:
    """`data` as it was before it was packed; None where that is more than `most` bytes. Only gzip was offered."""
    if packing.strip().lower() in ("", "identity"):
        return data
    if packing.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise BadAnswerError("an answer was packed in a way that was not offered")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = unpacker.decompress(data, most + 1)
    except zlib.error:
        raise BadAnswerError("an answer could not be unpacked") from None
    return None if len(found) > most else found


def _retry_after(value: str | None) -> float | None:
    """Seconds that Retry-After asks for, given as a number or a date (RFC 9110 §10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if not math.isnan(seconds) else None


def _message(body: bytes | None) -> str:
    """What an error answer says, wherever it says it; "" where it says too much."""
    if body is None:
        return ""
    try:
        value = from_json(body)
    except ValueError:
        return body.decode("utf-8", errors="replace")
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        parts = [error.get("message") or error.get("detail") or error, error.get("code")]
        return " ".join(str(part) for part in parts if part is not None)
    return str(error)
