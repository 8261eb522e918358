"""How much work a template may do: steps, characters, time. Every part of the sandbox charges here."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchbench.core import patterns
from benchbench.core.patterns import TooMuchWorkError

MAX_CHARS = patterns.MAX_CHARS
"""Longest text (in characters) a template may make; also for all texts of a list together."""
MAX_ENTRIES = 500_000
"""Largest list, with the entries of its entries."""
MAX_STEPS = 1_000_000
"""Loop rounds, calls, filters and tests of one rendering."""
MAX_TOTAL_CHARS = 50_000_000
"""Characters of everything one rendering makes on its way, an entry of a list counted as ENTRY_CHARS."""
ENTRY_CHARS = 16
LARGE = 10_000
"""Size of a value whose use costs enough to look at the clock."""
MAX_SECONDS = 2.0
"""Processor time, so that a suspended or crowded machine stops no honest template."""
MAX_INT_BITS = 4096
MAX_WORD_CHARS = 1_000_000
"""Longest text that is taken apart word by word or letter by letter."""
MAX_DIGITS = 20
MAX_FIELDS = 100_000


class Meter:
    """Counts the work of one rendering; `start` begins the next."""

    __slots__ = ("deadline", "left", "room")

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a rendering with all of its budget."""
        self.left = MAX_STEPS
        self.room = MAX_TOTAL_CHARS
        self.deadline = time.thread_time() + MAX_SECONDS

    def close(self) -> None:
        """No work at all until `start`: keeps the compiler from running filters on constants."""
        self.left = 0

    def tick(self) -> None:
        """Charge one step; TooMuchWorkError when they, or the time, are used up."""
        self.left -= 1
        if self.left < 0:
            raise TooMuchWorkError(f"takes more than {MAX_STEPS:,} steps (a loop without end?)")
        if self.left & 255 == 0:
            self.look_at_clock()

    def look_at_clock(self) -> None:
        """TooMuchWorkError when the time is used up."""
        if time.thread_time() > self.deadline:
            raise TooMuchWorkError(f"takes longer than {MAX_SECONDS:g} seconds")

    def bounded(self, value: Any) -> Any:
        """`value`, after a check of its size; texts and containers are charged by their size."""
        kind = type(value)
        if kind is str:
            size = charge = len(value)
        elif kind in _CONTAINERS:
            size = weight(value)
            charge = size + (ENTRY_CHARS - 1) * len(value)
        else:
            return value
        if size > MAX_CHARS:
            raise too_long()
        self.room -= charge
        if self.room < 0:
            raise TooMuchWorkError(f"makes more than {MAX_TOTAL_CHARS:,} characters in all")
        if size > LARGE:
            self.look_at_clock()
        return value

    def regex_replace(self, string: str, pattern: str, repl: str, count: int = 0) -> str:
        """`re.sub(pattern, repl, string, count)` within the bounds on size and time: lm-eval's filter of that name."""
        left = self.deadline - time.thread_time()
        return patterns.sub(pattern, str(repl), str(string), count, seconds=max(left, 0.001))

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """`values`, each charged as a step."""
        for value in values:
            self.tick()
            yield value


_CONTAINERS = frozenset({list, tuple, dict})


def too_long() -> TooMuchWorkError:
    """The error for a text or list that would get too long."""
    return TooMuchWorkError(f"makes a text or list of more than {MAX_CHARS:,} characters or {MAX_ENTRIES:,} entries")


def weight(value: Any) -> int:
    """Entries and characters of a container as if written out; beyond MAX_CHARS if it is too large."""
    entries = chars = 0
    stack: list[Any] = [value]
    while stack:
        top = stack.pop()
        kind = type(top)
        entries += 1
        if kind is str:
            chars += len(top)
        elif kind is dict:
            stack.extend(top)
            stack.extend(top.values())
        elif kind in _CONTAINERS:
            stack.extend(top)
        if entries + len(stack) > MAX_ENTRIES or chars > MAX_CHARS:
            return MAX_CHARS + 1
    return entries + chars


def add(left: Any, right: Any) -> Any:
    """`left + right`, refused before it gets too long."""
    if _length(left) + _length(right) > MAX_CHARS:
        raise too_long()
    return _not_too_large(left + right)


def multiply(left: Any, right: Any) -> Any:
    """`left * right`, refused before it gets too long or too large."""
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_INT_BITS:
            raise too_large()
        return left * right
    size = _times(left, right)
    if size > MAX_CHARS:
        raise too_long()
    return left * right


def power(left: Any, right: Any) -> Any:
    """`left ** right`, refused before it gets too large."""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * max(right, 0) > MAX_INT_BITS:
        raise too_large()
    return left**right


def too_large() -> TooMuchWorkError:
    """The error for a number of too many digits."""
    return TooMuchWorkError("makes a number with more than a thousand digits")


def _not_too_large(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MAX_INT_BITS:
        raise too_large()
    return value


def modulo(left: Any, right: Any) -> Any:
    """`left % right`; texts are formatted only if the result is not too long."""
    if isinstance(left, str) and formatted_size(left, right) > MAX_CHARS:
        raise too_long()
    return left % right


_FIELD = re.compile(r"[#0\- +]*(\*|\d*)(?:\.(\*|\d*))?[hlL]?(.?)", re.DOTALL)
_BRACKETS = re.compile(r"[()]")


def formatted_size(text: str, values: Any) -> int:
    """Characters of `text % values`, or more. TooMuchWorkError for a field of four digits of width."""
    if text.count("%") > MAX_FIELDS:
        raise TooMuchWorkError(f"formats a text with more than {MAX_FIELDS:,} fields")
    size, number, place = len(text), 0, text.find("%")
    while place >= 0 and size <= MAX_CHARS:
        name, after = _field_name(text, place + 1)
        found = _FIELD.match(text, after)
        width, precision, kind = found.groups("") if found else ("", "", "")
        if any(part == "*" or len(part) > 3 for part in (width, precision)):
            raise TooMuchWorkError("formats a text with a field of a thousand characters or more")
        if kind != "%":
            size += _written(_value_of(values, name, number), kind) + int(width or 0) + int(precision or 0)
            number += 1
        place = text.find("%", found.end() if found else after)
    return size


def _field_name(text: str, place: int) -> tuple[str | None, int]:
    """`(name)` at the beginning of a field, and where it ends; brackets in it come in pairs."""
    if text[place : place + 1] != "(":
        return None, place
    depth = 0
    for sign in _BRACKETS.finditer(text, place):
        depth += 1 if sign[0] == "(" else -1
        if depth == 0:
            return text[place + 1 : sign.start()], sign.end()
    return None, len(text)


def _value_of(values: Any, name: str | None, number: int) -> Any:
    if isinstance(values, Mapping):
        return values.get(name, "") if name is not None else values
    if isinstance(values, tuple):
        return values[number] if number < len(values) else ""
    return values


def _written(value: Any, kind: str) -> int:
    """Characters of a value in a text, or more: an escaped one takes up to ten."""
    if isinstance(value, str):
        return len(value) * (10 if kind in "ra" else 1)
    return 10 * weight(value) if type(value) in _CONTAINERS else 2 * MAX_INT_BITS


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple)) else 0


def _times(left: Any, right: Any) -> int:
    sequence, count = (left, right) if isinstance(right, int) else (right, left)
    if not isinstance(count, int) or not isinstance(sequence, (str, list, tuple)):
        return 0
    return (len(sequence) if isinstance(sequence, str) else weight(sequence)) * max(count, 0)


def replace(text: str, old: str, new: str, count: int = -1) -> str:
    """`text.replace(old, new, count)`, refused before it gets too long."""
    if len(new) > len(old):
        found = text.count(old)
        size = len(text) + (found if count < 0 else min(found, count)) * (len(new) - len(old))
        if size > MAX_CHARS:
            raise too_long()
    return text.replace(old, new, count)


def join(separator: str, parts: Iterable[Any]) -> str:
    """`separator.join(parts)`, refused before it gets too long."""
    texts: list[str] = []
    size = 0
    for part in parts:
        size += len(part) + len(separator)
        if size > MAX_CHARS:
            raise too_long()
        texts.append(part)
    return separator.join(texts)


def check_width(width: Any) -> None:
    """TooMuchWorkError if a text would be padded beyond the bound."""
    if isinstance(width, int) and width > MAX_CHARS:
        raise too_long()


def check_size(value: Any) -> None:
    """TooMuchWorkError for a text that is too long to be taken apart."""
    if isinstance(value, str) and len(value) > MAX_WORD_CHARS:
        raise TooMuchWorkError(f"takes a text of more than {MAX_WORD_CHARS:,} characters apart")


def at_most(values: Iterator[Any]) -> Iterator[Any]:
    """The values, as long as a list of them is not too long."""
    for number, value in enumerate(values):
        if number >= MAX_ENTRIES:
            raise too_long()
        yield value


def check_digits(digits: Any) -> None:
    """TooMuchWorkError for rounding to more digits than a number has, before or behind the point."""
    if isinstance(digits, int) and abs(digits) > MAX_DIGITS:
        raise TooMuchWorkError(f"rounds to more than {MAX_DIGITS} digits")
