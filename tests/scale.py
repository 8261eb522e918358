"""What a run of many docs costs: `python -m tests.scale [--docs 1000000] [--items 2000000]`.

A two-choice task on the scripted engine, in a process of its own that has run a few docs before, so that libraries are
loaded: processor time a doc, without what the engine itself takes, and the most memory the process ever held. Then its
items, as a frame of two columns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchbench.backends.engines import ModelOptions
from benchbench.backends.protocol import NOTHING, RequestKeys
from benchbench.backends.scripted import ScriptedBackend
from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, Request
from benchbench.runner.run import run
from benchbench.runner.settings import RunSettings
from benchbench.tasks.settings import RenderSettings

REPO = Path(__file__).resolve().parent.parent
TASK = {
    "task": "two_choices",
    "version": 1,
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{ question }}\nAnswer:",
    "doc_to_target": "{{ label }}",
    "doc_to_choice": "choices",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process."""

    docs: int
    seconds: float
    """Processor time of the work, imports apart."""
    engine_seconds: float
    """Of these, what the engine took."""
    peak_mb: float
    """Most memory held, imports included."""

    @property
    def micros_a_doc(self) -> float:
        """Processor time a doc outside the engine, in microseconds."""
        return (self.seconds - self.engine_seconds) / self.docs * 1e6


class TimedBackend(ScriptedBackend):
    """The scripted engine, with the processor time that it takes itself."""

    seconds = 0.0

    def request_keys(self, docs: Sequence[Sequence[Request]]) -> list[str]:
        """See `Backend`."""
        began = time.process_time()
        keys = super().request_keys(docs)
        self.seconds += time.process_time() - began
        return keys

    def loglikelihood(self, requests: Sequence[LoglikelihoodRequest], *, skip: RequestKeys = NOTHING) -> Iterator[Any]:
        """See `Backend`."""
        return self._timed(lambda: super(TimedBackend, self).loglikelihood(requests, skip=skip))

    def generate(self, requests: Sequence[GenerateRequest], *, skip: RequestKeys = NOTHING) -> Iterator[Any]:
        """See `Backend`."""
        return self._timed(lambda: super(TimedBackend, self).generate(requests, skip=skip))

    def _timed(self, ask: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """The answers, in portions: a clock that is read for each would be most of what it shows."""
        responses, portion = ask(), [None]
        while portion:
            began = time.process_time()
            portion = [response for _, response in zip(range(1000), responses, strict=False)]
            self.seconds += time.process_time() - began
            yield from portion


def write_task(folder: Path, docs: int) -> None:
    """The task file and its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "two_choices.yaml").write_text(yaml.safe_dump(TASK), encoding="utf-8")
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as lines:
        for n in range(docs):
            row = {"question": f"what is {n} and {n}?", "choices": [f"it is {2 * n}", f"it is {3 * n}"], "label": n % 2}
            lines.write(json.dumps(row) + "\n")


def run_cost(folder: Path, output: Path) -> Cost:
    """Runs the task in `folder`, here."""
    options = ModelOptions("hash", backend="scripted")
    settings = RunSettings(
        options, tasks="two_choices", include_paths=(folder,), output=output, render=RenderSettings()
    )
    backend, began = TimedBackend(options), time.process_time()
    docs = run(settings, backend=backend).record.work.docs
    return Cost(docs, time.process_time() - began, backend.seconds, peak_mb())


def items_cost(results: Path) -> Cost:
    """Loads two columns of all items under `results`, here."""
    from benchbench import load_items

    began = time.process_time()
    frame = load_items(results, columns=["doc_id", "acc"])
    return Cost(len(frame), time.process_time() - began, 0.0, peak_mb())


def peak_mb() -> float:
    """The most memory that this program ever held; `ru_maxrss` would count what its parent held, too."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def in_process(*arguments: object) -> Cost:
    """The cost of a fresh process of this file: `run FOLDER OUTPUT FEW` or `items RESULTS`."""
    command = [sys.executable, "-m", "tests.scale", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def measured(docs: int, folder: Path) -> Cost:
    """The cost of a run of so many docs; its results are left in `folder`/results."""
    write_task(folder / "tasks", docs)
    write_task(folder / "few", 50)
    return in_process("run", folder / "tasks", folder / "results", folder / "few")


def main() -> None:
    """The command."""
    match sys.argv[1:]:
        case ["run", folder, output, few]:
            run_cost(Path(few), Path(few) / "results")
            print(json.dumps(asdict(run_cost(Path(folder), Path(output)))))
            return
        case ["items", results]:
            print(json.dumps(asdict(items_cost(Path(results)))))
            return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=int, default=1_000_000)
    docs = parser.parse_args().docs
    with tempfile.TemporaryDirectory() as folder:
        cost = measured(docs, Path(folder))
        print(f"{docs:,} docs: {cost.micros_a_doc:.0f} µs a doc outside the engine, {cost.peak_mb:.0f} MB at most")
        cost = in_process("items", Path(folder) / "results")
        print(f"{cost.docs:,} items by two columns: {cost.seconds:.1f} s, {cost.peak_mb:.0f} MB at most")


if __name__ == "__main__":
    main()
