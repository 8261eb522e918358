"""The process that has math-verify: it forks for every pair, so that none can hang, fill or end what compares the next.

It is started as a file. One JSON line on standard input is a block: `pairs` (gold and answer), `seconds` for each,
`memory` in bytes, `jobs` at a time. One comes back: `found`, a letter for each pair. The first line that it writes
is `ready` with the version of math-verify, or `error`.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import selectors
import signal
import sys
import time

EQUAL, DIFFERENT, UNREAD, SLOW, DIED = "edust"
"""In the order of `EQUALITIES`."""


def main() -> None:
    """Answers blocks until there are no more."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        from math_verify import parse, verify

        logging.disable(logging.CRITICAL)
        verify(parse("$\\frac{1}{2}$"), parse("The answer is $0.5$."))  # what is made at the first call, all share
        from importlib.metadata import version

        ready = {"ready": version("math-verify")}
    except Exception as error:  # noqa: BLE001 - it is told, whatever is wrong with the package
        ready = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(ready), file=out, flush=True)
    for line in sys.stdin:
        block = json.loads(line)
        print(json.dumps({"found": _block(**block)}), file=out, flush=True)


def _block(pairs: list[tuple[str, str]], seconds: float, memory: int, jobs: int) -> str:
    """A letter for each pair."""
    found, places = [DIED] * len(pairs), iter(range(len(pairs)))
    with selectors.DefaultSelector() as selector:
        running: dict[int, tuple[int, int, float]] = {}

        def start() -> None:
            place = next(places, None)
            if place is not None:
                gold, answer = pairs[place]
                pid, told = _fork(gold, answer, memory)
                running[told] = (place, pid, time.monotonic() + seconds)
                selector.register(told, selectors.EVENT_READ)

        for _ in range(jobs):
            start()
        while running:
            wait = min(until for _, _, until in running.values()) - time.monotonic()
            ready = {key.fd for key, _ in selector.select(max(0.0, wait))}
            for told, (place, pid, until) in [*running.items()]:
                if told in ready or time.monotonic() >= until:
                    letter = os.read(told, 1).decode() if told in ready else SLOW
                    found[place] = letter or DIED
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    selector.unregister(told)
                    os.close(told)
                    del running[told]
                    start()
    return "".join(found)


def _fork(gold: str, answer: str, memory: int) -> tuple[int, int]:
    """The child that compares them, and where its letter can be read; nothing comes where it dies."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        return pid, told
    letter = DIED
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        letter = _compare(gold, answer)
    except MemoryError:
        letter = DIED
    except BaseException:  # noqa: BLE001 - what cannot be compared is not equal
        letter = DIFFERENT
    finally:
        os.write(tell, letter.encode())
        os._exit(0)


def _compare(gold: str, answer: str) -> str:
    """As lm-eval asks math-verify; its own limits of time are off, since ours end the process."""
    from math_verify import parse, verify

    found = parse(answer, parsing_timeout=None)
    if not found:
        return UNREAD
    return EQUAL if verify(gold=parse(gold, parsing_timeout=None), target=found, timeout_seconds=None) else DIFFERENT


if __name__ == "__main__":
    main()
