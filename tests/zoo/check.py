"""One family: built, opened by the hf engine, asked, and held against the truth."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from benchbench.backends import open_backend
from benchbench.backends.encode import EncodedPair
from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.agreement import ROUGH, disagreement
from benchbench.backends.protocol import Backend
from benchbench.backends.tokens import Exhausted, Scored
from benchbench.core.errors import BenchbenchError
from benchbench.core.types import Completion, Failure, Loglikelihood, LoglikelihoodRequest, Response, RollingRequest
from tests.zoo.build import build
from tests.zoo.families import Kind
from tests.zoo.oracle import TIE, Oracle, Text, Truth
from tests.zoo.questions import choice_tasks, rolling_texts, writing_tasks

Heard: TypeAlias = dict[tuple[tuple[int, ...], tuple[int, ...]], list[Scored]]
"""What the engine gave, by context and continuation."""
Outcome = Literal["right", "wrong", "refused", "traceback", "not built", "does not run", "time limit"]
TOLERANCE = 1e-3
"""Nats by which a log-likelihood in float32 may differ from that of one text alone."""
RELATIVE = 1e-5
"""The same, as a share of the log-likelihood."""
ROUNDED = ROUGH[torch.bfloat16]
"""By how much the log-probabilities of a text's tokens may differ in bfloat16, from the same weights' in bfloat16."""


@dataclass(slots=True)
class Result:
    """What is known of one family."""

    family: str
    kind: Kind
    outcome: Outcome = "right"
    plan: str = ""
    needed: int = 0
    """Tokens of the choices, each read alone."""
    computed: int = 0
    """Tokens that the model read for them."""
    difference: float = 0.0
    """Largest difference of a choice's log-likelihood, in nats; in bfloat16 of any token's log-probability."""
    rolling: float = 0.0
    """The same for rolling texts."""
    wrong: int = 0
    """How many of the 44 + 4 log-likelihoods differ by more than the tolerance, or in `is_greedy`."""
    texts: int = 0
    """How many of the 7 texts are those of `generate`."""
    cached: int = 0
    """How many of these only with transformers' own cache, with which `generate` is called by default."""
    notes: tuple[str, ...] = ()
    sentence: str = ""
    """Why it was refused, or what went wrong."""
    seconds: float = 0.0
    """Of the processor."""
    failures: list[str] = field(default_factory=list)
    """Requests that were answered by a failure."""


def check(family: str, kind: Kind, dtype: str = "float32") -> Result:
    """Everything about one family; exceptions become outcomes."""
    result = Result(family, kind)
    begun = time.process_time()
    with tempfile.TemporaryDirectory(prefix="zoo-", ignore_cleanup_errors=True) as place:
        try:
            folder = build(family, kind, Path(place))
        except Exception as error:  # noqa: BLE001 (it is what is reported)
            result.outcome, result.sentence = "not built", said(error)
        else:
            _ask(result, folder, dtype)
    result.seconds = time.process_time() - begun
    return result


def _ask(result: Result, folder: Path, dtype: str) -> None:
    try:
        backend = open_backend(ModelOptions(str(folder), backend="hf", device="cpu", dtype=dtype))
        heard = _heard(backend)
        answers = _answers(backend, result)
    except BenchbenchError as error:
        result.outcome, result.sentence = "refused", str(error).replace(str(folder), "MODEL")
        return
    except Exception as error:  # noqa: BLE001 (it is what is reported)
        result.outcome, result.sentence = "traceback", said(error)
        return
    try:
        oracle = Oracle(folder, result.family, result.kind, backend.info.max_length, dtype)
        _compare(result, answers, oracle, heard if dtype == "bfloat16" else None)
    except Exception as error:  # noqa: BLE001 (it is what is reported)
        result.outcome, result.sentence = "does not run", said(error)


def _heard(backend: Any) -> Heard:
    """Takes what the engine gives for each context and continuation from now on."""
    heard: Heard = {}
    score = backend.score_pairs

    def listening(pairs: Sequence[EncodedPair], skip: Collection[int]) -> Iterator[Scored | Exhausted]:
        for scored in score(pairs, skip):
            pair = pairs[scored.request]
            if isinstance(scored, Scored):
                heard.setdefault((pair.context, pair.continuation), []).append(scored)
            yield scored

    backend.score_pairs = listening
    return heard


def _answers(backend: Backend, result: Result) -> list[Response]:
    """Task by task, as a run asks."""
    answers: list[Response] = []
    for task in choice_tasks():
        answers += backend.loglikelihood(task)
    result.needed, result.computed = backend.work.tokens_needed, backend.work.tokens_computed
    answers += backend.loglikelihood_rolling(rolling_texts())
    answers += backend.generate(writing_tasks())
    result.plan, result.notes = backend.info.plan or "", tuple(backend.notes)
    return answers


def _compare(result: Result, answers: Sequence[Response], oracle: Oracle, rounded: Heard | None) -> None:
    """`rounded` is what the engine gave for each text, where rounding may move the tokens of it."""
    tie = TIE if rounded is None else ROUNDED.token
    differing: list[Completion] = []
    for answer in answers:
        match answer:
            case Failure():
                result.failures.append(f"{answer.request.key}: {answer.kind}: {answer.message}")
            case Loglikelihood():
                _compare_score(result, answer, oracle, rounded)
            case Completion():
                truth = oracle.write(answer.request)
                if answer.text == truth.text or _is_tie(answer, truth, oracle, tie):
                    result.texts += 1
                else:
                    differing.append(answer)
    for one in differing:
        if oracle.write(one.request, use_cache=True).text == one.text:
            result.cached += 1
            result.texts += 1
        else:
            result.sentence = f"{one.text!r} instead of {oracle.write(one.request).text!r}"
    if result.wrong or result.failures or result.texts < len(writing_tasks()):
        result.outcome = "wrong"


def _compare_score(result: Result, answer: Loglikelihood, oracle: Oracle, rounded: Heard | None) -> None:
    truth: Truth
    match answer.request:
        case LoglikelihoodRequest():
            truth = oracle.pair(answer.request)
        case RollingRequest():
            truth = oracle.rolling(answer.request)
    off = abs(answer.total - truth.total) if rounded is None else _worst_token(truth, rounded)
    if isinstance(answer.request, RollingRequest):
        result.rolling = max(result.rolling, off)
    else:
        result.difference = max(result.difference, off)
    tie = TIE if rounded is None else ROUNDED.token
    is_close = off <= TOLERANCE + RELATIVE * abs(truth.total) if rounded is None else _is_rounded(truth, rounded)
    result.wrong += not is_close or (answer.is_greedy != truth.is_greedy and truth.margin > tie)


def _worst_token(truth: Truth, rounded: Heard) -> float:
    """The largest difference of a token's log-probability."""
    return max(
        abs(one - other)
        for part in truth.parts
        for scored in rounded[part.context, part.continuation]
        for one, other in zip(scored.logprobs, part.logprobs, strict=True)
    )


def _is_rounded(truth: Truth, rounded: Heard) -> bool:
    """Whether rounding explains every difference, by the engine's own measure."""
    for part in truth.parts:
        alone = Scored(0, sum(part.logprobs), truth.is_greedy, len(part.logprobs), True, part.logprobs)
        given = rounded[part.context, part.continuation]
        if any(disagreement(alone, scored, ROUNDED) is not None for scored in given):
            return False
    return True


def _is_tie(answer: Completion, truth: Text, oracle: Oracle, tie: float) -> bool:
    """Whether the texts part only where two tokens are as likely as each other."""
    for step, margin in enumerate(truth.margins):
        before = oracle.tokenizer.decode(list(truth.tokens[:step]), skip_special_tokens=True)
        if margin <= tie and answer.text.startswith(before.rstrip("\ufffd")):
            return True
    return False


def said(error: BaseException) -> str:
    """The error in a line, with the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/benchbench/" in frame.filename]
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in (ours[-1:] + frames[-1:])]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({', '.join(places)})"
