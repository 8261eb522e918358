"""Settings as dataclasses: a field says once what it is on the command line, in a record and in a sweep's identity.

    limit: Annotated[int | None, Setting("Only the first N docs of each task.", panel="Tasks")] = None

Flags, JSON, records and identities are derived from such fields, so that a new flag is one new field. Settings may hold
settings: a field whose type is a dataclass is a part, and the names of all parts are told apart by no prefix.

Settings of one kind that stand in one flag are written `name=value,name=value`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from benchbench.core.errors import ArgumentError, did_you_mean

S = TypeVar("S")
Kept = bool | Literal["if set"]
"""Whether a value is kept. "if set": not while it is empty, as where it was written before there was the setting."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field of settings is, besides its name, type and default."""

    help: str = ""
    """What it does, as `--help` says it; empty: it has no flag."""
    panel: str = ""
    """The heading in `--help` under which the flag stands."""
    flags: tuple[str, ...] = ()
    """How the flag is spelled; (): `--` and the field's name."""
    env: str | None = None
    """An environment variable that stands for the flag."""
    cli_type: type | UnionType | None = None
    """The type of what is typed, where it is not the field's own; what is not typed is None, or "" for a str."""
    parse: Callable[..., object] | None = None
    """Makes the field's value of what is typed. Raises ArgumentError."""
    may_be_file: bool = False
    """`@FILE` stands for the text of a file."""
    part_flags_do: str = ""
    """Of a part that this flag asks for: what the part's own flags do, for the sentence that it was not asked for."""
    identity: Kept = True
    """Two sweeps that differ in it are two sweeps."""
    record: Kept = True
    """It goes into the record of a run."""
    pairs: bool = False
    """It holds (name, value) pairs, which are a mapping in records."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a field that holds settings is."""

    flat: bool = False
    """In JSON its values stand among those of the whole."""
    without: tuple[str, ...] = ()
    """Names of flags (without dashes) that the whole does not offer."""
    only: tuple[str, ...] = ()
    """Names of the flags that the whole offers; (): all."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of settings, resolved."""

    name: str
    hint: object
    """Its type, without what is annotated."""
    default: object
    """`dataclasses.MISSING` where there is none."""
    setting: Setting
    part: Part
    parts: type | None
    """The dataclass, where the field holds settings."""
    is_optional: bool
    """None is one of its values."""


def fields_of(kind: type) -> tuple[Field, ...]:
    """The fields of a settings class, in order."""
    return _resolved(kind)


@cache
def _resolved(kind: Any) -> tuple[Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_field(one, hints[one.name]) for one in fields(kind))


def _field(one: Any, hint: Any) -> Field:
    hint, setting, part = annotated(hint)
    default = one.default if one.default_factory is MISSING else one.default_factory()
    own = without_none(hint)
    return Field(
        name=one.name,
        hint=hint,
        default=default,
        setting=setting,
        part=part,
        parts=own if isinstance(own, type) and is_dataclass(own) else None,
        is_optional=own is not hint,
    )


def annotated(hint: object) -> tuple[object, Setting, Part]:
    """The type of `Annotated[type, …]`, with its `Setting` and its `Part`; plain ones where it names none."""
    if get_origin(hint) is not Annotated:
        return hint, Setting(), Part()
    kind, *marks = get_args(hint)
    return (
        kind,
        next((mark for mark in marks if isinstance(mark, Setting)), Setting()),
        next((mark for mark in marks if isinstance(mark, Part)), Part()),
    )


def without_none(hint: Any) -> Any:
    """`X` of `X | None`; any other type as it is."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    others = [one for one in get_args(hint) if one is not NoneType]
    return others[0] if len(others) == 1 and len(get_args(hint)) == 2 else hint


def changed(settings: S, **changes: object) -> S:
    """The settings with other values, named as fields of theirs or of their parts. ArgumentError for an unknown name.

    The settings' own fields come first: `model` of a run is the part, not the part's `model`.
    """
    known = fields_of(type(settings))
    own = {field.name: changes.pop(field.name) for field in known if field.name in changes}
    for field in known:
        part = own.get(field.name, getattr(settings, field.name))
        if field.parts is not None and part is not None:
            below = {name: changes.pop(name) for name in _names(field.parts) if name in changes}
            if below:
                own[field.name] = changed(part, **below)
    if changes:
        unknown = next(iter(changes))
        names = _names(type(settings))
        raise ArgumentError(f"there is no setting {unknown!r}.{did_you_mean(unknown, names)}")
    return replace(settings, **own)  # type: ignore[type-var]


def _names(kind: type) -> list[str]:
    """The names that `changed` knows."""
    found: dict[str, None] = {}
    for field in fields_of(kind):
        found |= {field.name: None} | dict.fromkeys(() if field.parts is None else _names(field.parts))
    return list(found)


def with_written(settings: S, **given: object) -> S:
    """`changed` with values as people write them in Python, by the names of fields or of flags (`-` as `_`).

    A mapping stands for pairs, a list or one value for a tuple, a text for a path, True for a part's defaults.
    ArgumentError for an unknown name and for a value of another type.
    """
    known = _spelled(type(settings))
    fields = {name: known.get(name) for name in given}
    return changed(
        settings,
        **{
            name if field is None else field.name: given[name] if field is None else _written(name, field, given[name])
            for name, field in fields.items()
        },
    )


def _spelled(kind: type) -> dict[str, Field]:
    """The fields of settings and of their parts, by all their names. The settings' own fields come first."""
    found: dict[str, Field] = {}
    for field in fields_of(kind):
        flags = [one.split("/")[0].removeprefix("--").replace("-", "_") for one in field.setting.flags]
        found |= dict.fromkeys((field.name, *flags), field)
    parts = [_spelled(field.parts) for field in fields_of(kind) if field.parts is not None]
    for below in parts:
        found = below | found
    return found


_PLAIN_TYPES: Mapping[object, tuple[type, ...]] = {
    int: (Integral,), float: (Real,), str: (str, os.PathLike), bool: (bool,), Path: (str, os.PathLike)
}  # fmt: skip


def _written(name: str, field: Field, value: Any) -> object:
    """The field's value of what stands in somebody's code."""
    hint: Any = without_none(field.hint)
    if value is None or (field.parts is not None and not isinstance(value, bool)):
        return value
    if field.parts is not None:
        return field.parts() if value else None
    if field.setting.parse is not None and (
        isinstance(value, Mapping) if hint is not str else isinstance(value, list | tuple)
    ):
        return field.setting.parse(value)
    if get_origin(hint) is tuple:
        if field.setting.pairs:
            return field.setting.parse(value) if field.setting.parse and isinstance(value, str) else value
        return tuple(
            _one(name, get_args(hint)[0], one) for one in ([value] if isinstance(value, str | Path) else value)
        )
    return _one(name, hint, value)


def _one(name: str, hint: Any, value: Any) -> object:
    hint = without_none(hint)
    if value is None:
        return None
    kinds = _PLAIN_TYPES.get(hint, ())
    if kinds and (not isinstance(value, kinds) or isinstance(value, bool) is not (hint is bool)):
        raise ArgumentError(f"{name} is {value!r}; expected {_called(hint)}.")
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise ArgumentError(f"{name} is {value!r}; expected one of {', '.join(map(str, get_args(hint)))}.")
    return hint(value) if kinds else value


def _called(hint: object) -> str:
    return {int: "a whole number", float: "a number", str: "a text", bool: "True or False", Path: "a path"}[hint]  # type: ignore[index]


def as_record(settings: object) -> dict[str, object]:
    """What a record keeps of the settings: the values of all parts side by side, except of parts that may be absent."""
    found: dict[str, object] = {}
    for field, value in _values(settings):
        setting = field.setting
        if field.parts is not None and not field.is_optional:
            found |= as_record(value)
        elif _is_kept(setting.record, value):
            nested = field.parts is not None and value is not None
            found[field.name] = dict(value) if setting.pairs else as_record(value) if nested else value
    return found


def from_record(kind: type[S], value: Mapping[str, object]) -> S:
    """The settings of which `as_record` kept `value`; what a record does not keep has its default.

    TypeError where `value` holds something else than a record does.
    """
    given: dict[str, Any] = {}
    for field in fields_of(kind):
        if field.parts is not None and not field.is_optional:
            given[field.name] = from_record(field.parts, value)
        elif field.setting.pairs and field.name in value:
            given[field.name] = _sorted_pairs(value[field.name])
        elif field.name in value:
            given[field.name] = _read(field.hint, value[field.name])
    return kind(**given)


def _sorted_pairs(value: object) -> tuple[tuple[object, object], ...]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no object of names and values")
    return tuple(sorted(value.items()))


def to_json(settings: object, *, only_identity: bool = False) -> dict[str, object]:
    """The settings as JSON values, paths absolute; `from_json` reads them back.

    `only_identity`: what tells a sweep from others.
    """
    found: dict[str, object] = {}
    for field, value in _values(settings):
        if only_identity and not _is_kept(field.setting.identity, value):
            continue
        if field.parts is None or value is None:
            found[field.name] = _plain(value)
        else:
            inner = to_json(value, only_identity=only_identity)
            found |= inner if field.part.flat else {field.name: inner}
    return found


def _is_kept(kept: Kept, value: object) -> bool:
    return bool(value) if kept == "if set" else kept


def _values(settings: object) -> Iterator[tuple[Field, Any]]:
    for field in fields_of(type(settings)):
        yield field, getattr(settings, field.name)


def _plain(value: Any) -> object:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return str(value.expanduser().absolute()) if isinstance(value, Path) else value


def from_json(kind: type[S], value: Mapping[str, object]) -> S:
    """The settings that `to_json` wrote; what they do not say has its default. TypeError for a name that is unknown."""
    names = _json_names(kind)
    unknown = [name for name in value if name not in names]
    if unknown:
        raise TypeError(f"{kind.__name__} has no {unknown[0]!r}")
    return _from_json(kind, value)


def _json_names(kind: type) -> set[str]:
    found: set[str] = set()
    for field in fields_of(kind):
        found |= _json_names(field.parts) if field.parts is not None and field.part.flat else {field.name}
    return found


def _from_json(kind: type[S], value: Mapping[str, object]) -> S:
    given: dict[str, Any] = {}
    for field in fields_of(kind):
        if field.parts is not None and field.part.flat:
            given[field.name] = _from_json(field.parts, value)
        elif field.name in value:
            given[field.name] = _read(field.hint, value[field.name])
    return kind(**given)


def _read(hint: object, value: Any) -> object:
    """A JSON value as `hint` says."""
    hint = without_none(hint)
    if value is None:
        return None
    if hint is Path:
        return Path(value)
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value)
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        hints = [inner[0]] * len(value) if inner[1:] == (...,) else inner
        return tuple(_read(*pair) for pair in zip(hints, value, strict=True))
    return value


def name_value_pairs(text: str, option: str, otherwise: str = "", *, may_nest: bool = False) -> dict[str, str]:
    """Name → value, in the order written; spaces around either are removed, empty parts skipped.

    `may_nest`: commas inside the brackets of JSON, and inside its texts there, belong to the value.

    Raises:
        ArgumentError: a part that is no pair, or a name given twice. The sentence begins with `option`; `otherwise`
            ends it where the option may be written in another way, too.
    """
    pairs: dict[str, str] = {}
    parts = _split_nested(text) if may_nest else text.split(",")
    for part in filter(None, (part.strip() for part in parts)):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ArgumentError(f"{option} has {part!r}; it is written name=value,name=value{otherwise}.")
        if name in pairs:
            raise ArgumentError(f"{option} names {name} twice.")
        pairs[name] = value
    return pairs


_JSON_PIECE = re.compile(r'(?P<text>"(?:[^"\\]|\\.)*")|(?P<opening>[\[{])|(?P<closing>[\]}])|(?P<comma>,)')


def _split_nested(text: str) -> list[str]:
    """The parts of the text between its commas, without those inside brackets."""
    parts, begin, depth, place = [], 0, 0, 0
    while (found := _JSON_PIECE.search(text, place)) is not None:
        # Outside of brackets a quotation mark is a letter like any other, and need not have a second one.
        place = found.start() + 1 if found["text"] and not depth else found.end()
        depth = max(0, depth + bool(found["opening"]) - bool(found["closing"]))
        if found["comma"] and not depth:
            parts.append(text[begin : found.start()])
            begin = found.end()
    return [*parts, text[begin:]]
