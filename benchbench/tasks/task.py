"""A task: as its file describes it, as another package brings it, and prepared: its documents as requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self, TypeAlias

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.post_metrics import is_post_metric
from benchbench.core.registry import check_filter, metric_names, metric_spec
from benchbench.core.task_scoring import TaskScoring
from benchbench.core.types import (
    FilterSpec,
    GenerateRequest,
    GenerationParams,
    Json,
    MetricSpec,
    OutputType,
    RenderedDoc,
    ScoringSpec,
)
from benchbench.tasks.config import GenerationKwargs, MetricEntry, PromptVariant, TaskConfig, check
from benchbench.tasks.dialect import TaskVariant, where
from benchbench.tasks.settings import FewshotMode, GenKwargs, override

DEFAULT_METRICS: Mapping[OutputType, tuple[str, ...]] = {
    "multiple_choice": ("acc", "acc_norm"),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "generate_until": ("exact_match",),
}
"""Metrics of a task that lists none; the same as lm-eval's."""


@dataclass(frozen=True)
class Task:
    """One benchmark as a file describes it. Knows no documents."""

    name: str
    config: TaskConfig
    path: Path
    """The YAML file."""
    variables: Mapping[str, Json] = field(default_factory=dict)
    """Matrix variables of this variant; every template sees them."""
    origins: Mapping[str, Path] = field(default_factory=dict)
    """Which included file gave a key, where it is not `path`."""

    @classmethod
    def of(cls, variant: TaskVariant) -> Task:
        """The checked task of a variant. TaskError for a wrong key, type, metric or filter name."""
        config = check(variant)
        task = cls(variant.name, config, variant.path, dict(variant.variables), dict(variant.origins))
        _check_sense(task)
        _ = task.scoring
        return task

    @property
    def output_type(self) -> OutputType:
        """What the task asks of a model."""
        return self.config.output_type

    @property
    def version(self) -> str:
        """`version`, else lm-eval's `metadata.version`, else 0."""
        if self.config.version is not None:
            return str(self.config.version)
        return str((self.config.metadata or {}).get("version", 0))

    @cached_property
    def scoring(self) -> ScoringSpec:
        """Metrics and filters with their names checked and their defaults filled in."""
        config = self.config
        choices = config.doc_to_choice
        chance = config.chance
        if chance is None and config.output_type == "multiple_choice" and isinstance(choices, (list, dict)) and choices:
            chance = 1 / len(choices)
        return ScoringSpec(self.name, config.output_type, _metrics(self), _filters(self), chance)

    def prompt(self, name: str = "default") -> PromptVariant:
        """The prompt of that name, complete; TaskError with the nearest names if there is none."""
        own = {key: getattr(self.config, key) for key in PromptVariant.model_fields}
        if name == "default":
            return PromptVariant.model_construct(**own)
        if name not in self.config.prompts:
            known = ["default", *self.config.prompts]
            raise TaskError(
                f"{self.name} has no prompt named {name!r}; it has {', '.join(known)}.{did_you_mean(name, known)}"
            )
        given = self.config.prompts[name].model_dump(exclude_none=True)
        return PromptVariant.model_construct(**own | given)

    def where(self, key: str) -> str:
        """File, line and key, for error sentences."""
        return f"{where(self.origins.get(key, self.path), [key])}: {self.name}: `{key}`"

    def with_gen_kwargs(self, given: GenKwargs) -> Task:
        """The task as if its file had these generation settings, so that they are part of every fingerprint.

        A temperature for all takes the place of the docs' own.
        """
        stated = self.config.generation_kwargs
        own = {} if stated is None else stated.model_dump(exclude_unset=True)
        made = GenerationKwargs.model_validate(override(own, dict(given)))
        update: dict[str, object] = {"generation_kwargs": made}
        if {"temperature", "do_sample"} & dict(given).keys():
            update["doc_to_temperature"] = None
        return replace(self, config=self.config.model_copy(update=update))

    def with_repeats(self, count: int) -> Task:
        """The task as if its file asked for so many answers to each doc."""
        return replace(self, config=self.config.model_copy(update={"repeats": count}))

    def code(self) -> Iterable[tuple[str, str]]:
        """(key, function) of what runs code: nothing, in our dialect."""
        return ()

    def data_task(self) -> Task:
        """The task whose data are read: itself."""
        return self

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences to print before its data are looked for: none."""
        return ()

    def resolved(self) -> dict[str, Json]:
        """The task as JSON, for the run record: every key that is set, the matrix variables, the file's name."""
        config = self.config.model_dump(mode="json", exclude_defaults=True) | {"output_type": self.output_type}
        extra: dict[str, Json] = {"variables": dict(self.variables)} if self.variables else {}
        return {**config, **extra, "version": self.version, "file": f"{self.path.parent.name}/{self.path.name}"}


def _metrics(task: Task) -> tuple[MetricSpec, ...]:
    config = task.config
    if config.metric_list is None:
        return tuple(metric_spec(name, config.output_type) for name in DEFAULT_METRICS[config.output_type])
    try:
        return tuple(
            metric_spec(
                entry.metric,
                config.output_type,
                aggregation=entry.aggregation,
                higher_is_better=entry.higher_is_better,
                kwargs=entry.arguments(),
            )
            for entry in config.metric_list
            if not _is_computed_later(task, entry)
        )
    except TaskError as error:
        raise TaskError(f"{task.where('metric_list')}: {error}") from error


def _is_computed_later(task: Task, entry: MetricEntry) -> bool:
    """Whether the entry names a post-metric. TaskError if it says how one is aggregated, or the task writes no text."""
    if entry.metric in metric_names(task.output_type) or not is_post_metric(entry.metric):
        return False
    if entry.aggregation not in (None, "mean") or entry.higher_is_better is not None:
        raise TaskError(
            f"Metric {entry.metric!r} is computed after the run and says itself how it is aggregated and which way is "
            "better; leave `aggregation` and `higher_is_better` out."
        )
    if task.output_type != "generate_until":
        raise TaskError(f"Metric {entry.metric!r} judges written answers; output_type {task.output_type} has none.")
    return True


def _filters(task: Task) -> tuple[FilterSpec, ...]:
    try:
        for pipeline in task.config.filter_list or ():
            for step in pipeline.filter:
                check_filter(step.function, step.arguments())
    except TaskError as error:
        raise TaskError(f"{task.where('filter_list')}: {error}") from error
    return tuple(
        FilterSpec(pipeline.name, tuple((step.function, step.arguments()) for step in pipeline.filter))
        for pipeline in task.config.filter_list or ()
    )


def _check_sense(task: Task) -> None:
    """Keys that are each right but do not fit together."""
    config = task.config
    if config.eval_split is None:
        raise TaskError(f"{task.where('task')}: give `test_split` or `validation_split`: nothing is evaluated.")
    if config.output_type == "multiple_choice" and config.doc_to_choice is None:
        raise TaskError(f"{task.where('output_type')}: multiple_choice needs `doc_to_choice`.")
    if config.generation_kwargs is not None and config.output_type != "generate_until":
        raise TaskError(f"{task.where('generation_kwargs')}: only generate_until tasks generate.")
    if config.repeats > 1 and config.output_type != "generate_until":
        raise TaskError(f"{task.where('repeats')}: only generate_until tasks can repeat.")
    if config.turns is not None and config.output_type != "generate_until":
        raise TaskError(f"{task.where('turns')}: only generate_until tasks are conversations.")
    if config.turns is not None and (config.doc_to_text != "" or config.gen_prefix is not None):
        key = "gen_prefix" if config.gen_prefix is not None else "doc_to_text"
        raise TaskError(f"{task.where(key)}: `turns` are all that the user asks; leave `{key}` out.")
    if config.doc_to_temperature is not None and config.output_type != "generate_until":
        raise TaskError(f"{task.where('doc_to_temperature')}: only generate_until tasks generate.")
    languages = [
        config.src_lang,
        config.tgt_lang,
        *(code for variant in config.prompts.values() for code in (variant.src_lang, variant.tgt_lang)),
    ]
    if config.output_type != "generate_until" and any(languages):
        raise TaskError(f"{task.where('tgt_lang')}: only generate_until tasks translate.")
    if "default" in config.prompts:
        raise TaskError(f"{task.where('prompts')}: `default` is the name of the task's own prompt.")


class SourcedTask(Protocol):
    """A task that a task source brings (`tasks/sources.py`). Stands where a `Task` stands, up to rendering."""

    @property
    def name(self) -> str:
        """With the source's prefix."""
        ...

    @property
    def path(self) -> Path:
        """The file or folder that defines it."""
        ...

    @property
    def scoring(self) -> ScoringSpec:
        """What is known of its metrics; its own scoring may add more."""
        ...

    @property
    def output_type(self) -> OutputType:
        """What the task asks of a model."""
        ...

    @property
    def version(self) -> str:
        """As the task's definition says; `0` where it does not."""
        ...

    def resolved(self) -> dict[str, Json]:
        """The definition as JSON, for the run record."""
        ...

    def code(self) -> Iterable[tuple[str, str]]:
        """Every (key, function) of the definition that is code, which only `--trust-task-code` allows to run."""
        ...

    def with_gen_kwargs(self, given: GenKwargs) -> Self:
        """The task as if its definition had these generation settings."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences to print before its data are looked for: that its name stands for less than one may think, say."""
        ...

    def data_task(self) -> Task:
        """A task of ours that reads the same data: enough to find or fetch its splits. DataError if that is unknown."""
        ...


AnyTask: TypeAlias = Task | SourcedTask


@dataclass(frozen=True, slots=True)
class Asked:
    """What the docs of a task ask."""

    requests: int
    settings: frozenset[GenerationParams]
    """Of the texts to be written."""


class AskedCounter:
    """Counts what docs ask as they come by."""

    def __init__(self) -> None:
        self._requests, self._settings = 0, set[GenerationParams]()

    def over(self, docs: Iterable[RenderedDoc]) -> Iterator[RenderedDoc]:
        """`docs`, counted."""
        for doc in docs:
            requests = doc.requests
            self._requests += len(requests)
            if requests and isinstance(requests[-1], GenerateRequest):  # those of one doc come last
                self._settings.update(one.params for one in requests if isinstance(one, GenerateRequest))
            yield doc

    def result(self) -> Asked:
        """What the docs so far ask."""
        return Asked(self._requests, frozenset(self._settings))


@dataclass(frozen=True)
class PreparedTask:
    """A task's documents as requests, with the fingerprints that its scores will carry."""

    task: AnyTask
    docs: Sequence[RenderedDoc]
    """Of a large task read from a temporary file, a window at a time (`tasks/spool.py`)."""
    num_fewshot: int
    fewshot_mode: FewshotMode
    """How the shots were drawn."""
    prompt_hash: str
    """8 hex digits over templates and rendering settings, not over data."""
    data_hash: str
    """16 hex digits over the evaluated documents and those used as shots."""
    data_revision: str | None
    """The Hub's commit, of a data root by its lock file; None where it is not known."""
    data_path: str
    notes: tuple[str, ...] = ()
    """Sentences a reader of the results should know."""
    own_scoring: TaskScoring | None = None
    """The scoring that the task's source brings; None: benchbench's own."""

    counted: Asked | None = None
    """What all docs ask, where that was counted when they were made."""

    @cached_property
    def asked(self) -> Asked:
        """What all docs ask."""
        if self.counted is not None:
            return self.counted
        counter = AskedCounter()
        for _ in counter.over(self.docs):
            pass
        return counter.result()
