"""The options that make conversations of prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchbench.cli.options import chat_settings
from benchbench.cli.tasks import app
from benchbench.core.chat import ChatSettings
from benchbench.core.errors import ArgumentError
from tests import models
from tests.runner.toy import make_world


def test_options_become_settings(tmp_path: Path) -> None:
    file = tmp_path / "system.txt"
    file.write_text("Odpovídej česky.\n", encoding="utf-8")
    assert chat_settings(False, None, None) is None
    assert chat_settings(True, None, None) == ChatSettings(None, multiturn=True)
    assert chat_settings(True, f"@{file}", False) == ChatSettings("Odpovídej česky.\n", multiturn=False)


@pytest.mark.parametrize(
    ("apply", "system", "multiturn", "said"),
    [
        (False, "Be brief.", None, "--system shapes a conversation; it needs --apply-chat-template"),
        (False, None, False, "--fewshot-as-multiturn shapes a conversation"),
        (True, "@nowhere.txt", None, "--system @nowhere.txt cannot be read"),
        (True, " ", None, "--system is empty"),
    ],
)
def test_options_that_contradict_each_other_are_sentences(
    apply: bool, system: str | None, multiturn: bool | None, said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        chat_settings(apply, system, multiturn)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    models.tokenizer(tmp_path / "words", bos=True)
    models.with_chat_template(tmp_path / "words")
    return make_world(tmp_path)


def render(world: Path, *more: str) -> str:
    options = ["--include-path", str(world / "tasks"), "--data-root", str(world / "hub")]
    done = CliRunner().invoke(app, ["render", "toy_quiz", *options, *more])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_a_conversation_is_shown_as_the_model_reads_it(world: Path) -> None:
    options = ["--apply-chat-template", "--model", str(world / "words"), "--system", "Stručně."]
    text = render(world, *options)
    prompt = "<s>[system]\nStručně.</s>\n[user]\nOtázka: kolik je 1 + 1? prosím\nOdpověď:</s>\n[assistant]\n"
    assert text == f'--- prompt\n{prompt}\n--- answer 0: "1"\n--- answer 1 (right): "2"\n--- answer 2: "3"\n'
    value = json.loads(render(world, *options, "--json"))
    assert value["requests"][0]["prompt"] == prompt
    assert value["requests"][0]["messages"][0] == {"role": "system", "content": "Stručně."}
    assert len(value["chat_template_sha256"]) == 64


def test_a_conversation_needs_somebodys_template(world: Path) -> None:
    with pytest.raises(ArgumentError, match="whose template is it"):
        render(world, "--apply-chat-template")
    with pytest.raises(ArgumentError, match="it needs --apply-chat-template beside it"):
        render(world, "--tokenizer", str(world / "words"))
