"""Records in the shapes other tools read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def to_lm_eval(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run record in the layout of lm-eval's results JSON (version 0.4).

    Metrics are keyed `name,filter`, with `none` where we have no filter. Groups appear in `results` and in `groups`.
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
    lengths = {name: task["counts"]["n"] for name, task in tasks.items()}
    return {
        "results": results,
        "groups": {name: results[name] for name in groups if name in results},
        "group_subtasks": {**{name: [] for name in tasks if name not in groups}, **groups},
        "configs": {name: task["resolved"] for name, task in tasks.items()},
        "versions": {name: task["version"] for name, task in tasks.items()},
        "n-shot": {name: task["num_fewshot"] for name, task in tasks.items()},
        "higher_is_better": better,
        "n-samples": {name: {"original": n, "effective": n} for name, n in lengths.items()},
        "config": {
            "model": backend["name"],
            "model_args": f"pretrained={settings['model']}",
            "model_num_parameters": backend["num_parameters"],
            "model_dtype": backend["dtype"],
            "model_revision": backend["revision"],
            "device": backend["device"],
            "limit": settings["limit"],
            "fewshot_seed": settings["seed"],
        },
        "max_length": backend["max_length"],
        "date": record["provenance"]["finished"],
        "transformers_version": record["versions"].get("transformers"),
        "benchbench_version": record["versions"]["benchbench"],
        "total_evaluation_time_seconds": str(record["provenance"]["seconds"]),
        "model_name": record["model"],
    }
