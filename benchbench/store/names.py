"""Names on disk: the model's folder and the run's id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from benchbench.core.ids import content_hash
from benchbench.core.types import BackendInfo

_CHECKPOINT = re.compile(r"(?i)(?:checkpoint|global_?step|step|iter(?:ation)?|ep\d+-ba|ba)[-_]?\d+(?:-.*)?$")
_UNSAFE = re.compile(r"[^\w.@+=:-]+")


def model_name(model: str, revision: str | None = None) -> str:
    """What to call a model: a hub name as it is, a folder by its last part, a checkpoint as `run@step500`.

    >>> model_name("/runs/csmpt/step500"), model_name("BUT-FIT/csmpt7b"), model_name("/m/SmolLM2-135M/")
    ('csmpt@step500', 'BUT-FIT/csmpt7b', 'SmolLM2-135M')
    """
    path = PurePosixPath(model)
    is_hub_name = not path.is_absolute() and len(path.parts) == 2 and path.parts[0] not in (".", "..")
    if path.suffix == ".pt":  # Composer's, either `ep0-ba500-rank0.pt` or `ep0-ba500/rank0.pt`
        path = path.parent if path.stem == "rank0" else path.with_suffix("")
        is_hub_name = False
    checkpoint = _CHECKPOINT.fullmatch(path.name)
    if checkpoint and path.parent.name:
        name = f"{path.parent.name}@{path.name}"
    else:
        name = model if is_hub_name else path.name or model
    return name if revision is None else f"{name}@{revision}"


def folder_name(name: str) -> str:
    """`name` as one safe folder name: slashes become `--`, other characters that shells or disks dislike `_`.

    Names over 100 characters are cut and end in a hash, so that two of them do not meet.
    """
    safe = _UNSAFE.sub("_", name.strip("/").replace("/", "--")).lstrip(".-") or "unnamed"
    return safe if len(safe) <= 100 else f"{safe[:87]}-{content_hash(name, digits=12)}"


def compute_identity(info: BackendInfo) -> dict[str, Any]:
    """What must be equal for a response to be the same response: weights, tokenizer, engine and its version, type,
    length, numerics.

    The model's path and name are not in it, nor are batch sizes.
    """
    return {
        "backend": info.name,
        "version": info.version,
        "model_identity": info.model_identity,
        "tokenizer_identity": info.tokenizer_identity,
        "dtype": info.dtype,
        "device": info.device.partition(":")[0],
        "max_length": info.max_length,
        "numerics": info.numerics,
    }


def run_id(info: BackendInfo, tasks: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """12 hex digits over what decides the results: the same command finds its folder again.

    `tasks` maps each task to its identity (prompt and data hash, shots, version); `settings` holds limit and seed.
    """
    return content_hash(
        {"compute": compute_identity(info), "tasks": dict(tasks), "settings": dict(settings)}, digits=12
    )
