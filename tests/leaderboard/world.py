"""Trainings with known items as run folders, scored by benchbench itself: for all doors that lead to their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchbench.core.task_scoring import ScoredTask, family_of
from benchbench.core.types import Item, MetricSpec, ScoringSpec
from benchbench.scoring.aggregation import aggregate, aggregate_group
from benchbench.scoring.estimates import correlations, with_influence
from benchbench.scoring.score import count_outcomes
from benchbench.store.folder import RunFolder, RunWriter
from benchbench.store.names import folder_name
from tests.store.make import item, planned, record, recorded

WORDS = "the quick brown fox jumps over a lazy dog and then it sleeps until noon while birds sing above"


def choice(task: str, right: np.ndarray, clusters: Sequence[str | None] | None = None) -> list[Item]:
    """Docs with two choices, of which the gold one was chosen where `right`; NaN: the doc failed."""
    names = [None] * right.size if clusters is None else list(clusters)
    made = []
    for i, (value, cluster) in enumerate(zip(right.tolist(), names, strict=True)):
        failed = math.isnan(value)
        scores = {} if failed else {"acc": value, "bpb_gold": 1.5 - value + 0.01 * (i % 7)}
        outcome = "failed" if failed else "answered"
        made.append(item(i, task=task, cluster=cluster, scores=scores, outcome=outcome))
    return made


def rolling(task: str, nats: np.ndarray) -> list[Item]:
    """Texts of unequal length with these nats per word."""
    words = WORDS.split()
    made = []
    for i, per_word in enumerate(nats.tolist()):
        text = " ".join(words[: 3 + (5 * i) % 14])
        total = -per_word * len(text.split())
        made.append(
            item(i, task=task, gold=text, targets=(text,), prediction=None, loglikelihoods=(total,), is_greedy=(False,),
                 num_tokens=(9,), prompt_tokens=(1,), scores={})
        )  # fmt: skip
    return made


def spec_of(task: str, items: Sequence[Item], chance: float | None = 0.5) -> ScoringSpec:
    """Its metrics: accuracy, or word perplexity."""
    if max(len(one.loglikelihoods) for one in items) == 1:
        perplexity = MetricSpec("word_perplexity", "weighted_perplexity", higher_is_better=False)
        return ScoringSpec(task, "loglikelihood_rolling", (perplexity,))
    return ScoringSpec(task, "multiple_choice", (MetricSpec("acc"),), chance=chance)


def write_run(
    root: Path,
    model: str,
    tasks: Mapping[str, list[Item]],
    *,
    groups: Sequence[Mapping[str, Any]] = (),
    chance: Mapping[str, float | None] | None = None,
    files: Mapping[str, str] | None = None,
    **changes: Any,
) -> RunFolder:
    """A finished run. `files` names the task file of tasks whose docs have a source; `changes` go into the record."""
    specs = {name: spec_of(name, items, (chance or {}).get(name, 0.5)) for name, items in tasks.items()}
    scored = {name: with_influence(specs[name], items) for name, items in tasks.items()}
    path = root / folder_name(model) / "abc"
    results = {name: aggregate(specs[name], items) for name, items in scored.items()}
    rows = [(result, False) for found in results.values() for result in found]
    for group in groups:
        members = {name: results[name] for name in group["tasks"]}
        together = correlations(
            [
                ScoredTask(specs[name], scored[name], results[name], family_of(_resolved((files or {}).get(name))))
                for name in members
            ]
        )
        rows += [
            (row, True)
            for row in aggregate_group(
                group["name"], members, weight_by_size=group["weight_by_size"], correlations=together
            )
        ]
    with RunWriter(path, planned(model=model)) as writer:
        for name, items in scored.items():
            writer.open_task(name).close()
            writer.seal(name, items)
        values = record("abc", model=model, groups=list(map(dict, groups)), **changes)
        values["backend"]["model_identity"] = f"weights of {model}"
        values["tasks"] = {name: _task(specs[name], items, (files or {}).get(name)) for name, items in scored.items()}
        values["rows"] = [
            {"model": model, **asdict(result), "num_fewshot": 0, "is_group": is_group, "signature": "s"}
            for result, is_group in rows
        ]
        writer.finish(recorded(values))
    return RunFolder(path)


def _task(spec: ScoringSpec, items: Sequence[Item], file: str | None) -> dict[str, Any]:
    return {
        "version": 1,
        "output_type": spec.output_type,
        "num_fewshot": 0,
        "prompt_hash": "p1",
        "data_hash": f"d{len(items)}",
        "counts": {"n": len(items), **count_outcomes(spec, items)},
        "scoring": asdict(spec),
        "resolved": _resolved(file),
        "example": None,
    }


def _resolved(file: str | None) -> dict[str, str]:
    return {} if file is None else {"file": file, "cluster": "{{ id }}"}


def write_training(
    root: Path, series: str, checkpoints: Mapping[int, Mapping[str, list[Item]]], **more: Any
) -> list[RunFolder]:
    """A run for each step."""
    return [
        write_run(root, f"{series}@step{step}", tasks, series=series, step=step, tokens_seen=None, **more)
        for step, tasks in checkpoints.items()
    ]
