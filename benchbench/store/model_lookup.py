"""From what a user types to the finished runs of one model: for comparing models rather than runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import StoreError, did_you_mean
from benchbench.store.find import all_runs, begins_with, find_run
from benchbench.store.folder import FinishedRun, RunFolder
from benchbench.store.models import told_apart
from benchbench.store.names import folder_name


@dataclass(frozen=True, slots=True)
class ModelRuns:
    """One model with its finished runs."""

    name: str
    """What to call it; unique within a comparison."""
    runs: tuple[FinishedRun, ...]
    """Newest first. All of the same weights."""

    def tasks(self) -> list[str]:
        """Tasks that any of its runs holds, in their order."""
        return list(dict.fromkeys(task for run in self.runs for task in run.record.tasks))


def find_models(names: list[str], root: Path) -> list[ModelRuns]:
    """The model of each name: a run folder, a run id or its beginning, `latest`, a model, or `model@step`.

    Raises:
        StoreError: a name fits nothing, no finished run, or models with different weights.
    """
    known: list[FinishedRun] | None = None
    found = []
    for name in names:
        path = Path(name)
        if (path / "run.json").is_file() or (path / "plan.json").is_file():
            found.append(_of_run(RunFolder(path)))
            continue
        if known is None:
            known = _finished(root)
        found.append(_find(name, root, known))
    return _with_unique_names(found)


def _finished(root: Path) -> list[FinishedRun]:
    """The finished runs below `root`, models that share a name told apart."""
    found = list(_whole(root))
    named = told_apart([run.record for run in found])
    return [FinishedRun(run.folder, record) for run, record in zip(found, named, strict=True)]


def _whole(root: Path) -> Iterator[FinishedRun]:
    for run in all_runs(root):
        if run.finished:
            try:
                yield FinishedRun(run, run.record())
            except StoreError as error:
                warnings.warn(f"passed over {run.path}: {error}", stacklevel=2)


def _of_run(run: RunFolder) -> ModelRuns:
    record = run.record()
    return ModelRuns(record.model, (FinishedRun(run, record),))


def _find(name: str, root: Path, known: list[FinishedRun]) -> ModelRuns:
    exact = [run for run in known if name in (run.folder.path.name, run.name)]
    if len(exact) == 1:
        return ModelRuns(exact[0].record.model, (exact[0],))
    of_model = [run for run in known if _is_called(run, name)]
    if not of_model:
        return _by_beginning(name, root, known)
    newest = sorted(of_model, key=lambda run: run.record.date, reverse=True)
    weights = {run.record.weights for run in of_model}
    if len(weights) > 1:
        raise StoreError(_many_weights(name, newest, len(weights)))
    return ModelRuns(newest[0].record.model, tuple(newest))


def _many_weights(name: str, runs: list[FinishedRun], count: int) -> str:
    """What the runs are, newest first, so that one can be named."""
    newest: dict[str, FinishedRun] = {}
    for run in runs:
        newest.setdefault(run.record.weights, run)
    listed = "; ".join(map(_described, list(newest.values())[:6]))
    models = list(dict.fromkeys(run.record.model for run in runs))
    one_of = f"a model, such as {models[0]} or {models[1]}, or a run, such as" if len(models) > 1 else "a run, such as"
    return f"{name!r} fits runs of {count} different weights: {listed}. Name {one_of} {runs[0].name}."


def _described(run: FinishedRun) -> str:
    place, record = run.record.location, run.record
    facts = [f"finished {record.date or 'at an unknown time'}", *([place] if place != record.model else [])]
    return f"{run.name} ({', '.join(facts)})"


def _by_beginning(name: str, root: Path, known: list[FinishedRun]) -> ModelRuns:
    runs = all_runs(root)
    if name == "latest" or any(begins_with(run, name) for run in runs):
        return _of_run(find_run(name, root))
    models = list(dict.fromkeys(run.record.model for run in known))
    if not models:
        raise StoreError(f"there are no finished runs in {root}. Start with `benchbench run --model M`.")
    near = did_you_mean(name, dict.fromkeys([*models, *(model.rpartition("/")[2] for model in models)]))
    raise StoreError(
        f"no finished run or model {name!r} in {root}.{near} There are {', '.join(models[:8])}"
        f"{', …' if len(models) > 8 else ''}. See `benchbench results ls`."
    )


def _is_called(run: FinishedRun, name: str) -> bool:
    """Its model's name, also as it was before it was told from others, or the last part of it; a checkpoint also with
    the bare step: `csmpt@500` for `csmpt@step500`.
    """
    model, series, folder = run.record.model, run.record.series, run.folder.path.parent.name
    names = {model, model.rpartition("/")[2], folder}
    if run.record.step is not None:
        bases = {known.rpartition("@")[0] if "@" in known else known for known in names}
        bases |= {series, series.rpartition("/")[2]}
        names |= {f"{base}@{run.record.step}" for base in bases if base}
    return name in names or folder_name(name) == folder


def _with_unique_names(models: list[ModelRuns]) -> list[ModelRuns]:
    """Names that occur twice get their run's id behind them."""
    names = [model.name for model in models]
    return [
        model
        if names.count(model.name) == 1
        else ModelRuns(f"{model.name}#{model.runs[0].folder.path.name}", model.runs)
        for model in models
    ]
