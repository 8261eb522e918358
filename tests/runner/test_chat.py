"""Runs of conversations: recorded as such, resumed as such, and never taken for plain ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.chat import ChatSettings, Conversation
from benchbench.core.errors import BackendError, ModelError, StoreError
from benchbench.core.ids import text_hash
from benchbench.core.json_record import as_json
from benchbench.core.settings import changed
from benchbench.core.types import Loglikelihood, LoglikelihoodRequest
from benchbench.leaderboard.comparison import compare_models
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings, SweepSettings, from_json, to_json
from benchbench.store.find import find_models
from tests import models
from tests.runner.toy import make_world
from tests.runner.toy import settings as toy


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_world(tmp_path_factory.mktemp("world"), quiz=6, write=3)
    models.with_chat_template(models.tiny_llama(folder / "model"))
    models.tiny_llama(folder / "base")
    return folder


def asked(world: Path, chat: ChatSettings | None = None, **changes: Any) -> RunSettings:
    model = ModelOptions(str(world / "model"), backend="hf", device="cpu")
    return changed(toy(world), **{"model": model, "num_fewshot": 1, "tasks": "toy_quiz", "chat": chat, **changes})


def signature(record: Any) -> str:
    return str(record.rows[0].signature)


def test_the_template_and_the_system_prompt_are_in_the_record_and_in_every_signature(world: Path) -> None:
    record = run(asked(world, ChatSettings("Odpovídej stručně."))).record
    template, system = text_hash(models.CHAT_TEMPLATE), text_hash("Odpovídej stručně.")
    assert as_json(record.chat) == {
        "template_sha256": template,
        "system_role": "system",
        "system_sha256": system,
        "multiturn": True,
    }
    assert record.settings["chat"] == {"system": "Odpovídej stručně.", "multiturn": True}
    assert f"|chat:{template[:8]}|system:{system[:8]}|" in signature(record)
    example = record.tasks["toy_quiz"].example
    assert example.prompt.startswith("<s>[system]\nOdpovídej stručně.</s>\n[user]\nOtázka: kolik je")
    assert example.prompt.endswith("Odpověď:</s>\n[assistant]\n")
    assert example.continuations == ("1", "2", "3")


def test_plain_runs_and_conversations_are_different_runs_that_are_not_compared(world: Path) -> None:
    results = world / "apart"
    variants = [None, ChatSettings(), ChatSettings("Stručně."), ChatSettings(multiturn=False)]
    runs = [run(asked(world, chat, output=results)) for chat in variants]
    assert len({one.record.run_id for one in runs}) == 4
    assert len({signature(one.record) for one in runs}) == 4
    assert runs[0].record.chat is None
    assert "chat:" not in signature(runs[0].record)
    assert all(one.record.provenance.reused == 0 for one in runs)
    again = run(asked(world, ChatSettings("Stručně."), output=results))
    assert again.already_complete
    sides = find_models([str(runs[0].path), str(runs[1].path)], results)
    with pytest.raises(StoreError, match=r"the prompts differ.*--apply-chat-template"):
        compare_models(sides)


def test_another_template_is_another_run(world: Path, tmp_path: Path) -> None:
    other = tmp_path / "words"
    models.tokenizer(other, bos=True)
    models.with_chat_template(other, models.CHAT_TEMPLATE.replace("[assistant]", "(assistant)"))
    one, two = (
        run(asked(world, ChatSettings(), output=tmp_path, model=ModelOptions(str(world / "model"), "hf", tokenizer=t)))
        for t in (None, str(other))
    )
    assert one.record.run_id != two.record.run_id
    assert signature(one.record) != signature(two.record)
    assert one.record.tasks["toy_quiz"].prompt_hash == two.record.tasks["toy_quiz"].prompt_hash


def test_a_log_likelihood_is_that_of_the_assistants_words(world: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(world / "model")
    backend = open_backend(ModelOptions(folder, backend="hf", device="cpu"))
    prompt = Conversation("", (), "kolik je 1 + 1?")
    (answer,) = backend.loglikelihood([LoglikelihoodRequest("t", 0, 0, prompt, "2")])
    assert isinstance(answer, Loglikelihood)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    head = tokenizer("<s>[user]\nkolik je 1 + 1?</s>\n[assistant]", add_special_tokens=False)["input_ids"]
    whole = tokenizer("<s>[user]\nkolik je 1 + 1?</s>\n[assistant]\n2", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        rows = model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    expected = sum(float(rows[i - 1, whole[i]]) for i in range(len(head), len(whole)))
    assert answer.num_tokens == len(whole) - len(head) == 2
    assert answer.total == pytest.approx(expected, abs=1e-4)
    backend.close()


def test_a_base_model_is_refused_before_anything_is_written(world: Path, tmp_path: Path) -> None:
    model = ModelOptions(str(world / "base"), backend="hf", device="cpu")
    with pytest.raises(ModelError, match="base has no chat template: it is a base model"):
        run(asked(world, ChatSettings(), model=model, output=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_scripted_model_answers_plain_prompts_only(world: Path) -> None:
    with pytest.raises(BackendError, match="plain prompts only"):
        run(toy(world, chat=ChatSettings()))


def test_sweeps_keep_their_conversations_and_old_sweeps_their_names(world: Path) -> None:
    plain = SweepSettings(run=asked(world), models=("series",))
    chat = replace(plain, run=asked(world, ChatSettings("Stručně.", multiturn=False)))
    assert from_json(json.loads(json.dumps(to_json(chat)))).run.render.chat == chat.run.render.chat
    assert chat.sweep_id() != plain.sweep_id()
    old = to_json(plain)
    del old["run"]["chat"]
    assert from_json(old).run.render.chat is None
    assert from_json(old).sweep_id() == plain.sweep_id()
