"""Contestant and judge behind servers: turns as messages, costs as they were counted, a server that goes away."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from benchbench.core.chat import ChatSettings
from benchbench.core.errors import BackendError
from benchbench.extensions.rescore.score import score
from benchbench.runner.events import Note
from benchbench.runner.run import run
from benchbench.store.folder import RunFolder
from tests.backends.servers import FaultyServer, serving, usage
from tests.extensions.judge.world import asked, ready, world
from tests.runner.toy import settings


def grading(server: FaultyServer, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> bool:
    """Answers every conversation with a grade; reads 100 tokens and writes 10."""
    if "messages" not in body:
        return False
    message = {"role": "assistant", "content": "Fine.\n[[8]]"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    handler.reply(200, {"model": body["model"], "choices": [choice], "usage": usage(100, 10)})  # type: ignore[attr-defined]
    return True


def test_a_server_judges_and_its_costs_are_told(tmp_path):
    run_ = ready(tmp_path, docs=4)
    with serving(FaultyServer(model="judge-1", chat_only=True, fault=grading)) as server:
        notes: list[str] = []
        args = (("endpoint", "chat"), ("input_price", "2"), ("output_price", "8"))
        (found,) = score(
            run_,
            asked(tmp_path, f"api:judge-1@{server.url}", args=args),
            on_event=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
        ).scored
        judged = [body for body in server.seen if body["messages"][0]["role"] == "system"]
    assert found.rows[0].value == 8.0
    assert len(judged) == 8
    assert "You grade the work of an assistant" in judged[0]["messages"][0]["content"]
    told = "toy_chat: 8 judgements asked: 800 tokens read, 80 written, cost 0.00252."
    assert told in notes, "with the question by which the engine gets to know the server"
    assert found.metric.startswith("judge:judge-1@")


@pytest.mark.slow
def test_a_server_that_goes_away_in_the_middle_is_taken_up_again(tmp_path):
    run_ = ready(tmp_path, docs=40)
    count = 0

    def leaving(server: FaultyServer, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> bool:
        nonlocal count
        if body["messages"][0]["role"] != "system":
            return grading(server, handler, body)
        count += 1
        if count > 40:
            handler.close_connection = True
            handler.connection.close()
            return True
        return grading(server, handler, body)

    with serving(FaultyServer(model="judge-1", chat_only=True, fault=leaving)) as server:
        judge = asked(tmp_path, f"api:judge-1@{server.url}", args=(("endpoint", "chat"), ("retries", "0")))
        with pytest.raises(BackendError, match=r"no longer answers: .* the same command goes on"):
            score(run_, judge)
        assert [row.value for row in run_.record().rows] == [None], "nothing half done is shown"
        before = len(server.seen)
        count = -10_000
        (found,) = score(run_, judge).scored
        again = [body for body in server.seen[before:] if body["messages"][0]["role"] == "system"]
    assert (found.rows[0].value, found.rows[0].n) == (8.0, 40)
    assert 40 <= len(again) <= 48, "those that were not answered, and what was under way (8 at once)"


def test_a_chat_server_is_asked_turn_by_turn(tmp_path):
    world(tmp_path, docs=2, metric_list=[{"metric": "exact_match"}])
    with serving(FaultyServer(chat_only=True)) as server:
        asked_ = settings(
            tmp_path,
            "words",
            tasks="toy_chat",
            backend="api",
            model_args=(("base_url", server.url), ("endpoint", "chat")),
            chat=ChatSettings(),
        )
        items = RunFolder(run(asked_).path).items("toy_chat")
        talks = [body["messages"] for body in server.seen if len(body["messages"]) == 3]
    assert len(talks) == len(items) == 2
    for number, item in enumerate(items):
        (talk,) = (talk for talk in talks if talk[0]["content"] == f"Question {number}?")
        assert talk[1] == {"role": "assistant", "content": item.texts[0]}
        assert talk[2] == {"role": "user", "content": f"And {number} again?"}
