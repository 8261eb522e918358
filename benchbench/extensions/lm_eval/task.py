"""One task of lm-eval's, as far as its files tell: enough to list, show and refuse it; documents come later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchbench.core.errors import DataError, TaskError
from benchbench.core.patterns import check
from benchbench.core.registry import FAMILIES
from benchbench.core.types import Json, OutputType, ScoringSpec
from benchbench.extensions.lm_eval import PREFIX
from benchbench.extensions.lm_eval.library import VERSION, Definition, PythonReference
from benchbench.extensions.lm_eval.names import tasks_folder
from benchbench.tasks.config import MAX_COUNT, MAX_TOKENS, TaskConfig
from benchbench.tasks.settings import LENGTHS, GenKwargs, override
from benchbench.tasks.task import Task

ALLOW = "--trust-task-code"


@dataclass(frozen=True)
class UpstreamTask:
    """A task of lm-eval's. Stands where a `Task` stands, up to rendering."""

    name: str
    """With the prefix: `lm_eval:hellaswag`."""
    config: Mapping[str, Any]
    """lm-eval's keys, includes and overrides merged; functions are `PythonReference`s."""
    path: Path
    scoring: ScoringSpec
    remarks: tuple[str, ...] = ()
    """See `tasks.task.SourcedTask`."""

    @classmethod
    def of(cls, definition: Definition, remarks: tuple[str, ...] = ()) -> UpstreamTask:
        """The task of a definition. Its metrics are known when it is prepared."""
        config = {key: value for key, value in definition.config.items() if key != "metadata"}
        stated = definition.config.get("metadata") or {}
        config["metadata"] = {key: value for key, value in stated.items() if key != "config_source"}
        name = PREFIX + definition.task_name
        output_type = _output_type(config, name)
        return cls(name, config, definition.path or tasks_folder(), ScoringSpec(name, output_type, ()), remarks)

    @property
    def output_type(self) -> OutputType:
        """What the task asks of a model."""
        return self.scoring.output_type

    @property
    def version(self) -> str:
        """lm-eval's `metadata.version`, or 0."""
        return str(self.config["metadata"].get("version", 0))

    def code(self) -> Iterator[tuple[str, str]]:
        """Every (key, function) of the definition that is Python."""
        for key, value in self.config.items():
            for reference in _references(value):
                yield key, str(reference)

    def with_gen_kwargs(self, given: GenKwargs) -> UpstreamTask:
        """The task as if its file had these generation settings."""
        own = self.config.get("generation_kwargs") or {}
        return replace(self, config={**self.config, "generation_kwargs": override(own, dict(given))})

    def with_metadata(self, given: Mapping[str, object]) -> UpstreamTask:
        """The task as if its file had these values in `metadata`, which tasks that make their own docs read."""
        return replace(self, config={**self.config, "metadata": {**self.config["metadata"], **given}})

    def where(self, key: str) -> str:
        """File and key, for error sentences."""
        return f"{self.path}: {self.name}: `{key}`"

    def resolved(self) -> dict[str, Json]:
        """The definition as JSON; functions by name and by the sha256 of their file."""
        shown = {key: as_json(value) for key, value in self.config.items() if value is not None}
        return {
            **shown,
            "version": self.version,
            "lm_eval": VERSION,
            "file": f"{self.path.parent.name}/{self.path.name}",
        }

    def eval_split(self) -> str | None:
        """The split that is evaluated, by lm-eval's rule; None where a class decides."""
        return self.config.get("test_split") or self.config.get("validation_split")

    def shot_split(self) -> str | None:
        """The split that shots are drawn from, by lm-eval's rule."""
        stated = self.config.get("fewshot_config")
        own = stated.get("split") if isinstance(stated, Mapping) else None
        names = (
            own,
            *(self.config.get(key) for key in ("fewshot_split", "training_split", "validation_split", "test_split")),
        )
        return next((str(name) for name in names if name), None)

    def data_task(self) -> Task:
        """A task of ours that reads the same data: enough to find or fetch its splits, no more."""
        if not self.config.get("dataset_path") or self.eval_split() is None:
            raise DataError(f"{self.name}: its file does not say which data it reads; lm-eval's code decides.")
        keys = ("dataset_path", "dataset_name", "dataset_kwargs", "num_fewshot", "output_type", "test_split")
        given = {key: self.config[key] for key in (*keys, "validation_split") if self.config.get(key) is not None}
        config = TaskConfig.model_construct(task=self.name, fewshot_split=self.shot_split(), **given)
        return Task(self.name, config, self.path)


def check_python(task: UpstreamTask, *, trusted: bool) -> None:
    """Refuses what would run Python that came with a task, or that a model wrote, without permission."""
    from lm_eval.api.metrics import mean  # noqa: F401 - fills the registry
    from lm_eval.api.registry import METRIC_REGISTRY

    if task.config.get("unsafe_code"):
        raise TaskError(
            f"{task.name} runs the programs that a model writes by lm-eval's own code, which has no sandbox: it is not "
            f"run, with {ALLOW} or without. `humaneval` and `mbpp`, without lm_eval:, run theirs in one."
        )
    found = [f"`{key}` is the function {reference}" for key, reference in task.code()]
    metrics = task.config.get("metric_list") or []
    if not isinstance(metrics, list):
        raise TaskError(
            f"{task.where('metric_list')} is of type {type(metrics).__name__}; a list of metrics was expected."
        )
    for metric in metrics:
        name = metric.get("metric") if isinstance(metric, Mapping) else None
        if isinstance(name, str) and (metric.get("hf_evaluate") or name not in METRIC_REGISTRY):
            found.append(f"the metric {name!r} is code that `evaluate` fetches from the Hub")
    if found and not trusted:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise TaskError(
            f"{task.name} ({task.path}) brings Python: {found[0]}{more}. "
            f"Read it; {ALLOW} allows lm-eval's tasks to run theirs."
        )
    if task.config.get("doc_to_image") or task.config.get("doc_to_audio"):
        raise TaskError(f"{task.name} asks about images or sound; the backends here read text.")


def check_bounds(task: UpstreamTask) -> None:
    """Refuses patterns that are no regular expressions, and counts beyond those of tasks of ours. TaskError."""
    for key in ("filter_list", "metric_list"):
        for name, value in _options(task.config.get(key)):
            listed = value if isinstance(value, list) else [value]
            try:
                if name in ("regex_pattern", "regexes_to_ignore"):
                    [check(pattern) for pattern in listed if not isinstance(pattern, PythonReference)]
            except ValueError as error:
                raise TaskError(f"{task.where(key)}: `{name}`: {error}.") from error
    kwargs = task.config.get("generation_kwargs") or {}
    limits = {"repeats": MAX_COUNT, "num_fewshot": MAX_COUNT}
    counts = {name: (task.config.get(name), most) for name, most in limits.items()}
    if isinstance(kwargs, Mapping):
        counts |= {name: (kwargs.get(name), MAX_TOKENS) for name in LENGTHS} | {
            "num_beams": (kwargs.get("num_beams"), MAX_COUNT)
        }
    for name, (value, most) in counts.items():
        if isinstance(value, int | float) and not 0 <= value <= most:
            raise TaskError(f"{task.where(name)} is {value!r}; it is 0 or more, up to {most:,}.")


def _options(value: Any) -> Iterator[tuple[str, Any]]:
    """(key, value) of every mapping in a value."""
    if isinstance(value, Mapping):
        yield from value.items()
        value = [*value.values()]
    if isinstance(value, list):
        for part in value:
            yield from _options(part)


def _output_type(config: Mapping[str, Any], name: str) -> OutputType:
    stated = config.get("output_type", "generate_until")
    for known in FAMILIES:
        if known == stated:
            return known
    raise TaskError(f"{name}: `output_type` {stated!r} is none of {', '.join(FAMILIES)}.")


def _references(value: Any) -> Iterator[PythonReference]:
    if isinstance(value, PythonReference):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _references(part)


def forget(value: Any) -> None:
    """Has every file of Python that the definition names run anew when it is next imported."""
    for reference in _references(value):
        reference.forget()


def with_python(value: Any) -> Any:
    """The definition with its functions imported, which runs their files."""
    if isinstance(value, PythonReference):
        return value.resolve()
    if isinstance(value, Mapping):
        return {key: with_python(part) for key, part in value.items()}
    if isinstance(value, list):
        return [with_python(part) for part in value]
    return value


def as_json(value: Any) -> Json:
    """A value of a definition; functions by name and by the sha256 of their file."""
    if isinstance(value, PythonReference):
        code = value.file
        digest = hashlib.sha256(code.read_bytes()).hexdigest()[:16] if code else None
        return {"function": value.spec, "sha256": digest}
    if isinstance(value, Mapping):
        return {str(key): as_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(part) for part in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
