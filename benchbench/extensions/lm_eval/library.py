"""The only door to the package lm_eval: which version, how it is called, what it may not do.

lm-eval's definitions may hold Python (`!function`, `class`), and its Jinja is the plain one, which a template can leave
with a few underscores. Here definitions are read without running or importing anything, and templates run in a sandbox.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from benchbench.core import patterns
from benchbench.core.errors import DataError, TaskError
from benchbench.extensions.lm_eval import PREFIX
from benchbench.extensions.lm_eval.names import INSTALL, NOT_INSTALLED, Named, index, names, tasks_folder
from benchbench.tasks.borders import FILE_FORMATS, check_hub, is_configuration_name, is_data_set_name, own_files
from benchbench.tasks.dialect import PlainLoader, task_text
from benchbench.tasks.rows import DATA_ENV, READERS, resolved_revision
from benchbench.tasks.sandbox import compile_template

VERSION = "0.4.13"
"""The one version that this room is written for: it uses parts that lm-eval does not promise to keep."""


@dataclass(frozen=True, slots=True)
class PythonReference:
    """A `!function` of a task file, not imported."""

    spec: str
    """As written: `utils.process_docs`."""
    folder: Path
    """Where the task file lies."""

    @property
    def file(self) -> Path | None:
        """The file that holds the code; None where any importable module may be meant."""
        path = (self.folder / f"{self.spec.rpartition('.')[0].replace('.', '/')}.py").resolve()
        return path if path.is_file() else None

    def resolve(self) -> Any:
        """Imports and so runs the file. TaskError if that does not work."""
        from lm_eval.tasks import _yaml_loader

        try:
            return _yaml_loader._import_func_in_yml(self.spec, self.folder)
        except Exception as error:
            raise TaskError(f"{self}: {type(error).__name__}: {error}") from error

    def __str__(self) -> str:
        return f"{self.spec.rpartition('.')[2]} in {self.file or self.spec.rpartition('.')[0] or 'nothing'}"


@cache
def check_version() -> None:
    """TaskError, with what to type, if lm_eval is not there or not of the right version."""
    try:
        found = metadata.version("lm_eval")
    except metadata.PackageNotFoundError as error:
        raise TaskError(NOT_INSTALLED) from error
    if found != VERSION:
        raise TaskError(f"{PREFIX}… is made for lm_eval {VERSION}; {found} is installed. {INSTALL}")


@dataclass(frozen=True, slots=True)
class Definition:
    """A task of lm-eval's as its files define it, with what a group adds; its Python is not imported."""

    task_name: str
    """lm-eval's factory calls it so."""
    config: Mapping[str, Any]
    path: Path | None


def load(named: Named) -> Any:
    """What lm-eval's own factory makes of a name: a `Definition`, a list of them (tags), or a Group with definitions.

    Includes, overrides and groups are resolved by lm-eval. TaskError if it cannot read the files.
    """
    check_version()
    with inside(), _unread_python():
        try:
            return _factory().build(_entry(named), overrides=None, registry=_registry(named.path))
        except Exception as error:
            raise TaskError(f"{PREFIX}{named.name} ({named.path}): {type(error).__name__}: {error}") from error


def definitions(loaded: Any) -> list[Definition]:
    """The tasks in what `load` gave, each once."""
    if isinstance(loaded, Definition):
        return [loaded]
    found = {definition.task_name: definition for part in loaded for definition in definitions(part)}
    return [*found.values()]


def _factory() -> Any:
    from lm_eval.tasks._factory import TaskFactory

    class Reader(TaskFactory):  # type: ignore[misc]
        """lm-eval's factory up to the moment at which it would load data."""

        def _build_task(self, entry: Any, overrides: Any) -> Definition:
            config = self._load_full_config(entry, overrides)
            for key in ("tag", "group", "task_list"):
                config.pop(key, None)
            return Definition(config["task"], config, entry.yaml_path)

    return Reader()


@contextlib.contextmanager
def _unread_python() -> Iterator[None]:
    """While open, lm-eval's loader leaves `!function` as it stands, and its factory builds no task."""
    from lm_eval.tasks import _factory, _yaml_loader

    kept = _yaml_loader._import_func_in_yml, _factory.ConfigurableTask, _yaml_loader._Base, _yaml_loader.Path
    _yaml_loader._import_func_in_yml = lambda spec, folder: PythonReference(spec, Path(folder))
    _yaml_loader._Base, _yaml_loader.Path = PlainLoader, _TaskFile
    _factory.ConfigurableTask = lambda config: Definition(config["task"], config, None)
    try:
        yield
    finally:
        _yaml_loader._import_func_in_yml, _factory.ConfigurableTask, _yaml_loader._Base, _yaml_loader.Path = kept


class _TaskFile(type(Path())):  # type: ignore[misc]
    """A path that lm-eval's loader opens: what is no task file, or one without bounds, is refused."""

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Its bytes."""
        return io.BytesIO(task_text(self).encode())


def _entry(named: Named) -> Any:
    from lm_eval.tasks._index import Entry, Kind

    kinds = {"task": Kind.TASK, "class": Kind.PY_TASK, "group": Kind.GROUP, "tag": Kind.TAG}
    return Entry(named.name, kinds[named.kind], named.path, tags=set(named.members))


def _registry(path: Path | None) -> dict[str, object]:
    """lm-eval's names; for a file that is not its own also those of the files beside it."""
    found = dict(_entries())
    if path is not None and not path.is_relative_to(tasks_folder()):
        found |= {name: _entry(named) for name, named in index(path.parent).items()}
    return found


@cache
def _entries() -> dict[str, object]:
    return {name: _entry(named) for name, named in names().items()}


@contextlib.contextmanager
def inside() -> Iterator[None]:
    """Around every call into lm-eval: templates in a sandbox, nothing printed, the random generators as they were."""
    import lm_eval.api.metrics
    import lm_eval.filters.extraction
    import lm_eval.utils
    import numpy as np

    logger = logging.getLogger("lm_eval")
    level, state, arrays = logger.level, random.getstate(), np.random.get_state()
    logger.setLevel(logging.CRITICAL)
    with_patterns = (lm_eval.filters.extraction, lm_eval.api.metrics)
    templates = lm_eval.utils.env
    lm_eval.utils.env = _Templates()
    for module in with_patterns:
        module.re = _Patterns()
    try:
        silent = io.StringIO()
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        lm_eval.utils.env = templates
        for module in with_patterns:
            module.re = re
        logger.setLevel(level)
        random.setstate(state)
        np.random.set_state(arrays)


def seed_as_lm_eval() -> None:
    """The seeds with which lm-eval's command starts; its tasks draw from the global generators."""
    import numpy as np

    random.seed(0)
    np.random.seed(1234)


class _Templates:
    """Stands where lm-eval has its Jinja environment: templates run in the sandbox of our own, to the same bytes."""

    def from_string(self, source: str) -> _Template:
        """A template, compiled once. TaskError if it may not run."""
        return _Template(compile_template(str(source), "the template").text)


@dataclass(frozen=True, slots=True)
class _Template:
    text: Callable[[Mapping[str, Any]], str]

    def render(self, **doc: Any) -> str:
        """Its text on a doc; raises what the template raises."""
        return self.text(doc)


class _Patterns:
    """Stands where lm-eval's filters and metrics have `re`: the same functions, with a clock on those that they use."""

    def __getattr__(self, name: str) -> Any:
        return getattr(re, name)

    def compile(self, pattern: str) -> Any:
        """Such a pattern. The long ones are lm-eval's own: all choices of a doc."""
        return _Pattern(pattern) if len(pattern) <= patterns.MAX_PATTERN else re.compile(pattern)

    def sub(self, pattern: str, replacement: str, text: str) -> str:
        """See `re`."""
        return patterns.sub(pattern, replacement, text)


@dataclass(frozen=True, slots=True)
class _Pattern:
    pattern: str

    def __post_init__(self) -> None:
        patterns.check(self.pattern)

    def findall(self, text: str) -> list[Any]:
        """See `re`."""
        return patterns.findall(self.pattern, text)


class Loaded:
    """What was loaded, for the record."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.revisions: list[str] = []


@contextlib.contextmanager
def rows_from(
    root: Path | None, who: str, spare: str | None = None, *, file: Path | None = None, trusted: bool = False
) -> Iterator[Loaded]:
    """While open, lm-eval's tasks get their rows from `root`, or from the Hub if that is None. DataError if they fail.

    `file` is the task's: unless it is `trusted`, data files that it names lie in its folder or in `root`, and nothing
    but the Hub is asked. `spare` names the split of shots that nobody will draw: lm-eval reads it all the same, so
    where it is not there it is empty.
    """
    import datasets

    class Splits(datasets.DatasetDict):  # type: ignore[misc]
        def __missing__(self, split: str) -> Any:
            if split == spare:
                return next(iter(self.values())).select([])
            raise DataError(f"{who}: no split {split!r} in {loaded.places[-1]}. Splits there: {', '.join(self)}.")

    loaded, original = Loaded(), datasets.load_dataset

    def from_root(path: str, name: str | None = None, *, split: str | None = None, **kwargs: Any) -> Any:
        if root is None or path in FILE_FORMATS:
            if not trusted:
                kwargs = checked(path, name, kwargs)
            return from_elsewhere(path, name, split=split, **kwargs)
        folder = folder_of(root, path, name, who)
        loaded.places.append(str(folder))
        files = _files(folder, who)
        parts = {name: datasets.Dataset.from_list(list(READERS[file.suffix](file))) for name, file in files.items()}
        return Splits(parts) if split is None else Splits(parts)[split]

    def checked(path: str, name: str | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """What the task gives, with its own files in full; DataError if it names anything else."""
        is_lm_evals = file is not None and file.resolve().is_relative_to(tasks_folder().resolve())
        files = kwargs.get("data_files")
        if path not in FILE_FORMATS or (is_lm_evals and "hf://" in str(files)):
            check_hub(who, path, name, options=kwargs, may_name_hub_files=is_lm_evals)
            return kwargs
        named = own_files(who, files, (file or Path()).parent, () if root is None else (root,))
        check_hub(who, "own/files", name, options={**kwargs, "data_files": None})
        return {**kwargs, "data_files": {split: [str(one) for one in paths] for split, paths in named.items()}}

    def from_elsewhere(path: str, name: str | None = None, **kwargs: Any) -> Any:
        try:
            found = original(path, name, **{key: value for key, value in kwargs.items() if value is not None})
        except Exception as error:  # datasets, huggingface_hub and httpx raise what they like; all of it is a record
            raise DataError(_sentence(who, path, name, error)) from error
        loaded.places.append(f"hf://datasets/{path}" if path not in FILE_FORMATS else str(path))
        if path not in FILE_FORMATS and isinstance(found, datasets.DatasetDict):
            loaded.revisions += [resolved_revision(path, kwargs.get("revision"), found) or "unknown"]
        return found

    datasets.load_dataset = from_root
    try:
        yield loaded
    finally:
        datasets.load_dataset = original


def folder_of(root: Path, path: str, name: str | None, who: str) -> Path:
    """Where a data set's splits lie. DataError if they do not, or for names that would climb out of the root."""
    if not is_data_set_name(path):
        raise DataError(f"{who}: the data set {path!r} is not `organisation/name`.")
    if not is_configuration_name(name):
        raise DataError(f"{who}: {name!r} is not the name of a configuration.")
    if not root.is_dir():
        raise DataError(f"--data-root {root}: no such folder.")
    folder = root / path / (name or "default")
    if folder.is_dir():
        return folder
    there = sorted(place.name for place in (root / path).iterdir() if place.is_dir()) if (root / path).is_dir() else []
    more = f"Configurations there: {', '.join(there)}. " if there else ""
    raise DataError(
        f"{who}: its data are not at {folder}. {more}`benchbench data pull {who} --to {root}` fetches them, "
        f"or leave --data-root (and {DATA_ENV}) away."
    )


def _files(folder: Path, who: str) -> dict[str, Path]:
    """Split → file; where there are several formats, the one that our own tasks read."""
    found: dict[str, Path] = {}
    for suffix in READERS:
        for file in sorted(folder.glob(f"*{suffix}")):
            found.setdefault(file.stem, file)
    if not found:
        raise DataError(f"{who}: {folder} holds no split ({', '.join(READERS)}).")
    return found


def _sentence(who: str, path: str, name: str | None, error: Exception) -> str:
    reason, config = " ".join(str(error).split())[:200], f" ({name})" if name else ""
    return (
        f"{who}: its data set {path}{config} could not be loaded: {type(error).__name__}: {reason} "
        f"Without a network, point --data-root (or {DATA_ENV}) at a folder that holds it."
    )
