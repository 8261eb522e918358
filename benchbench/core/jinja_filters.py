"""Jinja's filters for strangers' templates: those that are harmless, each bounded where its result could be large."""

from __future__ import annotations

import json
from ast import literal_eval
from collections.abc import Callable, Iterable, Mapping
from functools import update_wrapper
from random import Random
from typing import Any

from jinja2 import Environment, filters, nodes

from benchbench.core import limits
from benchbench.core.math_answers import boxed_answer

_JINJA_OWN = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "items", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr",
    "sort", "title", "trim", "unique", "upper", "wordcount",
)  # fmt: skip


def _boxed_answer(value: Any) -> str:
    limits.check_size(value)
    return boxed_answer(str(value))


def _center(value: Any, width: int = 80) -> str:
    limits.check_width(width)
    return str(value).center(width)


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    limits.check_digits(precision)
    return filters.do_round(value, precision, method)


def _int(value: Any, default: int = 0, base: int = 10) -> int:
    if isinstance(value, str) and base != 10 and len(value) > limits.MAX_INT_BITS // 4:
        raise limits.too_large()
    return filters.do_int(value, default, base)


def _join(value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    parts = value if attribute is None else (part[attribute] for part in value)
    return limits.join(str(d), (str(_weighed(part)) for part in parts))


def _replace(s: Any, old: str, new: str, count: int | None = None) -> str:
    return limits.replace(str(s), str(old), str(new), -1 if count is None else count)


def _string(value: Any) -> str:
    return str(_weighed(value))


def _tojson(value: Any) -> str:
    return str(filters.do_tojson(nodes.EvalContext(_PLAIN), _weighed(value)))


def _fromjson(value: Any) -> Any:
    """What a text holds as JSON, or as Python writes lists and mappings; other values as they are."""
    if not isinstance(value, str):
        return value
    limits.check_size(value)
    try:
        return _weighed(json.loads(value))
    except ValueError:
        pass
    try:
        return _weighed(literal_eval(value.strip()))
    except (ValueError, SyntaxError, MemoryError) as error:
        raise ValueError(f"{value!r:.60} is no JSON") from error


def _shuffle(value: Iterable[Any], seed: Any) -> list[Any]:
    """The values in an order that `seed` (a number or a text) alone decides: the same wherever it runs."""
    values = list(value)
    return Random(str(seed)).sample(values, len(values))  # noqa: S311  # nothing secret


_PLAIN = Environment()  # noqa: S701  # prompts are text, not markup


def _weighed(value: Any) -> Any:
    if type(value) is not str and limits.weight(value) > limits.MAX_CHARS:
        raise limits.too_long()
    return value


_WORD_BY_WORD = ("dictsort", "list", "reverse", "sort", "title", "unique", "wordcount")
"""Filters that make a list of the words or letters of a text."""


def _taking_apart(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any, **kwargs: Any) -> Any:
        for value in args:
            limits.check_size(value)
        return function(*(limits.at_most(value) if hasattr(value, "__next__") else value for value in args), **kwargs)

    return update_wrapper(checked, function)


FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: filters.FILTERS[name] for name in _JINJA_OWN},
    **{name: _taking_apart(filters.FILTERS[name]) for name in _WORD_BY_WORD},
    "boxed_answer": _boxed_answer,
    "center": _center,
    "fromjson": _fromjson,
    "shuffle": _taking_apart(_shuffle),
    "int": _int,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "string": _string,
    "tojson": _tojson,
}
