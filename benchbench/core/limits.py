"""How much work a template may do: steps, characters, time. Every part of the sandbox charges here."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import Any

MAX_CHARS = 4_000_000
"""Longest text (in characters) a template may make; also for all texts of a list together."""
MAX_ENTRIES = 500_000
"""Largest list, with the entries of its entries."""
MAX_STEPS = 1_000_000
"""Loop rounds, calls, filters and tests of one rendering."""
MAX_TOTAL_CHARS = 100_000_000
"""Characters and entries of everything one rendering makes on its way."""
MAX_SECONDS = 2.0
"""Processor time, so that a suspended or crowded machine stops no honest template."""
MAX_INT_BITS = 4096
MAX_PATTERN = 2_000


class TooMuchWorkError(RuntimeError):
    """A template asked for more than the sandbox gives. The message is a clause: what was too much."""


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
        if self.left & 255 == 0 and time.thread_time() > self.deadline:
            raise TooMuchWorkError(f"takes longer than {MAX_SECONDS:g} seconds")

    def bounded(self, value: Any) -> Any:
        """`value`, after a check of its size; texts and containers are charged by their size."""
        kind = type(value)
        if kind is str:
            size = len(value)
        elif kind in _CONTAINERS:
            size = weight(value)
        else:
            return value
        if size > MAX_CHARS:
            raise too_long()
        self.room -= size
        if self.room < 0:
            raise TooMuchWorkError(f"makes more than {MAX_TOTAL_CHARS:,} characters in all")
        return value

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
    """`left % right`; as text formatting only with plain, narrow fields."""
    if isinstance(left, str) and re.search(r"%[^%a-zA-Z]*(\d{4}|\*)", left):
        raise TooMuchWorkError("formats a text with a field of a thousand characters or more")
    return left % right


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


def regex_replace(string: str, pattern: str, repl: str, count: int = 0) -> str:
    """`re.sub(pattern, repl, string, count)` within the bounds on size and time: lm-eval's filter of that name."""
    if len(pattern) > MAX_PATTERN:
        raise TooMuchWorkError(f"uses a regular expression of more than {MAX_PATTERN:,} characters")
    largest = (len(string) + 1) * (len(repl) + 1) + repl.count("\\") * len(string)
    new = repl if largest <= MAX_CHARS else _counted_replacement(repl)
    if _is_simple(pattern) and len(string) <= 10_000:
        return re.sub(pattern, new, string, count=count)
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        with _alarm(MAX_SECONDS):
            return re.sub(pattern, new, string, count=count)
    return _sub_with_timeout(string, pattern, new, count)


def _counted_replacement(repl: str) -> Callable[[Any], str]:
    """What `repl` stands for, match by match, until it gets too long in all."""
    size = 0
    plain = "\\" not in repl

    def expand(match: Any) -> str:
        nonlocal size
        text = repl if plain else str(match.expand(repl))
        size += len(text)
        if size > MAX_CHARS:
            raise too_long()
        return text

    return expand


@lru_cache(maxsize=256)
def _is_simple(pattern: str) -> bool:
    """At most one quantifier, and none on a group: at worst quadratic in the length of the text."""
    plain = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", pattern)
    plain = re.sub(r"([*+?}])[?+]", r"\1", plain)
    quantifiers = re.findall(r"(.?)([*+{]|(?<!\()\?)", plain)
    return len(quantifiers) <= 1 and all(before != ")" for before, _ in quantifiers)


def _sub_with_timeout(string: str, pattern: str, repl: str | Callable[[Any], str], count: int) -> str:
    """Outside the main thread nothing can interrupt `re`; the `regex` package has a time limit of its own."""
    try:
        import regex  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise TooMuchWorkError("uses a regular expression that only the main thread may run") from error
    try:
        return str(regex.sub(pattern, repl, string, count=count, timeout=MAX_SECONDS))
    except TimeoutError as error:
        raise _too_slow() from error


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TooMuchWorkError in the main thread after `seconds` of processor time."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise _too_slow()

    handler = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)


def _too_slow() -> TooMuchWorkError:
    return TooMuchWorkError(f"uses a regular expression that takes longer than {MAX_SECONDS:g} seconds")
