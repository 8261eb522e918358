"""Random answers of a server: an answer, a failed doc or a sentence, in time, and nothing of the key in any of them.

BENCHBENCH_FUZZ_TRIES says how many are tried.
"""

from __future__ import annotations

import functools
import gzip
import json
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchbench.backends import open_backend
from benchbench.backends.api import client as client_module
from benchbench.backends.api.backend import TextBackend
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import BenchbenchError
from benchbench.core.types import Completion, Failure, Loglikelihood
from tests.backends.servers import FaultyServer, TooLongError
from tests.backends.test_api import scoring, writing

TRIES = int(os.environ.get("BENCHBENCH_FUZZ_TRIES", "60"))
KEY = "sk-SECRET-0123456789abcdef"
LONGEST = 20.0
"""Seconds that one try may take on a busy machine; each of its few requests has half a second."""

ODD = st.one_of(
    st.sampled_from([KEY, KEY[:14], " ".join(KEY), f"Bearer {KEY}", KEY.encode().hex()]),
    st.sampled_from([0, -1, 2**31 - 1, 2**31, 10**40, -(10**40), 0.5, 1e308, -1e308, math.inf, -math.inf, math.nan]),
    st.sampled_from(
        [
            None,
            True,
            "",
            "words",
            "\x00",
            "\x1b[2J",
            "\u202e",
            "😀",
            "a" * 5000,
            [],
            {},
            [[]],
            [None],
            {"": None},
            [[[[[[]]]]]],
        ]
    ),
    st.one_of(st.text(max_size=20), st.integers(), st.floats()),
)
NAMES = [
    "text", "text", "content", "completion_tokens", "token_logprobs",
    "model", "system_fingerprint", "choices", "text", "finish_reason", "stop_reason", "logprobs", "tokens",
    "token_logprobs", "text_offset", "top_logprobs", "usage", "prompt_tokens", "completion_tokens",
    "prompt_tokens_details", "message",
    "content", "refusal", "error", "data", "id", "max_model_len", "meta", "n_ctx_train",
]  # fmt: skip
Edit = tuple[str, str, Any]
HOW = st.sampled_from(["set", "set", "inside", "drop", "twice"])
EDITS = st.lists(st.tuples(st.sampled_from(NAMES), HOW, ODD), min_size=4, max_size=12)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Content-Encoding", "Content-Type", "Location", "Set-Cookie", "X-Echo"]),
    st.one_of(
        st.sampled_from(["0", "9" * 30, "nan", "-1", "Fri, 31 Dec 9999 23:59:59 GMT", "gzip", "br", "gzip, gzip", KEY]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    ),
    max_size=2,
)
RAW = st.one_of(*[st.none()] * 9, st.binary(max_size=60), st.integers(0, 3000), st.just(b"[" * 50_000))
"""Bytes in place of the answer, or the place after which it is cut and continued with rubbish."""
STATUS = st.one_of(*[st.just(200)] * 5, st.sampled_from([204, 302, 400, 401, 404, 413, 429, 500, 503, 599]))


def changed(value: Any, edit: Edit) -> Any:
    """The JSON `value` with the field of the edit, or an entry of its list, set, dropped or doubled wherever it is."""
    name, how, odd = edit
    if isinstance(value, list):
        return [changed(one, edit) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: changed(one, edit) for key, one in value.items() if key != name}
    if name not in value:
        return found
    old = value[name]
    if how == "inside" and isinstance(old, list) and old:
        found[name] = [*old[:-1], {next(iter(old[-1])): odd} if isinstance(old[-1], dict) and old[-1] else odd]
    elif how == "twice" and isinstance(old, list):
        found[name] = old + old
    elif how != "drop":
        found[name] = odd
    return found


class Answering:
    """Sound answers to the first `sound` questions, or until the model is open, then ones with an edit each."""

    def __init__(
        self, sound: int | None, edits: Sequence[Edit], raw: Any, status: int, headers: dict[str, str]
    ) -> None:
        self.world = FaultyServer()
        self.sound, self.edits, self.raw, self.status, self.headers = sound, edits, raw, status, headers
        self.asked, self.is_open = 0, False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        value = self._sound(request)
        if not self.is_open and (self.sound is None or self.asked <= self.sound):
            return httpx.Response(200, stream=httpx.ByteStream(json.dumps(value).encode()))
        if self.status >= 400:
            value = {"error": {"message": "x" * 280 + str(self.edits), "code": self.raw and str(self.raw)[:50]}}
        if self.edits:
            value = changed(value, self.edits[self.asked % len(self.edits)])
        data = json.dumps(value).encode("utf-8", errors="surrogatepass")
        if isinstance(self.raw, bytes):
            data = self.raw
        elif self.raw is not None:
            data = data[: self.raw] + b"\xff{"[: self.raw % 3]
        if self.headers.get("Content-Encoding") == "gzip" and self.status % 2 == 0:
            data = gzip.compress(data)
        head = {**self.headers, "X-Key": request.headers.get("Authorization", "")}
        return httpx.Response(self.status, headers=head, stream=httpx.ByteStream(data))

    def _sound(self, request: httpx.Request) -> Any:
        if request.method == "GET":
            return {"data": [{"id": "words", "max_model_len": 200, "meta": {"n_ctx_train": 200}, "root": "words"}]}
        body = json.loads(request.content)
        try:
            if request.url.path.endswith("chat/completions"):
                answer = self.world.complete({**body, "prompt": body["messages"][-1]["content"]})
                answer["choices"][0]["message"] = {"role": "assistant", "content": answer["choices"][0].pop("text")}
            else:
                answer = self.world.complete(body)
        except TooLongError as error:
            return {"error": {"message": f"too long: {error}"}}
        usage = {**answer.get("usage", {}), "prompt_tokens_details": {"cached_tokens": 0}}
        return {"model": body["model"], "system_fingerprint": "fp", **answer, "usage": usage}


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answering], None]:
    """Sets who answers the requests of every client that is opened afterwards."""
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(client_module, "DEAD_AFTER", 1000)  # every question gets its odd answer
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    plain = httpx.AsyncClient

    def use(answers: Answering) -> None:
        transport = httpx.MockTransport(answers)
        monkeypatch.setattr(httpx, "AsyncClient", functools.partial(plain, transport=transport))

    return use


def outcome(answers: Answering, endpoint: str) -> list[Any]:
    """All that a run would keep or show of the server."""
    args = {"base_url": "http://localhost/v1", "timeout": "0.5", "retries": "0", "endpoint": endpoint}
    kept: list[Any] = []
    backend = None
    try:
        backend = open_backend(ModelOptions("words", backend="api", model_args=tuple(args.items())))
        assert isinstance(backend, TextBackend)
        answers.is_open = True
        assert backend.info.max_length < 2**31
        for answer in (*backend.generate(writing(6)), *backend.loglikelihood(scoring(2))):
            check(answer)
            kept.append(answer)
    except BenchbenchError as error:
        kept.append(str(error))
    finally:
        if backend is not None:
            kept += [backend.notes, backend.info, backend.work]
            backend.close()
    return kept


def check(answer: Any) -> None:
    """An answer that can be stored, or a failure."""
    if isinstance(answer, Completion):
        answer.text.encode()
        assert 0 <= answer.num_tokens < 2**31
        assert 0 <= answer.prompt_tokens < 2**31
        assert answer.finish_reason in ("stop", "eos", "length")
    elif isinstance(answer, Loglikelihood):
        assert math.isfinite(answer.total)
        assert answer.total <= 0.01 * answer.num_tokens
        assert 0 < answer.num_tokens < 2**31
    else:
        assert isinstance(answer, Failure)
        answer.message.encode()


@settings(
    max_examples=TRIES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from([None, None, None, 0, 1, 2, 3, 9]),
    EDITS,
    RAW, STATUS, HEADERS, st.sampled_from(["auto", "auto", "completions", "chat"]),
)  # fmt: skip
def test_whatever_a_server_answers_ends_in_an_answer_a_failed_doc_or_a_sentence(
    answering: Callable[[Answering], None],
    sound: int | None,
    edits: list[Edit],
    raw: Any,
    status: int,
    headers: dict[str, str],
    endpoint: str,
) -> None:
    answers = Answering(sound, edits, raw, status, headers)
    answering(answers)
    start = time.monotonic()
    kept = outcome(answers, endpoint)
    assert time.monotonic() - start < LONGEST
    assert threading.active_count() < 50
    shown = repr(kept)
    assert KEY not in shown
    assert KEY[:14] not in shown
    assert KEY.encode().hex() not in shown
    assert " ".join(KEY) not in shown
