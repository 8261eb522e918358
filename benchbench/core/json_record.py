"""A JSON object as a dataclass: read by its fields' types with sentences for what is wrong, written again as it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from benchbench.core.errors import DamageError, VersionError
from benchbench.core.types import Json

_OWN = ("others", "keys")
LARGEST = 2**63
"""Whole numbers below it fit every table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonRecord:
    """What one JSON object holds, key by key. An object that was read is written with the same keys in their order."""

    others: Mapping[str, Json] | None = field(default=None, compare=False, repr=False)
    """Keys of the file that no field stands for."""
    keys: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    """Keys of the file in their order; None for a record that is made new."""

    schema: ClassVar[int | None] = None
    """The newest `schema_version` of such files that this version reads; None: they have none."""
    order: ClassVar[tuple[str, ...]] = ()
    """Keys of a new record in their order; empty: that of the fields."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Keys that a new record has only where they say something."""

    @classmethod
    def from_json(cls, value: Json, where: str) -> Self:
        """The object that `where` names. A key that the file lacks has its field's default.

        A number that is none (text, NaN, infinity) is a missing value.

        Raises:
            DamageError: it lacks a key that has no default, or has a list or an object where there should be none; the
                sentence names file and key.
            VersionError: a later version wrote it.
        """
        found = an_object(value, where)
        refuse_later(found, cls.schema, where)
        kind: Any = cls
        shape = _shape(kind, tuple(found))
        others = {key: found[key] for key in shape.unknown} if shape.unknown else None
        return cls(**_values(shape, found, where), others=others, keys=shape.keys)

    def to_json(self) -> dict[str, Json]:
        """The object, for `json.dumps`: of a new record every key, of one that was read those of the file and what was
        added to it.
        """
        others = self.others or {}
        found = {key: others[key] if key in others else as_json(getattr(self, key)) for key in self.keys or ()}
        is_new = self.keys is None
        kind: Any = type(self)
        for name, absent in _defaults(kind).items():
            if name not in found and name not in _OWN:
                value = getattr(self, name)
                if value != absent or (is_new and name not in self.optional):
                    found[name] = as_json(value)
        return found


def as_json(value: object) -> Json:
    """Records, dataclasses, mappings and tuples, at any depth, as JSON has them or as their own `as_json` says."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, JsonRecord):
        return value.to_json()
    if hasattr(value, "as_json"):
        return as_json(value.as_json())
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, Iterable):
        return [as_json(one) for one in value]
    if is_dataclass(value):
        return {one.name: as_json(getattr(value, one.name)) for one in fields(value)}
    raise TypeError(f"{value!r} has no place in JSON")


@cache
def _defaults(kind: Any) -> dict[str, object]:
    """Field → its value where the file has no such key (MISSING: it must), in the order of a new record."""
    known = {one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in fields(kind)}
    return {name: known[name] for name in getattr(kind, "order", ()) or known}


@dataclass(frozen=True, slots=True)
class _Shape:
    """How objects of one class with the same keys are read; worked out once, for they come by the thousand."""

    keys: tuple[str, ...]
    lacking: tuple[str, ...]
    """Fields without a default that the keys do not name."""
    unknown: tuple[str, ...]
    """Keys that no field stands for."""
    plain: tuple[tuple[str, tuple[type, ...], Callable[[Any], object]], ...]
    """Fields that hold one value: the types that are right as they are, and what becomes of others."""
    nested: tuple[tuple[str, Reader], ...]
    """Fields that hold lists or objects."""


@cache
def _shape(kind: Any, keys: tuple[str, ...]) -> _Shape:
    types = get_type_hints(kind, localns={"Json": object})
    fields_of = {name: types[name] for name in _defaults(kind) if name not in _OWN}
    here = [name for name in keys if name in fields_of]
    return _Shape(
        keys=keys,
        lacking=tuple(name for name, absent in _defaults(kind).items() if absent is MISSING and name not in keys),
        unknown=tuple(key for key in keys if key not in fields_of),
        plain=tuple((name, *_PLAIN[fields_of[name]]) for name in here if fields_of[name] in _PLAIN),
        nested=tuple((name, _reader(fields_of[name])) for name in here if fields_of[name] not in _PLAIN),
    )


def _values(shape: _Shape, value: Mapping[str, Json], where: str) -> dict[str, Any]:
    """Field → what the object says of it."""
    if shape.lacking:
        raise DamageError(f"{where} lacks {', '.join(shape.lacking[:3])}; it is damaged, or of another version.")
    found = {name: one if type(one := value[name]) in right else read(one) for name, right, read in shape.plain}
    for name, nested in shape.nested:
        found[name] = nested(value[name], where, name)
    return found


def an_object(value: Json, where: str) -> dict[str, Json]:
    """The object. DamageError, beginning with `where`, if the value is none."""
    if isinstance(value, dict):
        return value
    raise DamageError(f"{where} is no object of keys and values; the file is damaged.")


def refuse_later(value: Mapping[str, Json], schema: int | None, where: str) -> None:
    """VersionError where the file that `where` names says a `schema_version` that this benchbench does not read."""
    found = value.get("schema_version", schema)
    if schema is not None and (type(found) is not int or not 1 <= found <= schema):
        raise VersionError(
            f"schema version {found!r} of {where}; this benchbench reads version {schema}. Read it with the version "
            "of benchbench that wrote it, or a newer one."
        )


def object_at(value: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    """The object under `key`; {} where there is none."""
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def text(value: Json) -> str | None:
    """The value as text; None where there is none."""
    return value if value is None or isinstance(value, str) else str(value)


def number(value: Json) -> float | None:
    """The value where it is a finite number."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    return float(value) if type(value) is int and abs(value) < LARGEST else None


def finite(value: float | None) -> float | None:
    """The number, or None for NaN and infinities, which JSON has no word for."""
    return value if value is not None and math.isfinite(value) else None


def finite_json(value: object) -> object:
    """The value, at any depth, with None for NaN and infinities, which JSON has no word for."""
    match value:
        case dict():
            return {key: finite_json(part) for key, part in value.items()}
        case list() | tuple():
            return [finite_json(part) for part in value]
        case float() if not math.isfinite(value):
            return None
    return value


def whole(value: Json) -> int | None:
    """The value where it is a whole number."""
    if type(value) is int:
        return value if abs(value) < LARGEST else None
    return int(value) if isinstance(value, float) and abs(value) < LARGEST and value.is_integer() else None


Reader = Callable[[Any, str, str], object]
"""(value, the object that holds it, its key) → the field. DamageError as `JsonRecord.from_json`."""

Plain = tuple[tuple[type, ...], Callable[[Any], object]]
"""The types of JSON that are right as they are, and what becomes of others."""

_PLAIN: dict[object, Plain] = {
    object: ((), lambda value: value),
    str: ((str,), lambda value: text(value) or ""),
    str | None: ((str, NoneType), text),
    bool: ((bool,), bool),
    int: ((int,), lambda value: whole(value) or 0),
    int | None: ((int, NoneType), whole),
    float: ((int,), lambda value: 0 if (found := number(value)) is None else found),
    float | None: ((NoneType,), number),
    str | int | float | None: ((str, int, float, NoneType), lambda value: None),
}


def _reader(kind: Any) -> Reader:
    """How a field of this type is read."""
    if kind in _PLAIN:
        right, read = _PLAIN[kind]
        return lambda value, where, key: value if type(value) in right else read(value)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (inner,) = (_reader(one) for one in args if one is not NoneType)
        return lambda value, where, key: None if value is None else inner(value, where, key)
    if origin is tuple:
        return _list_reader(args)
    if origin is Mapping:
        return _mapping_reader(_reader(args[1]))
    if issubclass(kind, JsonRecord):
        return lambda value, where, key: kind.from_json(value, f"`{key}` of {where}")
    return lambda value, where, key: _plain_dataclass(kind, value, f"`{key}` of {where}")


def _plain_dataclass(kind: Any, value: Json, where: str) -> object:
    found = an_object(value, where)
    return kind(**_values(_shape(kind, tuple(found)), found, where))


def _list_reader(args: tuple[Any, ...]) -> Reader:
    """Of `tuple[X, ...]`, or of a tuple with a type for each place."""
    inner = [_reader(one) for one in args if one is not Ellipsis]

    def read(value: Any, where: str, key: str) -> tuple[object, ...]:
        if not isinstance(value, list) or (Ellipsis not in args and len(value) != len(inner)):
            raise DamageError(f"`{key}` of {where} is no such list as it should be; the file is damaged.")
        return tuple(inner[min(i, len(inner) - 1)](one, where, key) for i, one in enumerate(value))

    return read


def _mapping_reader(inner: Reader) -> Reader:
    def read(value: Any, where: str, key: str) -> dict[str, object]:
        found = an_object(value, f"`{key}` of {where}")
        return {name: inner(one, f"`{key}` of {where}", name) for name, one in found.items()}

    return read
