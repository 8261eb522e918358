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

from benchbench.core.errors import TaskError
from benchbench.tasks.upstream import PREFIX
from benchbench.tasks.upstream.names import INSTALL, Named, index, names, tasks_folder

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
def check_version() -> str:
    """lm_eval's version. TaskError, with what to type, if it is not there or not the right one."""
    try:
        found = metadata.version("lm_eval")
    except metadata.PackageNotFoundError as error:
        raise TaskError(f"{PREFIX}… runs tasks of lm-eval, which is not installed. {INSTALL}") from error
    if found != VERSION:
        raise TaskError(f"{PREFIX}… is made for lm_eval {VERSION}; {found} is installed. {INSTALL}")
    return found


@dataclass(frozen=True, slots=True)
class Leaf:
    """A task of lm-eval's as its files define it, with what a group adds; its Python is not imported."""

    task_name: str
    """lm-eval's factory calls it so."""
    config: Mapping[str, Any]
    path: Path | None


def load(named: Named) -> Any:
    """What lm-eval's own factory makes of a name: a `Leaf`, a list of them (tags), or a Group with leaves.

    Includes, overrides and groups are resolved by lm-eval. TaskError if it cannot read the files.
    """
    check_version()
    with inside(), _unread_python():
        try:
            return _factory().build(_entry(named), overrides=None, registry=_registry(named.path))
        except Exception as error:
            raise TaskError(f"{PREFIX}{named.name} ({named.path}): {type(error).__name__}: {error}") from error


def leaves(loaded: Any) -> list[Leaf]:
    """The tasks in what `load` gave, each once."""
    if isinstance(loaded, Leaf):
        return [loaded]
    found = {leaf.task_name: leaf for part in loaded for leaf in leaves(part)}
    return [*found.values()]


def _factory() -> Any:
    from lm_eval.tasks._factory import TaskFactory

    class Reader(TaskFactory):  # type: ignore[misc]
        """lm-eval's factory up to the moment at which it would load data."""

        def _build_task(self, entry: Any, overrides: Any) -> Leaf:
            config = self._load_full_config(entry, overrides)
            for key in ("tag", "group", "task_list"):
                config.pop(key, None)
            return Leaf(config["task"], config, entry.yaml_path)

    return Reader()


@contextlib.contextmanager
def _unread_python() -> Iterator[None]:
    """While open, lm-eval's loader leaves `!function` as it stands, and its factory builds no task."""
    from lm_eval.tasks import _factory, _yaml_loader

    kept = _yaml_loader._import_func_in_yml, _factory.ConfigurableTask
    _yaml_loader._import_func_in_yml = PythonReference
    _factory.ConfigurableTask = lambda config: Leaf(config["task"], config, None)
    try:
        yield
    finally:
        _yaml_loader._import_func_in_yml, _factory.ConfigurableTask = kept


def _entry(named: Named) -> Any:
    from lm_eval.tasks._index import Entry, Kind

    kinds = {"task": Kind.TASK, "class": Kind.PY_TASK, "group": Kind.GROUP, "tag": Kind.TAG}
    return Entry(named.name, kinds[named.kind], named.path, tags=set(named.members))


def _registry(path: Path | None) -> dict[str, Any]:
    """lm-eval's names; for a file that is not its own also those of the files beside it."""
    found = dict(_entries())
    if path is not None and not path.is_relative_to(tasks_folder()):
        found |= {name: _entry(named) for name, named in index(path.parent).items()}
    return found


@cache
def _entries() -> dict[str, Any]:
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
