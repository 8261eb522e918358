"""The api backend against answers without end, with impossible numbers, or with the key in them."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.api import client as client_module
from benchbench.backends.api.key import HIDDEN, Key
from benchbench.backends.api.shapes import BadAnswerError, read_entry
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError, BackendError, BenchbenchError, ModelError
from benchbench.core.types import PASSING_FAILURES, Completion, Failure
from tests.backends.servers import FaultyServer, Handler, serving
from tests.backends.test_api import opened, scoring, writing

KEY = "sk-SECRET-0123456789abcdef"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FaultyServer()) as world:
        yield world


def sending(write: Callable[[Handler], None]) -> Any:
    """A fault that writes bytes itself, as long as the other side listens."""

    def fault(world: FaultyServer, handler: Handler, body: dict[str, Any]) -> bool:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            write(handler)
        return True

    return fault


def drip(handler: Handler, head: bytes, piece: bytes, pause: float = 0.05) -> None:
    handler.wfile.write(head)
    for _ in range(int(30 / max(pause, 0.001))):
        handler.wfile.write(piece)
        handler.wfile.flush()
        time.sleep(pause)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS: dict[str, tuple[Callable[[Handler], None], str]] = {
    "a body, byte by byte": (lambda h: drip(h, HEAD + b"Content-Length: 100000\r\n\r\n", b" "), "timeout"),
    "chunks": (lambda h: drip(h, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), "timeout"),
    "headers, byte by byte": (lambda h: drip(h, HEAD + b"X-Long: ", b"a"), "timeout"),
    "nothing": (lambda h: time.sleep(3), "timeout"),
    "an early answer again and again": (lambda h: drip(h, b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "timeout"),
    "headers as fast as can be": (lambda h: drip(h, HEAD, b"X: " + b"a" * 60_000 + b"\r\n", 0.001), "connection"),
    "a body as fast as can be": (lambda h: drip(h, HEAD + b"\r\n", b" " * 500_000, 0.0), "bad_answer"),
    "an error, byte by byte": (lambda h: drip(h, b"HTTP/1.1 400 Bad\r\nContent-Length: 9999\r\n\r\n", b"a"), "timeout"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_without_end_is_given_up(server: FaultyServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LARGEST_ANSWER", 1_000_000)
    write, kind = ENDLESS[name]
    backend = opened(server, timeout=0.8, retries=0)
    server.fault = sending(write)
    start = time.monotonic()
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Failure)
    assert answer.kind == kind
    assert answer.kind in PASSING_FAILURES
    assert time.monotonic() - start < 2.5
    backend.close()


def test_what_grows_when_it_is_unpacked_is_measured_first(server: FaultyServer) -> None:
    backend = opened(server, retries=0)
    bomb = gzip.compress(b"0" * 50_000_000)
    server.fault = lambda w, h, b: (h.reply(200, bomb, {"Content-Encoding": "gzip"}), True)[1]
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Failure)
    assert "larger than 16 MB" in answer.message
    server.fault = lambda w, h, b: (h.reply(200, b"x", {"Content-Encoding": "br"}), True)[1]
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Failure)
    assert "not offered" in answer.message
    packed = gzip.compress(json.dumps({"model": "words", **server.complete({"prompt": "a", "max_tokens": 5})}).encode())
    server.fault = lambda w, h, b: (h.reply(200, packed, {"Content-Encoding": "gzip"}), True)[1]
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Completion)
    backend.close()


@pytest.mark.parametrize(
    ("value", "is_capped"),
    [
        ("99999999", True), ("1e400", True), ("Fri, 31 Dec 9999 23:59:59 GMT", True), ("nan", False), ("-5", False),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", False), ("soon", False), ("", False),
    ],
)  # fmt: skip
def test_a_wait_is_no_longer_than_an_answer_may_take_and_is_told(
    server: FaultyServer, caplog: pytest.LogCaptureFixture, value: str, is_capped: bool
) -> None:
    backend = opened(server, timeout=1.2, retries=2)

    def once(world: FaultyServer, handler: Handler, body: dict[str, Any]) -> bool:
        world.faults["made"] += 1
        return world.faults["made"] == 1 and (handler.reply(429, {}, {"Retry-After": value}), True)[1]

    server.fault = once
    start = time.monotonic()
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Completion)
    assert time.monotonic() - start < 5
    assert ("the most that is waited" in caplog.text) == is_capped
    assert any("longer waits" in note for note in backend.notes) == is_capped
    assert (backend.work.served.get("waited_seconds", 0) > 1) == is_capped
    backend.close()


USAGE = [
    {"prompt_tokens": 10**40}, {"prompt_tokens": -1}, {"completion_tokens": 2**31}, {"completion_tokens": 1.5},
    {"prompt_tokens": "many"}, {"prompt_tokens": []}, {"prompt_tokens_details": {"cached_tokens": -1}},
    {"prompt_tokens_details": [1]}, [3], "x", 7,
]  # fmt: skip


@pytest.mark.parametrize("usage", USAGE, ids=str)
def test_impossible_counts_fail_a_doc_and_are_not_counted(server: FaultyServer, usage: object) -> None:
    backend = opened(server, retries=0)
    counted = dict(backend.server.client.counts)

    def lie(world: FaultyServer, handler: Handler, body: dict[str, Any]) -> bool:
        handler.reply(200, {"model": "words", **world.complete(body), "usage": usage})
        return True

    server.fault = lie
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Failure)
    assert answer.kind == "bad_answer"
    assert dict(backend.server.client.counts) == {**counted, "requests": counted["requests"] + 1}
    backend.close()


@pytest.mark.parametrize("value", ["0.5", "NaN", "Infinity", "-Infinity", "-1e7", '"x"', "[]", "true", "1e400"])
def test_a_log_probability_that_is_none_scores_nothing(server: FaultyServer, value: str) -> None:
    backend = opened(server, retries=0)

    def lie(world: FaultyServer, handler: Handler, body: dict[str, Any]) -> bool:
        answer = world.complete(body)
        answer["choices"][0]["logprobs"]["token_logprobs"][2:] = ["@"] * (
            len(answer["choices"][0]["logprobs"]["tokens"]) - 2
        )
        handler.reply(200, json.dumps({"model": "words", **answer}).replace('"@"', value).encode())
        return True

    server.fault = lie
    for answer in backend.loglikelihood(scoring(1)):
        assert isinstance(answer, Failure), answer
        assert answer.kind == "bad_answer"
    backend.close()


BODIES: dict[str, bytes] = {
    "deep": b'{"choices": ' + b"[" * 100_000,
    "a lone surrogate": b'{"choices": [{"text": "\\ud800"}]}',
    "no UTF-8": b'{"choices": [{"text": "\xff"}]}',
    "a number of 5,000 digits": b'{"choices": [{"text": "a"}], "usage": {"prompt_tokens": ' + b"1" * 5000 + b"}}",
    "200,000 choices": b'{"choices": [' + b'{"text": "a"},' * 200_000 + b"{}]}",
    "lists of nothing": b'{"choices": [{"text": "a"}], "model": [' + b"{}," * 300_000 + b"{}]}",
    "a text beyond all tokens": b'{"choices": [{"text": "' + b"a" * 100_000 + b'"}]}',
    "a name without end": b'{"choices": [{"text": "a"}], "model": "' + b"a" * 100_000 + b'"}',
    "null": b"null",
    "empty": b"",
}


@pytest.mark.parametrize("name", BODIES)
def test_strange_bodies_fail_a_doc_in_few_words(server: FaultyServer, name: str) -> None:
    backend = opened(server, retries=0)
    server.fault = lambda w, h, b: (h.reply(200, BODIES[name]), True)[1]
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Failure)
    assert answer.kind == "bad_answer"
    assert len(answer.message) < 300
    server.fault = lambda w, h, b: (h.reply(400, BODIES[name]), True)[1]
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Failure)
    assert len(answer.message) < 500
    backend.close()


@pytest.mark.parametrize(
    "entry",
    [{"max_model_len": -5}, {"max_model_len": 10**40}, {"max_model_len": "long"}, {"meta": {"n_ctx_train": -1}}],
)
def test_a_model_list_with_impossible_numbers_is_a_sentence(entry: object) -> None:
    with pytest.raises(BadAnswerError, match=r"max_model_len|n_ctx_train"):
        read_entry(entry)


WRITTEN = {
    "as it is": KEY,
    "cut": KEY[:12],
    "in base64": base64.b64encode(KEY.encode()).decode(),
    "as a user's password": base64.b64encode(f"me:{KEY}".encode()).decode(),
    "percent-encoded": "".join(f"%{ord(sign):02x}" for sign in KEY),
    "escaped": "".join(f"\\u{ord(sign):04x}" for sign in KEY),
    "escaped for HTML": "".join(f"&#{ord(sign)};" for sign in KEY),
    "in hexadecimal": KEY.encode().hex(),
    "in capitals": KEY.upper(),
    "over two lines": KEY[:11] + "\n  " + KEY[11:],
    "letter by letter": " ".join(KEY),
    "with invisible characters": "\u200b".join(KEY),
}


def parts_of_key(text: str) -> list[str]:
    pieces = {form[i : i + 9] for form in WRITTEN.values() if len(form) > 11 for i in range(len(form) - 8)}
    return [piece for piece in pieces if piece in text]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("before", [0, 281])
def test_no_part_of_the_key_is_kept_whatever_it_stands_in(server: FaultyServer, name: str, before: int) -> None:
    backend = opened(server, retries=0)
    leak = "x" * before + " Bearer " + WRITTEN[name]

    def answers(**change: Any) -> Any:
        return lambda w, h, b: (h.reply(200, {"model": "words", **w.complete(b), **change}), True)[1]

    for fault in (
        lambda w, h, b: (h.reply(400, {"error": {"message": leak}}), True)[1],
        lambda w, h, b: (h.reply(400, leak.encode()), True)[1],
        lambda w, h, b: (h.reply(400, b" " * 65_500 + leak.encode()), True)[1],
        lambda w, h, b: (h.reply(404, {"detail": leak}), True)[1],
        answers(choices=[{"text": leak, "finish_reason": "stop"}]),
        answers(choices=[{"text": "a", "finish_reason": leak}]),
        answers(model=leak),
        answers(system_fingerprint=leak),
    ):
        server.fault = fault
        (answer,) = backend.generate(writing(1, tokens=50))
        assert isinstance(answer, Failure), "and the doc is not scored"
        assert not parts_of_key(answer.message), answer.message
        assert not parts_of_key(" ".join(backend.notes) + repr(backend.info) + repr(backend.server.facts))
    backend.close()


def test_placeholders_are_no_secrets() -> None:
    for key in ("EMPTY", "sk-no-key-required", "token-abc123", "none", "x"):
        assert not Key(key).is_in_answer("an EMPTY text: a key is required, none of the tokens abc, 123 is one")
        assert Key(key).redact("the key is required").startswith("the key")
    assert Key(KEY).redact("words of a server") == "words of a server"
    assert Key(KEY).redact(KEY[:10]) == HIDDEN
    assert KEY not in repr(Key(KEY))


def test_the_key_has_to_fit_into_a_request(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("sk-SECRET\nX: 1", "sk-SÉCRET", "sk-SECRET\x00"):
        monkeypatch.setattr("os.environ", {"OPENAI_API_KEY": key})
        with pytest.raises(BackendError, match="holds characters that no request can carry") as error:
            opened(server)
        assert "SECRET" not in str(error.value)
    with pytest.raises(ArgumentError, match="not the key itself") as wrong:
        opened(server, key_variable=KEY)
    assert KEY not in str(wrong.value)


@pytest.mark.parametrize(
    "url",
    [
        f"https:/me:{KEY}@host/v1", f"ftp://me:{KEY}@host", f"host/v1?api_key={KEY}", f"http://host/v1#{KEY}",
        "http://[::1", "http://host:99999999/v1", "http://host:x/v1", "http://a\nb/v1", "http://", "http://a b/v1",
        "http://" + "a" * 300 + "/v1", "http://..../v1",
    ],
)  # fmt: skip
def test_addresses_that_are_none_or_hold_a_key_are_sentences(url: str) -> None:
    options = ModelOptions("m", backend="api", model_args=(("base_url", url), ("timeout", "1"), ("retries", "0")))
    with pytest.raises(BenchbenchError) as error:
        open_backend(options)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_request_is_sent_nowhere_else(server: FaultyServer, code: int) -> None:
    backend = opened(server, retries=0)
    with serving(FaultyServer()) as other:
        server.fault = lambda w, h, b: (h.reply(code, {}, {"Location": f"{other.url}/completions"}), True)[1]
        (answer,) = backend.generate(writing(1))
        assert other.questions() == 0
    assert isinstance(answer, Failure)
    assert answer.kind == "refused"
    assert "not followed" in answer.message
    backend.close()


def test_the_names_of_a_list_of_models_are_few_and_short(server: FaultyServer) -> None:
    server.model = "w" * 5000
    with pytest.raises(ModelError, match="has no model 'words'") as error:
        opened(server)
    assert len(str(error.value)) < 500
