"""`benchbench`: the door to the verbs. Nothing heavy is imported until a verb is called, so that `--help` is quick."""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import CompletionItem, TyperGroup  # type: ignore[attr-defined]

from benchbench.cli.app import HELP
from benchbench.core import __version__
from benchbench.core.errors import BenchbenchError

VERBS = {
    "run": "Evaluate one model and print its table.",
    "sweep": "Score every checkpoint of a training run, as it appears.",
    "score": "Add metrics to a finished run, such as COMET.",
    "compare": "Compare models doc by doc: difference, interval, verdict.",
    "parity": "Ask several backends the same and say whether they agree.",
    "results": "List, show, import and export what is on disk.",
    "leaderboard": "Build a static site of the results.",
    "tasks": "List, show, render and check tasks.",
    "data": "Fetch, list and verify data sets for machines without internet.",
    "doctor": "Say which engines work here, and what a model would need.",
    "demo": "Train a tiny model and evaluate it: no network, no downloads.",
}
"""Each verb is the `app` of benchbench.cli.<verb>. The texts stand here so that help needs no import."""

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes besides 0: too many failed docs, wrong input, Ctrl-C."""


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the verbs."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Imports the verb and returns its command; None if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        command = typer.main.get_command(import_module(f"benchbench.cli.{cmd_name}").app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer's, with the verbs known for its suggestions."""
        self.commands = dict.fromkeys(VERBS, None)  # type: ignore[assignment]
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """What a shell offers: the verbs, without importing any, and the options."""
        verbs = [CompletionItem(name, help=text) for name, text in VERBS.items() if name.startswith(incomplete)]
        return [*verbs, *super(TyperGroup, self).shell_complete(ctx, incomplete)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of verbs, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    context_settings=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"benchbench {__version__}")
        raise typer.Exit


@app.callback()
def benchbench(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Evaluate language models while they are being trained.

    Start with `benchbench demo`, or `benchbench run --model M --tasks hellaswag --limit 100`.
    """


def main() -> None:
    """Runs the command line. Wrong input ends in a sentence on stderr and exit code 2."""
    warnings.showwarning = _show_warning
    try:
        app(prog_name="benchbench")
    except BenchbenchError as error:
        _say("error", str(error))
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)


def _say(kind: str, text: str) -> None:
    from benchbench.core.format import clean_lines

    sys.stderr.write(f"{kind}: {clean_lines(text)}\n")


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Warnings meant for users become sentences; those for programmers are left out."""
    if issubclass(category, UserWarning):
        _say("warning", str(message))
