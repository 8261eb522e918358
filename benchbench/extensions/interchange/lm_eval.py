"""lm-eval's results JSON, versions 0.3 and 0.4: one file is one run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchbench.core.errors import DataError
from benchbench.core.json_record import finite_json, whole
from benchbench.core.record import BackendRecord, Origin
from benchbench.extensions.interchange.imported import (
    ImportedGroup,
    ImportedModel,
    ImportedRun,
    ImportedScore,
    ImportedTask,
    imported_score,
    in_order,
)
from benchbench.extensions.interchange.lm_eval_items import SamplesFile
from benchbench.store.names import names_at, names_called

FindSamples = Callable[[str], SamplesFile | None]
"""Task → the file of its items, if there is one."""
OF_NO_WEIGHT = frozenset(
    {
        *("pretrained", "model", "revision", "subfolder", "batch_size", "max_batch_size", "device", "device_map"),
        *("device_map_option", "parallelize", "use_accelerate", "gpus", "max_memory_per_gpu", "max_cpu_memory"),
        *("offload_folder", "low_cpu_mem_usage", "trust_remote_code", "cache_dir", "download_dir", "load_format"),
        *("token", "use_auth_token", "use_fast_tokenizer", "backend", "seed", "logits_cache", "use_cache"),
        *("tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size", "gpu_memory_utilization"),
        *("swap_space", "max_num_seqs", "max_num_batched_tokens", "enforce_eager", "base_url", "num_concurrent"),
        *("max_retries", "timeout", "verify_certificate", "header", "tokenized_requests", "tokenizer_backend"),
    }
)
"""Arguments of lm-eval's models that change neither weights nor numbers, or that the model's name tells."""
SUBJECTS = {"hendrycksTest-": "hendrycksTest"}
"""Prefixes by which version 0.3 wrote the subjects of one benchmark."""


def is_lm_eval(content: Any) -> bool:
    """A JSON value that looks like lm-eval's results."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("results"), dict)
        and isinstance(content.get("config"), dict)
        and all(isinstance(scores, dict) for scores in content["results"].values())
    )


def read_lm_eval(path: Path, name: str, find_samples: FindSamples) -> ImportedRun:
    """The run in a results file. `name` is what to call the file in the record.

    Raises:
        DataError: not such a file, or it does not say which model it is of.
    """
    data = path.read_bytes()
    content = _content(path, data)
    config = content["config"]
    versions = {"lm_eval": str(content["lm_eval_version"])} if content.get("lm_eval_version") else {}
    groups = {str(g): tuple(map(str, m)) for g, m in (content.get("group_subtasks") or {}).items() if m}
    tasks: dict[str, ImportedTask] = {}
    means: dict[str, tuple[ImportedScore, ...]] = {}
    for task, scores in content["results"].items():
        if task in groups or task in (content.get("groups") or {}):
            means[task] = _scores(content, task, scores)
        else:
            tasks[task] = _task(content, task, scores, find_samples)
    return ImportedRun(
        model=_model(content, path),
        tasks={task: found for task, found in tasks.items() if found.scores},
        origin=Origin(kind="lm-eval", file=name, sha256=hashlib.sha256(data).hexdigest()[:16]),
        groups=_groups(groups, means, tasks),
        backend=BackendRecord(
            name=str(config.get("model")) if _is_ours(content) else f"lm-eval {config.get('model') or ''}".strip(),
            dtype=_text(config.get("model_dtype")),
            device=_text(config.get("device")),
            num_parameters=config.get("model_num_parameters"),
            revision=_text(config.get("model_revision")),
        ),
        versions=versions,
        settings={"limit": config.get("limit"), "seed": config.get("fewshot_seed")},
        date=_date(content.get("date")),
    )


def _content(path: Path, data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}).") from error
    if not is_lm_eval(content):
        raise DataError(f"{path} holds no lm-eval results: an object with `results` and `config` was expected.")
    return dict(content)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _model(content: Mapping[str, Any], path: Path) -> ImportedModel:
    """The model that `model_args` name, else `model_name`."""
    arguments = _arguments(content["config"].get("model_args"))
    if _is_ours(content):
        return _our_model(content, arguments.get("pretrained"))
    named = arguments.get("pretrained") or arguments.get("model") or content.get("model_name")
    if not named:
        raise DataError(
            f"{path} does not name its model: neither `pretrained` or `model` in model_args nor model_name."
        )
    revision = arguments.get("revision", "main")
    leaf = "/".join(part for part in ("" if revision == "main" else revision, arguments.get("subfolder", "")) if part)
    found = names_at(str(named), leaf or None)
    name, series, reading = found.model, found.series, found.reading
    if "peft" in arguments:
        adapter = names_at(arguments["peft"])
        called = names_called(f"{name}+{adapter.model}")
        name, series, reading = called.model, called.series, called.reading
    kept = sorted((k, v) for k, v in arguments.items() if k not in OF_NO_WEIGHT and (k, v) != ("tokenizer", named))
    return ImportedModel(name, series, reading.step, reading.tokens, str(named), tuple(kept))


def _arguments(given: Any) -> dict[str, str]:
    """`model_args`, which is text in some versions and an object in others, without what says nothing."""
    if isinstance(given, str):
        pairs: list[list[str]] = []
        for part in given.split(","):
            name, equals, value = part.partition("=")
            if equals:
                pairs.append([name.strip(), value])
            elif pairs:
                pairs[-1][1] += f",{part}"  # the value holds a comma
        given = dict(pairs)
    known = {str(k): str(v).strip("\"' ") for k, v in given.items()} if isinstance(given, Mapping) else {}
    nothing = ("", "None", "False")
    return {k: v for k, v in known.items() if v not in nothing and (k, v) != ("dtype", "auto")}


def _our_model(content: Mapping[str, Any], location: str | None) -> ImportedModel:
    """Of a file that `results export` wrote."""
    ours, name = content["benchbench"], str(content["model_name"])
    called = names_called(name)
    series = str(ours.get("series") or called.series)
    return ImportedModel(name, series, whole(ours.get("step")), whole(ours.get("tokens_seen")), location)


def _is_ours(content: Mapping[str, Any]) -> bool:
    """Written by `results export`, which names models as we do."""
    return isinstance(content.get("benchbench"), dict) and bool(content.get("model_name"))


def _task(content: Mapping[str, Any], task: str, scores: Mapping[str, Any], find_samples: FindSamples) -> ImportedTask:
    resolved = finite_json((content.get("configs") or {}).get(task))
    resolved = resolved if isinstance(resolved, dict) else {}
    shots = (content.get("n-shot") or {}).get(task, content["config"].get("num_fewshot"))
    found = _scores(content, task, scores)
    names = {score.metric.partition(",")[0] for score in found}
    guessed = "loglikelihood" if "ppl" in names else "multiple_choice" if names & {"acc", "acc_norm"} else None
    return ImportedTask(
        scores=found,
        version=(content.get("versions") or {}).get(task),
        num_fewshot=shots if isinstance(shots, int) else None,
        output_type=_text(resolved.get("output_type")) or guessed,
        resolved=resolved,
        samples=find_samples(task),
    )


def _scores(content: Mapping[str, Any], task: str, scores: Mapping[str, Any]) -> tuple[ImportedScore, ...]:
    """Values with their standard errors: `acc,none` and `acc_stderr,none` (0.4), or `acc` and `acc_stderr` (0.3)."""
    effective = ((content.get("n-samples") or {}).get(task) or {}).get("effective") or scores.get("sample_len")
    better = (content.get("higher_is_better") or {}).get(task) or {}
    found = []
    for key, value in scores.items():
        name, _, pipeline = key.partition(",")
        if name.endswith("_stderr") or key in ("alias", "name", "sample_len", "samples") or not _is_number(value):
            continue
        stderr = scores.get(f"{name}_stderr{',' + pipeline if pipeline else ''}")
        error = float(stderr) if _is_number(stderr) and math.isfinite(float(stderr)) else None  # type: ignore[arg-type]
        n = int(effective) if isinstance(effective, int) else None
        metric = name if pipeline in ("", "none") else f"{name},{pipeline}"
        found.append(imported_score(metric, value, error, n, better.get(name)))
    return in_order(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _groups(
    members: Mapping[str, tuple[str, ...]],
    means: Mapping[str, tuple[ImportedScore, ...]],
    tasks: Mapping[str, ImportedTask],
) -> tuple[ImportedGroup, ...]:
    groups = [
        ImportedGroup(name, tuple(t for t in listed if t in tasks), weight_by_size=True, scores=means.get(name, ()))
        for name, listed in members.items()
        if any(t in tasks for t in listed)
    ]
    for prefix, name in SUBJECTS.items():
        listed = tuple(task for task in tasks if task.startswith(prefix))
        if len(listed) > 1 and name not in members:
            groups.append(ImportedGroup(name, listed, weight_by_size=True))
    return tuple(groups)


def _date(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds") if _is_number(value) else None
