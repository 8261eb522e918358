"""Progress while a command works: a bar on a terminal, elsewhere lines for a log that is read later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from benchbench.cli.console import stderr
from benchbench.core.activity import activity
from benchbench.core.format import clean, several
from benchbench.runner import events

EVERY = 50.0
"""Seconds without a line after which one says how far the work is: at least one a minute."""
IDLE = 600.0
"""The same while nothing is done but to wait for checkpoints."""
SOON = 10.0
"""The same for the first line of a command that says nothing of itself."""
SETTLED, FEW = 5.0, 20
"""Seconds and answers before a rate is worth telling."""


def duration(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rate(per_second: float) -> str:
    """Per second, or per minute where that is less than one."""
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{60 * per_second:.1f}/min"


def _now() -> float:
    return time.monotonic()


@dataclass(slots=True)
class Work:
    """Something that is being done, and how far it is."""

    what: str
    """As `loading M`, or `task 2 of 3, arc_easy`."""
    total: int | None = None
    """Of what is counted; None: nothing is."""
    kept: int = 0
    """Of these, what was there before."""
    unit: str = "request"
    done: int = 0
    """Since it began, without `kept`."""
    failed: int = 0
    is_idle: bool = False
    """It waits for something that may take days, and says so less often."""
    began: float = field(default_factory=_now)
    _first: int = 0
    """How many were done at once when the first was."""
    _first_at: float = 0.0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def advance(self, count: int) -> None:
        """So much more is done."""
        if not self.done:
            self._first, self._first_at = count, time.monotonic()
        self.done += count

    @property
    def speed(self) -> float | None:
        """Done per second since the first was done: what comes before comes once. None while that says little."""
        if self.done - self._first < FEW:
            return None
        seconds = time.monotonic() - self._first_at
        return (self.done - self._first) / seconds if seconds >= SETTLED else None

    @property
    def left(self) -> float | None:
        """Seconds until its end at that speed."""
        return None if self.total is None or not self.speed else (self.total - self.kept - self.done) / self.speed

    def line(self) -> str:
        """How far it is, as a line of a log."""
        busy = f", {activity()}" if activity() else ""
        if self.total is None:
            return f"{self.what}{busy}, {duration(self.seconds)} so far"
        here = self.kept + self.done
        parts = [f"{here:,} of {several(self.total, self.unit)} ({100 * here / max(1, self.total):.0f} %)"]
        if self.speed is None or self.left is None:
            parts.append(f"begun {duration(self.seconds)} ago")
        else:
            parts += [rate(self.speed), f"about {duration(self.left)} left"]
        parts.append(f"{self.failed:,} failed" if self.failed else "")
        return f"{self.what}: {', '.join(filter(None, parts))}{busy}"


class Log:
    """Lines on a console that is no terminal, each with its time; one at least every `EVERY` seconds."""

    def __init__(self, console: Console, line: Callable[[], str], *, first: float = EVERY) -> None:
        """`line` says how far the work is, or nothing; `first`: seconds until it is asked first."""
        self._console, self._line = console, line
        self._next = time.monotonic() + first
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)

    def say(self, text: str) -> None:
        """One line."""
        self._next = time.monotonic() + EVERY
        self._console.print(Text(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {clean(text)}"), soft_wrap=True)

    def _beat(self) -> None:
        while not self._ended.wait(max(0.05, self._next - time.monotonic())):
            if time.monotonic() < self._next:
                continue
            line = self._line()
            if line:
                self.say(line)
            else:
                self._next += EVERY

    def __enter__(self) -> Log:
        """From now on no silence is longer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


class _Busy(ProgressColumn):
    """What the process is busy with."""

    def render(self, task: Task) -> Text:
        return Text(activity(), style="dim")


class _Told(ProgressColumn):
    """Something of the work itself."""

    def __init__(self, tell: Callable[[], str]) -> None:
        super().__init__()
        self._tell = tell

    def render(self, task: Task) -> Text:
        return Text(self._tell())


class Watcher:
    """Shows the events of a run on stderr: a bar on a terminal, lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._work = Work("preparing")
        self._run = Work("run")
        """All requests of the run."""
        self._num_tasks, self._position = 0, 0
        self._started: set[str] = set()
        self._is_done = False
        """Something was run, so that its end is worth a line."""
        self._log = Log(console, self._line)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            _Busy(),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _Told(lambda: "" if self._run.speed is None else rate(self._run.speed)),
            _Told(lambda: f"{duration(time.monotonic() - self._began)} elapsed"),
            _Told(lambda: "" if self._run.left is None else f"about {duration(self._run.left)} left"),
            console=console,
            disable=not console.is_terminal,
        )
        self._id = self._bar.add_task("preparing", total=None)

    def __call__(self, event: events.Event) -> None:
        """Shows one event."""
        match event:
            case events.Note(text):
                self.say(text)
            case events.Preparing():
                self._prepare(event)
            case events.OpeningModel(model):
                self._turn_to(Work(f"loading {model}"))
                self.tell_task(f"Loading {model}")
            case events.RunStarted():
                self._begin(event)
            case events.TaskStarted(task, requests, done):
                self._begin_task(task, requests, done)
            case events.Progress(_, failed):
                self._advance(1, failed=failed)
            case events.Scoring():
                self._begin_scoring(event)
            case events.SegmentsScored(count):
                self._advance(count)
            case events.TaskFinished(task, requests):
                self._end_task(task, requests)

    def place(self) -> str:
        """What stands before everything that is told: where in something larger the run is."""
        return ""

    def say(self, text: str) -> None:
        """Prints one line, above the bar where there is one."""
        if self._console.is_terminal:
            self._console.print(Text(clean(text)), soft_wrap=True)
        else:
            self._log.say(text)

    def _line(self) -> str:
        if self._work.is_idle and self._work.seconds % IDLE > EVERY:
            return ""
        since = time.monotonic() - self._began
        is_news = since - self._work.seconds > EVERY
        return self._work.line() + (f"; {duration(since)} since the start" if is_news else "")

    def _turn_to(self, work: Work) -> None:
        """What is done from now on."""
        self._work = work
        self._bar.update(self._id, description=clean(work.what))

    def _prepare(self, event: events.Preparing) -> None:
        if event.position == 1 and not self._console.is_terminal:
            self.say(f"Preparing {several(event.count, 'task')}")
        self._turn_to(Work(f"preparing {event.task} ({event.position} of {event.count})"))

    def _begin(self, event: events.RunStarted) -> None:
        self._count(event)
        going_on = "Going on with" if event.resumed else "Running"
        size = ", ".join(several(n, of) for n, of in ((event.tasks, "task"), (event.docs, "doc")))
        self.say(f"{going_on} {event.model}: {size}, {several(event.requests, 'request')}. Results in {event.path}")

    def _count(self, event: events.RunStarted) -> None:
        """From here on the tasks and requests of this run are counted."""
        self._num_tasks, self._position, self._is_done = event.tasks, 0, True
        self._started = set()
        self._run = Work("run", event.requests)
        self._bar.reset(self._id, total=event.requests)

    def _begin_task(self, task: str, requests: int, done: int) -> None:
        """What is on disk already comes off the total, so that rate and time left are those of the work itself."""
        self._started.add(task)
        self._position += 1
        self._run.kept += done
        work = Work(f"{self.place()}task {self._position} of {self._num_tasks}, {task}", requests, done)
        self._turn_to(work)
        self._bar.update(self._id, total=(self._run.total or 0) - self._run.kept)
        kept = f", {done:,} kept from before" if done else ""
        self.tell_task(f"{work.what}: {several(requests, 'request')}{kept}")

    def _end_task(self, task: str, requests: int) -> None:
        if task not in self._started:
            self._begin_task(task, requests, requests)
            return
        if self._work.done and (self._work.failed or self._work.seconds >= 1):
            failed = f", {self._work.failed:,} failed" if self._work.failed else ""
            speed = f", {rate(self._work.speed)}" if self._work.speed else ""
            self.tell_task(f"{self._work.what}: done in {duration(self._work.seconds)}{speed}{failed}")
        self._turn_to(Work(f"{self.place()}after task {self._position} of {self._num_tasks}"))

    def tell_task(self, text: str) -> None:
        """A line on the beginning or end of a task, where there is no bar that shows it."""
        if not self._console.is_terminal:
            self.say(text)

    def _advance(self, count: int, *, failed: bool = False) -> None:
        self._work.advance(count)
        self._work.failed += failed
        self._run.advance(count)
        self._bar.advance(self._id, count)

    def _begin_scoring(self, event: events.Scoring) -> None:
        self._is_done = True
        work, self._run = (Work(f"{event.task} {event.metric}", event.segments, event.done, "segment") for _ in "ab")
        self._bar.reset(self._id, total=event.segments - event.done)
        self._turn_to(work)
        kept = f", {event.done:,} kept from before" if event.done else ""
        self.tell_task(f"{work.what}: {several(event.segments, 'segment')}{kept}")

    def __enter__(self) -> Watcher:
        if self._console.is_terminal:
            self._bar.start()
        else:
            self._log.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()
        else:
            self._log.__exit__()
        if kind is None and self._is_done and not self._console.is_terminal:
            self.say(f"Done in {duration(time.monotonic() - self._began)}")


@contextmanager
def watching(*, quiet: bool = False) -> Iterator[events.OnEvent]:
    """A watcher on stderr; with `quiet` one that shows nothing."""
    if quiet:
        yield events.ignore
        return
    with Watcher(stderr()) as watcher:
        yield watcher


@contextmanager
def busy(what: str, *, bar: bool = True) -> Iterator[None]:
    """Shows on stderr that the block works: off a terminal lines if it takes long, on one something that moves.

    `bar`: whether it may, for nothing else is printed meanwhile.
    """
    console, work = stderr(), Work(what)
    if console.is_terminal and not bar:
        yield
    elif console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), _Busy())
        with Progress(*columns, _Told(lambda: duration(work.seconds)), console=console, transient=True) as shown:
            shown.add_task(clean(what), total=None)
            yield
    else:
        with Log(console, work.line, first=SOON):
            yield
