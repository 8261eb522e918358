"""The record of a run, as run.json and plan.json hold it: what travels from the run to every reader.

One reader and one writer, `from_json` and `to_json`, for runs that were measured here and for imported ones. Records of
former versions are brought up to date first, by `benchbench.store.names.completed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar, get_args

from benchbench.core.errors import StoreError
from benchbench.core.json_record import JsonRecord, text
from benchbench.core.types import BackendInfo, FilterSpec, Json, MetricSpec, OutputType, ScoringSpec

RUN_SCHEMA_VERSION = 1
"""Of run.json and plan.json; a record of another one is not read."""
UNKNOWN = "unknown"
"""How the identity of weights begins that nobody has seen: those of imported results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(JsonRecord):
    """One metric of one task or group: a row of the results table."""

    model: str | None = None
    step: int | None = None
    tokens_seen: int | None = None
    task: str
    """Or the group."""
    metric: str
    """Its name; where the task has several filters `name,filter`."""
    value: float | None = None
    """None where there is no value; `note` says why."""
    stderr: float | None = None
    ci_low: float | None = None
    """Lower end of the 95 % interval."""
    ci_high: float | None = None
    n: int | None = None
    """Docs behind the value; None where an imported result does not say."""
    n_clusters: int | None = None
    """Independent clusters of docs; None where docs are independent."""
    se_method: str | None = None
    """How the interval was made."""
    higher_is_better: bool = True
    num_fewshot: int | None = None
    is_group: bool = False
    """The row is of a group of tasks."""
    signature: str = ""
    """Everything that moves the number, in one line."""
    note: str | None = None
    """Why a value is missing, or what to know when reading it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts(JsonRecord):
    """How many docs of a task ended how; None where an imported result does not say."""

    n: int | None = None
    """All docs."""
    answered: int | None = None
    unanswered: int | None = None
    """No answer could be found in the text."""
    truncated: int | None = None
    """The text was cut off at the token limit."""
    failed: int | None = None
    """No response; not counted as wrong."""
    ties: int | None = None
    """The best choice was not unique."""
    wrong: int | None = None
    """Answered, and scored 0; None where scores are other than 0 and 1."""
    shortened: int | None = None
    """The prompt did not fit."""
    dropped_shots: int | None = None
    """Shots left out, summed over docs."""
    truncated_tokens: int | None = None
    """Tokens cut on the left, summed over docs."""

    optional: ClassVar[tuple[str, ...]] = ("wrong",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringRecord(JsonRecord):
    """How a task was scored. Of an imported result no more than its source says."""

    task: str | None = None
    output_type: str | None = None
    metrics: tuple[MetricSpec, ...] = ()
    filters: tuple[FilterSpec, ...] = ()
    chance: float | None = None
    """Score of a guesser, where the task knows it."""

    @classmethod
    def of(cls, spec: ScoringSpec) -> ScoringRecord:
        """The record of a task that is scored here."""
        return cls(
            task=spec.task,
            output_type=spec.output_type,
            metrics=spec.metrics,
            filters=spec.filters,
            chance=spec.chance,
        )

    def spec(self, task: str) -> ScoringSpec:
        """What scoring needs to know of the task. StoreError if the record does not say it."""
        for kind in get_args(OutputType):
            if self.output_type == kind:
                return ScoringSpec(task, kind, self.metrics, self.filters, self.chance)
        raise StoreError(f"the record says too little of how {task} was scored.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(JsonRecord):
    """What was asked about the first doc, for readers who want to see a prompt."""

    doc_id: Json = None
    prompt: str = ""
    """Cut where it is very long."""
    characters: int | None = None
    """Length of the whole prompt; None where it is not known."""
    continuations: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Nothing of the prompt was cut."""
        return self.characters == len(self.prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord(JsonRecord):
    """A task as it was asked and scored."""

    version: str | int | float | None
    output_type: str | None = None
    num_fewshot: int | None
    prompt_hash: str | None
    """Of all prompts; None where an imported result has no items."""
    data_hash: str | None
    """Of the docs that were used; None as above."""
    data_revision: str | None = None
    data_path: str | None = None
    """Where the docs were read from."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader of the results should see."""
    counts: Counts
    scoring: ScoringRecord
    resolved: Mapping[str, Json] = field(default_factory=dict)
    """The task's file, with every default filled in."""
    example: Example | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord(JsonRecord):
    """Tasks whose metrics are also given together."""

    name: str
    tasks: tuple[str, ...]
    weight_by_size: bool
    """Mean over docs, or over tasks."""
    metrics: Json = None
    """The only metrics that are averaged, as the group's file states them; None: all that every task has."""

    optional: ClassVar[tuple[str, ...]] = ("metrics",)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRecord(JsonRecord):
    """Who computed; the fields are those of `BackendInfo`, None where an imported result does not say."""

    name: str = ""
    version: str | None = None
    model: str | None = None
    model_identity: str | None = None
    """sha256 over the weights; of an imported result a text that begins with `UNKNOWN`."""
    tokenizer_identity: str | None = None
    dtype: str | None = None
    device: str | None = None
    max_length: int | None = None
    vocab_size: int | None = None
    revision: str | None = None
    num_parameters: int | None = None
    plan: str | None = None
    numerics: str | None = None
    chosen: str | None = None

    @classmethod
    def of(cls, info: BackendInfo) -> BackendRecord:
        """The record of a backend that is open."""
        return cls(**asdict(info))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(JsonRecord):
    """Sizes that follow from the items alone, however the run was interrupted."""

    docs: int | None = None
    requests: int | None = None
    prompt_tokens: int | None = None
    scored_or_generated_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance(JsonRecord):
    """All that may differ between two runs with the same results: times, host, places, the work really done."""

    created: str | None = None
    """When the run was planned, ISO 8601 (plan.json)."""
    started: str | None = None
    finished: str | None = None
    """When it was finished, ISO 8601; of an imported result when its source was, if that says so."""
    seconds: float | None = None
    sessions: int | None = None
    """How often the run was begun."""
    host: str | None = None
    platform: str | None = None
    reused: int | None = None
    """Docs whose responses came from other runs of the same weights."""
    notes: tuple[str, ...] = ()
    tasks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Task → what was counted while it ran: seconds, tokens needed and computed, what a server says."""
    location: str | None = None
    """Where the model lay: an absolute path or a hub name."""
    home: str | None = None
    """Where the training that it belongs to lay."""
    include_paths: tuple[str, ...] = ()
    """Where the task files lay that do not ship (plan.json)."""
    data_root: str | None = None
    """Where the data sets lay, if not on the Hub (plan.json)."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Task → sha256 of the file with its items (run.json)."""

    optional: ClassVar[tuple[str, ...]] = ("created", "location", "home", "include_paths", "data_root", "parts")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRecord(JsonRecord):
    """How conversations were made of the prompts."""

    template_sha256: str = ""
    """Of the chat template's source; `server` where it is not known."""
    system_role: str = ""
    """Where a system prompt goes: `system`, or `first user turn`."""
    system_sha256: str | None = None
    """Of the system prompt; None where there is none."""
    multiturn: bool = False
    """Shots are turns of their own."""
    arguments: Mapping[str, Json] | None = None
    """What the template was told beside the conversation; None for nothing."""

    optional: ClassVar[tuple[str, ...]] = ("arguments",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin(JsonRecord):
    """Where imported results come from."""

    kind: str = ""
    """`lm-eval` or `table`."""
    file: str | None = None
    sha256: str | None = None
    """Of the file, first 16 hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRun(JsonRecord):
    """What plan.json and run.json both say: which run it is, and of which model."""

    schema_version: int = RUN_SCHEMA_VERSION
    run_id: str = ""
    """Hash over what decides the results, without the attempt."""
    attempt: int = 1
    model: str
    """Its name; a checkpoint is `series@step500`."""
    series: str = ""
    """The training that the model is a checkpoint of; of other models the name again."""
    step: int | None = None
    tokens_seen: int | None = None
    chat: ChatRecord | None = None
    """None where prompts were plain."""
    origin: Origin | None = None
    """None where the run was measured here."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """What was asked for, by the names of `RunSettings` of the version that wrote it."""
    backend: BackendRecord = field(default_factory=BackendRecord)
    provenance: Provenance = field(default_factory=Provenance)

    schema: ClassVar[int | None] = RUN_SCHEMA_VERSION
    optional: ClassVar[tuple[str, ...]] = ("chat", "origin", "added")

    @property
    def weights(self) -> str:
        """The identity of the weights; empty where there is none."""
        return self.backend.model_identity or ""

    @property
    def knows_weights(self) -> bool:
        """The identity is that of weights which somebody has seen."""
        return bool(self.weights) and not self.weights.startswith(UNKNOWN)

    @property
    def location(self) -> str:
        """Where the model lay: an absolute path, a hub name, or as it was typed; empty where that is not known."""
        return self.provenance.location or text(self.settings.get("model")) or ""

    @property
    def revision(self) -> str | None:
        """Of a hub name, as it was asked for."""
        return text(self.settings.get("revision"))

    @property
    def date(self) -> str:
        """When it was finished, or planned; ISO 8601, empty where that is not known."""
        return self.provenance.finished or self.provenance.created or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(ModelRun):
    """run.json: everything a reader needs to know what was measured."""

    backend: BackendRecord
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of benchbench, Python and the libraries that touch numbers."""
    tasks: Mapping[str, TaskRecord]
    groups: tuple[GroupRecord, ...]
    rows: tuple[Row, ...]
    """The results table: of each task and group every metric, the one it is known by first."""
    work: Work = field(default_factory=Work)
    provenance: Provenance
    added: tuple[Mapping[str, Json], ...] = ()
    """Metrics that were added after the run: `task`, `metric`, and when, where and by what."""

    order: ClassVar[tuple[str, ...]] = (
        *("schema_version", "run_id", "attempt", "model", "series", "step", "tokens_seen", "chat", "origin"),
        *("settings", "backend", "versions", "tasks", "groups", "rows", "work", "provenance", "added"),
    )

    @property
    def num_docs(self) -> int:
        """Docs of all tasks."""
        return sum(task.counts.n or 0 for task in self.tasks.values())

    @property
    def failed_share(self) -> float:
        """Failed docs over all docs, 0 to 1."""
        return sum(task.counts.failed or 0 for task in self.tasks.values()) / max(1, self.num_docs)

    def rows_of(self, task: str) -> tuple[Row, ...]:
        """The rows of a task, without those of a group that has its name."""
        return tuple(row for row in self.rows if row.task == task and not row.is_group)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask(JsonRecord):
    """What must be equal for two runs to have asked and scored the same of a task."""

    prompt: str | None = None
    """Hash of all prompts."""
    data: str | None = None
    """Hash of the docs."""
    num_fewshot: int | None = None
    docs: int | None = None
    """Their number."""
    version: str | int | float | None = None
    scoring: str | None = None
    """Hash of the scoring."""
    resolved: str | None = None
    """Hash of what else the task's file says."""
    output_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecord(ModelRun):
    """plan.json: enough to know a half-written run for what it is, and to reuse its items."""

    fresh: bool = False
    """Nothing of other runs is to be reused."""
    compute: Mapping[str, Json] = field(default_factory=dict)
    """What must be equal for a response to be the same response."""
    tasks: Mapping[str, PlannedTask]

    order: ClassVar[tuple[str, ...]] = (
        *("schema_version", "run_id", "attempt", "model", "series", "step", "tokens_seen", "chat", "origin"),
        *("fresh", "compute", "settings", "backend", "tasks", "provenance"),
    )

    @property
    def num_docs(self) -> int:
        """Docs of all tasks."""
        return sum(task.docs or 0 for task in self.tasks.values())

    @property
    def weights(self) -> str:
        """The identity of the weights; empty where there is none."""
        return self.backend.model_identity or text(self.compute.get("model_identity")) or ""
