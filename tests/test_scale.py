"""A run of many docs needs no more memory than one of a few windows, and no more time a doc."""

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.types import Item, RenderedDoc
from benchbench.store.folder import RunWriter
from benchbench.store.frames import load_items
from tests.scale import Cost, in_process, measured, run_cost, write_task
from tests.windows import window_of


def most_traced(folder: Path, docs: int) -> float:
    """Most memory of Python's objects while so many docs are run, in MB."""
    write_task(folder / "tasks", docs)
    tracemalloc.start()
    run_cost(folder / "tasks", folder / "results")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


def alive(kind: type) -> int:
    """How many objects of a class there are."""
    return sum(type(one) is kind for one in gc.get_objects())


def test_no_more_than_a_window_is_held(tmp_path, monkeypatch):
    window_of(20, monkeypatch.setattr)
    seal, seen = RunWriter.seal_window, []

    def watched(self: RunWriter, *arguments: Any) -> None:
        seen.append((alive(RenderedDoc), alive(Item)))
        seal(self, *arguments)

    monkeypatch.setattr(RunWriter, "seal_window", watched)
    gc.collect()
    before = alive(RenderedDoc), alive(Item)
    write_task(tmp_path, 210)
    run_cost(tmp_path, tmp_path / "results")
    assert len(seen) == 11
    docs, items = (max(counts) - known for counts, known in zip(zip(*seen, strict=True), before, strict=True))
    assert 20 <= docs <= 40
    assert 20 <= items <= 40


@pytest.mark.slow
def test_memory_is_that_of_a_window(tmp_path, monkeypatch):
    window_of(100, monkeypatch.setattr)
    most_traced(tmp_path / "warm", 1)  # what is imported once
    by_windows = most_traced(tmp_path / "by_windows", 3000)
    window_of(3000, monkeypatch.setattr)
    assert by_windows < 0.75 * most_traced(tmp_path / "held", 3000)


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, Cost]]:
    """Of a run of 20,000 docs and one of 100,000."""
    folders = {docs: tmp_path_factory.mktemp(f"docs{docs}") for docs in (20_000, 100_000)}
    return {docs: (folder, measured(docs, folder)) for docs, folder in folders.items()}


@pytest.mark.slow
def test_time_and_memory_of_a_hundred_thousand_docs(costs):
    (_, few), (_, many) = costs[20_000], costs[100_000]
    assert many.docs == 100_000
    assert many.peak_mb < few.peak_mb + 120
    assert many.micros_a_doc < 1.5 * few.micros_a_doc


@pytest.mark.slow
def test_two_columns_of_a_hundred_thousand_items(costs):
    folder = costs[100_000][0] / "results"
    found = in_process("items", folder)
    assert found.docs == 100_000
    assert found.peak_mb < 300
    assert list(load_items(folder, columns=["acc", "doc_id"]).columns) == ["acc", "doc_id"]
