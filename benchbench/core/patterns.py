"""Regular expressions of strangers on texts of strangers: Python's own `re`, stopped when it takes too long.

`re` can only be interrupted in a main thread. Calls of other threads go to a helper process (this file, run as a
script), whose main thread does them: the same engine, so the same matches everywhere.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice, takewhile
from types import FrameType
from typing import IO, Any, cast

MAX_SECONDS = 2.0
"""Processor time of one call, and of all calls for one doc."""
MAX_PATTERN = 2_000
MAX_TEXT = 1_000_000
"""Characters of a text; backtracking keeps up to 200 bytes for each."""
MAX_RANGES = 2_000_000
"""Characters in all ranges of a pattern: compiling one that ignores case looks at each."""
MAX_CHARS = 4_000_000
"""Longest text that a replacement may make."""
MAX_SELECT = 1_000_000
CHEAP = 1_000_000
"""Steps (by an upper bound) up to which a call needs no clock: about 10 ms."""
LEAST_SECONDS = 0.005
"""A pattern has half its time after each text that took too long, and never less: a task has thousands of docs."""
HELPER_SECONDS = 60.0
"""Wait for an answer of the helper on a crowded machine."""
HELPER_BYTES = 2 << 30


class TooMuchWorkError(RuntimeError):
    """A stranger's pattern or template asked for more than it is given. The message is a clause: what was too much."""


def check(pattern: object) -> str:
    """The pattern, if it is a regular expression that may be used here.

    Raises:
        ValueError: it is not; the message is a clause.
    """
    if not isinstance(pattern, str):
        raise ValueError(f"{pattern!r} is no text")
    try:
        _compiled(pattern)
    except (re.error, RecursionError, OverflowError, TooMuchWorkError) as error:
        shown = pattern if len(pattern) <= 80 else f"{pattern[:79]}…"
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{shown!r} is no regular expression: {reason}") from error
    return pattern


def pick(pattern: str, text: str, select: int) -> str | tuple[str, ...] | None:
    """`re.findall(pattern, text)[select]`; None where there are not so many matches."""
    found: str | tuple[str, ...] | None = _bounded(pattern, "pick", text, select)
    return found


def findall(pattern: str, text: str) -> list[Any]:
    """`re.findall(pattern, text)`."""
    found: list[Any] = _bounded(pattern, "findall", text)
    return found


def sub(pattern: str, replacement: str, text: str, count: int = 0, *, seconds: float = MAX_SECONDS) -> str:
    """`re.sub(pattern, replacement, text, count)`, at most MAX_CHARS long."""
    found: str = _bounded(pattern, "sub", text, replacement, count, seconds=seconds)
    return found


@contextmanager
def one_doc() -> Iterator[None]:
    """While open, all calls of this thread share the time of one."""
    _clock.left = MAX_SECONDS
    try:
        yield
    finally:
        del _clock.left


_clock = threading.local()
_timeouts: Counter[str] = Counter()


def _bounded(pattern: str, method: str, text: str, *args: Any, seconds: float = MAX_SECONDS) -> Any:
    """A call of `_METHODS`. TooMuchWorkError if it takes too long; re.error for what is no regular expression."""
    if len(text) > MAX_TEXT:
        raise TooMuchWorkError(f"uses a regular expression on a text of more than {MAX_TEXT:,} characters")
    compiled = _compiled(pattern)
    if _steps(pattern, text) <= CHEAP:
        return _METHODS[method](compiled, text, *args)
    left = min(seconds, getattr(_clock, "left", MAX_SECONDS), MAX_SECONDS / 2 ** min(_timeouts[pattern], 30))
    left = max(left, LEAST_SECONDS)
    start = time.thread_time()
    try:
        if _can_interrupt():
            return _in_time(left, pattern, method, text, *args)
        return _helper.ask((left, pattern, method, text, *args))
    except TooMuchWorkError:
        _timeouts[pattern] += 1
        raise
    finally:
        if hasattr(_clock, "left"):
            _clock.left -= time.thread_time() - start


def _in_time(seconds: float, pattern: str, method: str, text: str, *args: Any) -> Any:
    with _alarm(seconds, pattern):
        return _METHODS[method](_compiled(pattern), text, *args)


def _pick(pattern: re.Pattern[str], text: str, select: int) -> str | tuple[str | Any, ...] | None:
    found = map(_found, pattern.finditer(text))
    if select >= 0:
        return next(islice(found, select, None), None)
    last = deque(found, maxlen=-select)
    return last[0] if len(last) == -select else None


def _found(match: re.Match[str]) -> str | tuple[str | Any, ...]:
    """As in `findall`: the whole match, its only group, or all of its groups."""
    groups = match.groups("")
    return match[0] if not groups else groups[0] if len(groups) == 1 else groups


def _sub(pattern: re.Pattern[str], text: str, replacement: str, count: int) -> str:
    largest = (len(text) + 1) * (len(replacement) + 1) + replacement.count("\\") * len(text)
    return pattern.sub(replacement if largest <= MAX_CHARS else _counted(replacement), text, count=count)


def _counted(replacement: str) -> Callable[[re.Match[str]], str]:
    """What the replacement stands for, match by match, until it gets too long in all."""
    size = 0
    plain = "\\" not in replacement

    def expand(match: re.Match[str]) -> str:
        nonlocal size
        text = replacement if plain else match.expand(replacement)
        size += len(text)
        if size > MAX_CHARS:
            raise TooMuchWorkError(f"makes a text of more than {MAX_CHARS:,} characters")
        return text

    return expand


_METHODS: dict[str, Callable[..., Any]] = {
    "pick": _pick,
    "findall": lambda pattern, text: pattern.findall(text),
    "sub": _sub,
}


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    if len(pattern) > MAX_PATTERN:
        raise TooMuchWorkError(f"uses a regular expression of more than {MAX_PATTERN:,} characters")
    shape = _shape(pattern)
    if shape.ranges > MAX_RANGES:
        raise TooMuchWorkError(f"uses a regular expression with more than {MAX_RANGES:,} characters in its ranges")
    return re.compile(pattern)


class _Shape:
    """What a pattern can cost: a bound on the ways in which it can match from one place of a text."""

    __slots__ = ("power", "ranges", "ways")

    def __init__(self, ways: float = 1, power: int = 0, ranges: int = 0) -> None:
        self.ways, self.power, self.ranges = ways, power, ranges
        """At most `ways` times the text's length to the `power`."""

    def then(self, other: _Shape) -> _Shape:
        return _Shape(self.ways * other.ways, self.power + other.power, self.ranges + other.ranges)


def _steps(pattern: str, text: str) -> float:
    """Bound on the steps of trying the pattern everywhere in a text."""
    shape, size, prefix = _shape(pattern), len(text) + 1, _prefix(pattern)
    starts = text.count(prefix) * len(prefix) if prefix else size
    return size + starts * shape.ways * float(size) ** shape.power


@lru_cache(maxsize=512)
def _prefix(pattern: str) -> str:
    """The letters that every match begins with."""
    tree = _parsed(pattern)
    letters = takewhile(lambda part: str(part[0]) == "LITERAL", [] if tree.state.flags & re.IGNORECASE else tree)
    return "".join(chr(code) for _, code in letters)


def _parsed(pattern: str) -> Any:
    from re import _parser  # type: ignore[attr-defined]  # no public door; what it does not know of gets a clock

    return _parser.parse(pattern)


@lru_cache(maxsize=512)
def _shape(pattern: str) -> _Shape:
    return _of_all(_parsed(pattern))


def _of_all(parts: Any) -> _Shape:
    whole = _Shape()
    for name, value in parts:
        whole = whole.then(_of_part(str(name), value))
    return whole


def _of_part(name: str, value: Any) -> _Shape:
    match name:
        case "LITERAL" | "NOT_LITERAL" | "ANY" | "AT" | "CATEGORY":
            return _Shape()
        case "IN":
            return _Shape(ranges=sum(last[1] - last[0] for kind, last in value if str(kind) == "RANGE"))
        case "BRANCH":
            inner = [_of_all(branch) for branch in value[1]]
            ways, power = sum(one.ways for one in inner), max(one.power for one in inner)
            return _Shape(ways, power, sum(one.ranges for one in inner))
        case "SUBPATTERN":
            return _of_all(value[3])
        case "ATOMIC_GROUP":
            return _of_all(value)
        case "ASSERT" | "ASSERT_NOT":
            return _of_all(value[1])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _of_repeat(*value)
    return _Shape(float("inf"))


def _of_repeat(least: int, most: int, body: Any) -> _Shape:
    inner = _of_all(body)
    if most <= 1:
        return _Shape(inner.ways + 1, inner.power, inner.ranges)
    if inner.ways > 1 or inner.power:
        return _Shape(float("inf"), 0, inner.ranges)  # ways that multiply from round to round
    return _Shape(1, 1, inner.ranges) if most - least > 100 else _Shape(most - least + 1, 0, inner.ranges)


def _can_interrupt() -> bool:
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


@contextmanager
def _alarm(seconds: float, pattern: str) -> Iterator[None]:
    """Raise TooMuchWorkError in the main thread after `seconds` of its processor time."""
    shown = pattern if len(pattern) <= 60 else f"{pattern[:59]}…"
    error = TooMuchWorkError(f"uses a regular expression that takes longer than {seconds:.3g} seconds: {shown}")
    deadline = time.thread_time() + seconds
    armed = True

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed and time.thread_time() >= deadline:  # the timer counts other threads too
            armed = False
            raise error

    handler = signal.signal(signal.SIGVTALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 0.02)
        yield
        armed = False
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)


class _Helper:
    """The helper process: started when it is first needed, gone when this process is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: tuple[Any, ...]) -> Any:
        """What the request gives there; raises what it raises there."""
        with self._lock:
            kind, value = self._answer(request)
        if kind == "slow":
            raise TooMuchWorkError(value)
        if kind == "memory":
            raise MemoryError
        return value

    def _answer(self, request: tuple[Any, ...]) -> tuple[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-I", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is ours to answer
            )
        sent, received = self._process.stdin, self._process.stdout
        try:
            pickle.dump(request, cast(IO[bytes], sent))
            cast(IO[bytes], sent).flush()
            if select.select([cast(IO[bytes], received)], [], [], HELPER_SECONDS)[0]:
                kind, value = pickle.load(cast(IO[bytes], received))  # noqa: S301 - written by `_serve`
                return str(kind), value
        except (OSError, EOFError, pickle.UnpicklingError):
            pass
        self.close()
        return "slow", "uses a regular expression that takes too long"

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def _serve() -> None:
    """The helper's work: requests from standard input, answers to standard output, until there are no more."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (HELPER_BYTES, HELPER_BYTES))
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by `_Helper`
        except EOFError:
            return
        try:
            answer = ("ok", _in_time(*request))
        except TooMuchWorkError as error:
            answer = ("slow", str(error))
        except MemoryError:
            answer = ("memory", None)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


_helper = _Helper()


def _forget_helper() -> None:
    global _helper
    _helper = _Helper()


os.register_at_fork(after_in_child=_forget_helper)
atexit.register(lambda: _helper.close())  # noqa: PLW0108 - after a fork it is another

if __name__ == "__main__":
    _serve()
