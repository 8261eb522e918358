"""What the command lines of all verbs have in common: plain help, and no value that is dropped without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from benchbench.core.errors import ArgumentError

HELP = {"help_option_names": ["-h", "--help"]}
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
        if not ctx.resilient_parsing:  # a shell that completes a line must get no error
            given, rest, order = self.make_parser(ctx).parse_args(args=list(args))
            _refuse_repeated(order)
            _refuse_loose_tasks(given, rest)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_panels(self, ctx, formatter)


class _Group(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            given, rest, order = self.make_parser(ctx).parse_args(args=list(args))
            _refuse_repeated(order)
            if rest and rest[0] not in self.commands:
                _refuse_loose_tasks(given, rest)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_panels(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _write_panels(command: Any, ctx: Any, formatter: Any) -> None:
    """Arguments, then options under the headings that they name; those without one come last."""
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    for param in command.get_params(ctx):
        line = param.get_help_record(ctx)
        if line is not None:
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
