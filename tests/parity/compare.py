"""One task at one number of shots, benchbench against lm-eval, at three levels: prompts, log-likelihoods, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbench.backends.protocol import ChatFormat
from benchbench.core.chat import ChatSettings, Conversation
from benchbench.core.types import Completion, GenerateRequest, Loglikelihood, Response, RollingRequest
from benchbench.tasks.task import PreparedTask
from tests.parity import ours, upstream
from tests.parity.tasks import NOTES, Definition, definition_of, packaged

LOGLIKELIHOOD_TOLERANCE = 1e-3
"""Largest absolute difference of a log-likelihood, fp32 on both sides."""
SOFTMAX_ROUNDING = 2e-5
"""Most that torch's fp32 log-softmax is off per token (measured: mean 8e-6, largest 1.6e-5, vocabulary 49,152)."""
METRIC_TOLERANCE = 1e-9
"""Largest relative difference of a metric made from the same responses."""
END_TO_END_TOLERANCE = 1e-3
"""Largest relative difference of a metric made from each side's own responses."""


OUR_NAMES = {"exact": "exact_match"}
"""FrenchBench's own metrics whose names are others here."""


@dataclass(frozen=True)
class Model:
    """The model both sides open, in fp32 on the CPU."""

    path: str
    batch_size: int = 16
    """Of lm-eval's backend."""
    trust_remote_code: bool = False
    chat: ChatSettings | None = None
    """Put every prompt through the model's chat template, on both sides."""
    only_prompts: bool = False
    """It gives its chat template and is not asked anything."""


@dataclass
class Row:
    """What the comparison of one task at one number of shots found."""

    task: str
    num_fewshot: int
    docs: int
    prompts: int = 0
    prompts_equal: int = 0
    first_difference: str | None = None
    loglikelihoods: int = 0
    largest_difference: float | None = None
    """Of a log-likelihood, absolute, in nats."""
    generations: int = 0
    generations_equal: int = 0
    failures: int = 0
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Metric → lm_eval, from its responses, from our responses."""
    problems: list[str] = field(default_factory=list)
    note: str | None = None
    definition: Definition = "lm-eval"
    """Whose definition lm-eval was given."""

    @property
    def ok(self) -> bool:
        return not self.problems


def compare(
    name: str, num_fewshot: int, *, data_root: Path, limit: int | None, model: Model | None = None, adapt: bool = False
) -> Row:
    """Compare one task. Without a model only the prompts.

    Args:
        adapt: on both sides do without splits that the data root lacks, and say so in the note.
    """
    source = upstream.fitted(name, data_root) if adapt else upstream.Source(data_root)
    task = upstream.load(name, source, num_fewshot)
    chat = None if model is None or model.chat is None else upstream.Chat(model.path, model.chat)
    theirs = upstream.build(task, limit, chat)
    prepared = ours.load(name, source, num_fewshot, limit, None if model is None else model.chat)
    row = Row(name, num_fewshot, len(theirs), note=_note(name, source, chat), definition=definition_of(name))
    template = None if model is None or chat is None else ours.backend(model.path, model.trust_remote_code).chat
    _prompts(row, prepared, theirs, template)
    if model is not None and not model.only_prompts and row.ok:
        upstream.answer(model.path, theirs, model.batch_size, model.trust_remote_code)
        responses = ours.answer(ours.backend(model.path, model.trust_remote_code), prepared)
        _responses(row, theirs, responses, model)
        compare_metrics(row, prepared, task, theirs, responses)
    return row


def _note(name: str, source: upstream.Source, chat: upstream.Chat | None) -> str | None:
    """What a reader of the row should know: which keys differ from the task files, on both sides."""
    changed = {key.removesuffix("_split"): value for key, value in source.overrides.items()}
    lacking = [key for key, value in changed.items() if value is None]
    parts = [NOTES[name]] if name in NOTES else []
    if chat is not None and packaged().task(name).output_type == "loglikelihood":
        parts.append("lm-eval leaves a space between the assistant's header and the target; taken away on its side")
    parts += [f"the data root has {key} {value}" for key, value in changed.items() if value is not None]
    parts += [f"the data root lacks the split for {', '.join(lacking)}"] if lacking else []
    return "; ".join(parts) or None


def _prompts(
    row: Row, prepared: PreparedTask, theirs: Sequence[Sequence[Any]], template: ChatFormat | None = None
) -> None:
    if len(prepared.docs) != len(theirs):
        row.problems.append(f"{len(prepared.docs)} docs, lm-eval has {len(theirs)}")
    for doc, instances in zip(prepared.docs, theirs, strict=False):
        mine, other = [text_of(r, template) for r in doc.requests], [upstream_text(i) for i in instances]
        for position in range(max(len(mine), len(other))):
            row.prompts += 1
            a = mine[position] if position < len(mine) else None
            b = other[position] if position < len(other) else None
            row.prompts_equal += a == b
            if a != b and row.first_difference is None:
                row.first_difference = f"doc {doc.doc.id}, request {position}: {_difference(a, b)}"
    if row.prompts_equal != row.prompts:
        row.problems.append(f"{row.prompts - row.prompts_equal} prompts differ")


def text_of(request: Any, template: ChatFormat | None = None) -> tuple[Any, ...]:
    """Everything of a request of ours that a model is asked with, as text and numbers."""
    if isinstance(request, RollingRequest):
        return (request.text,)
    is_chat = template is not None and isinstance(request.prompt, Conversation)
    prompt = template.text(request.prompt) if template is not None and is_chat else request.prompt.text
    if isinstance(request, GenerateRequest):
        params = request.params
        return (prompt, params.until, params.max_gen_toks, params.do_sample)
    if template is not None and is_chat:
        return (prompt, template.continuation(request.prompt, request.continuation))
    return (prompt, request.continuation)


def upstream_text(instance: Any) -> tuple[Any, ...]:
    """The same of lm-eval's `Instance`."""
    if instance.request_type != "generate_until":
        return tuple(instance.args)
    context, settings = instance.args
    return (context, tuple(settings["until"]), settings.get("max_gen_toks", 256), settings.get("do_sample", False))


def _difference(a: tuple[Any, ...] | None, b: tuple[Any, ...] | None) -> str:
    if a is None or b is None:
        return "only lm-eval has it" if a is None else "lm-eval does not have it"
    x, y = next((x, y) for x, y in zip(a, b, strict=False) if x != y) if len(a) == len(b) else (a, b)
    if not (isinstance(x, str) and isinstance(y, str)):
        return f"{x!r}, lm-eval {y!r}"
    at = next((i for i, (c, d) in enumerate(zip(x, y, strict=False)) if c != d), min(len(x), len(y)))
    return f"at character {at}: {x[max(0, at - 20) : at + 40]!r}, lm-eval {y[max(0, at - 20) : at + 40]!r}"


def _responses(
    row: Row, theirs: Sequence[Sequence[Any]], responses: Sequence[Sequence[Response]], model: Model
) -> None:
    far: list[tuple[Any, Loglikelihood]] = []
    for instances, said in zip(theirs, responses, strict=True):
        for instance, mine in zip(instances, said, strict=True):
            raw = instance.resps[0]
            if isinstance(mine, Loglikelihood):
                total, greedy = (raw, mine.is_greedy) if isinstance(raw, float) else raw
                row.loglikelihoods += 1
                row.largest_difference = max(row.largest_difference or 0.0, abs(total - mine.total))
                if not abs(total - mine.total) <= LOGLIKELIHOOD_TOLERANCE:  # so that NaN is far too
                    far.append((instance, mine))
                if greedy != mine.is_greedy:
                    row.problems.append(f"doc {instance.doc_id}: is_greedy differs")
            elif isinstance(mine, Completion):
                row.generations += 1
                row.generations_equal += mine.text == raw
                if mine.text != raw and row.first_difference is None:
                    row.first_difference = f"doc {instance.doc_id}: {_difference((mine.text,), (raw,))}"
            else:
                row.failures += 1
    if far:
        _judge_far(row, far, model)
    if row.generations_equal != row.generations:
        row.problems.append(f"{row.generations - row.generations_equal} generations differ")
    if row.failures:
        row.problems.append(f"{row.failures} requests failed")


def _judge_far(row: Row, far: Sequence[tuple[Any, Loglikelihood]], model: Model) -> None:
    """Tell lm-eval's rounding from a disagreement: an exact softmax removes it, and it is small for each token."""
    instances = [instance for instance, _ in far]
    exact = upstream.answer_with_exact_softmax(model.path, instances, model.batch_size, model.trust_remote_code)
    gaps, unexplained = [], 0
    for value, (instance, mine) in zip(exact, far, strict=True):
        raw = instance.resps[0]
        rounding = abs((raw if isinstance(raw, float) else raw[0]) - value)
        gaps.append(abs(value - mine.total))
        unexplained += not (gaps[-1] <= LOGLIKELIHOOD_TOLERANCE and rounding <= SOFTMAX_ROUNDING * mine.num_tokens)
    if unexplained:
        row.problems.append(f"{unexplained} log-likelihoods differ, the largest by {row.largest_difference:.2g}")
        return
    said = f"{len(far)} log-likelihoods are further off by lm-eval's fp32 softmax alone; with its softmax_dtype=float64"
    row.note = "; ".join(part for part in (row.note, f"{said} the largest difference is {max(gaps):.1e}") if part)


def compare_metrics(
    row: Row,
    prepared: PreparedTask,
    task: Any,
    theirs: Sequence[Sequence[Any]],
    responses: Sequence[Sequence[Response]],
) -> None:
    """Put every metric that lm-eval reports into the row, and what disagrees into its problems."""
    expected = upstream.metrics(task, theirs)
    several = len({pipeline for _, pipeline in expected}) > 1
    shared = [
        [ours.response(request, instance.resps[0]) for request, instance in zip(doc.requests, instances, strict=True)]
        for doc, instances in zip(prepared.docs, theirs, strict=True)
    ]
    same = ours.metrics(prepared, ours.score(prepared, shared))
    own = ours.metrics(prepared, ours.score(prepared, responses))
    for (their_name, pipeline), value in expected.items():
        metric = OUR_NAMES.get(their_name, their_name)
        name = f"{metric},{pipeline}" if several else metric
        row.metrics[name] = {"lm_eval": value, "same_responses": same.get(name), "end_to_end": own.get(name)}
        if not _close(same.get(name), value, METRIC_TOLERANCE):
            row.problems.append(f"{name}: {same.get(name)} from lm-eval's own responses, lm-eval {value}")
        if not _close(own.get(name), value, END_TO_END_TOLERANCE):
            row.problems.append(f"{name}: {own.get(name)} end to end, lm-eval {value}")


def _close(value: float | None, expected: float, tolerance: float) -> bool:
    return value is not None and abs(value - expected) <= tolerance * max(1.0, abs(expected))
