"""A source of tasks that another package brings, with scoring of its own: one class and one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import TaskError
from benchbench.core.ids import content_hash
from benchbench.core.task_scoring import Group, ScoredTask
from benchbench.core.types import (
    Completion,
    Doc,
    GenerateRequest,
    GenerationParams,
    Item,
    ItemScore,
    MetricResult,
    MetricSpec,
    Prompt,
    RenderedDoc,
    Response,
    ScoringSpec,
)
from benchbench.runner.run import run
from benchbench.store.folder import RunFolder
from benchbench.tasks import sources
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.settings import GenKwargs, RenderSettings
from benchbench.tasks.sources import SourceEntry
from benchbench.tasks.task import PreparedTask, Task
from tests.runner.toy import make_world, settings


class SumTask:
    """Sums up to a number; the answer is free text."""

    output_type = "generate_until"
    version = "3"
    path = Path("sums.py")
    remarks: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.name, self.count = name, int(name.removeprefix("sums:to"))
        self.scoring = ScoringSpec(name, "generate_until", (MetricSpec("length"),))

    def resolved(self) -> dict[str, Any]:
        return {"count": self.count}

    def code(self) -> Iterable[tuple[str, str]]:
        return ()

    def with_gen_kwargs(self, given: GenKwargs) -> SumTask:
        return self

    def data_task(self) -> Task:
        raise NotImplementedError


class LengthScoring:
    """The length of an answer, and twice its mean as the task's value: nothing that benchbench would compute."""

    def __init__(self, spec: ScoringSpec) -> None:
        self.spec = spec

    def score(self, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
        (said,) = [response for response in responses if isinstance(response, Completion)]
        return ItemScore({"length": float(len(said.text))}, said.text, "answered")

    def with_influence(self, items: Sequence[Item]) -> list[Item]:
        return [replace(item, scores={**item.scores, "position": float(n)}) for n, item in enumerate(items)]

    def rows(self, items: Sequence[Item], seed: int) -> list[MetricResult]:
        value = 2 * sum(item.scores["length"] or 0.0 for item in items) / len(items)
        return [MetricResult(self.spec.task, "length", value, None, None, None, len(items))]

    def complete(self, rows: Sequence[MetricResult]) -> ScoringSpec:
        return replace(self.spec, metrics=(*self.spec.metrics, MetricSpec("told_by_rows")))

    def group_rows(self, group: Group, members: Mapping[str, ScoredTask]) -> list[MetricResult]:
        values = [member.rows[0].value or 0.0 for member in members.values()]
        return [MetricResult(group.name, "length", max(values), None, None, None, len(members))]


class Sums:
    """`sums:to3`, and `sums:all` for two such tasks with a group."""

    title = "sums"

    def entries(self, pattern: str) -> list[SourceEntry]:
        return [SourceEntry("sums:to3", "task", None)]

    def select(self, entry: str) -> tuple[list[SumTask], list[Group]]:
        if entry == "sums:all":
            return [SumTask("sums:to2"), SumTask("sums:to3")], [Group("sums:all", ("sums:to2", "sums:to3"))]
        return [SumTask(entry)], []

    def prepare(self, task: SumTask, settings: RenderSettings) -> PreparedTask:
        docs = []
        for n in range(task.count):
            request = GenerateRequest(task.name, n, 0, Prompt("", (), f"{n} + {n} ="), GenerationParams(("\n",)))
            docs.append(RenderedDoc(task.name, Doc(n, {"n": n}, content_hash(n)), (request,), targets=(str(2 * n),)))
        own = LengthScoring(task.scoring)
        return PreparedTask(task, tuple(docs), 0, "fixed", "p" * 8, "d" * 16, None, "nowhere", own_scoring=own)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sources, "SOURCES", {**sources.SOURCES, "sums": f"{__name__}:Sums"})
    return make_world(tmp_path)


def test_its_tasks_run_beside_ours_and_are_scored_by_it(world):
    result = run(settings(world, tasks="toy_quiz,sums:to3"))
    assert list(result.record.tasks) == ["toy_quiz", "sums:to3"]
    items = RunFolder(result.path).items("sums:to3")
    assert [item.scores for item in items] == [
        {"length": float(len(item.texts[0])), "position": float(n)} for n, item in enumerate(items)
    ]
    (row,) = [row for row in result.rows if row.task == "sums:to3"]
    assert row.value == 2 * sum(len(item.texts[0]) for item in items) / 3
    told = result.record.tasks["sums:to3"]
    assert [metric.name for metric in told.scoring.metrics] == ["length", "told_by_rows"]
    assert (told.resolved, told.version) == ({"count": 3}, "3")
    assert {row.metric for row in result.rows if row.task == "toy_quiz"} >= {"acc", "acc_norm"}


def test_its_groups_are_averaged_by_its_rule(world):
    rows = run(settings(world, tasks="sums:all")).rows
    values = [row.value for row in rows if not row.is_group]
    assert [(row.task, row.value) for row in rows if row.is_group] == [("sums:all", max(values))]


def test_an_entry_without_the_prefix_of_a_source_is_ours(world):
    with pytest.raises(TaskError, match="No task, group, tag or suite named 'sumz:to3'"):
        TaskIndex((world / "tasks",)).select("sumz:to3")
