"""EuroEval's `euroeval_benchmark_results.jsonl` (formerly ScandEval's): a line is one model on one data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchbench.core.errors import DataError
from benchbench.core.files import read_regular
from benchbench.core.json_record import finite_json, whole
from benchbench.core.record import BackendRecord, Origin
from benchbench.extensions.interchange.imported import (
    ImportedModel,
    ImportedRun,
    ImportedScore,
    ImportedTask,
    Stated,
    imported_score,
    in_order,
    is_number,
    one_run_each,
)
from benchbench.store.names import names_at

MAX_BYTES = 2**29
SETTINGS = ("few_shot", "zero_shot", "validation_split", "generative", "generative_type")
"""How a line was measured, where that moves its numbers."""


def is_euroeval(first_line: str) -> bool:
    """The first line of a file looks like EuroEval's."""
    try:
        line = json.loads(_records(first_line)[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(line, dict) and isinstance(line.get("results"), dict) and {"dataset", "model"} <= set(line)


def _records(line: str) -> list[str]:
    """The records of a line; two processes that write at once leave two in one."""
    return line.replace("}{", "}\n{").split("\n")


def read_euroeval(path: Path, name: str, problems: list[str]) -> list[ImportedRun]:
    """A run for each model, and each way in which it was asked. Lines that cannot be read are named in `problems`.

    Raises:
        DataError: no line can be read.
    """
    data = read_regular(path, MAX_BYTES)
    origin = Origin(kind="euroeval", file=name, sha256=hashlib.sha256(data).hexdigest()[:16])
    found: list[tuple[tuple[ImportedModel, BackendRecord], str, ImportedTask]] = []
    for number, whole_line in enumerate(data.decode("utf-8-sig", errors="surrogateescape").split("\n"), 1):
        for text in _records(whole_line) if whole_line.strip() else ():
            try:
                found.append(_line(text))
            except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
                problems.append(f"{path}, line {number}: not as EuroEval writes it ({str(error)[:120]})")
    if not found:
        raise DataError(f"{path} holds no line that can be read: {problems[-1] if problems else 'it is empty'}.")
    return [
        ImportedRun(model, tasks, origin, backend=backend, source_run=str(number) if number else None)
        for ((model, backend), number), tasks in one_run_each(found).items()
    ]


def _line(text: str) -> tuple[tuple[ImportedModel, BackendRecord], str, ImportedTask]:
    if any("\udc80" <= sign <= "\udcff" for sign in text):
        raise ValueError("not UTF-8")
    line = json.loads(text)
    called, _, parameters = str(line["model"]).partition("#")
    location, _, revision = called.partition("@")
    if not location.strip() or not str(line["dataset"]).strip():
        raise ValueError("model or dataset is empty")
    names = names_at(location, revision if revision not in ("", "main") else None)
    more = (("parameter", parameters),) if parameters else ()
    model = ImportedModel(names.model, names.series, names.reading.step, names.reading.tokens, location, more)
    backend = BackendRecord(name="euroeval", num_parameters=whole(line.get("num_model_parameters")))
    asked = tuple(f"{key}:{line[key]}" for key in SETTINGS if line.get(key) not in (None, False, ""))
    scores = in_order(_scores(line["results"]["total"]))
    if not scores:
        raise ValueError("it holds no value")
    version = line.get("euroeval_version") or line.get("scandeval_version")
    resolved = finite_json({key: line.get(key) for key in ("task", "dataset_languages", *SETTINGS)})
    task = ImportedTask(
        scores=scores,
        version=None if version is None else f"euroeval-{version}",
        num_fewshot=0 if line.get("few_shot") is False else None,
        resolved=resolved if isinstance(resolved, dict) else {},
        asked=asked,
    )
    return (model, backend), str(line["dataset"]), task


def _scores(total: Mapping[str, Any]) -> Iterator[ImportedScore]:
    """`test_mcc` with `test_mcc_se`, which is half of the 95 % interval; values are in percent, and stay so."""
    for key, value in total.items():
        if key.endswith("_se") or not key.startswith("test_") or not is_number(value):
            continue
        half = total.get(f"{key}_se")
        score = imported_score(f"{key.removeprefix('test_')}_percent", value, None, None)
        if is_number(half) and score.value is not None:
            score = _with_interval(score, score.value, float(half))
        yield score


def _with_interval(score: ImportedScore, value: float, half: float) -> ImportedScore:
    return replace(score, stated=Stated(value - half, value + half, se_method="imported")) if half >= 0 else score
