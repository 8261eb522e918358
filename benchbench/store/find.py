"""From what a user types to run folders, to the finished runs of one model, and to sweeps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import StoreError, did_you_mean
from benchbench.core.json_record import JsonRecord, refuse_later
from benchbench.core.types import Json
from benchbench.store.files import inside, read_json
from benchbench.store.folder import FinishedRun, RunFolder
from benchbench.store.names import folder_name, told_apart


def all_runs(root: Path) -> list[RunFolder]:
    """Every run folder at or below `root` (a run, a model's folder or the whole results folder), by path."""
    if (root / "plan.json").is_file() or (root / "run.json").is_file():
        return [RunFolder(root)]
    if not root.is_dir():
        raise StoreError(f"there is no results folder {root}. Give one with --results, or start with `benchbench run`.")
    found = {path.parent for pattern in ("*/", "*/*/") for path in root.glob(f"{pattern}plan.json")}
    found |= {path.parent for pattern in ("*/", "*/*/") for path in root.glob(f"{pattern}run.json")}
    return [RunFolder(path) for path in sorted(found)]


def find_run(name: str, root: Path) -> RunFolder:
    """The run that `name` means: a path, a run id or a unique beginning of one (also `model/id`), or `latest`.

    StoreError, naming what there is, if none or several match.
    """
    path = Path(name)
    if (path / "plan.json").is_file() or (path / "run.json").is_file():
        return RunFolder(path)
    runs = all_runs(root)
    if not runs:
        raise StoreError(f"there are no runs in {root}. Start with `benchbench run --model M`.")
    if name == "latest":
        return max(runs, key=_changed)
    exact = [run for run in runs if name in (run.path.name, run.name)]
    matches = exact or [run for run in runs if begins_with(run, name)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        near = did_you_mean(name, [run.path.name for run in runs])
        raise StoreError(f"no run {name!r} in {root}.{near} See `benchbench results ls`.")
    listed = ", ".join(run.name for run in matches[:5])
    raise StoreError(
        f"{name!r} fits {len(matches)} runs: {listed}{', …' if len(matches) > 5 else ''}. Give more of the id."
    )


def begins_with(run: RunFolder, name: str) -> bool:
    """`name` is the beginning of the run's id, or of `model/id`."""
    return run.path.name.startswith(name) or run.name.startswith(name)


def _changed(run: RunFolder) -> float:
    """When the run was last worked on, in seconds."""
    paths = [run.path / name for name in ("run.json", "log.jsonl", "plan.json")]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


SWEEP_SCHEMA_VERSION = 1
"""Of sweep.json."""
SWEEPS = "sweeps"
"""The folder in a results folder that holds its sweeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(JsonRecord):
    """What done.json says: where a unit's results are, and of which weights."""

    series: str
    """The training run, as its models are named before the `@`."""
    checkpoint: str
    """Its name, as in the run's `model`."""
    target: str
    """Folder, file, or hub name and revision."""
    step: int | None
    """None where tokens alone are known."""
    tokens_seen: int | None
    group: int
    """Which of the sweep's task groups, from 0."""
    stamp: str
    """Of the files when they were read; another one means that the checkpoint was overwritten."""
    asked: str
    """Hash over the tasks; another one means that a task file or its data changed."""
    run: str
    """Path of the run folder, from the results folder."""
    run_id: str
    model_identity: str
    tokenizer_identity: str
    failed_share: float
    timing: Mapping[str, float | None]
    """Seconds: `load` the weights, `first` until the first answer after that, `run` all."""
    finished: str
    """ISO 8601 time."""

    @property
    def position(self) -> int:
        """Where it stands in its series: its step, or the tokens seen where no step is known."""
        return (self.tokens_seen or 0) if self.step is None else self.step


class SweepFolder:
    """Reads one sweep's folder. Nothing here writes; see `benchbench.runner.sweep.folder`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def output(self) -> Path:
        """The results folder that the sweep is in."""
        return self.path.parent.parent

    def content(self) -> dict[str, Json]:
        """sweep.json. StoreError if it is missing, damaged, or of a later version."""
        found = read_json(self.path / "sweep.json")
        refuse_later(found, SWEEP_SCHEMA_VERSION, str(self.path / "sweep.json"))
        return found

    def all_done(self) -> list[Done]:
        """Every unit that is done, by series, step and group; also those whose checkpoint is gone by now."""
        found = [self.read_done(path.parent) for path in sorted(self.path.glob("units/*/done.json"))]
        return sorted((one for one in found if one is not None), key=lambda one: (one.series, one.position, one.group))

    def runs(self) -> list[RunFolder]:
        """The run folders of what is done; steps that asked other tasks, documents or prompts than the last are not."""
        done = self.all_done()
        latest = {(one.series, one.group): one.asked for one in done}
        same = [one for one in done if one.asked == latest[one.series, one.group]]
        return [self.run_of(one) for one in same]

    def read_done(self, unit: Path) -> Done | None:
        """done.json in a unit's folder, if it is there and whole and the run that it names is still finished."""
        path = unit / "done.json"
        if not path.is_file():
            return None
        try:
            done = Done.from_json(read_json(path), str(path))
            return done if self.run_of(done).finished else None
        except StoreError as error:
            warnings.warn(f"passed over {path}: {error}", stacklevel=2)
            return None

    def run_of(self, done: Done) -> RunFolder:
        """The run folder that done.json names. DamageError if it lies outside of the results folder."""
        return RunFolder(inside(self.output, done.run))


def all_sweeps(output: Path) -> Iterator[SweepFolder]:
    """The sweeps in a results folder, the one that was asked last first."""
    found = sorted((output / SWEEPS).glob("*/sweep.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return (SweepFolder(path.parent) for path in found)


def find_sweep(name: str, output: Path) -> SweepFolder:
    """The sweep that `name` means: its folder, its name or the beginning of it, or `latest`. StoreError if none is."""
    if (Path(name) / "sweep.json").is_file():
        return SweepFolder(Path(name).absolute())
    sweeps = list(all_sweeps(output))
    if not sweeps:
        raise StoreError(f"there are no sweeps in {output}. Start with `benchbench sweep --model FOLDER`.")
    if name == "latest":
        return sweeps[0]
    names = [sweep.path.name for sweep in sweeps]
    exact = [sweep for sweep in sweeps if sweep.path.name == name]
    matches = exact or [sweep for sweep in sweeps if sweep.path.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise StoreError(f"no sweep {name!r} in {output}; there are {', '.join(names[:5])}.{did_you_mean(name, names)}")
    raise StoreError(f"{name!r} fits {len(matches)} sweeps: {', '.join(names[:5])}. Give more of the name.")


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
            known = finished_runs(root)
        found.append(_find(name, root, known))
    return _with_unique_names(found)


def finished_runs(root: Path) -> list[FinishedRun]:
    """The finished runs at or below `root`, models that share a name told apart. Broken folders are skipped with a
    warning.
    """
    found: list[FinishedRun] = []
    for run in all_runs(root):
        if run.finished:
            try:
                found.append(FinishedRun(run, run.record()))
            except StoreError as error:
                warnings.warn(f"passed over {run.path}: {error}", stacklevel=3)
    named = told_apart([run.record for run in found])
    return [FinishedRun(run.folder, record) for run, record in zip(found, named, strict=True)]


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
