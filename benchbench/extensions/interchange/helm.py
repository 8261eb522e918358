"""HELM's run folders: `stats.json` with the scores, beside `run_spec.json` with the model and how it was asked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchbench.core.errors import DataError
from benchbench.core.files import read_regular
from benchbench.core.json_record import finite_json
from benchbench.core.record import BackendRecord, Origin
from benchbench.extensions.interchange.imported import (
    ImportedModel,
    ImportedRun,
    ImportedScore,
    ImportedTask,
    imported_score,
    in_order,
    is_number,
    shots_in,
)
from benchbench.store.names import names_at

STATS, SPEC = "stats.json", "run_spec.json"
PARTS = (SPEC, "scenario.json", "scenario_state.json", "per_instance_stats.json", "instances.json")
"""Other files of a run folder."""
MAX_SPEC = 2**24
COUNTS = (
    *(
        "num_",
        "max_",
        "min_prob",
        "inference_",
        "training_",
        "finish_reason",
        "prompt_truncated",
        "logprob",
        "batch_size",
    ),
    *("predicted_index", "estimated_", "references_", "total_", "ece_", "platt_", "selective_", "asr"),
)
"""How the names of statistics begin that are no scores."""
TEST = "test"


def is_helm(path: Path) -> bool:
    """The statistics of a HELM run."""
    return path.name == STATS and path.with_name(SPEC).is_file()


def read_helm(path: Path, name: str, data: bytes) -> ImportedRun:
    """The run in a folder.

    Raises:
        DataError: not as HELM writes it.
    """
    spec, stats = json.loads(read_regular(path.with_name(SPEC), MAX_SPEC)), json.loads(data)
    adapter = spec.get("adapter_spec") if isinstance(spec, dict) else None
    adapter = adapter if isinstance(adapter, dict) else {}
    named = adapter.get("model")
    if not isinstance(named, str) or not named or not isinstance(stats, list):
        raise DataError(f"{path} and {SPEC} beside it are not as HELM writes them: no adapter_spec.model, or no list.")
    scores = in_order(_scores(path, stats))
    if not scores:
        raise DataError(f"{path} holds no scores.")
    found, resolved = names_at(named), finite_json(adapter)
    task = ImportedTask(
        scores=scores,
        num_fewshot=shots_in(adapter.get("max_train_instances")),
        resolved=resolved if isinstance(resolved, dict) else {},
    )
    return ImportedRun(
        ImportedModel(found.model, found.series, found.reading.step, found.reading.tokens, named),
        {_task_name(str(spec.get("name") or path.parent.name)): task},
        Origin(kind="helm", file=name, sha256=hashlib.sha256(data).hexdigest()[:16]),
        backend=BackendRecord(name=f"helm {adapter.get('model_deployment') or ''}".strip()),
    )


def _task_name(run: str) -> str:
    """`mmlu:subject=anatomy,model=openai_gpt2` without the model."""
    scenario, colon, arguments = run.partition(":")
    kept = [one for one in arguments.split(",") if not one.startswith(("model=", "model_deployment="))]
    return f"{scenario}{colon if any(kept) else ''}{','.join(kept)}"


def _scores(path: Path, stats: list[Any]) -> Iterator[ImportedScore]:
    """The mean over trials of each score. Its split, if not `test`, and its perturbation are part of its name."""
    sizes = {_key(stat)[1:]: stat.get("mean") for stat in stats if _key(stat)[0] == "num_instances"}
    seen = set()
    for stat in stats:
        key = _key(stat)
        if key[0].startswith(COUNTS) or key[1] is None or not stat.get("count"):
            continue
        if key in seen:
            raise DataError(f"{path} has two values of {' '.join(str(part) for part in key if part)}.")
        seen.add(key)
        mean, size = stat.get("mean"), sizes.get(key[1:])
        where = "/".join(str(part) for part in key[1:] if part and part != TEST)
        n = int(size) if is_number(size) and math.isfinite(size) and size == int(size) and size > 0 else None
        yield imported_score(f"{key[0]},{where}" if where else key[0], mean if is_number(mean) else None, None, n)


def _key(stat: Mapping[str, Any]) -> tuple[str, str | None, str, str]:
    """(name, split, part of the split, perturbation) of a statistic."""
    name = stat["name"]
    changed = name.get("perturbation")
    how = f"{changed.get('name')} {changed.get('computed_on', '')}".strip() if isinstance(changed, dict) else ""
    return str(name["name"]), name.get("split"), str(name.get("sub_split") or ""), how
