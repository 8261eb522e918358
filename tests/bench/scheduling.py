"""`python -m tests.bench.scheduling`: what is lost where many workers of a Ray cluster answer requests of mixed cost.

The workers are those of the pool, on nodes of a cluster that is started here; the scripted engine in them waits for as
long as its text is long. They sleep at the same time, so that a small machine can hold many: what the processor does
beside (hashes for answers, Ray, the process that asks) must be little next to the ideal time, which `--seconds` states.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from benchbench.backends.engines import ModelOptions
from benchbench.core.types import LoglikelihoodRequest, Prompt
from tests.scale import peak_mb

BATCH = 16
LEAST = 0.9
"""Of the ideal time over the real one."""
MOST_MB = 1_000


@dataclass(frozen=True)
class Found:
    """What one series of requests took."""

    requests: int
    workers: int
    ideal: float
    """Seconds, if all workers were busy all the time."""
    seconds: float
    keys_seconds: float
    """Of asking for the keys, before."""
    driver_seconds: float
    """Of the processor, in the process that asks, keys and answers."""
    peak_mb: float
    """Most memory that it held."""

    @property
    def share(self) -> float:
        """Of the ideal time over the real one."""
        return self.ideal / self.seconds

    @property
    def overhead(self) -> float:
        """Milliseconds of a worker's time that a request costs beside its answer."""
        return (self.seconds - self.ideal) * self.workers / self.requests * 1e3


def mixed(count: int) -> list[LoglikelihoodRequest]:
    """So many requests, by docs of 1 to 4; most are short, few very long."""
    rng, requests = random.Random(16), []
    while len(requests) < count:
        doc = len(requests)
        size = min(8_000, int(rng.lognormvariate(5.5, 1.0)))
        prompt = Prompt("", (), f"{rng.random()} " + "x" * size)
        requests += [LoglikelihoodRequest("t", doc, n, prompt, f" {n}") for n in range(rng.randint(1, 4))]
    return requests[:count]


@contextlib.contextmanager
def cluster(nodes: int, cores: int) -> Iterator[str]:
    """The address of a cluster of so many nodes, which say that they have so many cores each."""
    from ray.cluster_utils import Cluster

    small = {"num_cpus": cores, "num_gpus": 0, "object_store_memory": 300 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            made.add_node(**small)
        made.wait_for_nodes()
        yield made.address
    finally:
        made.shutdown()


def measure(requests: Sequence[LoglikelihoodRequest], *, workers: int, nodes: int, seconds: float) -> Found:
    """All answers by so many workers, ideally in so many seconds."""
    import ray

    from benchbench.backends.pool.pool import Pool
    from benchbench.backends.pool.ray import RayCrew, Share

    characters = sum(len(request.prompt.text) + len(request.continuation) for request in requests)
    pace = seconds * workers / characters * 1000
    options = ModelOptions(f"hash,batch={BATCH},pace={pace:.6f}", backend="scripted")
    docs: dict[int, list[LoglikelihoodRequest]] = {}
    for request in requests:
        docs.setdefault(request.doc_id, []).append(request)
    with cluster(nodes, -(-workers // nodes)) as address:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        try:
            crew = RayCrew(options, workers, Share(cores=1))
            while len(crew.workers()) < workers:
                time.sleep(0.2)
            pool, driver, began = Pool(crew), time.process_time(), time.monotonic()
            pool.request_keys(list(docs.values()))
            keyed = time.monotonic()
            keys = {answer.request.key for answer in pool.loglikelihood(requests)}
            ended = time.monotonic()
            driver = time.process_time() - driver
            pool.close()
        finally:
            ray.shutdown()
    if len(keys) != len(requests):
        raise RuntimeError(f"{len(requests) - len(keys)} requests were not answered")
    ideal = characters * pace / 1000 / workers
    return Found(len(requests), workers, ideal, ended - keyed, keyed - began, driver, peak_mb())


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scheduling", description=__doc__)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=150, help="the ideal time")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 if a promise is not kept."""
    args = arguments(argv)
    found = measure(mixed(args.requests), workers=args.workers, nodes=args.nodes, seconds=args.seconds)
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        print(
            f"{found.requests:,} requests, {found.workers} workers on {args.nodes} nodes: {found.seconds:.1f} s, ideal "
            f"{found.ideal:.1f} s ({found.share:.1%}); {found.overhead:.2f} ms of a worker a request; keys "
            f"{found.keys_seconds:.1f} s; where it is asked {found.driver_seconds / found.requests * 1e6:.0f} µs of "
            f"the processor a request and {found.peak_mb:.0f} MB at most"
        )
    return int(found.share < LEAST or found.peak_mb > MOST_MB)


if __name__ == "__main__":
    sys.exit(main())
