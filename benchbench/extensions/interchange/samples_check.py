"""Whether a task's samples are those that its scores were made of; what does not fit is said in notes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from benchbench.extensions.interchange.imported import ImportedRun, ImportedScore, ImportedTask, Samples

SHOWN = 3
"""Damaged lines that a sentence names; the others are counted."""
MEANS = frozenset({"acc", "acc_norm", "exact_match"})
"""Metrics that are means over docs where the file does not say how they were made."""
NEAR = 1e-6
"""A mean may differ by so much of rounding."""


def with_notes(run: ImportedRun, samples: Mapping[str, Samples]) -> tuple[ImportedRun, list[str]]:
    """The run with what is wrong of its samples in its scores' notes, and a sentence for each task that it is of."""
    tasks, sentences = dict(run.tasks), []
    for name, found in samples.items():
        task = tasks[name]
        said = list(_of_file(task, found))
        file = name if task.samples is None else task.samples.path.name
        scores = []
        for score in task.scores:
            more = [] if said else list(_of_score(task, score, found))
            scores.append(_noted(score, [*said, *more]))
            sentences += [f"{run.model.name}, {file}: {one}" for one in more]
        sentences += [f"{run.model.name}, {file}: {one}" for one in said]
        tasks[name] = replace(task, scores=tuple(scores))
    return replace(run, tasks=tasks), sentences


def _noted(score: ImportedScore, said: list[str]) -> ImportedScore:
    note = "; ".join(filter(None, [score.note, *said]))
    return replace(score, note=note) if note else score


def _of_file(task: ImportedTask, found: Samples) -> Iterator[str]:
    if found.problems:
        more = f", and {len(found.problems) - SHOWN} more" if len(found.problems) > SHOWN else ""
        yield f"damaged samples were passed over: {'; '.join(found.problems[:SHOWN])}{more}"
    expected = max((score.n or 0 for score in task.scores), default=0)
    if expected and len(found.items) != expected:
        yield f"samples of {len(found.items)} of {expected} docs are there"


def _of_score(task: ImportedTask, score: ImportedScore, found: Samples) -> Iterator[str]:
    """A value that its own items do not give."""
    if score.value is None or not found.items or not _is_mean(task, score):
        return
    values = [item.scores.get(score.metric) for item in found.items]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        if known:
            yield f"{len(values) - len(known)} of {len(values)} samples have no {score.metric}"
        return
    mean = math.fsum(known) / len(known)
    if abs(mean - score.value) > NEAR * max(1.0, abs(score.value)):
        yield f"the mean of {score.metric} over its samples is {mean:.6g}, the file says {score.value:.6g}"


def _is_mean(task: ImportedTask, score: ImportedScore) -> bool:
    name = score.metric.partition(",")[0]
    listed = task.resolved.get("metric_list")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("metric") == name:
            return one.get("aggregation", "mean" if name in MEANS else None) == "mean"
    return name in MEANS
