"""`benchbench`: the door to the verbs, and what their command lines have in common.

Nothing heavy is imported until a verb is called, so that `--help` is quick. An option that takes one value refuses a
second one, and no word of a command line is dropped in silence.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import CompletionItem, TyperCommand, TyperGroup  # type: ignore[attr-defined]

from benchbench.cli.bug import BugReports, say, write_report
from benchbench.cli.lm_eval_habits import refuse_habits
from benchbench.cli.usage import in_sentences
from benchbench.core import __version__
from benchbench.core.errors import ArgumentError, BenchbenchError

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
"""Context settings of all commands."""


class VerbApp(typer.Typer):
    """The app of a verb. An option that takes one value refuses a second one; repeatable options add up."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, rich_markup_mode=None, add_completion=False, context_settings=HELP, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """As typer's."""
        return super().command(name, cls=_Command, context_settings=HELP, **options)


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # a shell that completes a line must get no error
            return super().parse_args(ctx, args)
        with in_sentences(ctx):
            given, rest, order = self.make_parser(ctx).parse_args(args=list(args))
        _refuse_repeated(order)
        _refuse_loose_tasks(given, rest)
        with in_sentences(ctx, given):
            return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_panels(self, ctx, formatter)


class _Group(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        with in_sentences(ctx):
            given, rest, order = self.make_parser(ctx).parse_args(args=list(args))
        _refuse_repeated(order)
        if rest and rest[0] not in self.commands:
            _refuse_loose_tasks(given, rest)
        with in_sentences(ctx, given):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer's."""
        with in_sentences(ctx):
            return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_panels(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every command with the first sentence of its help, whole."""
        shown = [(name, one) for name, one in self.commands.items() if not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(limit=400)) for name, one in shown])


_ONE_OF_SEVERAL = re.compile(r"list\[(\w+)\]")
"""What typer calls the values of an option that may be repeated; each time one is typed."""


def _write_panels(command: Any, ctx: Any, formatter: Any) -> None:
    """Arguments, then options under the headings that they name; those without one come last."""
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    for param in command.get_params(ctx):
        line = param.get_help_record(ctx)
        if line is not None:
            line = (_ONE_OF_SEVERAL.sub(lambda found: found[1].lower(), line[0]), line[1])
            kind = "Arguments" if param.param_type_name == "argument" else getattr(param, "rich_help_panel", None)
            panels.setdefault(kind or "Options", []).append(line)
    panels["Options"] = panels.pop("Options", [])
    for heading, lines in panels.items():
        if lines:
            with formatter.section(heading):
                formatter.write_dl(lines)


def _refuse_repeated(order: Sequence[Any]) -> None:
    """ArgumentError where an option that takes one value, or a pair of opposite flags, stands several times."""
    for param, count in Counter(order).items():
        if count == 1 or param.param_type_name != "option" or param.multiple or param.count:
            continue
        if param.is_flag and not param.secondary_opts:
            continue
        raise ArgumentError(f"{max(param.opts, key=len)} is given {count} times, but takes one value; give it once.")


def _refuse_loose_tasks(given: dict[str, Any], rest: Sequence[str]) -> None:
    """ArgumentError for `--tasks a b`: words without an option behind a list of tasks."""
    tasks = given.get("tasks")
    if not tasks or not rest:
        return
    listed = ",".join([*([tasks] if isinstance(tasks, str) else tasks), *rest])
    raise ArgumentError(
        f"{' '.join(rest)!r} stands alone behind --tasks. Tasks are listed with commas, --tasks {listed}, or the "
        f"option is repeated, --tasks {' --tasks '.join(listed.split(','))}."
    )


VERBS = {
    "run": "Evaluate one model and print its table.",
    "sweep": "Score every checkpoint of a training run, as it appears.",
    "score": "Add metrics to a finished run: COMET, a judge's grades.",
    "arena": "Rank models by a judge that compares their stored answers.",
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

FAILED, BAD_INPUT, INCOMPLETE, BUG, INTERRUPTED = 1, 2, 3, 70, 130
"""Exit codes besides 0: too many failed docs, a task without a single value or no room on the machine; wrong input;
tasks of the default suite left out, because the data root lacks their data, or a judge's budget spent; a bug of ours;
Ctrl-C."""


class _EndOfFileError(Exception):
    """An EOFError that nobody caught, as its cause."""


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
        with in_sentences(ctx):
            return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer's."""
        with in_sentences(ctx):
            return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """What a shell offers: the verbs, without importing any, and the options."""
        verbs = [CompletionItem(name, help=text) for name, text in VERBS.items() if name.startswith(incomplete)]
        return [*verbs, *super(TyperGroup, self).shell_complete(ctx, incomplete)]

    def invoke(self, ctx: Any) -> Any:
        """As typer's, which takes any EOFError for the end of what a person types; nothing here asks for that."""
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise _EndOfFileError from error

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of verbs, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(
    cls=LazyGroup, rich_markup_mode=None, context_settings=HELP, no_args_is_help=True, pretty_exceptions_enable=False
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
    """Runs the command line and ends the process; whatever goes wrong is a sentence on stderr and an exit code."""
    warnings.showwarning = _show_warning
    reports = BugReports()
    reports.install()
    try:
        _prepare_stdout()
        code = _run()
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the last place where it can be told
        code = _tell(error, reports)
    sys.exit(BUG if reports.count and not code else code)


def _prepare_stdout() -> None:
    """A terminal that lacks a letter gets an escape; a command without stdout writes to nobody."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run() -> int | str | None:
    refuse_habits(sys.argv[1:])
    try:
        typer.main.get_command(app)(prog_name="benchbench")
    except SystemExit as stop:
        return stop.code
    return 0


def _tell(error: BaseException, reports: BugReports) -> int:
    """Says what went wrong; the exit code."""
    match error:
        case BenchbenchError():
            _say("error", str(error))
            return BAD_INPUT
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():  # the reader, e.g. `head`, has seen enough
            _drop_stdout()
            return 0
        case RecursionError():
            _say("error", f"{NESTED} If so, please send {write_report(error) or 'this sentence'}.")
            return BAD_INPUT
        case _ if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            _say("error", NO_MEMORY)
            return FAILED
        case OSError(errno=int(number)) if number in MACHINE:
            _drop_stdout()
            _say("error", f"{error.filename or 'the output'} cannot be used: {os.strerror(number)}.")
            return FAILED
    reports.tell(error.__cause__ if isinstance(error, _EndOfFileError) and error.__cause__ else error)
    return BUG


NO_MEMORY = (
    "there was not enough memory. What was computed is kept: the same command goes on from there. Less is needed with "
    "a smaller --batch-tokens or --max-length, or with fewer --tasks at once."
)
NESTED = (
    "something that was read is nested too deeply (RecursionError): a task file, a template, a record or a config. "
    "Look there first; a file that is not nested points to a bug in benchbench."
)
MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of the operating system that say what the machine is short of."""


def _drop_stdout() -> None:
    """What is still to be written to stdout goes nowhere, lest the end of the process fail on it."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(kind: str, text: str) -> None:
    from benchbench.core.format import clean_lines

    say(f"{kind}: {clean_lines(text)}")


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Warnings meant for users become sentences; those for programmers are left out."""
    if issubclass(category, UserWarning):
        _say("warning", str(message))
