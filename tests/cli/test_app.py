"""What all verbs' command lines share: options that add up, options that take one value, and how tasks are listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from benchbench.cli.main import VERBS, app
from tests.cli.command import benchbench


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the command line with the words that call it."""
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from commands(command.get_command(None, name), (*words, name))
    if words:
        yield words, command


ALL = dict(commands(typer.main.get_command(app)))


def value_options() -> Iterator[tuple[tuple[str, ...], str, bool]]:
    """(words, option, may be repeated) of every option of every verb that takes a value."""
    for words, command in ALL.items():
        for param in command.params:
            if param.param_type_name == "option" and not param.is_flag:
                yield words, max(param.opts, key=len), param.multiple


def test_the_walk_finds_every_verb() -> None:
    assert {words[0] for words in ALL} == set(VERBS)
    assert ("sweep", "show") in ALL
    assert len(list(value_options())) > 100


@pytest.mark.parametrize(
    ("words", "option"), [pytest.param(w, o, id=f"{' '.join(w)} {o}") for w, o, many in value_options() if not many]
)
def test_an_option_that_takes_one_value_refuses_a_second(words: tuple[str, ...], option: str) -> None:
    from benchbench.core.errors import ArgumentError

    command = ALL[words]
    with pytest.raises(ArgumentError, match=rf"^{option} is given 2 times, but takes one value; give it once\.$"):
        command.make_context(words[-1], [option, "1", option, "2"])


@pytest.mark.parametrize("verb", ["run", "parity", "score", "sweep"])
def test_tasks_may_be_repeated_wherever_there_are_tasks(verb: str) -> None:
    (tasks,) = (param for param in ALL[verb,].params if param.name == "tasks")
    assert tasks.multiple


def test_tasks_given_twice_are_both_asked() -> None:
    model = ("--backend", "scripted", "--model", "hash")
    done = benchbench("run", *model, "--tasks", "demo_trivia", "--tasks", "demo_choice_cs", "--limit", 1, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["demo_trivia", "demo_choice_cs"]


@pytest.mark.parametrize(
    "line",
    [
        ("run", "-m", "m", "--tasks", "a", "b"),
        ("sweep", "-m", "m", "--tasks", "a", "b"),
        ("parity", "m", "--backends", "hf,vllm", "--tasks", "a", "b"),
        ("score", "latest", "--metric", "bleu", "--tasks", "a", "b"),
    ],
)
def test_tasks_without_commas_get_a_sentence_that_says_how_they_are_listed(line: tuple[str, ...]) -> None:
    done = benchbench(*line)
    assert done.returncode == 2
    assert done.stderr == (
        "error: 'b' stands alone behind --tasks. Tasks are listed with commas, --tasks a,b, or the option is repeated, "
        "--tasks a --tasks b.\n"
    )


def test_opposite_flags_are_refused_and_equal_ones_do_no_harm() -> None:
    done = benchbench("run", "-m", "m", "--fewshot-as-multiturn", "--no-fewshot-as-multiturn")
    assert done.returncode == 2
    assert "--fewshot-as-multiturn is given 2 times" in done.stderr
    assert benchbench("tasks", "ls", "demo", "--json", "--json").returncode == 0
