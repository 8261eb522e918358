"""A metric of a task from the stored outputs alone, or with the documents where those do not say enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from benchbench.core.errors import DataError, StoreError, TaskError
from benchbench.core.format import shown
from benchbench.core.post_metrics import listed_metrics, names_of
from benchbench.core.record import Row, RunRecord
from benchbench.core.registry import FAMILIES, FILTERS, metric_spec
from benchbench.core.task_scoring import columns
from benchbench.core.types import (
    Doc,
    GenerateRequest,
    GenerationParams,
    Item,
    Prompt,
    RenderedDoc,
    Request,
    RollingRequest,
    ScoringSpec,
)
from benchbench.runner.events import Note, OnEvent
from benchbench.scoring.estimates import with_influence
from benchbench.scoring.score import kept_responses, score_doc
from benchbench.store.folder import RunFolder
from benchbench.store.table import storable
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.recorded_task import RecordedTask


def spec_for(recorded: ScoringSpec, metric: str) -> ScoringSpec:
    """The same task scored by one metric: with the options that the run used, if it used it.

    Raises:
        TaskError: no such metric, or none for this output type.
    """
    known = next((one for one in recorded.metrics if one.name == metric), None)
    return replace(recorded, metrics=(known or metric_spec(metric, recorded.output_type),))


def column_names(spec: ScoringSpec) -> list[str]:
    """Columns of what is asked for, without those that are always computed."""
    asked = {metric.name for metric in spec.metrics}
    return [column.name for column in columns(spec) if column.metric.name in asked]


def needs_documents(spec: ScoringSpec) -> bool:
    """Items name only the first right choice, and filters that look for a choice want the doc's own."""
    steps = {name for pipeline in spec.filters for name, _ in pipeline.steps}
    reads_choices = any(name not in FILTERS or name == "multi_choice_regex" for name in steps)
    return FAMILIES[spec.output_type] == "choice" or reads_choices


def rescore(spec: ScoringSpec, items: Sequence[Item], docs: Mapping[int, RenderedDoc] | None) -> list[Item]:
    """The items with the scores of `spec` beside those they have, influence values included.

    `docs` holds the documents where they are needed. Failed items have no score.
    """
    names = column_names(spec)
    return with_influence(spec, [_rescored(spec, names, item, docs) for item in items])


def _rescored(spec: ScoringSpec, names: Sequence[str], item: Item, docs: Mapping[int, RenderedDoc] | None) -> Item:
    rendered = _from_item(spec, item) if docs is None else _checked(docs[item.doc_id], item)
    responses = kept_responses(item, rendered.requests)
    found: Mapping[str, float | None] = {}
    if responses is not None:
        found = score_doc(spec, rendered, responses).scores
    return replace(item, scores={**item.scores, **{name: found.get(name) for name in names}})


def _from_item(spec: ScoringSpec, item: Item) -> RenderedDoc:
    """As much of the document as was stored: its right texts."""
    prompt, count = Prompt("", (), ""), range(len(item.num_tokens))
    requests: tuple[Request, ...]
    if FAMILIES[spec.output_type] == "text":
        requests = tuple(GenerateRequest(item.task, item.doc_id, i, prompt, GenerationParams(())) for i in count)
    else:
        requests = tuple(RollingRequest(item.task, item.doc_id, i, "") for i in count)
    doc = Doc(item.doc_id, {}, item.doc_hash, item.cluster)
    return RenderedDoc(item.task, doc, requests, targets=item.targets, prompt_name=item.prompt_name)


def _checked(rendered: RenderedDoc, item: Item) -> RenderedDoc:
    if item.outcome != "failed" and len(rendered.requests) != len(item.num_tokens):
        raise StoreError(
            f"{item.task}: document {item.doc_id} was asked {len(item.num_tokens)} times, and would be asked"
            f" {len(rendered.requests)} times now; the run's record does not fit this benchbench."
        )
    if tuple(map(storable, rendered.choices or rendered.targets)) != item.targets:
        raise DataError(f"{item.task}: document {item.doc_id} renders to other right answers or choices than stored.")
    return rendered


class StoredTask:
    """A task of a finished run: what the run stored of it, and its documents where they are wanted."""

    def __init__(
        self,
        run: RunFolder,
        record: RunRecord,
        name: str,
        index: Callable[[], TaskIndex],
        data_root: Path | None,
    ) -> None:
        """`record` is the run's own; `index` gives the task files of today, and is called when they are wanted."""
        self.name = name
        self.spec = record.tasks[name].scoring.spec(name)
        self._run, self._record, self._index, self._data_root = run, record, index, data_root

    @property
    def has_items(self) -> bool:
        """Its items were stored."""
        return self._run.is_sealed(self.name)

    @cached_property
    def items(self) -> list[Item]:
        """Sorted, with the scores of the run itself."""
        return self._run.own_items(self.name)

    @property
    def results(self) -> Path:
        """The results folder that the run lies in."""
        return self._run.path.absolute().parent.parent

    @property
    def run(self) -> RunFolder:
        """The run."""
        return self._run

    @property
    def record(self) -> RunRecord:
        """The run's own record."""
        return self._record

    def listed(self, metric: str, on_event: OnEvent, *, trusted: bool) -> list[Mapping[str, str]]:
        """The options with which the task's `metric_list` names a metric, for each time that it does.

        The file is a stranger's, and so is the record of a run: unless it is `trusted`, neither says what is opened,
        which file is read or who is sent the answers. What is left out for that is told.
        """
        resolved = self._record.tasks[self.name].resolved
        found = [one.options for one in listed_metrics(resolved) if one.name == metric]
        names = frozenset[str]() if trusted or not found else names_of(metric)
        for options in found:
            if named := sorted(names & options.keys()):
                said = ", ".join(f"{name} {shown(options[name], 80)}" for name in named)
                text = f"what its task file says of {metric} is not taken: {said}. Give it on the command line, or"
                on_event(Note(f"{self.name}: {text} --trust-task-code if you know the file."))
        return [{name: value for name, value in options.items() if name not in names} for options in found]

    @cached_property
    def definition(self) -> RecordedTask:
        """The task as the record tells it."""
        prompt = str(self._record.settings.get("prompt") or "default")
        return RecordedTask(self.name, self._record.tasks[self.name], prompt, self._index(), self._data_root)

    @cached_property
    def documents(self) -> dict[int, RenderedDoc]:
        """doc id → the document of every item, read again. DataError or TaskError where they are not what was asked."""
        return self.definition.documents(self.items)

    def lacks_documents(self) -> str | None:
        """Why its documents cannot be read again, as the end of a sentence; None if they may be."""
        try:
            self.definition.task  # noqa: B018 - whether the record holds one of our tasks
        except TaskError:
            return "is not defined by a task file of benchbench's, so its documents cannot be read again"
        return None


State = Literal["added", "replaced", "kept", "confirmed", "differs"]


@dataclass(frozen=True, slots=True)
class ScoredMetric:
    """One metric of one task or group."""

    task: str
    metric: str
    state: State
    """added; replaced: was added before; kept: was added before, by the same model; confirmed: the run's own value
    came out again; differs: it did not, and still stands."""
    rows: tuple[Row, ...]
    """As computed now; where `kept`, as they are on disk."""


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """What came of it all."""

    path: Path
    record: RunRecord
    """The run's record, with everything that was added to it."""
    scored: tuple[ScoredMetric, ...]

    @property
    def differs(self) -> bool:
        """A value that the run recorded did not come out again."""
        return any(one.state == "differs" for one in self.scored)
