"""Both sides of a row, each in its own process, one after the other, and whether their scores agree."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchbench.core.types import Completion, Failure, GenerateRequest, Loglikelihood, Request, Response
from benchbench.runner.evaluate import score_item
from benchbench.scoring.aggregation import aggregate
from benchbench.scoring.score import StandardScoring
from benchbench.tasks.task import PreparedTask
from tests.bench.job import Answer, Job, Measured
from tests.bench.rows import Row, Start, render, requests_of

BATCH_SIZES = (8, 16, 32)
LOGLIKELIHOOD_TOLERANCE = 1e-3
"""Largest absolute difference of a log-likelihood, fp32 on both sides."""
METRIC_TOLERANCE = 1e-3
"""Largest difference of a metric, relative where it is above 1."""
REPO = Path(__file__).resolve().parents[2]


@dataclass
class Found:
    """What the comparison of one row found. Times in seconds, memory in MiB, medians over the repeats."""

    name: str
    work: str
    docs: int
    requests: int
    promised: float
    batch_size: int
    """lm-eval's best; 0 where the engine makes its own batches."""
    pilot: dict[int, float]
    """Batch size → seconds on the pilot documents."""
    theirs: float
    ours: float
    ratio: float
    """Scoring time, lm-eval over benchbench."""
    cpu_ratio: float
    """The same in processor time: far from `ratio`, something else was using the machine."""
    theirs_process: float
    ours_process: float
    """The whole process: imports, loading the model, scoring."""
    process_ratio: float
    theirs_loaded: float
    ours_loaded: float
    """Resident before the first request."""
    theirs_memory: float
    ours_memory: float
    """Peak while scoring, benchbench at its own batch tokens."""
    ours_memory_same_tokens: float
    """Peak while scoring, benchbench at lm-eval's batch tokens: its batch size times the longest input."""
    same_tokens: int
    ours_same_tokens: float
    """Seconds at those batch tokens."""
    tokens_needed: int
    tokens_computed: int
    largest_difference: float | None
    """Of a log-likelihood."""
    texts_equal: float | None
    """Share of generations."""
    metrics: dict[str, dict[str, float | None]]
    """task/metric → lm_eval, benchbench."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare(row: Row, model: str, data_root: Path | None, limit: int | None, repeats: int) -> Found:
    """Measure one row: choose lm-eval's batch size, then alternate the two sides `repeats` times."""
    prepared = render(row, data_root, limit)
    requests = requests_of(prepared)
    pilot = _pilot(row, model, prepared)
    size = min(pilot, key=lambda key: pilot[key])
    ours, theirs, ours_process, theirs_process = [], [], [], []
    for _ in range(repeats):
        measured, seconds = _run(Job("benchbench", model, requests, backend=row.backend))
        ours.append(measured)
        ours_process.append(seconds)
        measured, seconds = _run(Job("lm_eval", model, requests, batch_sizes=(size,), backend=row.backend))
        theirs.append(measured)
        theirs_process.append(seconds)
    same, same_tokens = ours[0], 0
    if size:
        same_tokens = size * ours[0].longest_prompt
        same, _ = _run(Job("benchbench", model, requests, batch_tokens=same_tokens))
    mine, other = (median(m.seconds[0] for m in side) for side in (ours, theirs))
    found = Found(
        row.name,
        row.work,
        docs=sum(len(task.docs) for task in prepared),
        requests=sum(map(len, requests)),
        promised=row.promised,
        batch_size=size,
        pilot=pilot,
        theirs=other,
        ours=mine,
        ratio=other / mine,
        cpu_ratio=median(m.cpu_seconds[0] for m in theirs) / median(m.cpu_seconds[0] for m in ours),
        theirs_process=median(theirs_process),
        ours_process=median(ours_process),
        process_ratio=median(theirs_process) / median(ours_process),
        theirs_loaded=theirs[0].loaded_memory,
        ours_loaded=ours[0].loaded_memory,
        theirs_memory=max(m.peak_memory for m in theirs),
        ours_memory=max(m.peak_memory for m in ours),
        ours_memory_same_tokens=same.peak_memory,
        same_tokens=same_tokens,
        ours_same_tokens=same.seconds[0],
        tokens_needed=ours[0].tokens_needed,
        tokens_computed=ours[0].tokens_computed,
        largest_difference=None,
        texts_equal=None,
        metrics={},
        notes=list(ours[0].notes),
    )
    agree(found, prepared, ours[0].answers, theirs[0].answers)
    agree(found, prepared, same.answers, theirs[0].answers)
    return found


def _pilot(row: Row, model: str, prepared: Sequence[PreparedTask]) -> dict[int, float]:
    """Seconds of lm-eval's backend at each batch size, on a few documents of the first task."""
    if row.backend == "vllm":  # it makes its own batches
        return {0: 0.0}
    few = replace(prepared[0], docs=prepared[0].docs[: row.pilot])
    measured, _ = _run(Job("lm_eval", model, requests_of([few]), batch_sizes=BATCH_SIZES))
    return dict(zip(BATCH_SIZES, measured.seconds, strict=True))


def _run(job: Job) -> tuple[Measured, float]:
    """What the job's own process measured, and that process's whole time."""
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "job", Path(folder) / "result"
        given.write_bytes(pickle.dumps(job))
        start = time.perf_counter()
        command = [python_for(job.backend), "-m", "tests.bench.worker", str(given), str(result)]
        done = subprocess.run(command, check=False, cwd=REPO, env=environment(), capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise RuntimeError(f"the {job.side} process failed:\n{done.stderr[-4000:]}")
        return pickle.loads(result.read_bytes()), seconds


def python_for(backend: str) -> str:
    """The interpreter whose environment has the engine: this one, or for vLLM that of `make env-vllm`; "" if none."""
    if backend != "vllm" or importlib.util.find_spec("vllm") is not None:
        return sys.executable
    other = REPO / ".venv-vllm" / "bin" / "python"
    return str(other) if other.exists() else ""


def environment() -> dict[str, str]:
    """Of a measuring process: quiet, and without a network."""
    quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return {**os.environ, **quiet, "TRANSFORMERS_VERBOSITY": "error", "LMEVAL_LOG_LEVEL": "ERROR"}


def agree(found: Found, prepared: Sequence[PreparedTask], ours: Sequence[Answer], theirs: Sequence[Answer]) -> None:
    """Compare the answers one by one, then the metrics made of them; what differs goes into `found.problems`."""
    differences = [
        abs(a[0] - b[0]) for a, b in zip(ours, theirs, strict=True) if isinstance(a, tuple) and isinstance(b, tuple)
    ]
    texts = [a == b for a, b in zip(ours, theirs, strict=True) if isinstance(b, str)]
    if differences:
        found.largest_difference = max(*differences, found.largest_difference or 0.0)
        if apart := [d for d in differences if not d <= LOGLIKELIHOOD_TOLERANCE]:  # NaN counts as a difference
            found.problems.append(f"{len(apart)} log-likelihoods differ by up to {max(apart):.2g}")
    if texts:
        found.texts_equal = min(sum(texts) / len(texts), 1.0 if found.texts_equal is None else found.texts_equal)
        if found.texts_equal < 1.0:
            found.problems.append(f"{texts.count(False)} of {len(texts)} generations differ")
    if missing := sum(answer is None for answer in ours):
        found.problems.append(f"{missing} requests failed")
    mine, other = _metrics(prepared, ours), _metrics(prepared, theirs)
    for name, value in other.items():
        found.metrics[name] = {"lm_eval": value, "benchbench": mine.get(name)}
        if not _close(mine.get(name), value):
            found.problems.append(f"{name}: {mine.get(name)}, lm-eval {value}")


def _metrics(prepared: Sequence[PreparedTask], answers: Sequence[Answer]) -> dict[str, float | None]:
    """Every metric that one side's answers give, by our scoring."""
    values: dict[str, float | None] = {}
    left = iter(answers)
    for task in prepared:
        spec = task.task.scoring
        items = [
            score_item(
                StandardScoring(spec),
                doc,
                [_response(request, next(left)) for request in doc.requests],
                item_key=str(doc.doc.id),
            )
            for doc in task.docs
        ]
        values |= {f"{task.task.name}/{result.metric}": result.value for result in aggregate(spec, items)}
    return values


def _response(request: Request, answer: Answer) -> Response:
    if answer is None:
        return Failure(request, "no_answer", "the backend gave no answer")
    if isinstance(request, GenerateRequest):
        return Completion(request, str(answer), "stop", num_tokens=1)
    assert isinstance(answer, tuple)
    return Loglikelihood(request, float(answer[0]), bool(answer[1]), num_tokens=1)


def _close(value: float | None, expected: float | None) -> bool:
    if value is None or expected is None:
        return value is expected
    return abs(value - expected) <= METRIC_TOLERANCE * max(1.0, abs(expected))


def start_seconds(start: Start, tries: int = 5) -> float:
    """Wall seconds of the fastest of `tries` runs of a command."""
    script = Path(sys.executable).with_name("benchbench")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "benchbench"]
    seconds = []
    for _ in range(tries):
        begin = time.perf_counter()
        subprocess.run([*command, *start.arguments], cwd=REPO, capture_output=True, check=True)
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
