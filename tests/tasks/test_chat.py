"""Prompts as conversations: turns, system prompts and answers as lm-eval 0.4.13 makes them from the same file and rows.

Its template is replaced by one that writes the turns down as JSON, so that nothing of them can hide.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pytest
import yaml

from benchbench.core.chat import ChatSettings, Conversation
from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, RollingRequest
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from benchbench.tasks.task import PreparedTask
from tests.parity.upstream import alternating
from tests.tasks.conftest import CHOICE, QUESTIONS, MakeTask
from tests.tasks.test_prompts import CONFIGS, ROWS, SPLITS, merged

SETTINGS = {
    "turns": ChatSettings(),
    "one turn": ChatSettings(multiturn=False),
    "turns, system": ChatSettings("Answer briefly."),
    "one turn, system ends in a line": ChatSettings("Answer briefly.\n", multiturn=False),
}

CASES = [("turns", 0), ("turns, system", 3), ("one turn, system ends in a line", 3)]


def as_json(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    return json.dumps([messages, add_generation_prompt])


def upstream_arguments(config: dict[str, Any], num_fewshot: int, chat: ChatSettings) -> list[list[Any]]:
    datasets = pytest.importorskip("datasets")
    api = pytest.importorskip("lm_eval.api.task")
    data = datasets.DatasetDict({name: datasets.Dataset.from_list(rows) for name, rows in ROWS.items()})
    task = api.ConfigurableTask(config={**json.loads(json.dumps(config)), "custom_dataset": lambda **_: data})
    task.set_config("num_fewshot", num_fewshot)
    task.set_fewshot_seed(1234)
    task.build_all_requests(
        limit=10,
        system_instruction=chat.system,
        apply_chat_template=True,
        fewshot_as_multiturn=chat.multiturn,
        chat_template=partial(alternating, as_json),
        tokenizer_name="json",
    )
    found: dict[int, list[Any]] = {}
    for instance in task.instances:
        prompt, last = instance.args
        if isinstance(last, dict):
            last = last["until"]
        elif config["output_type"] == "loglikelihood":
            last = last.lstrip(" ")  # on purpose: see `Renderer.render`
        found.setdefault(instance.doc_id, []).append((prompt, last))
    return list(found.values())


def prepared(make_task: MakeTask, config: dict[str, Any], **settings: Any) -> PreparedTask:
    files = {"train": "train.jsonl", "test": "test.jsonl"}
    text = yaml.safe_dump({**config, "dataset_path": "json", "dataset_kwargs": {"data_files": files}}, sort_keys=False)
    return prepare(make_task(text, ROWS), RenderSettings(limit=10, **settings))


def arguments(request: Any) -> tuple[Any, Any]:
    prompt = request.prompt
    if isinstance(prompt, Conversation):
        messages = [asdict(message) for message in prompt.messages]
        text = as_json(messages, add_generation_prompt=not prompt.prefix)
    else:
        text = prompt.text
    return text, list(request.params.until) if isinstance(request, GenerateRequest) else request.continuation


@pytest.mark.parametrize(("chat", "num_fewshot"), CASES)
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "whole text"])
def test_every_turn_equals_lm_evals(make_task: MakeTask, name: str, chat: str, num_fewshot: int) -> None:
    config = merged(CONFIGS[name], SPLITS["train pool"])
    upstream = upstream_arguments(config, num_fewshot, SETTINGS[chat])
    ours = prepared(make_task, config, num_fewshot=num_fewshot, fewshot_mode="lm_eval", chat=SETTINGS[chat])
    assert [[arguments(request) for request in doc.requests] for doc in ours.docs] == upstream


def test_shots_without_an_answer_join_the_users_next_turn(make_task: MakeTask) -> None:
    config = {**CONFIGS["generate, sometimes no answer"], "task": "t", **SPLITS["first_n"]}
    conversation = prepared(make_task, config, num_fewshot=3, chat=ChatSettings()).docs[0].requests[0].prompt  # type: ignore[union-attr]
    assert [message.role for message in conversation.messages] == ["user", "assistant", "user"]
    assert conversation.messages[2].content.startswith("train question 1?train question 2?test question 0?")


def test_choices_begin_the_assistants_turn_without_a_space(make_task: MakeTask) -> None:
    task = make_task(CHOICE, {"test": QUESTIONS})
    plain = prepare(task, RenderSettings()).docs[0].requests[0]
    turn = prepare(task, RenderSettings(chat=ChatSettings())).docs[0].requests[0]
    assert isinstance(plain, LoglikelihoodRequest)
    assert isinstance(turn, LoglikelihoodRequest)
    assert (plain.continuation, turn.continuation) == (" 0", "0")


def test_whole_texts_are_no_conversations_and_it_is_said(make_task: MakeTask) -> None:
    config = merged(CONFIGS["whole text"], SPLITS["train pool"])
    plain, chat = prepared(make_task, config), prepared(make_task, config, chat=ChatSettings("Be brief."))
    assert isinstance(chat.docs[0].requests[0], RollingRequest)
    assert chat.prompt_hash == plain.prompt_hash
    assert chat.notes == ("Texts are scored whole: the chat template does not apply.",)


def test_every_setting_of_a_conversation_is_part_of_the_prompts_hash(make_task: MakeTask) -> None:
    task = make_task(CHOICE, {"test": QUESTIONS})
    hashes = [prepare(task, RenderSettings(chat=chat)).prompt_hash for chat in (None, *SETTINGS.values())]
    assert len(set(hashes)) == len(hashes)


def test_plain_prompts_keep_the_hash_they_had(make_task: MakeTask) -> None:
    assert prepare(make_task(CHOICE, {"test": QUESTIONS}), RenderSettings()).prompt_hash == "ffdf2f00"


def test_shots_go_first_then_the_description_and_the_users_system_prompt_stays(make_task: MakeTask) -> None:
    config = {**merged(CONFIGS["index from a column"], SPLITS["first_n"]), "description": "About sums."}
    request = prepared(make_task, config, num_fewshot=2, chat=ChatSettings("Be brief.")).docs[0].requests[0]
    assert isinstance(request, LoglikelihoodRequest)
    steps, prompt = [], request.prompt
    while prompt is not None:
        assert isinstance(prompt, Conversation)
        steps.append((len(prompt.shots), prompt.system))
        prompt = prompt.shorter()  # type: ignore[assignment]
    whole = "Be brief.\n\nAbout sums."
    assert steps == [(2, whole), (1, whole), (0, whole), (0, "Be brief.")]
    assert replace(request.prompt, overflow="truncate_left").shorter() is None
