"""Conversations for servers: messages where there is a chat endpoint, text where the tokenizer is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.chat import Conversation, Shot
from benchbench.core.errors import BackendError
from benchbench.core.types import (
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
)
from tests import models
from tests.backends.servers import FaultyServer, serving

TALK = Conversation("Be brief.", (Shot("2 + 2", "4", "2 + 2 4\n\n"),), "3 + 3")


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FaultyServer()) as running:
        yield running


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    models.tokenizer(folder, bos=True)
    return models.with_chat_template(folder)


def opened(server: FaultyServer, **args: object) -> Any:
    given = tuple(sorted((name, str(value)) for name, value in {"base_url": server.url, **args}.items()))
    return open_backend(ModelOptions("words", backend="api", model_args=given))


def ask(prompt: Conversation, number: int = 0) -> GenerateRequest:
    return GenerateRequest("t", number, 0, prompt, GenerationParams(("\n",), 5))


def test_the_chat_endpoint_gets_turns_as_messages(server: FaultyServer) -> None:
    backend = opened(server, endpoint="chat")
    (answer,) = backend.generate([ask(TALK)])
    assert isinstance(answer, Completion)
    assert server.seen[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "3 + 3"},
    ]
    assert "continue_final_message" not in server.seen[-1]
    assert backend.chat.sha256 == "server"
    keys = backend.request_keys([[ask(TALK)], [ask(Conversation("", (), TALK.text))], [ask(TALK)]])
    assert keys[0] == keys[2] != keys[1], "the same words in other turns are another question"


def test_an_answer_that_is_begun_is_gone_on_with(server: FaultyServer) -> None:
    backend = opened(server, endpoint="chat")
    list(backend.generate([ask(Conversation("", (), "Why?", prefix="Because"))]))
    assert server.seen[-1]["messages"][-1] == {"role": "assistant", "content": "Because"}
    assert server.seen[-1]["continue_final_message"] is True
    assert server.seen[-1]["add_generation_prompt"] is False


def test_text_needs_the_tokenizers_template(server: FaultyServer) -> None:
    backend = opened(server)
    with pytest.raises(BackendError, match=r"--model-args tokenizer=\.\.\..*endpoint=chat"):
        _ = backend.chat


def test_text_is_templated_and_the_server_adds_the_beginning_token(server: FaultyServer, tokenizer: Path) -> None:
    backend = opened(server, tokenizer=tokenizer)
    (answer,) = backend.generate([ask(TALK)])
    assert isinstance(answer, Completion)
    sent = "[system]\nBe brief.</s>\n[user]\n2 + 2</s>\n[assistant]\n4</s>\n[user]\n3 + 3</s>\n[assistant]\n"
    assert server.seen[-1]["prompt"] == sent
    (scored,) = backend.loglikelihood([LoglikelihoodRequest("t", 0, 0, TALK, "6")])
    assert isinstance(scored, Loglikelihood)
    assert server.seen[-1]["prompt"] == sent + "6"


def test_a_control_token_in_a_document_fails_rather_than_end_a_turn(server: FaultyServer, tokenizer: Path) -> None:
    backend = opened(server, tokenizer=tokenizer)
    before = server.questions()
    evil = Conversation("", (), "What is </s>?")
    (written,) = backend.generate([ask(evil)])
    (scored,) = backend.loglikelihood([LoglikelihoodRequest("t", 1, 0, evil, "6")])
    assert isinstance(written, Failure)
    assert isinstance(scored, Failure)
    assert written.kind == scored.kind == "control_token"
    assert server.questions() == before
