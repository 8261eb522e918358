"""Options from settings: a command that takes a settings dataclass offers a flag for each field that has help.

@app.command()
@with_settings
def run(settings: RunSettings, as_json: AsJson = False) -> None: ...
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, is_dataclass, replace
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from benchbench.core.errors import ArgumentError
from benchbench.core.format import clean_lines
from benchbench.core.settings import Field, Part, annotated, fields_of
from benchbench.runner.settings import RunSettings
from benchbench.tasks.settings import RenderSettings

if TYPE_CHECKING:
    from benchbench.tasks.index import TaskIndex

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Flag:
    """A field of settings as an option of a command."""

    field: Field
    path: tuple[str, ...]
    """The fields that lead to it from the command's settings, its own name last."""
    value: Any
    """What the settings hold if nothing is typed; `dataclasses.MISSING` where something must be."""

    @property
    def spelling(self) -> tuple[str, ...]:
        """How it is typed, as click reads it."""
        return _spelling(self.field)

    @property
    def name(self) -> str:
        """The name of the command's parameter: the flag's, without dashes in front."""
        return _first(self.field).removeprefix("--").replace("-", "_")

    @property
    def parameter(self) -> inspect.Parameter:
        """The parameter from which typer makes the option."""
        kind, default = self._typed()
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is MISSING else default,
            annotation=Annotated[kind, self.option()],
        )

    def option(self) -> Any:
        """What typer is told of it."""
        setting = self.field.setting
        return typer.Option(
            *self.spelling,
            help=setting.help,
            envvar=setting.env,
            rich_help_panel=setting.panel,
            show_default=setting.cli_type is None,
            autocompletion=_completion(self.name),
        )

    def _typed(self) -> tuple[Any, Any]:
        """The type of what is typed, and what stands for nothing."""
        if self.field.parts is not None:
            return bool, False
        kind = self.field.setting.cli_type
        if kind is None:
            return self.field.hint, self.value
        return kind, MISSING if self.value is MISSING else "" if kind is str else None


def _first(field: Field) -> str:
    """The longest spelling of a field's flag, of a pair the one that means yes."""
    return max(_spelling(field), key=len).partition("/")[0]


def _spelling(field: Field) -> tuple[str, ...]:
    """How a field's flag is typed, as click reads it."""
    return field.setting.flags or (f"--{field.name.replace('_', '-')}",)


def flags_of(kind: type, base: Any = None, part: Part | None = None) -> list[Flag]:
    """The flags of a settings class and its parts; `base` has their defaults, `part` says which are offered.

    A flag of the whole takes the place of a part's flag of that name.
    """
    found: dict[str, Flag] = {}
    for field in fields_of(kind):
        value = field.default if base is None else getattr(base, field.name)
        own = Flag(field, (field.name,), value)
        if field.setting.help:
            found[own.name] = own
        if field.parts is not None:
            for flag in flags_of(field.parts, None if value is MISSING else value, field.part):
                found.setdefault(flag.name, replace(flag, path=(field.name, *flag.path)))
    offered = part or Part()
    return [
        flag
        for name, flag in found.items()
        if name not in offered.without and (not offered.only or name in offered.only)
    ]


def make(kind: type[S], given: Mapping[tuple[str, ...], Any], base: S | None = None) -> S:
    """The settings that the typed values (path of the flag → value) make; what is not typed is as in `base`."""
    values: dict[str, Any] = {}
    for field in fields_of(kind):
        usual = field.default if base is None else getattr(base, field.name)
        below = {path[1:]: value for path, value in given.items() if path[0] == field.name and len(path) > 1}
        if field.parts is not None and field.is_optional and (field.name,) in given:
            values[field.name] = _asked_part(field, field.parts, below, is_asked=given[field.name,])
        elif field.parts is not None and not field.is_optional:
            values[field.name] = make(field.parts, below, None if usual is MISSING else usual)
        elif not _is_nothing(field, given.get((field.name,))):
            values[field.name] = _value(field, given[field.name,])
    return kind(**values) if base is None else replace(base, **values)  # type: ignore[type-var]


def _asked_part(field: Field, parts: type, below: Mapping[tuple[str, ...], Any], *, is_asked: bool) -> Any:
    """A part that a flag asks for. ArgumentError where its own flags are typed without that one."""
    if is_asked:
        return make(parts, below)
    for inner in fields_of(parts):
        if not _is_nothing(inner, below.get((inner.name,))):
            does = field.setting.part_flags_do
            raise ArgumentError(f"{_first(inner)} {does}; it needs {_first(field)} beside it.")
    return None


def _is_nothing(field: Field, typed: Any) -> bool:
    return typed is None or (field.setting.cli_type is str and typed == "")


def _value(field: Field, typed: Any) -> Any:
    setting = field.setting
    if setting.may_be_file and typed.startswith("@"):
        typed = _text_of(_first(field), Path(typed[1:]).expanduser())
    return typed if setting.parse is None else setting.parse(typed)


def _text_of(flag: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{flag} @{path} cannot be read: {error}") from error


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """The command with its settings taken apart into flags, as typer wants it.

    A parameter `settings: Annotated[SomeSettings, Part(without=("limit",))]` says which flags are not offered; its
    default gives the flags theirs. A group does nothing where one of its commands was called.
    """
    parameters: list[inspect.Parameter] = []
    made: dict[str, tuple[type, Any, list[Flag]]] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        kind, part = _settings_class(parameter.annotation)
        if kind is None:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        base = None if parameter.default is inspect.Parameter.empty else parameter.default
        made[parameter.name] = (kind, base, flags_of(kind, base, part))
        parameters += [flag.parameter for flag in made[parameter.name][2]]

    def command(**given: Any) -> None:
        if any(getattr(value, "invoked_subcommand", None) for value in given.values()):
            return
        settings = {
            name: make(kind, {flag.path: given.pop(flag.name) for flag in flags}, base)
            for name, (kind, base, flags) in made.items()
        }
        function(**given, **settings)

    update_wrapper(command, function)
    command.__annotations__ = {}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _settings_class(annotation: Any) -> tuple[type | None, Part]:
    kind, _, part = annotated(annotation)
    return (kind if isinstance(kind, type) and is_dataclass(kind) else None), part


def option_of(kind: type, name: str) -> Any:
    """The typer option of one field, for commands that take no more of the settings."""
    return next(flag for flag in flags_of(kind) if flag.field.name == name).option()


def _completion(name: str) -> Callable[[str], Iterable[str]] | None:
    """What a shell offers for the values of a flag; None for nothing."""
    return {"backend": _backends, "tasks": _task_names, "dtype": _dtypes}.get(name)


def _backends(typed: str) -> Iterator[str]:
    from benchbench.backends.engines import engine_names

    yield from (name for name in ("auto", *engine_names()) if name.startswith(typed))


def _dtypes(typed: str) -> Iterator[str]:
    from benchbench.backends.models.config import DTYPES

    yield from (name for name in DTYPES if name.startswith(typed))


def _task_names(typed: str) -> Iterator[str]:
    """Suites, groups and tasks, also after a comma."""
    index = task_index()
    before, comma, begun = typed.rpartition(",")
    names = [*index.suites, *index.groups, *index.variants]
    yield from (f"{before}{comma}{name}" for name in dict.fromkeys(names) if name.startswith(begun))


def task_index(include_paths: Iterable[Path] | None = None, *, told: bool = True) -> TaskIndex:
    """The tasks that there are, with those of --include-path; `told`: the first files that were skipped are named."""
    from benchbench.tasks.index import MOST_TOLD, SEE_SKIPPED, TaskIndex

    index = TaskIndex(list(include_paths or ()))
    if told:
        kinds = _kinds_of_skipped(index)
        for line, alike in kinds[:MOST_TOLD]:
            more = f" And {alike:,} more for the same reason." if alike else ""
            typer.echo(f"Skipped {line}{more}", err=True)
        if (left := sum(1 + alike for _, alike in kinds[MOST_TOLD:])) > 0:
            typer.echo(f"Skipped {left:,} more for other reasons. {SEE_SKIPPED}", err=True)
    return index


def _kinds_of_skipped(index: TaskIndex) -> list[tuple[str, int]]:
    """The line of the first file of each reason, and how many more have it, most frequent first."""
    first: dict[str, str] = {}
    alike: Counter[str] = Counter()
    for line, (path, reason) in zip(skipped_lines(index), index.skipped.items(), strict=True):
        why = _PLACE.sub("", str(reason).replace(str(path), "it"))
        first.setdefault(why, line)
        alike[why] += 1
    return [(first[why], count - 1) for why, count in alike.most_common()]


_PLACE = re.compile(r"^.*:\d+: |^it: ")
"""Where the reason was found."""


def skipped_lines(index: TaskIndex) -> list[str]:
    """Every file of --include-path that was skipped, and why, in the order of the files."""
    return [
        clean_lines(reason if str(reason).startswith(str(path)) else f"{path}: {reason}")
        for path, reason in index.skipped.items()
    ]


def check_target(to: Path) -> None:
    """ArgumentError where no file can be written at `to`."""
    if to.is_dir():
        raise ArgumentError(f"--to {to} is a folder; a file was expected.")
    if not to.parent.is_dir():
        raise ArgumentError(f"--to {to}: there is no folder {to.parent}. Make it first: mkdir -p {to.parent}")


Weights = Annotated[
    Literal["benchmarks", "tasks"],
    typer.Option(help="What counts alike in a mean of tasks: benchmarks (MMLU's subjects share one weight) or tasks."),
]
DataRoot = Annotated[Path | None, option_of(RenderSettings, "data_root")]
Output = Annotated[Path, option_of(RunSettings, "output")]
IncludePath = Annotated[list[Path] | None, option_of(RunSettings, "include_paths")]
AsJson = Annotated[bool, typer.Option("--json", rich_help_panel="Output", help="Print one JSON object on stdout.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", rich_help_panel="Output", help="Show what would be done; load no model.")
]
