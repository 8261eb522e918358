"""What a log says while a command works, and how far the work is."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchbench.cli import progress
from benchbench.cli.progress import Log, Watcher, Work, busy, duration, rate
from benchbench.core.activity import activity, doing
from benchbench.runner import events

STARTED = events.RunStarted(Path("results/m/1"), "m", tasks=2, docs=60, requests=240, resumed=False)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def watcher() -> tuple[Watcher, io.StringIO]:
    """One that writes into a file."""
    file = io.StringIO()
    return Watcher(Console(file=file, width=80)), file


def lines(file: io.StringIO) -> list[str]:
    """What was said, without the time in front of each line."""
    found = file.getvalue().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in found)
    return [line[21:] for line in found]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (3661, "1:01:01"), (90_000, "25:00:00")]
)
def test_durations_are_written_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_slow_work_has_its_rate_by_the_minute() -> None:
    assert [rate(12.34), rate(1.0), rate(0.05)] == ["12.3/s", "1.0/s", "3.0/min"]


def test_rate_and_time_left_leave_out_what_comes_once_and_what_was_there_before(clock: Clock) -> None:
    """The first answers come after a check of 100 s; then 2 a second. 50 of 240 are from before."""
    work = Work("task 1 of 2, toy", 240, kept=50)
    clock.now += 100
    work.advance(10)
    assert work.line() == "task 1 of 2, toy: 60 of 240 requests (25 %), begun 1:40 ago"
    clock.now += 40
    work.advance(80)
    work.failed += 3
    assert work.line() == "task 1 of 2, toy: 140 of 240 requests (58 %), 2.0/s, about 0:50 left, 3 failed"


def test_few_answers_give_no_estimate(clock: Clock) -> None:
    """Of 1,800 requests two were answered after minutes: 50 hours would be nonsense."""
    work = Work("task 1 of 2, toy", 1800)
    clock.now += 200
    work.advance(2)
    clock.now += 50
    assert "left" not in work.line()


def test_what_is_done_meanwhile_is_named() -> None:
    with doing("hashing the weights"):
        assert Work("loading m").line() == "loading m, hashing the weights, 0:00 so far"
        with doing("hashing one of them"):
            assert activity() == "hashing one of them"
        assert activity() == "hashing the weights"
    assert activity() == ""


def test_no_silence_is_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the main thread does."""
    monkeypatch.setattr(progress, "EVERY", 0.05)
    file = io.StringIO()
    with Log(Console(file=file), lambda: "still at it", first=0.05):
        time.sleep(0.5)
    assert 4 <= lines(file).count("still at it") <= 11


def test_a_log_says_which_task_of_how_many_and_how_it_ended(clock: Clock) -> None:
    watch, file = watcher()
    with watch:
        watch(events.Preparing("toy", 1, 2))
        watch(events.OpeningModel("m"))
        watch(STARTED)
        watch(events.TaskStarted("toy", 120, 20))
        for number in range(100):
            clock.now += 0.5
            watch(events.Progress("toy", failed=number == 7))
        watch(events.TaskFinished("toy", 120))
        watch(events.TaskFinished("kept", 120))
    assert lines(file) == [
        "Preparing 2 tasks",
        "Loading m",
        "Running m: 2 tasks, 60 docs, 240 requests. Results in results/m/1",
        "task 1 of 2, toy: 120 requests, 20 kept from before",
        "task 1 of 2, toy: done in 0:50, 2.0/s, 1 failed",
        "task 2 of 2, kept: 120 requests, 120 kept from before",
        "Done in 0:50",
    ]


def test_a_quick_command_says_nothing_of_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with busy("building the site"):
        pass
    assert capsys.readouterr().err == ""


def test_a_slow_one_says_what_it_does(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SOON", 0.05)
    with busy("building the site"):
        time.sleep(0.3)
    assert "building the site, 0:00 so far" in capsys.readouterr().err
