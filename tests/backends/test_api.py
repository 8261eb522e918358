"""The api backend against a server that misbehaves: what passes is waited out, what does not is a sentence."""

from __future__ import annotations

import collections
import socket
import struct
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.api import client as client_module
from benchbench.backends.api.backend import TextBackend
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError, BackendError, ModelError
from benchbench.core.types import (
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Prompt,
    RollingRequest,
)
from tests.backends.servers import FaultyServer, Handler, free_port, logprob, serving, write

KEY = "sk-secret-4711"


@pytest.fixture(autouse=True)
def fast_and_keyless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.01)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FaultyServer()) as world:
        yield world


def opened(world: FaultyServer, model: str = "words", **args: object) -> TextBackend:
    pairs = {"base_url": world.url, **{name: str(value) for name, value in args.items()}}
    backend = open_backend(ModelOptions(model, backend="api", model_args=tuple(pairs.items())))
    assert isinstance(backend, TextBackend)
    return backend


def scoring(count: int = 6) -> list[LoglikelihoodRequest]:
    return [
        LoglikelihoodRequest("t", doc, i, Prompt("", (), f"question {doc} is"), f" choice {i}")
        for doc in range(count)
        for i in range(2)
    ]


def writing(count: int = 6, until: tuple[str, ...] = (), tokens: int = 5) -> list[GenerateRequest]:
    params = GenerationParams(until, tokens)
    return [GenerateRequest("t", doc, 0, Prompt("", (), f"question {doc} is"), params) for doc in range(count)]


def every(n: int, fault: Any) -> Any:
    """`fault` on every n-th question after the first one; one that is sent again comes through."""

    def often(world: FaultyServer, handler: Handler, body: dict[str, Any]) -> bool:
        if len(world.seen) % n:
            return False
        world.faults["made"] += 1
        fault(world, handler, body)
        return True

    return often


def hang_up(world: FaultyServer, handler: Handler, body: dict[str, Any]) -> None:
    """Sends half an answer, then resets the connection."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{")
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


FAULTS: dict[str, Any] = {
    "429 with Retry-After": lambda w, h, b: h.reply(429, {"error": "slow down"}, {"Retry-After": "0.05"}),
    "429 with a date": lambda w, h, b: h.reply(429, {}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "500": lambda w, h, b: h.reply(500, {"error": {"message": "oops"}}),
    "503 that is no JSON": lambda w, h, b: h.reply(503, b"<html>bad gateway</html>"),
    "a cut connection": hang_up,
    "broken JSON": lambda w, h, b: h.reply(200, b'{"choices": [{"text": "a'),
    "a JSON list": lambda w, h, b: h.reply(200, ["a"]),
    "no choices": lambda w, h, b: h.reply(200, {"model": "words", "choices": []}),
    "two choices": lambda w, h, b: h.reply(200, {"model": "words", "choices": [{"text": "a"}, {"text": "b"}]}),
    "a choice without text": lambda w, h, b: h.reply(200, {"model": "words", "choices": [{"index": 0}]}),
    "text that is a number": lambda w, h, b: h.reply(200, {"model": "words", "choices": [{"text": 7}]}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_passes_is_asked_again_and_changes_nothing(server: FaultyServer, name: str) -> None:
    backend = opened(server, concurrency=3)
    server.fault = every(3, FAULTS[name])
    answers = list(backend.generate(writing(12)))
    expected = {r.key: "".join(write(r.prompt.text, 5, []).words) for r in writing(12)}
    assert {a.request.key: a.text for a in answers if isinstance(a, Completion)} == expected
    scores = list(backend.loglikelihood(scoring()))
    assert all(isinstance(score, Loglikelihood) for score in scores)
    assert server.faults["made"] >= 4
    assert backend.work.served["retries"] >= server.faults["made"]
    backend.close()


def test_lists_of_the_wrong_length_are_never_read(server: FaultyServer) -> None:
    backend = opened(server, retries=1)

    def shorten(world: FaultyServer, handler: Handler, body: dict[str, Any]) -> bool:
        answer = world.complete(body)
        answer["choices"][0]["logprobs"]["token_logprobs"].pop()
        handler.reply(200, {"model": "words", **answer})
        return True

    server.fault = shorten
    answers = list(backend.loglikelihood(scoring(1)))
    assert [a.kind for a in answers if isinstance(a, Failure)] == ["bad_answer"] * 2
    assert "unlike lengths" in str(answers[0])


def test_a_slow_server_is_given_up_in_time_and_named(server: FaultyServer) -> None:
    backend = opened(server, timeout=1, retries=1)
    given_up = threading.Event()
    server.fault = lambda world, handler, body: (given_up.wait(60), False)[1]
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Failure)
    assert answer.kind == "timeout"
    assert "no whole answer within 1 s" in answer.message
    given_up.set()


def test_a_server_that_dies_ends_the_run_and_keeps_what_was_answered(server: FaultyServer) -> None:
    backend = opened(server, concurrency=2, retries=1)
    server.fault = lambda world, handler, body: (
        world.faults.update(asked=1) or (world.faults["asked"] > 6 and (handler.reply(502, {}), True)[1])
    )
    kept: list[Any] = []
    with pytest.raises(BackendError, match=r"no longer answers.*the same command goes on"):
        collections.deque(map(kept.append, backend.generate(writing(60))), maxlen=0)
    assert sum(isinstance(answer, Completion) for answer in kept) == 6
    server.fault = None
    done = frozenset(answer.request.key for answer in kept if isinstance(answer, Completion))
    rest = list(backend.generate(writing(60), skip=done))
    assert len(rest) == 54
    assert {a.request.key for a in rest}.isdisjoint(done)


def test_retry_after_holds_everybody_back(server: FaultyServer) -> None:
    backend = opened(server, concurrency=4)
    first = len(server.seen)

    def once(world: FaultyServer, handler: Handler, body: dict[str, Any]) -> bool:
        if body["prompt"] != "question 0 is" or world.faults["made"]:
            time.sleep(0.5 if len(world.seen) - first <= 4 else 0.0)  # so that the refusal is read before these
            return False
        world.faults["made"] += 1
        handler.reply(429, {}, {"Retry-After": "1.5"})
        return True

    server.fault = once
    list(backend.generate(writing(40)))
    times = server.times[first:]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    pause = max(range(len(gaps)), key=gaps.__getitem__)
    assert gaps[pause] > 1, "nobody asks during the pause"
    assert len(times) - pause - 1 > 30, "the others waited too, not only the one that was told to"
    assert len(times) == 41


def test_no_more_requests_at_once_than_allowed_and_no_faster(server: FaultyServer) -> None:
    backend = opened(server, concurrency=3)
    together = threading.Barrier(3)
    server.fault = lambda world, handler, body: (together.wait(600), False)[1]
    assert len(list(backend.generate(writing(15)))) == 15
    assert server.most_at_once == 3
    server.fault = None
    slow = opened(server, requests_per_minute=1200)
    start = time.monotonic()
    list(slow.generate(writing(8)))
    assert server.times[-1] - start >= 7 * 0.05


def test_stop_strings_end_the_text_wherever_they_are_applied(server: FaultyServer) -> None:
    backend = opened(server)
    whole = {c.request.key: c for c in backend.generate(writing(4, tokens=8)) if isinstance(c, Completion)}
    assert {c.finish_reason for c in whole.values()} == {"length"}
    for request in writing(4, tokens=8):
        stop = whole[request.key].text[7:9]
        many = ("never1", "never2", "never3", "never4", stop)  # beyond the four that the API takes
        for until in ((stop,), many):
            (short,) = backend.generate(
                [GenerateRequest("t", request.doc_id, 0, request.prompt, GenerationParams(until, 8))]
            )
            assert isinstance(short, Completion)
            assert short.text == whole[request.key].text.split(stop)[0]
            assert short.finish_reason == "stop"
    assert max(len(body.get("stop", [])) for body in server.seen) == 4


def test_scores_are_those_of_the_servers_own_tokens(server: FaultyServer) -> None:
    backend = opened(server)
    (answer,) = backend.loglikelihood([LoglikelihoodRequest("t", 0, 0, Prompt("", (), "where is it "), "over there")])
    assert isinstance(answer, Loglikelihood)
    expected = logprob("where is it", " over") + logprob("where is it over", " there")
    assert answer.total == pytest.approx(expected)
    assert (answer.num_tokens, answer.prompt_tokens) == (2, 3)


def test_a_boundary_inside_a_token_is_refused(server: FaultyServer) -> None:
    (answer,) = opened(server).loglikelihood([LoglikelihoodRequest("t", 0, 0, Prompt("", (), "un"), "believable")])
    assert isinstance(answer, Failure)
    assert answer.kind == "boundary_inside_token"
    assert "'unbelievable'" in answer.message


def test_a_text_without_context_is_refused(server: FaultyServer) -> None:
    backend = opened(server)
    (alone,) = backend.loglikelihood([LoglikelihoodRequest("t", 0, 0, Prompt("", (), ""), "word")])
    (rolling,) = backend.loglikelihood_rolling([RollingRequest("t", 0, 0, "some words here")])
    assert [a.kind for a in (alone, rolling) if isinstance(a, Failure)] == ["first_token_unknown"] * 2


def test_choices_that_do_not_fit_lose_the_same_shots(server: FaultyServer) -> None:
    server.max_words = 30
    prompt = Prompt("", tuple(f"a {i} b {i}\n\n" for i in range(8)), "what is")
    requests = [LoglikelihoodRequest("t", 0, i, prompt, choice) for i, choice in enumerate([" a", " b" * 10])]
    answers = list(opened(server).loglikelihood(requests))
    assert len({a.dropped_shots for a in answers if isinstance(a, Loglikelihood)}) == 1
    assert all(isinstance(a, Loglikelihood) and a.dropped_shots > 0 for a in answers)
    (failed,) = opened(server).loglikelihood([LoglikelihoodRequest("t", 0, 0, Prompt("", (), "a " * 40), "b")])
    assert isinstance(failed, Failure)
    assert failed.kind == "context_too_long"
    (completion,) = opened(server).generate([GenerateRequest("t", 0, 0, prompt, GenerationParams((), 5))])
    assert isinstance(completion, Completion)
    assert completion.dropped_shots > 0


@pytest.mark.parametrize(
    ("world", "said"),
    [
        (FaultyServer(echoes=False), "could not be checked|no log-probabilities|did not"),
        (FaultyServer(shift=1), "not those of their tokens"),
        (FaultyServer(chat_only=True), "chat endpoint returns no log-probabilities"),
    ],
)
def test_scoring_is_refused_where_prompts_cannot_be_scored(world: FaultyServer, said: str) -> None:
    with serving(world):
        backend = opened(world)
        with pytest.raises(BackendError, match=said) as error:
            list(backend.loglikelihood(scoring(1)))
        assert "--backend hf" in str(error.value)
        assert all(isinstance(c, Completion) for c in backend.generate(writing(3))), "it still writes"


def test_chat_gets_the_prompt_as_a_message(server: FaultyServer) -> None:
    backend = opened(server, endpoint="chat")
    (answer,) = backend.generate(writing(1))
    assert isinstance(answer, Completion)
    assert server.seen[-1]["messages"] == [{"role": "user", "content": "question 0 is"}]
    assert answer.text == "".join(write("question 0 is", 5, []).words)


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FaultyServer(key=KEY)) as world:
        with pytest.raises(BackendError, match=r"refuses requests without a key.*OPENAI_API_KEY"):
            opened(world)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0815")
        with pytest.raises(BackendError, match="refuses the key in OPENAI_API_KEY") as error:
            opened(world)
        assert "0815" not in str(error.value)
        monkeypatch.setenv("MY_KEY", KEY)
        backend = opened(world, key_variable="MY_KEY")
        world.fault = lambda w, h, b: (h.reply(400, {"error": f"bad request by {KEY}"}), True)[1]
        (failed,) = backend.generate(writing(1))
        assert isinstance(failed, Failure)
        assert failed.kind == "refused"
        assert "[key]" in failed.message
        assert KEY not in failed.message + repr(backend.info) + repr(backend.options) + repr(backend.notes)
        monkeypatch.delenv("MY_KEY")
        with pytest.raises(BackendError, match="key_variable=MY_KEY, but that variable is not set"):
            opened(world, key_variable="MY_KEY")


def test_another_models_name_is_refused(server: FaultyServer) -> None:
    with pytest.raises(ModelError, match=r"no model 'word'; it has words\. Did you mean words"):
        opened(server, model="word")
    server.fault = lambda world, handler, body: (
        handler.reply(200, {**world.complete(body), "model": "words-large"}), True
    )[1]  # fmt: skip
    with pytest.raises(ModelError, match=r"words was asked for, but the server answers as words-large"):
        opened(server)
    assert opened(server, answers_as="words-large").server.facts.answered == "words-large"
    server.fault = lambda world, handler, body: (
        handler.reply(200, {**world.complete(body), "model": "words-2026-01-31"}), True
    )[1]  # fmt: skip
    assert opened(server).server.facts.answered == "words-2026-01-31"


def test_a_model_that_changes_under_way_ends_the_run(server: FaultyServer) -> None:
    backend = opened(server)
    server.fault = lambda world, handler, body: (
        handler.reply(200, {**world.complete(body), "model": "words-2"}), True
    )[1]  # fmt: skip
    with pytest.raises(ModelError, match="another model"):
        list(backend.generate(writing(3)))


def test_tokens_and_cost_are_counted(server: FaultyServer) -> None:
    backend = opened(server, input_price=2, output_price=10)
    before = dict(backend.work.served)
    assert before == {}
    list(backend.generate(writing(4)))
    served = backend.work.served
    assert served["prompt_tokens"] >= 12
    assert served["completion_tokens"] >= 20
    assert served["cost"] == pytest.approx((2 * served["prompt_tokens"] + 10 * served["completion_tokens"]) / 1e6)
    free = opened(server)
    list(free.generate(writing(1)))
    assert "cost" not in free.work.served


def test_identity_is_host_name_and_what_the_server_says(server: FaultyServer) -> None:
    one, two = opened(server), opened(server)
    assert one.info == two.info
    assert one.info.model_identity.startswith("api:")
    assert "known by its name only" in one.notes[0]
    server.model = "other"
    other = opened(server, model="other")
    assert other.info.model_identity != one.info.model_identity
    one.load_weights("other")
    assert one.info.model_identity == other.info.model_identity
    with pytest.raises(ModelError, match="has no model"):
        one.load_weights("words")
    assert isinstance(next(iter(one.generate(writing(1)))), Completion)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "needs an address"),
        ((("base_url", "localhost:8000"),), "is not an address"),
        ((("base_url", f"https://me:{KEY}@host/v1"),), "would go into the record"),
        ((("base_url", f"https://host/v1?api-key={KEY}"),), "would go into the record"),
        ((("base_url", "http://host/v1"), ("endpoint", "responses")), "not one of auto, completions, chat"),
        ((("base_url", "http://host/v1"), ("concurrency", "0")), "not a number of at least 1"),
        ((("base_url", "http://host/v1"), ("input_price", "1")), "both input_price and output_price"),
        ((("api_key", KEY),), "does not know"),
    ],
)
def test_options_that_do_not_fit_are_sentences(args: tuple[tuple[str, str], ...], said: str) -> None:
    with pytest.raises((ArgumentError, BackendError), match=said) as error:
        open_backend(ModelOptions("m", backend="api", model_args=args))
    assert KEY not in str(error.value)


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(BackendError, match="cannot be reached"):
        opened(FaultyServer(port=free_port()))


def test_what_cannot_be_asked_for_fails_alone(server: FaultyServer) -> None:
    backend = opened(server)
    prompt = Prompt("", (), "a b")
    beams = GenerateRequest("t", 0, 0, prompt, GenerationParams((), 4, num_beams=2))
    (failed,) = backend.generate([beams])
    assert isinstance(failed, Failure)
    assert "beam search" in failed.message


def test_an_iterator_that_is_closed_stops_asking(server: FaultyServer) -> None:
    server.fault = lambda world, handler, body: (time.sleep(0.01), False)[1]
    backend = opened(server, concurrency=2)
    answers = backend.generate(writing(200))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    asked = server.questions()
    time.sleep(0.2)
    assert server.questions() <= asked + 2 < 150, "at most the two that were under way"
    assert len(list(backend.generate(writing(3)))) == 3
