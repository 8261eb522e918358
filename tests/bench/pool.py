"""`python -m tests.bench.pool --model DIR --data-root DIR`: what workers cost and bring, each of one thread.

The engine without a pool, a pool of one and a pool of two answer the same requests, each in a process of its own, in
turn. Seconds are those of answering, the tokens included, with the models open. Exits with 1 if two workers give other
answers than one, or if a promise is not kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.types import GenerateRequest, Loglikelihood, Request
from tests.bench.pair import REPO, environment
from tests.bench.rows import ROWS, render, requests_of
from tests.processor import cpu_seconds

SIDES = (0, 1, 2)
"""Workers; 0 is no pool."""
PROMISED = 1.8
"""How many times faster two workers are than one, at least."""
DEAREST = 0.03
"""What a pool of one may cost beside the engine, as a share of its time."""


@dataclass(frozen=True)
class Side:
    """What one process measured."""

    workers: int
    seconds: float
    busiest: float
    """Processor seconds of the worker that had most: what a machine that others use disturbs less."""
    driver: float
    """Processor seconds of the process that asks."""
    tokens: int
    """That were computed."""
    answers: str
    """A hash of all, to the last bit."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all sides; 1 if a promise is not kept."""
    args = arguments(argv)
    if args.side is not None:
        print(json.dumps(asdict(measure(args))))
        return 0
    found: dict[int, list[Side]] = {workers: [] for workers in SIDES}
    for _ in range(args.repeat):
        for workers in SIDES:
            found[workers].append(in_process(args, workers))
            print(line(found[workers][-1]), flush=True)
    problems = verdict(found)
    print("\n".join(problems))
    return int(bool(problems))


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pool", description=__doc__)
    parser.add_argument("--model", required=True, help="folder or hub name; loaded in fp32 on the CPU")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("BENCHBENCH_DATA"), help="or BENCHBENCH_DATA")
    parser.add_argument("--rows", default="hellaswag-5,triviaqa-5", help="of python -m tests.bench; by commas")
    parser.add_argument("--docs", type=int, default=200, help="of each row")
    parser.add_argument("--repeat", type=int, default=1, help="how often the sides alternate; medians are compared")
    parser.add_argument("--side", type=int, choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def in_process(args: argparse.Namespace, workers: int) -> Side:
    """The side in a fresh process."""
    given = {"--model": args.model, "--rows": args.rows, "--docs": args.docs, "--side": workers}
    given |= {} if args.data_root is None else {"--data-root": args.data_root}
    command = [sys.executable, "-m", "tests.bench.pool", *(str(word) for pair in given.items() for word in pair)]
    alone = {**environment(), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=REPO, env=alone, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the process of {workers} workers failed:\n{done.stderr[-4000:]}")
    return Side(**json.loads(done.stdout.splitlines()[-1]))


def measure(args: argparse.Namespace) -> Side:
    """One side, here."""
    rows = [row for row in ROWS if row.name in args.rows.split(",")]
    tasks = [task for row in rows for task in requests_of(render(row, args.data_root, args.docs))]
    options = ModelOptions(args.model, "hf", dtype="float32", device="cpu")
    backend, spent = opened(options, args.side)
    before, driver, began = spent(), time.process_time(), time.perf_counter()
    answers = [answer for task in tasks for answer in ask(backend, task)]
    seconds, driver = time.perf_counter() - began, time.process_time() - driver
    busiest = max(after - one for after, one in zip(spent(), before, strict=True))
    digest = hashlib.sha256("\n".join(sorted(answers)).encode()).hexdigest()
    side = Side(args.side, seconds, busiest, driver, backend.work.tokens_computed, digest)
    backend.close()
    return side


def opened(options: ModelOptions, workers: int) -> tuple[Any, Callable[[], list[float]]]:
    """The engine or the pool, and what tells the processor seconds of each worker so far."""
    if not workers:
        return open_backend(options), lambda: [time.process_time()]
    import ray

    from benchbench.backends.pool.pool import Pool
    from benchbench.backends.pool.ray import RayCrew, Share

    ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    crew = RayCrew(options, workers, Share(cores=1, threads=1), owns_ray=True)
    while len(crew.workers()) < workers:
        time.sleep(0.1)
    pids = [one.about.pid for one in crew.live.values()]
    return Pool(crew), lambda: list(map(cpu_seconds, pids))


def ask(backend: Any, requests: Sequence[Request]) -> list[str]:
    """All answers to a task, as text that tells every bit."""
    docs: dict[int, list[Request]] = {}
    for request in requests:
        docs.setdefault(request.key[1], []).append(request)
    backend.request_keys(list(docs.values()))
    method = backend.generate if isinstance(requests[0], GenerateRequest) else backend.loglikelihood
    return [
        repr((one.request.key, one.total.hex() if isinstance(one, Loglikelihood) else one.text))
        for one in method(requests)
    ]


def verdict(found: dict[int, list[Side]]) -> list[str]:
    """What is not as promised."""
    none, one, two = (median(side.seconds for side in found[workers]) for workers in SIDES)
    cpu = {workers: median(side.busiest for side in sides) for workers, sides in found.items()}
    print(f"two workers: {one / two:.2f} times faster than one ({cpu[1] / cpu[2]:.2f} by processor time)")
    print(f"a pool of one: {one / none - 1:+.1%} over no pool ({cpu[1] / cpu[0] - 1:+.1%} by processor time)")
    problems = []
    if len({side.answers for workers in (1, 2) for side in found[workers]}) > 1:
        problems.append("two workers give other answers than one")
    if one / two < PROMISED:
        problems.append(f"two workers are {one / two:.2f} times faster than one, promised {PROMISED}")
    if one / none - 1 > DEAREST:
        problems.append(f"a pool of one costs {one / none - 1:.1%}, promised {DEAREST:.0%}")
    return problems


def line(side: Side) -> str:
    """A side as a line."""
    name = f"{side.workers} workers" if side.workers else "no pool"
    return (
        f"{name}: {side.seconds:.1f} s; of the processor {side.busiest:.1f} s in the busiest worker, {side.driver:.1f} "
        f"s where it is asked; {side.tokens:,} tokens computed"
    )


if __name__ == "__main__":
    sys.exit(main())
