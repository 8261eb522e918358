"""The pool's measuring commands, on little work: what they print is true of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench import scheduling
from tests.bench.pool import Side, arguments, in_process, verdict
from tests.conftest import REPO
from tests.models import tiny_llama
from tests.processor import cpu_seconds, idle_seconds

pytest.importorskip("ray")


def side(workers: int, seconds: float, answers: str = "same") -> Side:
    return Side(workers, seconds, seconds, 0.0, 1, answers)


def test_promises_are_held_against_the_medians(capsys: pytest.CaptureFixture[str]) -> None:
    good = {0: [side(0, 10.0)], 1: [side(1, 10.2), side(1, 10.2), side(1, 99.0)], 2: [side(2, 5.4)]}
    assert verdict(good) == []
    assert "1.89 times faster" in capsys.readouterr().out
    slow, dear = {**good, 2: [side(2, 6.0)]}, {**good, 1: [side(1, 10.4)]}
    assert verdict(slow) == ["two workers are 1.70 times faster than one, promised 1.8"]
    assert verdict(dear) == ["a pool of one costs 4.0%, promised 3%"]
    assert verdict({**good, 2: [side(2, 5.0, "other")]}) == ["two workers give other answers than one"]


def test_processor_seconds_of_a_process_are_those_that_it_spent() -> None:
    before, began = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() < began + 0.1:
        pass
    spent = time.process_time() - began
    assert cpu_seconds(os.getpid()) - before == pytest.approx(spent, abs=0.05)  # ticks of 0.01 s


def test_requests_of_mixed_cost_are_the_same_each_time_and_unlike() -> None:
    requests = scheduling.mixed(2_000)
    sizes = sorted(len(request.prompt.text) for request in requests)
    assert requests == scheduling.mixed(2_000)
    assert len({request.key for request in requests}) == 2_000
    assert sizes[-20] > 5 * sizes[1_000]


@pytest.mark.slow
def test_two_workers_give_the_answers_of_one_in_the_measurement_too(data_root: Path, tmp_path: Path) -> None:
    model = tiny_llama(tmp_path, bos=False, max_length=2048)
    given = ["--model", str(model), "--data-root", str(data_root), "--rows", "hellaswag-5,triviaqa-5", "--docs", "40"]
    one, two = (in_process(arguments(given), workers) for workers in (1, 2))
    assert one.answers == two.answers
    assert min(one.busiest, two.busiest, two.driver) > 0
    assert one.tokens < two.tokens < 1.2 * one.tokens  # what all docs share is computed by both


@pytest.mark.slow
def test_four_workers_on_two_nodes_lose_little() -> None:
    idle, began = idle_seconds(), time.monotonic()
    line = [sys.executable, "-m", "tests.bench.scheduling", "--workers", "4", "--nodes", "2", "--requests", "2000"]
    line += ["--seconds", "10", "--json"]
    done = subprocess.run(line, cwd=REPO, capture_output=True, text=True, check=False)
    idle, took = idle_seconds() - idle, time.monotonic() - began
    found = scheduling.Found(**json.loads(done.stdout.splitlines()[-1]))
    assert (found.requests, found.workers) == (2_000, 4)
    assert found.ideal == pytest.approx(10, rel=0.01)
    assert found.peak_mb < scheduling.MOST_MB
    assert found.ideal < found.seconds
    if idle < 0.25 * took:
        pytest.skip("other processes kept the processor busy, so what the workers lost cannot be told")
    assert found.seconds < 2 * found.ideal
