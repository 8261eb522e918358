"""A metric that another package adds after the run: one class and one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.core import post_metrics
from benchbench.core.errors import ArgumentError
from benchbench.core.types import Item, MetricSpec, OutputType, ScoringSpec
from benchbench.extensions.rescore.post_metric import PostMetricInfo
from benchbench.extensions.rescore.score import score
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.extensions.rescore.stored import StoredTask
from benchbench.runner.events import OnEvent
from tests.extensions.rescore.world import finished, own_bytes, world

TASKS = ["toy_cs-fr", "toy_fr-cs"]
CLOSED: list[str] = []


class Judge:
    """Says how much longer an answer is than its document's target, in the unit that its settings name."""

    def __init__(self, settings: ScoreSettings, on_event: OnEvent) -> None:
        self._unit = float(settings.options.get("unit", "1"))

    def fits(self, output_type: OutputType) -> bool:
        return output_type == "generate_until"

    def missing(self, task: StoredTask) -> str | None:
        return "is not one that the judge reads" if task.name not in TASKS else None

    def info(self, task: StoredTask) -> PostMetricInfo:
        spec = MetricSpec("judge:length", "mean", True, {"unit": self._unit})
        return PostMetricInfo(spec, f"judge:length|unit:{self._unit}", {"unit": self._unit}, {"device": "none"})

    def items(self, spec: ScoringSpec, task: StoredTask, live: Path) -> Sequence[Item]:
        targets = {number: doc.targets[0] for number, doc in task.documents.items()}
        (name,) = (metric.name for metric in spec.metrics)
        return [
            replace(one, scores={**one.scores, name: (len(one.texts[0]) - len(targets[one.doc_id])) / self._unit})
            for one in task.items
        ]

    def close(self) -> None:
        CLOSED.append("judge")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(post_metrics, "POST_METRICS", {"judge": f"{__name__}:Judge"})
    CLOSED.clear()
    return world(tmp_path)


def asked(folder: Path, **changes: Any) -> ScoreSettings:
    return ScoreSettings(**{"metrics": ("judge",), "include_paths": (folder / "tasks",), **changes})


def test_its_rows_stand_beside_those_of_the_run(place):
    run = finished(place)
    before = own_bytes(run)
    result = score(run, asked(place))
    assert [(one.task, one.metric, one.state) for one in result.scored] == [
        (task, "judge:length", "added") for task in TASKS
    ]
    assert own_bytes(run) == before
    row = result.scored[0].rows[0]
    values = [len(item.texts[0]) - len(item.targets[0]) for item in run.items(TASKS[0])]
    assert row.value == pytest.approx(sum(values) / len(values), abs=1e-12)
    assert (row.n, row.se_method) == (6, "cluster")
    assert "judge:length|unit:1.0" in row.signature
    assert CLOSED == ["judge"]


def test_scores_are_kept_while_the_same_facts_hold(place):
    run = finished(place)
    score(run, asked(place, tasks=TASKS[0]))
    assert [one.state for one in score(run, asked(place, tasks=TASKS[0])).scored] == ["kept"]
    other = score(run, asked(place, tasks=TASKS[0], options={"unit": "2"}))
    assert [one.state for one in other.scored] == ["replaced"]


def test_a_task_that_it_does_not_fit_is_refused_with_its_reason(place):
    run = finished(place)
    with pytest.raises(ArgumentError, match="toy_write is not one that the judge reads"):
        score(run, asked(place, tasks="toy_write"))
    with pytest.raises(ArgumentError, match="judge fits no task of the run: toy_quiz is multiple_choice"):
        score(run, asked(place, tasks="toy_quiz"))
    with pytest.raises(ArgumentError, match="Did you mean judge"):
        score(run, asked(place, metrics=("jugde",)))
