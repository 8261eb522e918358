"""Records in the shapes other tools read: lm-eval's results JSON, and beside it its samples JSONL (version 0.4)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchbench.core.ids import content_hash
from benchbench.store.export_items import to_samples
from benchbench.store.files import make_folder, write_whole
from benchbench.store.folder import RunFolder
from benchbench.store.models import location_of
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
    here = folder / _UNSAFE.sub("__", str(record["model"]))
    make_folder(here)
    time = _time(record)
    results = here / f"results_{time}.json"
    written = [results]
    for task in record["tasks"]:
        items = run.items(task)
        if items:
            path = here / f"samples_{folder_name(task)}_{time}.jsonl"
            lines = (json.dumps(sample, ensure_ascii=False, allow_nan=False) for sample in to_samples(record, items))
            write_whole(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))
            written.append(path)
    write_whole(results, json.dumps(to_lm_eval(record), indent=2, ensure_ascii=False).encode("utf-8"))
    return written


def _time(record: Mapping[str, Any]) -> str:
    """`2026-01-02T03-04-05.678901`, as in the names of lm-eval's files."""
    fraction = int(content_hash([record["run_id"], record["attempt"]], digits=12), 16) % 1_000_000
    return datetime.fromtimestamp(_seconds(record), UTC).strftime("%Y-%m-%dT%H-%M-%S") + f".{fraction:06d}"


def _seconds(record: Mapping[str, Any]) -> float:
    """When the run was finished, in seconds since 1970 (UTC); 0 where an imported record does not say."""
    try:
        moment = datetime.fromisoformat(str(record["provenance"].get("finished")))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def to_lm_eval(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run record in the layout of lm-eval's results JSON.

    Metrics are keyed `name,filter`, with `none` where we have no filter. Groups appear in `results` and in `groups`.
    What lm-eval's layout has no place for stands under `benchbench`.
    """
    tasks, backend, settings = record["tasks"], record["backend"], record["settings"]
    results: dict[str, dict[str, Any]] = {}
    better: dict[str, dict[str, bool]] = {}
    for row in record["rows"]:
        name, _, pipeline = row["metric"].partition(",")
        scores = results.setdefault(row["task"], {"alias": row["task"], "sample_len": row["n"]})
        scores[f"{name},{pipeline or 'none'}"] = row["value"]
        scores[f"{name}_stderr,{pipeline or 'none'}"] = "N/A" if row["stderr"] is None else row["stderr"]
        better.setdefault(row["task"], {})[name] = row["higher_is_better"]
    groups = {group["name"]: list(group["tasks"]) for group in record["groups"]}
    counts = {name: task["counts"] for name, task in tasks.items()}
    means = {name: results[name] for name in groups if name in results}
    return {
        "results": results,
        **({"groups": means} if means else {}),
        "group_subtasks": {**{name: [] for name in tasks if name not in groups}, **groups},
        "configs": {name: _config(name, task) for name, task in tasks.items()},
        "versions": {name: task["version"] for name, task in tasks.items()},
        "n-shot": {name: task["num_fewshot"] for name, task in tasks.items()},
        "higher_is_better": better,
        "n-samples": {
            name: {"original": n["n"], "effective": n["n"] - n.get("failed", 0)} for name, n in counts.items()
        },
        "config": {
            "model": backend["name"],
            "model_args": {"pretrained": location_of(record)},
            "model_num_parameters": backend["num_parameters"],
            "model_dtype": backend["dtype"],
            "model_revision": backend["revision"],
            "device": backend["device"],
            "limit": settings["limit"],
            "fewshot_seed": settings["seed"],
        },
        "max_length": backend["max_length"],
        "date": _seconds(record),
        "transformers_version": record["versions"].get("transformers"),
        "total_evaluation_time_seconds": str(record["provenance"]["seconds"]),
        "model_name": record["model"],
        "benchbench": {
            "version": record["versions"]["benchbench"],
            "run_id": record["run_id"],
            "model_identity": backend["model_identity"],
            "series": record["series"],
            "step": record["step"],
            "tokens_seen": record["tokens_seen"],
            "signatures": {row["task"]: row["signature"] for row in record["rows"]},
        },
    }


def _config(name: str, task: Mapping[str, Any]) -> dict[str, Any]:
    """The task's file, with what lm-eval's tools read there whether the file says it or not."""
    metrics = [
        {"metric": metric["name"], "aggregation": metric["aggregation"], "higher_is_better": metric["higher_is_better"]}
        for metric in task["scoring"].get("metrics", ())
    ]
    said = {"task": name, "output_type": task.get("output_type"), "num_fewshot": task["num_fewshot"]}
    return {"metric_list": metrics, **task["resolved"], **said}
