"""What every engine that works on tokens has in common: requests to tokens, tokens' answers to responses.

An engine says how pairs are scored and how jobs are written; failures, windows, keys and counts are the same for all.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchbench.backends.chat import ChatTemplate
from benchbench.backends.encode import EncodedContext, EncodedPair, Encoder, Unencodable
from benchbench.backends.engines import Abilities, refusal
from benchbench.backends.protocol import NOTHING, RequestKeys, Work
from benchbench.backends.writing import Job, Written, seed_text
from benchbench.core.ids import canonical_json
from benchbench.core.types import (
    BackendInfo,
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    RollingRequest,
)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Scored:
    """Log-likelihood of one request's targets. `finite` is False where the model gave NaN or infinity."""

    request: int
    total: float
    is_greedy: bool
    num_tokens: int
    finite: bool
    logprobs: tuple[float, ...] = ()
    """Of each target, where the engine tells them."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """A request that this engine cannot answer, because it alone does not fit the memory or for another `kind`."""

    request: int
    message: str
    kind: str = "out_of_memory"


def not_finite(request: int) -> Exhausted:
    """A text that cannot go on: among the scores of its next token one is NaN, or none is finite."""
    return Exhausted(request, "The model's scores of the next token are not finite numbers.", "nan_logits")


class TokenBackend(ABC):
    """The request methods of `Backend` over an engine that scores token pairs and continues token contexts."""

    info: BackendInfo
    abilities = Abilities()

    def __init__(self, *, keep_tokens: bool = False) -> None:
        self.work = Work()
        self.keep_tokens = keep_tokens
        """Keep the tokens of every task, not of the last one only."""
        self._encoded: dict[tuple[str, int, int], tuple[Request, Any]] = {}
        self._keys: dict[tuple[str, int, int], tuple[Sequence[Request], str]] = {}
        """The key of a doc, by the key of its first request."""
        self._encoder: Encoder

    @property
    def chat(self) -> ChatTemplate:
        """How this model writes a conversation down. ModelError where its tokenizer has no chat template."""
        return self._encoder.chat

    @abstractmethod
    def score_pairs(self, pairs: Sequence[EncodedPair], skip: Collection[int]) -> Iterator[Scored | Exhausted]:
        """Score each pair, naming it by its index, in any order; `skip` names those that need no answer."""

    @abstractmethod
    def write_jobs(self, jobs: Sequence[Job], skip: Collection[int]) -> Iterator[Written | Exhausted]:
        """Continue each context, naming it by its index, in any order; `skip` names those that need no answer."""

    def counted(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        """The answers of an engine, with `work` brought up to date at each."""
        for answer in answers:
            self.count_work()
            yield answer
        self.count_work()

    @abstractmethod
    def count_work(self) -> None:
        """Bring `work` up to date with what the engine has counted."""

    def refuses(self, params: GenerationParams) -> str | None:
        """Why this engine cannot write with these settings, or None if it can."""
        return refusal(params, self.info.name, self.abilities)

    def request_keys(self, docs: Sequence[Sequence[Request]]) -> list[str]:
        """One hash per doc over the tokens that its requests ask the model."""
        if not self.keep_tokens:
            self.forget_tokens()
        new = [doc for doc in docs if doc and not self._knows(doc)]
        self._encode([request for doc in new for request in doc])
        for doc in new:
            self._keys[doc[0].key] = (doc, self._doc_key(doc))
        return [self._keys[doc[0].key][1] if doc else self._doc_key(doc) for doc in docs]

    def forget_tokens(self) -> None:
        """Drop what was encoded."""
        self._encoded.clear()
        self._keys.clear()

    def _knows(self, doc: Sequence[Request]) -> bool:
        """Whether this very doc, not one of the same name, was encoded before."""
        known = self._keys.get(doc[0].key, ((), ""))[0]
        return len(known) == len(doc) and all(one is other for one, other in zip(known, doc, strict=True))

    def _doc_key(self, doc: Sequence[Request]) -> str:
        digest = hashlib.sha256()
        for request in doc:
            encoded = self._encoded[request.key][1]
            digest.update(type(request).__name__.encode())
            if isinstance(request, RollingRequest):
                _add_tokens(digest, [token for pair in encoded for token in pair.continuation])
            elif isinstance(encoded, Unencodable):
                digest.update(encoded.kind.encode())
            else:
                _add_tokens(digest, encoded.context)
                if isinstance(encoded, EncodedPair):
                    _add_tokens(digest, encoded.continuation)
            if isinstance(request, GenerateRequest):
                digest.update(canonical_json(request.params.as_json()).encode())
                if request.params.do_sample:
                    digest.update(seed_text(request).encode())
        return digest.hexdigest()

    def _encode(self, requests: Sequence[Request]) -> list[Any]:
        """Tokens of each request; what `request_keys` has encoded is not encoded again."""
        todo = [r for r in requests if self._encoded.get(r.key, (None,))[0] is not r]
        pairs = [r for r in todo if isinstance(r, LoglikelihoodRequest)]
        contexts = [r for r in todo if isinstance(r, GenerateRequest)]
        for request, encoded in zip(pairs, self._encoder.pairs(pairs), strict=True):
            self._encoded[request.key] = (request, encoded)
        for generate, context in zip(contexts, self._encoder.contexts(contexts), strict=True):
            self._encoded[generate.key] = (generate, context)
        for rolling in todo:
            if isinstance(rolling, RollingRequest):
                self._encoded[rolling.key] = (rolling, self._encoder.windows(rolling))
        return [self._encoded[r.key][1] for r in requests]

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """Score each continuation after its prompt."""
        encoded = self._encode(requests)
        places: list[int] = []
        for i, (request, pair) in enumerate(zip(requests, encoded, strict=True)):
            if isinstance(pair, Unencodable):
                if request.key not in skip:
                    yield Failure(request, pair.kind, pair.message)
            elif not pair.continuation:
                if request.key not in skip:
                    yield Loglikelihood(request, 0.0, True, 0, len(pair.context), pair.dropped_shots)
            else:
                places.append(i)
        pairs: list[EncodedPair] = [encoded[i] for i in places]
        skipped = {place for place, i in enumerate(places) if requests[i].key in skip}
        for scored in self._count_needed(pairs, skipped):
            request, pair = requests[places[scored.request]], pairs[scored.request]
            if isinstance(scored, Exhausted):
                yield Failure(request, scored.kind, scored.message)
            elif not scored.finite:
                yield Failure(request, "nan_logits", "The model's log-probability of this text is not a finite number.")
            else:
                yield Loglikelihood(
                    request,
                    scored.total,
                    scored.is_greedy,
                    scored.num_tokens,
                    len(pair.context),
                    pair.dropped_shots,
                    pair.truncated_tokens,
                )

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """Score each whole text in disjoint windows of the model's length."""
        windows: list[list[EncodedPair]] = self._encode(requests)
        owner = [i for i, pairs in enumerate(windows) for _ in pairs]
        flat = [pair for pairs in windows for pair in pairs]
        skipped = {place for place, i in enumerate(owner) if requests[i].key in skip}
        parts: dict[int, list[Scored | Exhausted]] = {}
        for request, pairs in zip(requests, windows, strict=True):
            if not pairs and request.key not in skip:
                yield Loglikelihood(request, 0.0, True, 0)
        for scored in self._count_needed(flat, skipped):
            i = owner[scored.request]
            parts.setdefault(i, []).append(scored)
            if len(parts[i]) == len(windows[i]):
                yield _rolled(requests[i], parts.pop(i))

    def _count_needed(self, pairs: Sequence[EncodedPair], skip: Collection[int]) -> Iterator[Scored | Exhausted]:
        self.work.tokens_needed += sum(len(pair.inputs) for i, pair in enumerate(pairs) if i not in skip)
        return self.score_pairs(pairs, skip)

    def generate(
        self, requests: Sequence[GenerateRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Completion | Failure]:
        """Write text after each prompt."""
        encoded = self._encode(requests)
        refused = {params: self.refuses(params) for params in dict.fromkeys(r.params for r in requests)}
        places: list[int] = []
        for i, (request, context) in enumerate(zip(requests, encoded, strict=True)):
            why = refused[request.params]
            problem = context if why is None else Unencodable("unsupported", why)
            if not isinstance(problem, Unencodable):
                places.append(i)
            elif request.key not in skip:
                yield Failure(request, problem.kind, problem.message)
        contexts: list[EncodedContext] = [encoded[i] for i in places]
        jobs = [
            Job(context.context, requests[i].params, seed_text(requests[i]))
            for i, context in zip(places, contexts, strict=True)
        ]
        skipped = {place for place, i in enumerate(places) if requests[i].key in skip}
        self.work.tokens_needed += sum(len(job.context) for i, job in enumerate(jobs) if i not in skipped)
        for written in self.write_jobs(jobs, skipped):
            request, context = requests[places[written.request]], contexts[written.request]
            if isinstance(written, Exhausted):
                yield Failure(request, written.kind, written.message)
                continue
            self.work.tokens_needed += written.num_tokens
            yield Completion(
                request,
                written.text,
                written.finish_reason,
                written.num_tokens,
                len(context.context),
                context.dropped_shots,
                context.truncated_tokens,
            )


def _rolled(request: RollingRequest, parts: Sequence[Scored | Exhausted]) -> Loglikelihood | Failure:
    scored = [part for part in parts if isinstance(part, Scored)]
    for part in parts:
        if isinstance(part, Exhausted):
            return Failure(request, part.kind, part.message)
    if not all(part.finite for part in scored):
        return Failure(request, "nan_logits", "The model's log-probability of this text is not a finite number.")
    total = sum(part.total for part in sorted(scored, key=lambda s: s.request))
    return Loglikelihood(
        request, total, all(part.is_greedy for part in scored), sum(part.num_tokens for part in scored)
    )


def first_line(error: BaseException) -> str:
    """The first line of an engine's message, or the error's name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _add_tokens(digest: Any, tokens: Sequence[int]) -> None:
    digest.update(len(tokens).to_bytes(8, "little"))
    digest.update(array("q", tokens).tobytes())
