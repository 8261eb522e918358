"""Records in the shapes other tools read: lm-eval's results JSON, and beside it its samples JSONL (version 0.4)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchbench.core.ids import content_hash
from benchbench.core.json_record import as_json
from benchbench.core.record import Counts, RunRecord, TaskRecord
from benchbench.core.registry import influence_column
from benchbench.core.types import Item, Json
from benchbench.store.files import make_folder, write_whole
from benchbench.store.folder import RunFolder
from benchbench.store.names import folder_name

_UNSAFE = re.compile(r'["<>:/|\\?*\[\]]+')
"""What lm-eval takes out of a model's name to make a folder of it."""


def write_lm_eval(run: RunFolder, folder: Path) -> list[Path]:
    """A finished run as lm-eval lays its output out; the results file first, then one samples file per task with items.

        <folder>/<model>/results_<time>.json
        <folder>/<model>/samples_<task>_<time>.jsonl

    The time is when the run was finished. Its fraction of a second follows from the run's id and tells runs of the same
    second apart; the same run always gives the same files. Docs that failed have no line in the samples.

    Raises:
        StoreError: the run is not finished or damaged, or `folder` cannot be written.
    """
    record = run.record()
    here = folder / _UNSAFE.sub("__", record.model)
    make_folder(here)
    time = _time(record)
    results = here / f"results_{time}.json"
    written = [results]
    for task in record.tasks:
        items = run.items(task)
        if items:
            path = here / f"samples_{folder_name(task)}_{time}.jsonl"
            lines = (json.dumps(sample, ensure_ascii=False, allow_nan=False) for sample in to_samples(record, items))
            write_whole(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))
            written.append(path)
    write_whole(results, json.dumps(to_lm_eval(record), indent=2, ensure_ascii=False).encode("utf-8"))
    return written


def _time(record: RunRecord) -> str:
    """`2026-01-02T03-04-05.678901`, as in the names of lm-eval's files."""
    fraction = int(content_hash([record.run_id, record.attempt], digits=12), 16) % 1_000_000
    return datetime.fromtimestamp(_seconds(record), UTC).strftime("%Y-%m-%dT%H-%M-%S") + f".{fraction:06d}"


def _seconds(record: RunRecord) -> float:
    """When the run was finished, in seconds since 1970 (UTC); 0 where an imported record does not say."""
    try:
        moment = datetime.fromisoformat(str(record.provenance.finished))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


ROW = (
    "task",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "n_clusters",
    "se_method",
    "signature",
    "note",
    "num_fewshot",
)
"""What a row says that lm-eval's layout has no place for, and by what an import knows it."""


def to_lm_eval(record: RunRecord) -> dict[str, Json]:
    """A run record in the layout of lm-eval's results JSON.

    Metrics are keyed `name,filter`, with `none` where we have no filter. Groups appear in `results` and in `groups`.
    What lm-eval's layout has no place for stands under `benchbench`.
    """
    tasks, backend, settings = record.tasks, record.backend, record.settings
    results: dict[str, dict[str, Json]] = {}
    better: dict[str, dict[str, Json]] = {}
    for row in record.rows:
        name, _, pipeline = row.metric.partition(",")
        scores = results.setdefault(row.task, {"alias": row.task, "sample_len": row.n})
        scores[f"{name},{pipeline or 'none'}"] = row.value
        scores[f"{name}_stderr,{pipeline or 'none'}"] = "N/A" if row.stderr is None else row.stderr
        better.setdefault(row.task, {})[name] = row.higher_is_better
    groups = {group.name: group.tasks for group in record.groups}
    means = {name: results[name] for name in groups if name in results}
    layout: dict[str, object] = {
        "results": results,
        **({"groups": means} if means else {}),
        "group_subtasks": {**{name: () for name in tasks if name not in groups}, **groups},
        "configs": {name: _config(name, task) for name, task in tasks.items()},
        "versions": {name: task.version for name, task in tasks.items()},
        "n-shot": {name: task.num_fewshot for name, task in tasks.items()},
        "higher_is_better": better,
        "n-samples": {name: _sizes(task.counts) for name, task in tasks.items()},
        "config": {
            "model": backend.name,
            "model_args": {"pretrained": record.location},
            "model_num_parameters": backend.num_parameters,
            "model_dtype": backend.dtype,
            "model_revision": backend.revision,
            "device": backend.device,
            "limit": settings.get("limit"),
            "fewshot_seed": settings.get("seed"),
        },
        "max_length": backend.max_length,
        "date": _seconds(record),
        "transformers_version": record.versions.get("transformers"),
        "total_evaluation_time_seconds": str(record.provenance.seconds),
        "model_name": record.model,
        "benchbench": {
            "version": record.versions.get("benchbench"),
            "run_id": record.run_id,
            "model_identity": backend.model_identity,
            "series": record.series,
            "step": record.step,
            "tokens_seen": record.tokens_seen,
            "signatures": {row.task: row.signature for row in record.rows},
            "chance": {name: task.scoring.chance for name, task in tasks.items()},
            "rows": [{name: getattr(row, name) for name in ROW} for row in record.rows],
        },
    }
    return {name: as_json(value) for name, value in layout.items()}


def _sizes(counts: Counts) -> dict[str, int | None]:
    return {"original": counts.n, "effective": None if counts.n is None else counts.n - (counts.failed or 0)}


def _config(name: str, task: TaskRecord) -> dict[str, object]:
    """The task's file, with what lm-eval's tools read there whether the file says it or not."""
    metrics = [
        {"metric": metric.name, "aggregation": metric.aggregation, "higher_is_better": metric.higher_is_better}
        for metric in task.scoring.metrics
    ]
    ours = {"task": name, "output_type": task.output_type, "num_fewshot": task.num_fewshot}
    return {"metric_list": metrics, **task.resolved, **ours}


OWN = (
    *("cluster", "prompt_name", "item_key", "gold", "targets", "prediction", "outcome", "tie", "is_greedy"),
    *("num_tokens", "prompt_tokens", "finish_reasons", "dropped_shots", "truncated_tokens"),
)
"""Fields of an item that a sample has no place for, or changes. They stand under `benchbench` in each line, so that an
import gives the same item again."""
ROLLING = ("word_perplexity", "byte_perplexity", "bits_per_byte")
"""Metrics whose sample holds (log-likelihood of the text, words or bytes of it) instead of a value."""


def to_samples(record: RunRecord, items: Sequence[Item]) -> Iterator[dict[str, Json]]:
    """A line per doc and filter of one task, without the docs that failed: lm-eval knows no such outcome.

    An item holds what was answered, not what was asked: `arg_0`, the prompt, is empty except for the one doc whose
    prompt the record keeps as an example. `doc` holds the right answers instead of the data set's row.
    """
    for item in items:
        if item.outcome != "failed":
            task = record.tasks[item.task]
            filters = [one.name for one in task.scoring.filters]
            for place, pipeline in enumerate(filters if len(filters) > 1 else ["none"]):
                yield _sample(item, task, pipeline, is_first=place == 0)


def _sample(item: Item, task: TaskRecord, pipeline: str, *, is_first: bool) -> dict[str, Json]:
    scores = _scores(item, pipeline)
    shown: dict[str, object] = dict(scores)
    responses: list[list[object]] = [list(item.texts)]
    filtered: list[object] = [item.prediction if is_first else None]
    if task.output_type == "loglikelihood_rolling":
        filtered = [repr(ll) for ll in item.loglikelihoods]
        responses = [[one] for one in filtered]
        shown |= {name: _pair(name, scores[name], math.fsum(item.loglikelihoods)) for name in ROLLING if name in scores}
    elif item.loglikelihoods:
        filtered = [[repr(ll), str(greedy)] for ll, greedy in zip(item.loglikelihoods, item.is_greedy, strict=True)]
        responses = [[one] for one in filtered]
    sample: dict[str, object] = {
        "doc_id": item.doc_id,
        "doc": {"targets": item.targets, "gold": item.gold},
        "target": item.gold or "",
        "arguments": {f"gen_args_{i}": pair for i, pair in enumerate(_arguments(item, task))},
        "resps": responses,
        "filtered_resps": filtered,
        "filter": pipeline,
        "metrics": [name for name in scores if not name.endswith(influence_column(""))],
        "doc_hash": item.doc_hash,
        "prompt_hash": item.item_key,
        "target_hash": content_hash(list(item.targets)),
        **shown,
        "benchbench": {name: getattr(item, name) for name in OWN},
    }
    return {name: as_json(value) for name, value in sample.items()}


def _scores(item: Item, pipeline: str) -> dict[str, float | None]:
    """Metric → item score of this filter, the filter's name left out."""
    end = "" if pipeline == "none" else f",{pipeline}"
    found: dict[str, float | None] = {}
    for name, score in item.scores.items():
        for column in (name, name.removesuffix(influence_column(""))):
            if column.endswith(end):
                bare = column.removesuffix(end)
                finite = score is not None and math.isfinite(score)
                found[bare if column == name else influence_column(bare)] = score if finite else None
                break
    return found


def _pair(name: str, score: float | None, total: float) -> tuple[float, int] | None:
    """(log-likelihood, words or bytes), worked out from the score, of which they are the only two parts."""
    nats = None if score is None or score <= 0 else score * math.log(2) if name == "bits_per_byte" else math.log(score)
    return None if not nats else (total, round(-total / nats))


def _arguments(item: Item, task: TaskRecord) -> Iterator[dict[str, Json]]:
    """Prompt and continuation of each request, choices first; a prompt that is not known is empty."""
    example = task.example
    is_known = example is not None and example.doc_id == item.doc_id and example.is_whole
    prompt = example.prompt if example is not None and is_known else ""
    if not item.loglikelihoods:
        yield {"arg_0": prompt, "arg_1": task.resolved.get("generation_kwargs") or {}}
        return
    if task.output_type == "loglikelihood_rolling":
        for _ in item.loglikelihoods:
            yield {"arg_0": prompt or "".join(item.targets[:1])}
        return
    delimiter = str(task.resolved.get("target_delimiter", " "))
    for i in range(len(item.loglikelihoods)):
        # Log-likelihoods after those of the choices are of the same choices without the prompt.
        alone = i >= len(item.targets)
        choice = item.targets[i % len(item.targets)] if item.targets else ""
        yield {"arg_0": "" if alone else prompt, "arg_1": delimiter + choice}
