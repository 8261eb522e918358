"""The only door to the package lm_eval: which version, how it is called, what it may not do.

lm-eval's definitions may hold Python (`!function`, `class`), and its Jinja is the plain one, which a template can leave
with a few underscores. Here definitions are read without running or importing anything, and templates run in a sandbox.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from benchbench.core.errors import DataError, TaskError
from benchbench.extensions.lm_eval import PREFIX
from benchbench.extensions.lm_eval.names import INSTALL, NOT_INSTALLED, Named, index, names, tasks_folder
from benchbench.tasks.rows import (
    DATA_ENV,
    FILE_FORMATS,
    READERS,
    is_configuration_name,
    is_data_set_name,
    resolved_revision,
)

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

    kept = _yaml_loader._import_func_in_yml, _factory.ConfigurableTask
    _yaml_loader._import_func_in_yml = PythonReference
    _factory.ConfigurableTask = lambda config: Definition(config["task"], config, None)
    try:
        yield
    finally:
        _yaml_loader._import_func_in_yml, _factory.ConfigurableTask = kept


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
    import lm_eval.utils
    import numpy as np

    logger = logging.getLogger("lm_eval")
    level, templates, state, arrays = logger.level, lm_eval.utils.env, random.getstate(), np.random.get_state()
    logger.setLevel(logging.CRITICAL)
    lm_eval.utils.env = _templates()
    try:
        silent = io.StringIO()
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        lm_eval.utils.env = templates
        logger.setLevel(level)
        random.setstate(state)
        np.random.set_state(arrays)


def seed_as_lm_eval() -> None:
    """The seeds with which lm-eval's command starts; its tasks draw from the global generators."""
    import numpy as np

    random.seed(0)
    np.random.seed(1234)


@cache
def _templates() -> Any:
    """lm-eval's Jinja environment in a sandbox, each template compiled once."""
    import lm_eval.utils
    from jinja2.sandbox import SandboxedEnvironment

    class Templates(SandboxedEnvironment):
        def from_string(self, source: Any, *args: Any, **kwargs: Any) -> Any:
            if source not in compiled:
                compiled[source] = super().from_string(source, *args, **kwargs)
            return compiled[source]

    compiled: dict[Any, Any] = {}
    theirs = lm_eval.utils.env
    made = Templates(loader=theirs.loader, undefined=theirs.undefined, keep_trailing_newline=True)
    made.filters.update(theirs.filters)
    return made


class Loaded:
    """What was loaded, for the record."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.revisions: list[str] = []


@contextlib.contextmanager
def rows_from(root: Path | None, who: str, spare: str | None = None) -> Iterator[Loaded]:
    """While open, lm-eval's tasks get their rows from `root`, or from the Hub if that is None. DataError if they fail.

    `spare` names the split of shots that nobody will draw: lm-eval reads it all the same, so where it is not there it
    is empty.
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
            return from_elsewhere(path, name, split=split, **kwargs)
        folder = folder_of(root, path, name, who)
        loaded.places.append(str(folder))
        files = _files(folder, who)
        parts = {name: datasets.Dataset.from_list(list(READERS[file.suffix](file))) for name, file in files.items()}
        return Splits(parts) if split is None else Splits(parts)[split]

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
