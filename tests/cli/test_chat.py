"""The options that make conversations of prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchbench.cli.options import flags_of, make
from benchbench.cli.tasks import app
from benchbench.core.chat import ChatSettings
from benchbench.core.errors import ArgumentError
from benchbench.tasks.settings import RenderSettings
from tests import models
from tests.runner.toy import make_world


def chat_settings(typed: dict[str, object]) -> ChatSettings | None:
    """What the three options say together, as `with_settings` reads them."""
    return make(RenderSettings, {flag.path: typed.get(flag.name) for flag in flags_of(RenderSettings)}).chat


def test_options_become_settings(tmp_path: Path) -> None:
    file = tmp_path / "system.txt"
    file.write_text("Odpovídej česky.\n", encoding="utf-8")
    asked = {"apply_chat_template": True}
    assert chat_settings({}) is None
    assert chat_settings(asked) == ChatSettings(None, multiturn=True)
    given = {**asked, "system": f"@{file}", "fewshot_as_multiturn": False}
    assert chat_settings(given) == ChatSettings("Odpovídej česky.\n", multiturn=False)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"system": "Be brief."}, "--system shapes a conversation; it needs --apply-chat-template"),
        ({"fewshot_as_multiturn": False}, "--fewshot-as-multiturn shapes a conversation"),
        ({"apply_chat_template": True, "system": "@nowhere.txt"}, "--system @nowhere.txt cannot be read"),
        ({"apply_chat_template": True, "system": " "}, "--system is empty"),
    ],
)
def test_options_that_contradict_each_other_are_sentences(typed: dict[str, object], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        chat_settings(typed)


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
