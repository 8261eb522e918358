"""Conversations of several turns: each question after the model's own answer, stored whole, resumed at any point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.chat import ChatSettings
from benchbench.core.errors import BenchbenchError
from benchbench.core.types import GenerateRequest
from benchbench.runner import turns
from benchbench.runner.events import Note, Progress
from benchbench.runner.run import run
from benchbench.store.folder import RunFolder
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests import models
from tests.extensions.judge.world import lines, world
from tests.runner.toy import part_bytes, settings

PLAIN = {"metric_list": [{"metric": "exact_match"}]}


def chat_run(folder: Path, model: str = "hash", **changes: Any) -> RunFolder:
    return RunFolder(run(settings(folder, model, tasks="toy_chat", **changes)).path)


def test_the_second_question_follows_the_model_s_own_answer(tmp_path):
    world(tmp_path, docs=1, **PLAIN)
    table = lines(
        tmp_path / "answers.jsonl",
        {"prompt": "Question 0?", "text": "Because."},
        {"prompt": "Question 0?\nBecause.\n\nAnd 0 again?", "text": "Because again."},
    )
    (item,) = chat_run(tmp_path, str(table)).items("toy_chat")
    assert item.texts == ("Because.", "Because again.")
    assert item.num_tokens == (1, 2)
    assert item.prompt_tokens == (2, 6)


def test_repeats_are_conversations_of_their_own(tmp_path):
    world(tmp_path, docs=2, repeats=3, **PLAIN)
    items = chat_run(tmp_path).items("toy_chat")
    assert [len(item.texts) for item in items] == [6, 6]
    for item in items:
        assert item.texts[0::2] == (item.texts[0],) * 3, "the scripted model draws nothing"


def test_a_turn_without_an_answer_fails_the_doc_for_its_reason(tmp_path):
    world(tmp_path, docs=2, **PLAIN)
    table = lines(tmp_path / "answers.jsonl", {"prompt": "Question 1?", "text": "Yes."})
    first, second = chat_run(tmp_path, str(table), max_failed=1.0).items("toy_chat")
    assert first.failure == second.failure == "not_in_table: the table has no answer for this request"


@pytest.mark.parametrize("stops_at", [1, 45, 79])
def test_a_stop_at_any_point_changes_nothing(tmp_path, stops_at, monkeypatch):
    monkeypatch.setattr(turns, "BLOCK", 16)
    whole = chat_run(world(tmp_path / "a", docs=40, **PLAIN))
    folder = world(tmp_path / "b", docs=40, **PLAIN)
    left = stops_at

    def stop(event: object) -> None:
        nonlocal left
        left -= isinstance(event, Progress)
        if left < 0:
            raise KeyboardInterrupt

    asked = settings(folder, "hash", tasks="toy_chat")
    with pytest.raises(KeyboardInterrupt):
        run(asked, on_event=stop)
    resumed = run(asked)
    assert resumed.resumed
    assert part_bytes(resumed.path) == part_bytes(whole.path)


def test_answers_are_taken_over_by_a_run_that_asks_the_same(tmp_path):
    first = chat_run(world(tmp_path, docs=5, **PLAIN))
    world(tmp_path, docs=5, metric_list=[{"metric": "rougeL"}])
    second = run(settings(tmp_path, "hash", tasks="toy_chat"))
    assert second.record.provenance.reused == 5
    texts = [[item.texts for item in run_.items("toy_chat")] for run_ in (first, RunFolder(second.path))]
    assert texts[0] == texts[1]


def prepared(folder: Path, chat: ChatSettings | None = None, **changes: Any) -> Any:
    world(folder, docs=4, **{**PLAIN, **changes})
    task = TaskIndex([folder / "tasks"]).task("toy_chat")
    return prepare(task, RenderSettings(data_root=folder / "hub", chat=chat))


def test_the_temperature_may_be_the_doc_s_own(tmp_path):
    found = prepared(tmp_path, doc_to_temperature="{{ {'writing': 0.7}.get(category, 0) }}")
    params = [doc.requests[0].params for doc in found.docs if isinstance(doc.requests[0], GenerateRequest)]
    assert [(one.do_sample, one.temperature) for one in params] == [(False, 1.0), (True, 0.7)] * 2
    given = (("temperature", 0.0),)
    world(tmp_path, docs=4, **PLAIN, doc_to_temperature="{{ 0.7 }}")
    cold = prepare(
        TaskIndex([tmp_path / "tasks"]).task("toy_chat"), RenderSettings(data_root=tmp_path / "hub", gen_kwargs=given)
    )
    assert not any(one.do_sample for one in cold.asked.settings), "--gen-kwargs stands above it"
    other = prepared(tmp_path, doc_to_temperature="{{ {'writing': 0.8}.get(category, 0) }}")
    assert found.prompt_hash != other.prompt_hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"turns": "category"}, "`turns`: document 0 gives a str, not a list of the user's turns"),
        ({"turns": "{{ [] }}"}, "document 0 has 0 turns; a conversation has 1 to 100"),
        ({"turns": "{{ [question_id] }}"}, "turn 1 of document 0 is an int; expected the user's text"),
        ({"turns": "{{ ['Who?', ' '] }}"}, "turn 2 of document 0 is empty"),
        ({"turns": "nothing"}, "document 0 gives a str, not a list"),
        ({"doc_to_text": "{{ category }}"}, "`turns` are all that the user asks; leave `doc_to_text` out"),
        ({"output_type": "loglikelihood", "metric_list": None, "generation_kwargs": None}, "only generate_until tasks"),
        ({"doc_to_temperature": "{{ category }}"}, "document 0 gives 'math'; it is a number from 0"),
        ({"doc_to_temperature": -1.0}, "document 0 gives -1.0; it is a number from 0"),
    ],
)
def test_questions_without_turns_and_the_like_are_refused(tmp_path, changes, message):
    kept = {key: value for key, value in changes.items() if value is not None}
    dropped = [key for key, value in changes.items() if value is None]
    world(tmp_path, docs=4, **{**PLAIN, **kept})
    path = tmp_path / "tasks" / "toy_chat.yaml"
    if dropped:
        import yaml

        task = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({key: value for key, value in task.items() if key not in dropped}))
    with pytest.raises(BenchbenchError, match=message):
        prepare(TaskIndex([tmp_path / "tasks"]).task("toy_chat"), RenderSettings(data_root=tmp_path / "hub"))


@pytest.mark.slow
def test_a_chat_model_reads_the_turns_through_its_template(tmp_path):
    from transformers import AutoTokenizer

    world(tmp_path, docs=3, **PLAIN)
    folder = models.tiny_llama(tmp_path / "llama", seed=1)
    models.with_chat_template(folder)
    notes: list[str] = []
    chat = ChatSettings("Be brief.")
    result = run(
        settings(tmp_path, str(folder), tasks="toy_chat", backend="hf", dtype="float32", chat=chat),
        on_event=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for number, item in enumerate(RunFolder(result.path).items("toy_chat")):
        asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Question {number}?"}]
        for turn, question in enumerate((None, f"And {number} again?")):
            if question is not None:
                asked += [{"role": "assistant", "content": item.texts[0]}, {"role": "user", "content": question}]
            text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
            assert item.prompt_tokens[turn] == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert not any("as plain text" in note for note in notes)
    example = json.loads((result.path / "run.json").read_text())["tasks"]["toy_chat"]["example"]
    assert "Question 0?" in example["prompt"]
