"""Results of other harnesses and plain tables, as run folders of our own with a mark of where they come from.

Here: which file is what, and which runs say the same twice. `lm_eval.py` (with `lm_eval_model.py`, `lm_eval_items.py`),
`lighteval.py`, `helm.py`, `euroeval.py` and `table.py` know the formats; `record.py` writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from benchbench.core.errors import DataError
from benchbench.core.files import open_regular, read_regular
from benchbench.extensions.interchange.euroeval import is_euroeval, read_euroeval
from benchbench.extensions.interchange.helm import PARTS as HELM_PARTS
from benchbench.extensions.interchange.helm import STATS, is_helm, read_helm
from benchbench.extensions.interchange.imported import ImportedRun, ImportedTask, Training
from benchbench.extensions.interchange.lighteval import is_lighteval, read_lighteval
from benchbench.extensions.interchange.lm_eval import is_lm_eval, read_lm_eval
from benchbench.extensions.interchange.lm_eval_items import SamplesFile, as_such_files_are
from benchbench.extensions.interchange.rows import is_parquet_table, is_table
from benchbench.extensions.interchange.table import Mapped, read_table
from benchbench.store.names import folder_name

MAX_LINE = 2**24
"""Bytes of the first line of JSON lines, by which their kind is known."""
TABLES = (".csv", ".tsv", ".jsonl")
MAX_RESULTS = 2**29
"""Bytes of the largest results file that is read."""
FEWEST_VALUES = 5
"""Runs that share at least so many values, all equal to the last digit, are one measurement."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a file or folder holds."""

    runs: tuple[ImportedRun, ...]
    passed_over: tuple[str, ...]
    """A sentence for each file or run that was not taken."""
    ignored: tuple[str, ...] = ()
    """A sentence for each file that is not of a kind that holds results, or that no results file needs."""


def find_imports(path: Path, mapped: Mapped, chance: Callable[[str], float | None]) -> Found:
    """Everything in `path` that can be imported. In a folder, files that cannot be are skipped, and named.

    Args:
        mapped: columns and defaults of tables; a default `num_fewshot` also serves results files that say none.
        chance: task → score of a guesser, if known.

    Raises:
        DataError: nothing there, or a single file that cannot be read.
    """
    if not path.exists():
        raise DataError(f"there is nothing at {path}.")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    runs: list[ImportedRun] = []
    passed: list[str] = []
    ignored: list[Path] = []
    for file in files:
        try:
            with as_such_files_are(file):
                found = _read(file, path, mapped, passed)
            runs += found
            ignored += [] if found else [file]
        except (DataError, UnicodeDecodeError, OSError) as error:
            if path.is_file():
                raise error if isinstance(error, DataError) else DataError(f"{path} cannot be read: {error}.") from None
            passed.append(f"{file}: {error}")
    if not runs:
        listed = f" ({passed[0]})" if passed else ""
        raise DataError(f"{path} holds no lm-eval results and no table of model, task, metric, value{listed}.")
    kept, same = _without_twins(runs)
    used = {task.samples.path for run in runs for task in run.tasks.values() if task.samples is not None}
    rest = tuple(f"{file}: {_why_ignored(file)}" for file in ignored if file not in used)
    return Found(tuple(_with_chance(run, chance) for run in kept), (*passed, *same), rest)


def _why_ignored(file: Path) -> str:
    if file.name.startswith("samples_") and file.suffix == ".jsonl":
        return "samples without the results file that they belong to"
    if file.suffix == ".parquet":
        return "details without the results file that they belong to"
    if file.name in HELM_PARTS:
        return f"a part of a HELM run; {STATS} holds its scores"
    return "no kind of file that is imported"


def _read(file: Path, root: Path, mapped: Mapped, problems: list[str]) -> list[ImportedRun]:
    """The runs in a file; none where it is of no kind that is imported."""
    name = file.name if file == root else f"{root.name}/{file.relative_to(root).as_posix()}"
    if file.suffix == ".json":
        return _read_json(file, name, mapped)
    if file.suffix in TABLES and not (file.suffix == ".jsonl" and file.name.startswith("samples_")):
        if file.suffix == ".jsonl" and is_euroeval(_first_line(file)):
            return read_euroeval(file, name, problems)
        return read_table(file, name, mapped)
    if file.suffix == ".parquet" and not file.name.startswith("details_") and is_parquet_table(file):
        return read_table(file, name, mapped)
    return []


def _first_line(file: Path) -> str:
    with open_regular(file) as opened:
        return opened.readline(MAX_LINE).decode("utf-8-sig", errors="replace")


def _read_json(file: Path, name: str, mapped: Mapped) -> list[ImportedRun]:
    if file.name in HELM_PARTS and is_helm(file.with_name(STATS)):
        return []
    data = read_regular(file, MAX_RESULTS)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error}).") from error
    called = mapped.defaults.get("model")
    if is_helm(file):
        return [read_helm(file, name, data)]
    if is_lighteval(content):
        return read_lighteval(file, name, data, called)
    if is_table(content):
        return read_table(file, name, mapped)
    if not is_lm_eval(content):
        raise DataError(
            "no results that are known here: lm-eval's and lighteval's objects with `results` and `config` or"
            " `config_general`, HELM's stats.json beside run_spec.json, a list of rows of model, task, metric, value."
        )
    run = read_lm_eval(file, name, partial(_samples_beside, file), called)
    shots = mapped.defaults.get("num_fewshot")
    return [_with_shots(run, int(shots)) if shots else run]


def _samples_beside(results: Path, task: str) -> SamplesFile | None:
    """`samples_<task>_<time>.jsonl` beside `results_<time>.json`; also without a time."""
    time = results.stem.removeprefix("results").lstrip("_")
    names = [f"samples_{task}_{time}.jsonl", f"samples_{folder_name(task)}_{time}.jsonl", f"samples_{task}.jsonl"]
    paths = [results.with_name(name) for name in names if len(name) < 250 and "/" not in name]
    return next((SamplesFile(path, task) for path in paths if path.is_file()), None)


def _with_shots(run: ImportedRun, shots: int) -> ImportedRun:
    tasks = {
        name: task if task.num_fewshot is not None else replace(task, num_fewshot=shots)
        for name, task in run.tasks.items()
    }
    return replace(run, tasks=tasks)


def _with_chance(run: ImportedRun, chance: Callable[[str], float | None]) -> ImportedRun:
    tasks: dict[str, ImportedTask] = {
        name: task if task.chance is not None else replace(task, chance=chance(name))
        for name, task in run.tasks.items()
    }
    return replace(run, tasks=tasks)


def _without_twins(runs: Sequence[ImportedRun]) -> tuple[list[ImportedRun], list[str]]:
    """Leaves out a model whose every value, at every step, another model of the import holds too, to the last digit.

    Whole models are judged, for two trainings may well begin with the same weights.
    """
    models: dict[Training, dict[tuple[int | None, str, str], tuple[float | None, float | None]]] = {}
    for run in runs:
        values = {(run.model.step, *key): value for key, value in run.values().items() if value[0] is not None}
        models.setdefault(run.model.training, {}).update(values)
    twins: dict[Training, Training] = {}
    places = {training: place for place, training in enumerate(models)}
    for training, values in sorted(models.items(), key=lambda pair: (len(pair[1]), -places[pair[0]])):
        others = (other for other in models if other != training and other not in twins)
        if len(values) >= FEWEST_VALUES:
            twin = next((other for other in others if values.items() <= models[other].items()), None)
            if twin is not None:
                twins[training] = twin
    sentences = [
        f"{_described(training)}: each of its {len(models[training])} values is one of {_described(twin)}, to the last "
        "digit"
        for training, twin in twins.items()
    ]
    return [run for run in runs if run.model.training not in twins], sentences


def _described(training: Training) -> str:
    """The series, and where it lay if that says more."""
    series, home, _ = training
    return series if home in (None, series) else f"{series} ({home})"


def parse_chance(pairs: Sequence[str]) -> Callable[[str], float | None]:
    """`task=0.25` or `pattern*=0.25` → the chance of a task; the first that fits counts.

    Raises:
        DataError: not such a pair.
    """
    return partial(_chance_of, tuple(_chance_pairs(pairs)))


def _chance_pairs(pairs: Sequence[str]) -> Iterator[tuple[str, float]]:
    for pair in pairs:
        name, _, value = pair.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not name or not 0 <= number < 1:
            raise DataError(f"--chance {pair!r}: TASK=SHARE was expected, such as winogrande=0.5.")
        yield name, number


def _chance_of(pairs: Sequence[tuple[str, float]], task: str) -> float | None:
    return next((value for pattern, value in pairs if fnmatchcase(task, pattern)), None)
