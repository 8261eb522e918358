"""Flags come from the fields of settings: same help everywhere, and no second place to write one."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from typer.testing import CliRunner

from benchbench.cli.main import VerbApp
from benchbench.cli.options import AsJson, Flag, flags_of, with_settings
from benchbench.core.errors import ArgumentError
from benchbench.core.settings import Part, Setting
from benchbench.extensions.parity import ParitySettings
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.runner.settings import RunSettings, SweepSettings
from benchbench.tasks.settings import RenderSettings
from tests.cli.test_app import ALL

OFFERED: list[tuple[tuple[str, ...], Flag]] = [
    (words, flag)
    for words, flags in {
        ("run",): flags_of(RunSettings),
        ("sweep",): flags_of(SweepSettings),
        ("parity",): flags_of(ParitySettings),
        ("score",): flags_of(ScoreSettings),
        ("tasks", "render"): flags_of(RenderSettings, part=Part(without=("limit",))),
        ("tasks", "check"): flags_of(RenderSettings, part=Part(only=("num_fewshot", "limit", "data_root"))),
    }.items()
    for flag in flags
]


def shown(words: tuple[str, ...]) -> str:
    """`--help` of a command on a terminal that is wide enough for every line."""
    command = ALL[words]
    context = command.make_context(words[-1], [], resilient_parsing=True, terminal_width=500, max_content_width=500)
    return " ".join(command.get_help(context).split())


@pytest.mark.parametrize(("words", "flag"), [pytest.param(w, f, id=f"{' '.join(w)} {f.name}") for w, f in OFFERED])
def test_every_setting_with_help_is_in_the_help_of_its_verbs(words: tuple[str, ...], flag: Flag) -> None:
    text = shown(words)
    assert all(part in text for spelling in flag.spelling for part in spelling.split("/"))
    assert flag.field.setting.help in text
    (param,) = (one for one in ALL[words].params if one.name == flag.name)
    assert (param.help, param.rich_help_panel) == (flag.field.setting.help, flag.field.setting.panel)


def test_the_same_setting_has_the_same_help_in_run_and_sweep() -> None:
    of_run = {flag.name: flag.field.setting.help for words, flag in OFFERED if words == ("run",)}
    of_sweep = {flag.name: flag.field.setting.help for words, flag in OFFERED if words == ("sweep",)}
    both = (of_run.keys() & of_sweep.keys()) - {"model", "name", "tasks"}
    assert len(both) >= 20
    assert {name: of_run[name] for name in both} == {name: of_sweep[name] for name in both}
    assert "revision" in of_run
    assert "revision" not in of_sweep


def test_no_command_has_more_than_twelve_parameters() -> None:
    functions = {words: inspect.unwrap(command.callback) for words, command in ALL.items() if command.callback}
    counts = {words: len(inspect.signature(function).parameters) for words, function in functions.items()}
    assert len(counts) > 20
    assert {words: n for words, n in counts.items() if n > 12} == {}


@pytest.mark.parametrize("words", [pytest.param(words, id=" ".join(words)) for words in ALL])
def test_dash_h_is_help_everywhere(words: tuple[str, ...]) -> None:
    assert "-h, --help" in shown(words)


@dataclass(frozen=True)
class Size:
    width: Annotated[int, Setting("How wide.", panel="Size")] = 80


@dataclass(frozen=True)
class Toy:
    """What a person adds a field to."""

    word: Annotated[str, Setting("What to say.", panel="Speech")]
    volume: Annotated[Literal["low", "high"], Setting("How loud.", panel="Speech")] = "low"
    places: Annotated[
        tuple[Path, ...], Setting("Where.", flags=("--place", "-p"), cli_type=list[Path] | None, parse=tuple)
    ] = ()
    hidden: int = 3
    size: Annotated[Size, Part()] = field(default_factory=Size)


@dataclass(frozen=True)
class Wide:
    size: Annotated[Size, Part()] = field(default_factory=lambda: Size(200))


@dataclass(frozen=True)
class Frame:
    border: Annotated[str | None, Setting("Which.")] = None


@dataclass(frozen=True)
class Page:
    frame: Annotated[Frame | None, Setting("A frame.", part_flags_do="describes a frame")] = None


def toy_app() -> tuple[VerbApp, list[Any]]:
    app, said = VerbApp(), []

    @app.command()
    @with_settings
    def toy(settings: Toy, as_json: AsJson = False) -> None:
        """Say it."""
        said.append((settings, as_json))

    return app, said


def test_a_new_field_is_a_new_flag_without_another_edit() -> None:
    app, said = toy_app()
    text = " ".join(CliRunner().invoke(app, ["-h"]).stdout.split())
    assert "Speech: --word <str> What to say. [required] --volume <low|high> How loud. [default: low]" in text
    assert "Size: --width <int> How wide. [default: 80]" in text
    assert "hidden" not in text
    line = ["--word", "hi", "--volume", "high", "-p", "a", "--place", "b", "--width", "7", "--json"]
    assert CliRunner().invoke(app, line).exit_code == 0
    assert said == [(Toy("hi", "high", (Path("a"), Path("b")), size=Size(7)), True)]


def test_what_is_not_typed_has_the_default_of_the_settings() -> None:
    app, said = toy_app()
    assert CliRunner().invoke(app, ["--word", "hi"]).exit_code == 0
    assert said == [(Toy("hi"), False)]
    for typed, sentence in (
        ([], "--word is missing"),
        (["--word", "hi", "--volume", "loud"], "--volume: 'loud' is not one of"),
    ):
        error = CliRunner().invoke(app, typed).exception
        assert isinstance(error, ArgumentError)
        assert sentence in str(error)


def test_a_parts_own_default_is_the_default_of_its_flag() -> None:
    (width,) = flags_of(Wide)
    assert width.parameter.default == 200


def test_flags_of_a_part_that_was_not_asked_for_are_a_sentence() -> None:
    app, said = VerbApp(), []

    @app.command()
    @with_settings
    def page(settings: Page) -> None:
        said.append(settings)

    error = CliRunner().invoke(app, ["--border", "thick"]).exception
    assert isinstance(error, ArgumentError)
    assert str(error) == "--border describes a frame; it needs --frame beside it."
    CliRunner().invoke(app, ["--frame", "--border", "thick"])
    assert said == [Page(Frame("thick"))]


def complete(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bash offers at the end of the line."""
    from benchbench.cli.main import app

    monkeypatch.setenv("_BENCHBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - (not line.endswith(" "))))
    return CliRunner().invoke(app, [], prog_name="benchbench").stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("benchbench s", ["sweep", "score"]),
        ("benchbench sweep s", ["status", "show", "signal"]),
        ("benchbench run --fewshot-mode ", ["fixed", "per_doc", "lm_eval"]),
        ("benchbench run --backend v", ["vllm"]),
        ("benchbench run --tasks hellaswag,demo_choice_c", ["hellaswag,demo_choice_cs"]),
    ],
)
def test_a_shell_completes_verbs_and_values(line: str, offered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete(line, monkeypatch) == offered
