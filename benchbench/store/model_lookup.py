"""From what a user types to the finished runs of one model: for comparing models rather than runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.core.errors import StoreError, did_you_mean
from benchbench.store.find import all_runs, begins_with, find_run
from benchbench.store.folder import RunFolder
from benchbench.store.models import date_of, location_of, told_apart, weights_of
from benchbench.store.names import folder_name

NEEDED_OF_RECORD = ("model", "backend", "tasks", "groups", "rows")
NEEDED_OF_TASK = ("num_fewshot", "data_hash", "prompt_hash", "version", "counts", "scoring")


@dataclass(frozen=True, slots=True)
class Side:
    """One model in a comparison."""

    name: str
    """What to call it; unique within a comparison."""
    runs: tuple[tuple[RunFolder, dict[str, Any]], ...]
    """Its finished runs with their records, newest first. All of the same weights."""

    def tasks(self) -> list[str]:
        """Tasks that any of its runs holds, in their order."""
        return list(dict.fromkeys(task for _, record in self.runs for task in record["tasks"]))


def find_sides(names: list[str], root: Path) -> list[Side]:
    """A side for each name: a run folder, a run id or its beginning, `latest`, a model, or `model@step`.

    Raises:
        StoreError: a name fits nothing, no finished run, or models with different weights.
    """
    known: list[tuple[RunFolder, dict[str, Any]]] | None = None
    sides = []
    for name in names:
        path = Path(name)
        if (path / "run.json").is_file() or (path / "plan.json").is_file():
            sides.append(_of_run(RunFolder(path)))
            continue
        if known is None:
            known = _finished(root)
        sides.append(_find(name, root, known))
    return _with_unique_names(sides)


def _finished(root: Path) -> list[tuple[RunFolder, dict[str, Any]]]:
    """The finished runs below `root`, models that share a name told apart."""
    found = list(_whole(root))
    return [(run, record) for (run, _), record in zip(found, told_apart([r for _, r in found]), strict=True)]


def _whole(root: Path) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
    for run in all_runs(root):
        if run.finished:
            try:
                yield run, _record(run)
            except StoreError as error:
                warnings.warn(f"passed over {run.path}: {error}", stacklevel=2)


def _of_run(run: RunFolder) -> Side:
    record = _record(run)
    return Side(str(record["model"]), ((run, record),))


def _record(run: RunFolder) -> dict[str, Any]:
    """The record, if it says enough to be compared with another."""
    record = run.record()
    tasks = record.get("tasks")
    lacking = [name for name in NEEDED_OF_RECORD if name not in record]
    if isinstance(tasks, dict):
        lacking += [f"{task}: {name}" for task, said in tasks.items() for name in NEEDED_OF_TASK if name not in said]
    if lacking:
        raise StoreError(f"its run.json lacks {', '.join(lacking[:3])}; it is damaged, or of another version.")
    return record


def _find(name: str, root: Path, known: list[tuple[RunFolder, dict[str, Any]]]) -> Side:
    exact = [pair for pair in known if name in (pair[0].path.name, f"{pair[0].path.parent.name}/{pair[0].path.name}")]
    if len(exact) == 1:
        return Side(str(exact[0][1]["model"]), (exact[0],))
    of_model = [pair for pair in known if _is_called(pair, name)]
    if not of_model:
        return _by_beginning(name, root, known)
    newest = sorted(of_model, key=lambda pair: date_of(pair[1]), reverse=True)
    weights = {weights_of(record) for _, record in of_model}
    if len(weights) > 1:
        raise StoreError(_many_weights(name, newest, len(weights)))
    return Side(str(newest[0][1]["model"]), tuple(newest))


def _many_weights(name: str, runs: list[tuple[RunFolder, dict[str, Any]]], count: int) -> str:
    """What the runs are, newest first, so that one can be named."""
    newest: dict[str, tuple[RunFolder, dict[str, Any]]] = {}
    for run, record in runs:
        newest.setdefault(weights_of(record), (run, record))
    listed = "; ".join(_described(run, record) for run, record in list(newest.values())[:6])
    models = list(dict.fromkeys(str(record["model"]) for _, record in runs))
    one_of = f"a model, such as {models[0]} or {models[1]}, or a run, such as" if len(models) > 1 else "a run, such as"
    return f"{name!r} fits runs of {count} different weights: {listed}. Name {one_of} {_long_name(runs[0][0])}."


def _described(run: RunFolder, record: dict[str, Any]) -> str:
    place = location_of(record)
    facts = [f"finished {date_of(record) or 'at an unknown time'}", *([place] if place != record["model"] else [])]
    return f"{_long_name(run)} ({', '.join(facts)})"


def _long_name(run: RunFolder) -> str:
    """Its id is not enough: runs of the same weights under several names share it."""
    return f"{run.path.parent.name}/{run.path.name}"


def _by_beginning(name: str, root: Path, known: list[tuple[RunFolder, dict[str, Any]]]) -> Side:
    runs = all_runs(root)
    if name == "latest" or any(begins_with(run, name) for run in runs):
        return _of_run(find_run(name, root))
    models = list(dict.fromkeys(str(record["model"]) for _, record in known))
    if not models:
        raise StoreError(f"there are no finished runs in {root}. Start with `benchbench run --model M`.")
    near = did_you_mean(name, dict.fromkeys([*models, *(model.rpartition("/")[2] for model in models)]))
    raise StoreError(
        f"no finished run or model {name!r} in {root}.{near} There are {', '.join(models[:8])}"
        f"{', …' if len(models) > 8 else ''}. See `benchbench results ls`."
    )


def _is_called(pair: tuple[RunFolder, dict[str, Any]], name: str) -> bool:
    """Its model's name, also as it was before it was told from others, or the last part of it; a checkpoint also with
    the bare step: `csmpt@500` for `csmpt@step500`.
    """
    run, record = pair
    model, series = str(record["model"]), str(record["series"])
    names = {model, model.rpartition("/")[2], run.path.parent.name}
    if record["step"] is not None:
        bases = {known.rpartition("@")[0] if "@" in known else known for known in names}
        bases |= {series, series.rpartition("/")[2]}
        names |= {f"{base}@{record['step']}" for base in bases if base}
    return name in names or folder_name(name) == run.path.parent.name


def _with_unique_names(sides: list[Side]) -> list[Side]:
    """Names that occur twice get their run's id behind them."""
    names = [side.name for side in sides]
    return [
        side if names.count(side.name) == 1 else Side(f"{side.name}#{side.runs[0][0].path.name}", side.runs)
        for side in sides
    ]
