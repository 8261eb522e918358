"""The values that travel between the rooms: docs, prompts, requests, responses, items.

Frozen dataclasses (`quick_dataclass` where there are several for each doc) and the standard library only, so that
importing them costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

from benchbench.core.chat import ChatWriter, Conversation, Message, Overflow
from benchbench.core.quick_dataclass import quick_dataclass

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

OutputType = Literal["multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until"]
FinishReason = Literal["stop", "eos", "length"]
Outcome = Literal["answered", "unanswered", "truncated", "failed"]


WINDOW = 20_000
"""Docs of a task that are held in memory, asked and written together; a task of more is done window by window."""


@quick_dataclass(frozen=True, slots=True)
class Doc:
    """One row of a data set, with the fields that the task derives from it."""

    id: int
    """Position in the evaluated split, from 0: the same number that lm-eval calls `doc_id`."""
    fields: Mapping[str, Json]
    hash: str
    """sha256 of the row as canonical JSON, first 16 hex digits: joins the items of two runs."""
    cluster: str | None = None
    """Name of the passage or source document that this doc shares with others, if any."""


@quick_dataclass(frozen=True, slots=True)
class Prompt:
    """The text before a continuation, kept in the parts that may be dropped when it is too long."""

    description: str
    shots: tuple[str, ...]
    """Worked examples, each with its trailing delimiter. Docs of one task share this tuple."""
    question: str
    overflow: Overflow = "drop_shots"
    """What to do when the prompt does not fit: drop whole shots, then the description, then cut
    tokens on the left; or only cut on the left, as lm-eval does."""

    @property
    def text(self) -> str:
        """The whole prompt, as the model sees it when nothing is dropped."""
        return self.description + "".join(self.shots) + self.question

    @property
    def asked(self) -> str:
        """What the doc itself asks."""
        return self.question

    @property
    def messages(self) -> tuple[Message, ...]:
        """None: it is no conversation."""
        return ()

    @property
    def shared(self) -> tuple[str, ...]:
        """What the docs of a task have in common: description and shots."""
        return (self.description, *self.shots)

    @property
    def answer_begins_turn(self) -> bool:
        """See Conversation: there are no turns."""
        return False

    def written(self, chat: ChatWriter | None) -> str:
        """As the model reads it: `text`, whatever the chat template."""
        return self.text

    def continued(self, chat: ChatWriter | None, continuation: str) -> str:
        """What follows `written` where the answer is `continuation`: just that."""
        return continuation

    def shorter(self) -> Prompt | None:
        """The next shorter prompt (one shot less, then no description), or None if none is left."""
        if self.overflow == "truncate_left":
            return None
        if self.shots:
            return Prompt(self.description, self.shots[1:], self.question, self.overflow)
        if self.description:
            return Prompt("", (), self.question, self.overflow)
        return None


@quick_dataclass(frozen=True, slots=True)
class RequestOfDoc:
    """What every request says: what it belongs to."""

    task: str
    doc_id: int
    index: int
    """Which request of the doc this is, from 0. Choices come first, in their order."""

    @property
    def key(self) -> tuple[str, int, int]:
        """(task, doc_id, index): unique within a run."""
        return (self.task, self.doc_id, self.index)


@quick_dataclass(frozen=True, slots=True)
class LoglikelihoodRequest(RequestOfDoc):
    """Ask how likely `continuation` is after `prompt`. The joining space belongs to `continuation`."""

    prompt: Prompt | Conversation
    continuation: str


@quick_dataclass(frozen=True, slots=True)
class RollingRequest(RequestOfDoc):
    """Ask how likely `text` is as a whole, in windows of the model's length."""

    text: str


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """How to generate. Names are those of transformers' `generate`."""

    until: tuple[str, ...]
    """Stop strings. The text ends before the first of them."""
    max_gen_toks: int = 256
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    num_beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    seed: int = 0
    """Seeds sampling together with the doc and repeat number, so that order does not matter."""
    src_lang: str | None = None
    """Language of the prompt, where it is a bare sentence for a translation model: a FLORES code such as `ces_Latn`, or
    a code of the model's own tokenizer."""
    tgt_lang: str | None = None
    """Language to write in: a translation model begins with its token."""

    def as_json(self) -> dict[str, Json]:
        """Every setting; the languages only where there are any, so that other settings keep their fingerprints."""
        return {name: value for name, value in asdict(self).items() if value is not None or name not in LANGUAGES}


LANGUAGES = ("src_lang", "tgt_lang")
"""Settings of `GenerationParams` that only translation models have."""


@quick_dataclass(frozen=True, slots=True)
class GenerateRequest(RequestOfDoc):
    """Ask for text after `prompt`."""

    prompt: Prompt | Conversation
    params: GenerationParams


Request: TypeAlias = LoglikelihoodRequest | RollingRequest | GenerateRequest


@quick_dataclass(frozen=True, slots=True)
class Loglikelihood:
    """Answer to a loglikelihood or rolling request."""

    request: LoglikelihoodRequest | RollingRequest
    total: float
    """Sum of the natural log-probabilities of the scored tokens."""
    is_greedy: bool
    """Every scored token was the most likely one."""
    num_tokens: int
    """How many tokens were scored."""
    prompt_tokens: int = 0
    dropped_shots: int = 0
    truncated_tokens: int = 0
    """Tokens cut on the left because the prompt did not fit the model."""


@quick_dataclass(frozen=True, slots=True)
class Completion:
    """Answer to a generate request."""

    request: GenerateRequest
    text: str
    """What the model wrote, before the first stop string."""
    finish_reason: FinishReason
    num_tokens: int
    prompt_tokens: int = 0
    dropped_shots: int = 0
    truncated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that could not be answered; never an incorrect answer."""

    request: Request
    kind: str
    """Short machine name, e.g. `nan_logits`, `server_error`."""
    message: str


PASSING_FAILURES = frozenset(
    [
        "rate_limited",
        "server_error",
        "timeout",
        "unreachable",
        "connection",
        "bad_answer",
        "out_of_memory",
        "worker_died",
    ]
)
"""Kinds of failures that may be gone the next time: such docs are asked again. Any other kind stays as it is."""

Response: TypeAlias = Loglikelihood | Completion | Failure


@quick_dataclass(frozen=True, slots=True)
class RenderedDoc:
    """A doc turned into requests, with all that scoring needs besides the responses."""

    task: str
    doc: Doc
    requests: tuple[Request, ...]
    choices: tuple[str, ...] = ()
    """Choices as rendered, without the delimiter (multiple choice)."""
    gold: tuple[int, ...] = ()
    """Indices of the right choices (multiple choice). More than one where several are right."""
    targets: tuple[str, ...] = ()
    """Right texts (all other output types); the first is the one shown in shots."""
    prompt_name: str = "default"
    turns: tuple[str, ...] = ()
    """The user's questions where the doc is a conversation: a request each and, with repeats, so many times over. The
    prompts of later requests hold `turns.PENDING` for the answers that are not there yet."""

    @property
    def question(self) -> str:
        """What the doc asks, without description and shots; where its requests ask differently, one below the other."""
        texts: dict[str, None] = {}
        prompt: Prompt | Conversation | None = None
        for request in self.requests:
            if isinstance(request, RollingRequest):
                texts[request.text] = None
            elif request.prompt is not prompt:  # choices mostly share it
                prompt = request.prompt
                texts[prompt.asked] = None
        return "\n".join(texts)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One entry of a task's `metric_list`, resolved."""

    name: str
    aggregation: str = "mean"
    higher_is_better: bool = True
    kwargs: Mapping[str, Json] = field(default_factory=dict)
    bounds: tuple[float, float] | None = None
    """Smallest and largest possible score, where a metric of another package states them; those of ours are in
    `core.registry`."""

    def as_json(self) -> dict[str, Json]:
        """The entry as JSON; bounds only where they are stated, so that other tasks keep their fingerprints."""
        return {name: value for name, value in asdict(self).items() if value is not None or name != "bounds"}


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """One named pipeline of `filter_list`: text filters applied in order."""

    name: str
    steps: tuple[tuple[str, Mapping[str, Json]], ...]
    """(filter name, keyword arguments)."""


@dataclass(frozen=True, slots=True)
class ScoringSpec:
    """All that scoring needs to know of a task. Travels in the run record, so reading needs no task."""

    task: str
    output_type: OutputType
    metrics: tuple[MetricSpec, ...]
    filters: tuple[FilterSpec, ...] = ()
    chance: float | None = None

    def as_json(self) -> dict[str, Json]:
        """The whole of it as JSON, as run records hold it."""
        return {**asdict(self), "metrics": [metric.as_json() for metric in self.metrics]}


@quick_dataclass(frozen=True, slots=True)
class ItemScore:
    """What scoring says of one doc."""

    scores: Mapping[str, float | None]
    """Metric name → item score. None where the metric has no value for this item."""
    prediction: str | None
    """The chosen choice's index as text (multiple choice), or the filtered text."""
    outcome: Outcome
    tie: bool = False
    """The most likely choice was not unique."""
    explanation: str | None = None


@quick_dataclass(frozen=True, slots=True)
class Item:
    """One row of the item table: a scored doc under one prompt. Column names are these names."""

    task: str
    doc_id: int
    doc_hash: str
    cluster: str | None
    prompt_name: str
    item_key: str
    """sha256 of what was asked (tokens or texts, and generation settings): equal keys under equal
    model identity mean that the responses may be reused."""
    gold: str | None
    """Index of the right choice as text, or the first target."""
    targets: tuple[str, ...]
    """Choices of a multiple choice doc, else the right texts."""
    prediction: str | None
    outcome: Outcome
    tie: bool
    loglikelihoods: tuple[float, ...]
    """One per loglikelihood request, choices first; empty for generation."""
    is_greedy: tuple[bool, ...]
    num_tokens: tuple[int, ...]
    """Tokens scored or generated, one per request."""
    texts: tuple[str, ...]
    """Raw completions, one per repeat; empty for loglikelihoods."""
    finish_reasons: tuple[str, ...]
    dropped_shots: int
    truncated_tokens: int
    failure: str | None
    scores: Mapping[str, float | None]
    """Item scores; each becomes a column of its own in the parquet part."""
    prompt_tokens: tuple[int, ...] = ()
    """Tokens before the scored or generated ones, one per request."""

    @property
    def failed_for_now(self) -> bool:
        """It failed for a reason that may be gone the next time."""
        return self.failure is not None and self.failure.partition(":")[0] in PASSING_FAILURES


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of one task or group over all its items: a row of the results table."""

    task: str
    metric: str
    value: float | None
    stderr: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    n_clusters: int | None = None
    se_method: str | None = None
    """clt, cluster, wilson, ratio, jackknife, delong, group: how the interval was made."""
    higher_is_better: bool = True
    note: str | None = None
    """Why a value is missing, or what to know when reading it (e.g. sacrebleu's signature)."""


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """Who computed: everything that makes two responses comparable or not."""

    name: str
    version: str
    model: str
    """What the user named: a folder, a hub name, a file."""
    model_identity: str
    """sha256 over the weights' content and the configuration that shapes the computation."""
    tokenizer_identity: str
    dtype: str
    device: str
    max_length: int
    vocab_size: int
    revision: str | None = None
    num_parameters: int | None = None
    plan: str = "plain"
    """How requests were laid out: packed, branched, plain."""
    numerics: str = ""
    """Everything else that moves a log-likelihood beyond rounding (quantisation, kernels)."""
    chosen: str = ""
    """Why this engine, where the choice was left to benchbench."""
