"""Many programs, several at a time, each in a sandbox of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from benchbench.core.errors import BackendError
from benchbench.extensions.programs import Program, Verdict
from benchbench.extensions.programs.sandbox import NotStartedError, Ran, Sandbox

ATTEMPTS = 3
"""To make a sandbox for a program, alone, before it is said that this cannot be done."""


PATIENCE = 10.0
"""Times the clock's limit for one that waited for a processor before: then a load that is not its own has no say."""


def run_programs(
    sandbox: Sandbox, programs: Sequence[Program], jobs: int, on_done: Callable[[], None] = lambda: None
) -> list[Verdict]:
    """What became of each program, in their order.

    One that ran out of time while it mostly waited for a processor, or whose sandbox could not be made, is run again
    when all others are done, alone: what one program does decides nothing about another.

    Args:
        jobs: programs that run at a time.
        on_done: called after each, from the thread that ran it.

    Raises:
        BackendError: a program's sandbox could not be made, even alone.
    """
    found: list[Verdict | None] = [None] * len(programs)

    def first(place: int, slot: int) -> None:
        with suppress(NotStartedError):
            ran = sandbox.run(programs[place], slot)
            if not ran.starved:
                found[place] = ran.verdict
                on_done()

    _in_threads(iter(range(len(programs))), jobs, first)
    for place, verdict in enumerate(found):
        if verdict is None:
            found[place] = _alone(sandbox, programs[place]).verdict
            on_done()
    return [verdict for verdict in found if verdict is not None]


def _alone(sandbox: Sandbox, program: Program) -> Ran:
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            return sandbox.run(program, patience=PATIENCE)
        except NotStartedError as error:
            reason = str(error)
    raise BackendError(f"a program's sandbox could not be made, {ATTEMPTS} times: {reason}")


def _in_threads(places: Iterator[int], jobs: int, work: Callable[[int, int], None]) -> None:
    """`work(place, slot)` for every place. What one raises ends all of them and is raised here."""
    lock, raised = threading.Lock(), list[BaseException]()

    def loop(slot: int) -> None:
        while not raised:
            with lock:
                place = next(places, None)
            if place is None:
                return
            try:
                work(place, slot)
            except BaseException as error:  # noqa: BLE001 - it is raised where the threads were started
                raised.append(error)

    threads = [threading.Thread(target=loop, args=(slot,), name=f"program {slot}", daemon=True) for slot in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException as error:
        raised.append(error)
        raise
    if raised:
        raise raised[0]
