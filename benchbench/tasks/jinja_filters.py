"""The Jinja filters that a task may use: Jinja's own where they cannot grow, bounded ones where they can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import Environment, filters
from jinja2.nodes import EvalContext

from benchbench.tasks import limits

_JINJA_OWN = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "items", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr",
    "sort", "title", "trim", "unique", "upper", "wordcount",
)  # fmt: skip


def _center(value: Any, width: int = 80) -> str:
    limits.check_width(width)
    return str(value).center(width)


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    if precision > 20:
        raise limits.TooMuchWorkError("rounds to more than 20 digits")
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


def _sum(value: Iterable[Any], attribute: str | int | None = None, start: int | float = 0) -> int | float:
    total = start
    for part in value:
        total = limits.add(total, part if attribute is None else part[attribute])
    return total


def _tojson(value: Any) -> str:
    eval_context = EvalContext(_PLAIN)
    return str(filters.do_tojson(eval_context, _weighed(value)))


_PLAIN = Environment()  # noqa: S701  # prompts are text, not markup


def _weighed(value: Any) -> Any:
    if type(value) is not str and limits.weight(value) > limits.MAX_CHARS:
        raise limits.too_long()
    return value


FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: filters.FILTERS[name] for name in _JINJA_OWN},
    "center": _center,
    "int": _int,
    "join": _join,
    "regex_replace": limits.regex_replace,
    "replace": _replace,
    "round": _round,
    "string": _string,
    "sum": _sum,
    "tojson": _tojson,
}
