"""`python -m tests.gpu.parts PART FIGURES`: one part of the check, and its figures as JSON. A part that fails raises.

The device is that of BENCHBENCH_TEST_DEVICE.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.types import Completion, GenerateRequest, Loglikelihood, Request
from tests.bench.job import Job
from tests.bench.worker import measure
from tests.gpu import world
from tests.models import DEVICE, EAGER

Figures = dict[str, float | int | str | bool]
SIZE = world.SIZES["cuda" if DEVICE == "cuda" else "cpu"]
NEAR = 0.05
"""Nats a token by which answers in bfloat16 may differ on average: the type has 8 bits of precision."""
BATCH_SIZES = (32, 128) if DEVICE == "cuda" else (8,)
"""lm-eval's; the better one counts."""


def bf16(folder: Path, figures: Figures) -> None:
    """Each kind of work in bfloat16; texts one by one in bfloat16, and in float32, say what it should be."""
    place, asked = world.model(folder / "model", SIZE), world.requests(folder, SIZE.docs)
    some = {name: one[: max(8, len(one) // 10)] for name, one in asked.items()}
    shared = opened(place, dtype="bfloat16")
    require(shared.info.dtype == "bfloat16", f"the model is in {shared.info.dtype}")
    require(shared.info.device.startswith(DEVICE), f"the model is on {shared.info.device}")
    fast, seconds = answers(shared, asked)
    figures["plan"] = shared.info.plan
    figures["requests per second"] = round(sum(map(len, asked.values())) / seconds, 1)
    figures["GiB of memory, at most"] = peak()
    close(shared)
    for what, options in {
        "one by one": {"dtype": "bfloat16", "plan": "single"},
        "float32": {"dtype": "float32", "plan": "auto"},
    }.items():
        other = opened(place, **options)
        slow, _ = answers(other, some)
        close(other)
        apart = [abs(fast[key][0] - slow[key][0]) / max(1, slow[key][2]) for key in slow if len(slow[key]) == 3]
        equal = [fast[key] == slow[key] for key in slow if len(slow[key]) == 1]
        figures[f"nats a token from {what}, mean"] = round(sum(apart) / len(apart), 6)
        figures[f"nats a token from {what}, most"] = round(max(apart), 6)
        figures[f"texts equal to {what}"] = round(sum(equal) / len(equal), 3)
        require(sum(apart) / len(apart) < NEAR, f"bfloat16 is {sum(apart) / len(apart):.3f} nats a token from {what}")


def pool(folder: Path, figures: Figures) -> None:
    """Two engines of transformers; where Ray is not installed, as threads of one process."""
    place, asked = world.model(folder / "model", SIZE), world.requests(folder, SIZE.docs)
    options = ModelOptions(str(place), backend="hf", dtype="bfloat16", device=DEVICE)
    figures["workers are"] = "processes of Ray" if util.find_spec("ray") else "threads: Ray is not installed"
    halves(options, asked, figures)


def vllm_pool(folder: Path, figures: Figures) -> None:
    """Two engines of vLLM, each with 40 % of the memory, of which its cache is said: they start at the same time, and
    neither can measure what is left beside it.
    """
    import torch

    place, asked = world.model(folder / "model", SIZE), world.requests(folder, SIZE.docs)
    share = EAGER
    if DEVICE == "cuda":
        cache = int(0.3 * torch.cuda.mem_get_info()[1])
        share = (*EAGER, ("gpu_memory_utilization", "0.4"), ("kv_cache_memory_bytes", str(cache)))
    halves(ModelOptions(str(place), backend="vllm", dtype="bfloat16", device=DEVICE, model_args=share), asked, figures)


def halves(options: ModelOptions, asked: dict[str, list[Request]], figures: Figures) -> None:
    """One worker with half of the device, then two: the answers must be the same ones."""
    found = {}
    for count in (1, 2):
        engines = workers(options, count)
        found[count], seconds = answers(engines, asked)
        figures[f"requests per second, {count}"] = round(sum(map(len, asked.values())) / seconds, 1)
        if count == 2:
            figures["GiB of memory used"] = used()
        engines.close()
    figures["answers equal to the bit"] = sum(found[1][key] == found[2][key] for key in found[1])
    figures["answers"] = len(found[1])
    require(found[1] == found[2], "two engines answer otherwise than one")


def workers(options: ModelOptions, count: int) -> Any:
    from benchbench.backends.pool.pool import Pool

    if util.find_spec("ray") is None:
        from tests.backends.pool.threads import ThreadCrew

        return Pool(ThreadCrew(options, count))
    import ray

    from benchbench.backends.pool.ray import RayCrew, Share

    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    threads = None if DEVICE == "cuda" else 1
    return Pool(RayCrew(options, count, Share(cores=1, gpus=0.5 if DEVICE == "cuda" else 0, threads=threads)))


def speed(folder: Path, figures: Figures) -> None:
    """The same requests by benchbench and by lm-eval, in bfloat16, both warm; seconds of answering only."""
    place, asked = world.model(folder / "model", SIZE), world.requests(folder, SIZE.docs)
    theirs = util.find_spec("lm_eval") is not None
    if not theirs:
        figures["lm-eval"] = "not installed: no ratios"
    for name, requests in asked.items():
        job = {"model": str(place), "batch_sizes": BATCH_SIZES, "device": DEVICE, "dtype": "bfloat16"}
        for side in ("benchbench", "lm_eval") if theirs else ("benchbench",):
            if name == next(iter(asked)):  # warm: the GPU's libraries are loaded with the first batch
                measure(Job(side, requests=[requests[:8]], **job))
            found = measure(Job(side, requests=[requests], **job))
            free()
            require(None not in found.answers, f"{side} left requests of {name} without an answer")
            figures[f"{name}, {side}, s"] = round(min(found.seconds), 3)
        if theirs:
            ratio = figures[f"{name}, lm_eval, s"] / figures[f"{name}, benchbench, s"]
            figures[f"{name}, ratio"] = round(ratio, 2)


def opened(place: Path, **options: Any) -> Any:
    return open_backend(ModelOptions(str(place), backend="hf", device=DEVICE, **options))


def close(backend: Any) -> None:
    backend.close()
    free()


def free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def answers(backend: Any, asked: dict[str, Sequence[Request]]) -> tuple[dict[Any, tuple], float]:
    """Key → (log-likelihood, is_greedy, tokens) or (text,), and the seconds it took. Raises where one failed."""
    found: dict[Any, tuple] = {}
    begin = time.perf_counter()
    for name, requests in asked.items():
        writes = isinstance(requests[0], GenerateRequest)
        for answer in backend.generate(requests) if writes else backend.loglikelihood(requests):
            require(isinstance(answer, (Loglikelihood, Completion)), f"a request failed: {answer}")
            value = (answer.text,) if writes else (answer.total, answer.is_greedy, answer.num_tokens)
            found[name, *answer.request.key] = value
        require(len(found) >= len(requests), f"not all requests of {name} were answered")
    return found, time.perf_counter() - begin


def peak() -> float:
    """GiB that torch had taken of the GPU at once in this process; 0 on a processor."""
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else 0.0


def used() -> float:
    """GiB of the GPU that are taken now, whoever took them."""
    import torch

    if not torch.cuda.is_available():
        return 0.0
    free_now, total = torch.cuda.mem_get_info()
    return round((total - free_now) / 2**30, 2)


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


PARTS = {"bf16": bf16, "pool": pool, "vllm_pool": vllm_pool, "speed": speed}


def main(name: str, to: str) -> None:
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="benchbench-gpu-") as folder:
        try:
            PARTS[name](Path(folder), figures)
        finally:
            Path(to).write_text(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
