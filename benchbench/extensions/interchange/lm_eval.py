"""lm-eval's results JSON, versions 0.3 and 0.4: one file is one run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from benchbench.core.errors import DataError
from benchbench.core.ids import content_hash
from benchbench.core.json_record import finite_json, number, text, whole
from benchbench.core.record import BackendRecord, Origin
from benchbench.core.types import Json
from benchbench.extensions.interchange.imported import (
    ImportedGroup,
    ImportedRun,
    ImportedScore,
    ImportedTask,
    SamplesSource,
    Stated,
    is_number,
    scores_in,
    shots_in,
    version_in,
)
from benchbench.extensions.interchange.lm_eval_model import is_ours, read_model

FindSamples = Callable[[str], SamplesSource | None]
"""Task → the file of its items, if there is one."""
USUAL_SEED = 1234
"""Of lm-eval's draw of shots."""
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


def read_lm_eval(path: Path, name: str, find_samples: FindSamples, called: str | None = None) -> ImportedRun:
    """The run in a results file. `name` is what to call the file in the record, `called` what to call a model that it
    does not name.

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
        model=read_model(content, path, called),
        tasks={task: found for task, found in tasks.items() if found.scores},
        origin=Origin(kind="lm-eval", file=name, sha256=hashlib.sha256(data).hexdigest()[:16]),
        groups=_groups(groups, means, tasks),
        asked=conditions(content),
        backend=BackendRecord(
            name=str(config.get("model")) if is_ours(content) else f"lm-eval {config.get('model') or ''}".strip(),
            dtype=_text(config.get("model_dtype")),
            device=_text(config.get("device")),
            num_parameters=whole(config.get("model_num_parameters")),
            revision=_text(config.get("model_revision")),
        ),
        versions=versions,
        settings={"limit": _plain(config.get("limit")), "seed": _plain(config.get("fewshot_seed"))},
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


def _plain(value: Any) -> Json:
    """A JSON value without numbers that JSON cannot hold."""
    return cast("Json", finite_json(value))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _task(content: Mapping[str, Any], task: str, scores: Mapping[str, Any], find_samples: FindSamples) -> ImportedTask:
    resolved = finite_json((content.get("configs") or {}).get(task))
    resolved = resolved if isinstance(resolved, dict) else {}
    shots = (content.get("n-shot") or {}).get(task, content["config"].get("num_fewshot"))
    found = _scores(content, task, scores)
    names = {score.metric.partition(",")[0] for score in found}
    guessed = "loglikelihood" if "ppl" in names else "multiple_choice" if names & {"acc", "acc_norm"} else None
    return ImportedTask(
        scores=found,
        version=version_in((content.get("versions") or {}).get(task)),
        num_fewshot=shots_in(shots),
        output_type=_text(resolved.get("output_type")) or guessed,
        resolved=resolved,
        chance=_chance(content, task),
        samples=find_samples(task),
        asked=_asked(found),
    )


def conditions(content: Mapping[str, Any]) -> tuple[str, ...]:
    """What the file says of how all its tasks were asked, apart from shots, where it moves numbers.

    Files of ours say it in each task's signature.
    """
    if is_ours(content):
        return ()
    config = content["config"]
    found = []
    if template := (content.get("chat_template_sha") or content.get("chat_template")):
        found.append(f"chat:{content_hash(template, digits=8)}")
    if content.get("fewshot_as_multiturn") and found:
        found.append("multiturn")
    if system := (content.get("system_instruction_sha") or content.get("system_instruction")):
        found.append(f"system:{content_hash(system, digits=8)}")
    if config.get("gen_kwargs"):
        found.append(f"gen:{content_hash(finite_json(config['gen_kwargs']), digits=8)}")
    if config.get("fewshot_seed") not in (None, USUAL_SEED):
        found.append(f"seed:{config['fewshot_seed']}")
    return tuple(found)


def _scores(content: Mapping[str, Any], task: str, scores: Mapping[str, Any]) -> tuple[ImportedScore, ...]:
    """The task's scores, with what else the file says of them."""
    effective = ((content.get("n-samples") or {}).get(task) or {}).get("effective") or scores.get("sample_len")
    n = effective if isinstance(effective, int) and not isinstance(effective, bool) and effective > 0 else None
    found = scores_in(scores, n, (content.get("higher_is_better") or {}).get(task) or {})
    return tuple(_as_stated(score, content, task) for score in found) if is_ours(content) else found


def _asked(scores: Sequence[ImportedScore]) -> tuple[str, ...]:
    """The signature that benchbench wrote, which tells prompts apart where no item does."""
    stated = next((score.stated.signature for score in scores if score.stated is not None), None)
    return (stated,) if stated and "|imported:" not in stated else ()


def _as_stated(score: ImportedScore, content: Mapping[str, Any], task: str) -> ImportedScore:
    """The score with what else `results export` wrote of its row, as long as that is of the same value."""
    rows = content["benchbench"].get("rows")
    for row in rows if isinstance(rows, list) else ():
        named = isinstance(row, dict) and (row.get("task"), row.get("metric"), row.get("value"))
        if named == (task, score.metric, score.value):
            low, high = number(row.get("ci_low")), number(row.get("ci_high"))
            words = text(row.get("se_method")), text(row.get("signature"))
            stated = Stated(low, high, whole(row.get("n_clusters")), *words)
            return replace(score, n=whole(row.get("n")), note=text(row.get("note")), stated=stated)
    return score


def _chance(content: Mapping[str, Any], task: str) -> float | None:
    """The score of a guesser, which a file of ours tells."""
    known = content["benchbench"].get("chance") if is_ours(content) else None
    return number(known.get(task)) if isinstance(known, dict) else None


def _groups(
    members: Mapping[str, tuple[str, ...]],
    means: Mapping[str, tuple[ImportedScore, ...]],
    tasks: Mapping[str, ImportedTask],
) -> tuple[ImportedGroup, ...]:
    """Each group with the tasks below it, also where its members are groups; one that has a mean and none is kept."""
    groups = []
    for name in dict.fromkeys((*members, *means)):
        listed = tuple(dict.fromkeys(_leaves(name, members, tasks, frozenset())))
        if listed or means.get(name):
            groups.append(ImportedGroup(name, listed, weight_by_size=True, scores=means.get(name, ())))
    for prefix, name in SUBJECTS.items():
        listed = tuple(task for task in tasks if task.startswith(prefix))
        if len(listed) > 1 and name not in members:
            groups.append(ImportedGroup(name, listed, weight_by_size=True))
    return tuple(groups)


def _leaves(
    name: str, members: Mapping[str, tuple[str, ...]], tasks: Mapping[str, ImportedTask], above: frozenset[str]
) -> Iterator[str]:
    for member in members.get(name, ()) if name not in above else ():
        if member in tasks:
            yield member
        else:
            yield from _leaves(member, members, tasks, above | {name})


def _date(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    try:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds") if is_number(value) else None
    except (ValueError, OverflowError, OSError):
        return None
