"""Regular expressions with a clock: the matches of `re`, in every thread, and an end."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.core import patterns

OWN = [
    r"#### (\-?[0-9\.\,]+)", r"(-?[$0-9.,]{2,})|(-?[0-9]+)", r"(?s).*#### ", r"\.$", r"\$", ",", "",
    r"\b(?:The |the |An |A |The |a |an )", r"'\s*([^']*?)\s*'", r"\[.*?\]", r"^(.*?)(?=\n|$)", r"\s+$", r"(\([A-Z]\))",
    r"(?<=answer is )(.*)(?=.)", r"(?i)straße|ﬁ", r"\w+", r"(\d)\D*\1", r"(?P<a>x)?y(?(a)z|w)", r"()|(a)",
]  # fmt: skip
TEXTS = [
    "", "The answer is 12.", "#### 1,234.5\n", "a" * 300, "(A) (B)\n\n(C)", " 'x y ' [title] ", "$3.50 and -4", "yw xz",
    "Žluťoučký kůň 12\u0301 \u0e01\u0e34 STRASSE straße ﬁ \x1c\u2028 ١٢ x\u200by", "\ud800", "the " * 200,
]  # fmt: skip
SLOW = [r"(a+)+$", r"(a|aa)+$", r"(?x)((a|aa)) *$", r"(?:a*)*$", r"(.*a){30}b", r"(?=(a+)+$)x|b", r"^(\w+\s?)*$"]


UPSTREAM: list[str] = json.loads(Path(__file__).with_name("lm_eval_patterns.json").read_text(encoding="utf-8"))[
    "patterns"
]


def in_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except patterns.TooMuchWorkError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=120)
    return found[0]


def test_every_pattern_matches_as_re_does_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [*OWN, *UPSTREAM]
    assert len(UPSTREAM) == 87
    expected = [(re.findall(p, t), re.sub(p, r"<\g<0>>", t)) for p in every for t in TEXTS]
    chosen = [[m[i] if -len(m) <= i < len(m) else None for i in (0, 1, -1, -2)] for m, _ in expected]

    def all_found() -> list[Any]:
        return [(patterns.findall(p, t), patterns.sub(p, r"<\g<0>>", t)) for p in every for t in TEXTS]

    assert all_found() == expected
    assert [[patterns.pick(p, t, i) for i in (0, 1, -1, -2)] for p in every for t in TEXTS] == chosen
    assert in_thread(all_found) == expected
    monkeypatch.setattr(patterns, "CHEAP", -1)  # every call with the clock; in the thread by the helper
    few = [(p, t) for p in [*OWN, *UPSTREAM[:20]] for t in TEXTS]
    clocked = [(re.findall(p, t), re.sub(p, "-", t)) for p, t in few]
    assert [(patterns.findall(p, t), patterns.sub(p, "-", t)) for p, t in few] == clocked
    assert in_thread(lambda: [(patterns.findall(p, t), patterns.sub(p, "-", t)) for p, t in few]) == clocked


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that costs a test little."""
    monkeypatch.setattr(patterns, "MAX_SECONDS", 0.1)
    patterns._timeouts.clear()


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_without_end_is_stopped(pattern: str, short: None) -> None:
    text = "a" * 40 + "!"
    began = time.process_time()
    for work in (lambda: patterns.pick(pattern, text, 0), lambda: patterns.sub(pattern, "", text, seconds=0.1)):
        with pytest.raises(patterns.TooMuchWorkError, match="takes longer than"):
            work()
    assert time.process_time() - began < 2


def test_a_pattern_without_end_is_stopped_in_another_thread(short: None) -> None:
    found = in_thread(lambda: patterns.findall(SLOW[0], "a" * 40 + "!"))
    assert isinstance(found, patterns.TooMuchWorkError)
    assert in_thread(lambda: patterns.findall(SLOW[0], "a" * 400)) == ["a" * 400]


def test_many_docs_with_a_slow_pattern_take_little_more_than_one(short: None) -> None:
    began = time.process_time()
    for _ in range(20):
        with pytest.raises(patterns.TooMuchWorkError):
            patterns.pick(SLOW[0], "a" * 40 + "!", 0)
    assert time.process_time() - began < 1
    assert patterns.pick(SLOW[0], "a" * 40, 0) == "a" * 40


def test_all_patterns_of_a_doc_share_one_time(short: None) -> None:
    began = time.process_time()
    with patterns.one_doc():
        for number in range(30):
            with pytest.raises(patterns.TooMuchWorkError):
                patterns.pick(f"(a+)+{number}$", "a" * 40 + "!", 0)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing"),
        (3, "no text"),
        (r"(?<=a+)b", "fixed-width"),
        ("(" * 900 + ")" * 900, "nested too deeply"),
        ("a" * 3000, "more than 2,000 characters"),
        ("(?i)" + "[\0-\U0010ffff]" * 3, "in its ranges"),
        ("a{99999999999999}", "too large"),
    ],
)
def test_what_is_no_pattern_is_a_clause(pattern: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        patterns.check(pattern)


def test_what_a_replacement_makes_is_bounded() -> None:
    with pytest.raises(patterns.TooMuchWorkError, match="more than 4,000,000"):
        patterns.sub("a", "b" * 1000, "a" * 10_000)
    with pytest.raises(patterns.TooMuchWorkError, match="more than 4,000,000"):
        patterns.sub("(a+)", r"\1" * 1000, "a" * 10_000)
    with pytest.raises(patterns.TooMuchWorkError, match="a text of more than 1,000,000"):
        patterns.sub("a", "", "a" * 1_000_001)


def test_an_alarm_of_somebody_else_and_its_handler_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    monkeypatch.setattr(patterns, "CHEAP", -1)
    before = signal.getsignal(signal.SIGVTALRM)
    assert patterns.findall("a", "aa") == ["a", "a"]
    assert (signal.getsignal(signal.SIGVTALRM), signal.getitimer(signal.ITIMER_VIRTUAL)) == (before, (0.0, 0.0))
