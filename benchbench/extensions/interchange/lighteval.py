"""lighteval's results JSON, which the first Open LLM Leaderboard wrote too, and its details as parquet."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.core.errors import DataError
from benchbench.core.files import open_regular
from benchbench.core.ids import content_hash
from benchbench.core.json_record import finite_json
from benchbench.core.record import BackendRecord, Origin
from benchbench.core.types import Item
from benchbench.extensions.interchange.imported import (
    ImportedGroup,
    ImportedModel,
    ImportedRun,
    ImportedScore,
    ImportedTask,
    Samples,
    is_number,
    one_run_each,
    scores_in,
    version_in,
)
from benchbench.store.names import names_at
from benchbench.store.table import checked, storable

METRICS = ("__metric__", "metric", "metrics")
DOCS = ("__doc__", "doc", "full_doc")
RESPONSES = ("__model_response__", "model_response")
"""What versions of lighteval call a detail's columns."""


def is_lighteval(content: Any) -> bool:
    """A JSON value that looks like lighteval's results: tasks are `suite|task|shots`."""
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        return False
    about = content.get("config_general") or content.get("config")
    return isinstance(about, dict) and any("|" in name for name in content["results"])


def read_lighteval(path: Path, name: str, data: bytes, called: str | None) -> list[ImportedRun]:
    """The runs in a results file: one, or several where a task was asked with several numbers of shots.

    Raises:
        DataError: it does not say which model it is of.
    """
    content = json.loads(data)
    about = content.get("config_general") or content.get("config")
    model = _model(about, path, called)
    found, groups = [], []
    for key, scores in content["results"].items():
        if not isinstance(scores, dict):
            raise DataError(f"{path}: the scores of {key} are {str(scores)[:60]!r}; an object was expected.")
        task, shots = _task_name(key)
        config = _config(content, key)
        rows = scores_in(scores, _size(config), _better(config))
        if task == "all" or task.endswith(":_average"):
            groups.append(ImportedGroup(task, (), weight_by_size=False, scores=rows, num_fewshot=shots))
        elif rows:
            found.append((model, task, _task(content, key, shots, rows, config, _details(path, key))))
    return [
        ImportedRun(
            model,
            tasks,
            Origin(kind="lighteval", file=name, sha256=hashlib.sha256(data).hexdigest()[:16]),
            groups=tuple(groups) if number == 0 else (),
            backend=BackendRecord(
                name="lighteval", dtype=_text(about.get("model_dtype")), revision=_text(about.get("model_sha"))
            ),
            source_run=str(number) if number else None,
        )
        for (model, number), tasks in one_run_each(found).items()
    ]


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None


def _model(about: Mapping[str, Any], path: Path, called: str | None) -> ImportedModel:
    config = about.get("model_config")
    config = config if isinstance(config, dict) else {}
    named = about.get("model_name") or config.get("model_name") or called
    if not isinstance(named, str) or not named.strip():
        raise DataError(f"{path} does not name its model (model_name). Import it alone with --set model=NAME.")
    revision = _text(config.get("revision"))
    found = names_at(named, revision if revision != "main" else None)
    known = {"model_sha": about.get("model_sha"), "dtype": about.get("model_dtype") or config.get("dtype")}
    more = tuple(sorted((key, str(value)) for key, value in known.items() if value not in (None, "", "auto", "main")))
    return ImportedModel(found.model, found.series, found.reading.step, found.reading.tokens, named, more)


def _task_name(key: str) -> tuple[str, int | None]:
    """`leaderboard|arc:challenge|25` → the name without its shots, and those. Older ones end in a further `|0`."""
    parts = key.split("|")
    if len(parts) == 4 and parts[2].isdecimal():
        parts = parts[:3]
    if len(parts) > 1 and parts[-1].isdecimal() and len(parts[-1]) < 5:
        return "|".join(parts[:-1]), int(parts[-1])
    return key, None


def _config(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    known = content.get("config_tasks")
    known = known if isinstance(known, dict) else {}
    found = known.get(key, known.get(key.rpartition("|")[0]))
    return found if isinstance(found, dict) else {}


def _size(config: Mapping[str, Any]) -> int | None:
    size = config.get("effective_num_docs")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None


def _better(config: Mapping[str, Any]) -> dict[str, Any]:
    listed = config.get("metric") or config.get("metrics")
    metrics = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {str(one.get("metric_name")): one.get("higher_is_better") for one in metrics}


def _task(
    content: Mapping[str, Any],
    key: str,
    shots: int | None,
    rows: tuple[ImportedScore, ...],
    config: Mapping[str, Any],
    details: DetailsFile | None,
) -> ImportedTask:
    versions = content.get("versions")
    resolved = finite_json(config)
    names = {score.metric.partition(",")[0] for score in rows}
    return ImportedTask(
        scores=rows,
        version=version_in(versions.get(key)) if isinstance(versions, dict) else None,
        num_fewshot=shots,
        output_type="multiple_choice" if names & {"acc", "acc_norm", "loglikelihood_acc"} else None,
        resolved=resolved if isinstance(resolved, dict) else {},
        samples=details,
    )


def _details(results: Path, key: str) -> DetailsFile | None:
    """`details/<model>/<time>/details_<task>_<time>.parquet` for `results/<model>/results_<time>.json`."""
    time = results.stem.removeprefix("results").lstrip("_")
    if not time or "/" in key:
        return None
    name = f"details_{key}_{time}.parquet"
    places = [results.with_name(name)]
    parts = results.parent.parts
    for at in [place for place, part in enumerate(parts) if part == "results"]:
        model = Path(*parts[:at], "details", *parts[at + 1 :])
        places += [model / time / name, model / name]
    return next((DetailsFile(place, key) for place in places if len(name) < 250 and place.is_file()), None)


@dataclass(frozen=True, slots=True)
class DetailsFile:
    """A file of one task's details, read when it is wanted."""

    path: Path
    key: str

    def read(self) -> Samples:
        """The items of all rows that can be read; what is damaged is named, and costs nothing else."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with open_regular(self.path) as file:
                rows = pq.read_table(file).to_pylist()
        except (OSError, ValueError, pa.ArrowException) as error:
            return Samples((), None, (f"{self.path.name} cannot be read ({str(error)[:120]})",))
        items, problems = [], []
        for number, row in enumerate(rows):
            try:
                items.append(checked(_item(_task_name(self.key)[0], number, row)))
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                problems.append(f"row {number + 1}: not as lighteval writes it ({str(error)[:120]})")
        return Samples(tuple(items), None, tuple(problems))


_NUMPY = re.compile(r"\bnp\.(?:float|int)\d+\(([^()]*)\)")
_NO_NUMBER = re.compile(r"(?<=[:\s\[(,-])(?:nan|inf)(?=[,\]})\s])")
WRITTEN = (*METRICS, *DOCS, *RESPONSES, "choices", "gold", "gold_index", "predictions")
"""Columns whose values versions before 0.11 write as Python does."""
LONGEST_VALUE = 2**20
"""Characters of such a value."""


def _read_back(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the values that stand there as text. ValueError for one that is none."""
    found = dict(row)
    for name in WRITTEN:
        value = row.get(name)
        if isinstance(value, str) and value[:1] in ("[", "{"):
            found[name] = _literal(value)
    return found


def _literal(text: str) -> Any:
    if len(text) > LONGEST_VALUE:
        raise ValueError(f"a value of {len(text):,} characters")
    try:
        return ast.literal_eval(_NO_NUMBER.sub("None", _NUMPY.sub(r"\1", text)) if text[0] == "{" else text)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text[:40]!r} is no value ({type(error).__name__})") from None


def _item(task: str, number: int, row: Mapping[str, Any]) -> Item:
    if any(isinstance(row.get(name), str) for name in METRICS):
        row = _read_back(row)
    doc = next((row[name] for name in DOCS if isinstance(row.get(name), dict)), row)
    answer = next((row[name] for name in RESPONSES if isinstance(row.get(name), dict)), row)
    scores = next((row[name] for name in METRICS if isinstance(row.get(name), dict)), None)
    if scores is None:
        raise ValueError("it has no scores")
    query = doc.get("full_prompt") or doc.get("query") or doc.get("example") or doc.get("instruction")
    if query is None:
        raise ValueError("it has no prompt")
    texts = tuple(
        storable(one) for one in _listed(answer.get("text", answer.get("predictions"))) if isinstance(one, str)
    )
    choices = tuple(storable(str(one)) for one in _listed(doc.get("choices")))
    gold = _listed(doc.get("gold_index", doc.get("gold")))
    return Item(
        task=task,
        doc_id=number,
        doc_hash=content_hash([query, list(choices)])[:16],
        cluster=None,
        prompt_name="default",
        item_key=content_hash([query])[:16],
        gold=storable(str(gold[0])) if gold else None,
        targets=choices,
        prediction=texts[0] if texts else None,
        outcome="answered",
        tie=False,
        loglikelihoods=(),
        is_greedy=(),
        num_tokens=(),
        texts=texts,
        finish_reasons=(),
        dropped_shots=0,
        truncated_tokens=0,
        failure=None,
        scores={str(name): float(value) for name, value in scores.items() if is_number(value)},
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
