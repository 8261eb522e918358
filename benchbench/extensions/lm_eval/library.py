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
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from benchbench.core import patterns
from benchbench.core.errors import TaskError
from benchbench.extensions.lm_eval import PREFIX
from benchbench.extensions.lm_eval.names import INSTALL, NOT_INSTALLED, Named, index, names, tasks_folder
from benchbench.tasks.dialect import PlainLoader, task_text
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

    def __call__(self, *_: object) -> Any:
        """Groups of lm-eval's ask whether their aggregation can be called; they never call it."""
        raise TaskError(f"{self} was called before it was imported.")

    def forget(self) -> None:
        """Has the file run anew at the next `resolve`: nothing that an earlier task left in its variables is there."""
        for name, module in [*sys.modules.items()]:
            if hasattr(module, "__mtime__") and getattr(module, "__file__", None) == str(self.file):
                del sys.modules[name]

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


@dataclass(frozen=True, slots=True)
class Read:
    """What lm-eval's own factory makes of a name."""

    tree: Any
    """A `Definition`, a list of them (tags), or a Group with definitions."""
    made: tuple[Definition, ...]
    """Every task that the factory made, also those whose name a later one took in a group."""


def load(named: Named) -> Read:
    """Includes, overrides and groups are resolved by lm-eval. TaskError if it cannot read the files."""
    check_version()
    made: list[Definition] = []
    with inside(), _unread_python():
        try:
            tree = _factory(made).build(_entry(named), overrides=None, registry=_registry(named.path))
            return Read(tree, tuple(made))
        except Exception as error:
            raise TaskError(f"{PREFIX}{named.name} ({named.path}): {type(error).__name__}: {error}") from error


def definitions(loaded: Any) -> list[Definition]:
    """The tasks in a tree, each once."""
    if isinstance(loaded, Definition):
        return [loaded]
    found = {definition.task_name: definition for part in loaded for definition in definitions(part)}
    return [*found.values()]


def _factory(made: list[Definition]) -> Any:
    """`made` gets every definition."""
    from lm_eval.tasks._factory import TaskFactory

    class Reader(TaskFactory):  # type: ignore[misc]
        """lm-eval's factory up to the moment at which it would load data."""

        def _build_task(self, entry: Any, overrides: Any) -> Definition:
            config = self._load_full_config(entry, overrides)
            for key in ("tag", "group", "task_list"):
                config.pop(key, None)
            made.append(Definition(config["task"], config, entry.yaml_path))
            return made[-1]

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
