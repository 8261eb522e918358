"""The transformers backend: requests in, responses out, through the prefix plan."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from benchbench.backends import ModelOptions
from benchbench.backends.encode import EncodedContext, EncodedPair, Encoder, Unencodable
from benchbench.backends.hf.causal import CausalModel, Scored
from benchbench.backends.hf.generate import Generator, Job
from benchbench.backends.hf.load import load_model
from benchbench.backends.hf.loaded import LoadedModel
from benchbench.backends.hf.scorer import Exhausted, PairScorer
from benchbench.backends.hf.source import split_revision
from benchbench.backends.hf.swap import load_weights_into
from benchbench.backends.plan import Limits
from benchbench.backends.protocol import NOTHING, RequestKeys, Work
from benchbench.core.ids import canonical_json
from benchbench.core.types import (
    BackendInfo,
    Completion,
    Failure,
    GenerateRequest,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    RollingRequest,
)

VERSION = "1"
"""Raised when a change of ours moves a log-likelihood beyond rounding: results of old versions are not reused."""
LOGIT_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}
"""How much memory one batch's logits may take, as fp32."""


class HFBackend:
    """Any causal or sequence-to-sequence model that transformers can load, on the CPU or one GPU."""

    def __init__(self, options: ModelOptions, loaded: LoadedModel | None = None) -> None:
        """Opens the model that `options` names, unless it is `loaded` already."""
        self.options = options
        self.loaded = load_model(options) if loaded is None else loaded
        self.work = Work()
        self._encoded: dict[tuple[str, int, int], tuple[Request, Any]] = {}
        self._keys: dict[tuple[str, int, int], tuple[Sequence[Request], str]] = {}
        """The key of a doc, by the key of its first request."""
        self._encoder = Encoder(self.loaded.tokenizer, self.loaded.max_length, self.loaded.architecture)
        self._start_engine()
        self.info = self._describe()

    def _start_engine(self) -> None:
        loaded = self.loaded
        self._limits = _limits(self.options, loaded)
        self._seq2seq: Any = None
        if loaded.architecture == "seq2seq":
            from benchbench.backends.hf.seq2seq import Seq2SeqEngine

            self._seq2seq = Seq2SeqEngine(loaded, self._limits.batch_tokens)
            return
        self._model = CausalModel(loaded.model, loaded.device)
        self._scorer = PairScorer(self._model, self._limits, plan=self.options.plan, config=loaded.model.config)
        self._generator = Generator(self._model, loaded.tokenizer, self._scorer, self._limits)

    def _describe(self) -> BackendInfo:
        loaded = self.loaded
        return BackendInfo(
            name="hf",
            version=VERSION,
            model=self.options.model,
            model_identity=loaded.identity,
            tokenizer_identity=loaded.tokenizer_identity,
            dtype=loaded.dtype,
            device=str(loaded.device),
            max_length=loaded.max_length,
            vocab_size=int(loaded.model.config.get_text_config().vocab_size),
            revision=loaded.revision,
            num_parameters=loaded.num_parameters,
            plan="plain" if self._seq2seq is not None else self._scorer.layout,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about this model that a reader of its results should see."""
        own = () if self._seq2seq is not None else tuple(self._scorer.notes)
        return (*self.loaded.notes, *own)

    def request_keys(self, docs: Sequence[Sequence[Request]]) -> list[str]:
        """One hash per doc over the tokens that its requests put to the model."""
        if not self.options.keep_tokens:
            self._encoded.clear()
            self._keys.clear()
        new = [doc for doc in docs if doc and not self._knows(doc)]
        self._encode([request for doc in new for request in doc])
        for doc in new:
            self._keys[doc[0].key] = (doc, self._doc_key(doc))
        return [self._keys[doc[0].key][1] if doc else self._doc_key(doc) for doc in docs]

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
                digest.update(canonical_json(asdict(request.params)).encode())
                if request.params.do_sample:
                    digest.update(_seed_text(request).encode())
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
        for scored in self._score(pairs, skipped):
            request, pair = requests[places[scored.request]], pairs[scored.request]
            if isinstance(scored, Exhausted):
                yield Failure(request, "out_of_memory", scored.message)
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
        for scored in self._score(flat, skipped):
            i = owner[scored.request]
            parts.setdefault(i, []).append(scored)
            if len(parts[i]) == len(windows[i]):
                yield _rolled(requests[i], parts.pop(i))

    def _score(self, pairs: Sequence[EncodedPair], skip: set[int]) -> Iterator[Scored | Exhausted]:
        self.work.tokens_needed += sum(len(pair.inputs) for i, pair in enumerate(pairs) if i not in skip)
        engine = self._seq2seq if self._seq2seq is not None else self._scorer
        for scored in engine.score(pairs, skip):
            self._count()
            yield scored
        self._count()

    def generate(
        self, requests: Sequence[GenerateRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Completion | Failure]:
        """Write text after each prompt."""
        encoded = self._encode(requests)
        places: list[int] = []
        for i, (request, context) in enumerate(zip(requests, encoded, strict=True)):
            if not isinstance(context, Unencodable):
                places.append(i)
            elif request.key not in skip:
                yield Failure(request, context.kind, context.message)
        contexts: list[EncodedContext] = [encoded[i] for i in places]
        jobs = [
            Job(context.context, requests[i].params, _seed_text(requests[i]))
            for i, context in zip(places, contexts, strict=True)
        ]
        skipped = {place for place, i in enumerate(places) if requests[i].key in skip}
        self.work.tokens_needed += sum(len(job.context) for i, job in enumerate(jobs) if i not in skipped)
        engine = self._seq2seq if self._seq2seq is not None else self._generator
        for written in engine.write(jobs, skipped):
            self._count()
            request, context = requests[places[written.request]], contexts[written.request]
            if isinstance(written, Exhausted):
                yield Failure(request, "out_of_memory", written.message)
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

    def _count(self) -> None:
        if self._seq2seq is not None:
            self.work.tokens_computed = self._seq2seq.computed_tokens
            self.work.batches, self.work.out_of_memory_retries = self._seq2seq.batches, self._seq2seq.retries
            return
        if self.info.plan != self._scorer.layout:
            self.info = replace(self.info, plan=self._scorer.layout)
        self.work.tokens_computed = self._model.computed_tokens
        self.work.batches = self._scorer.batches
        self.work.out_of_memory_retries = self._scorer.retries + self._generator.retries

    def load_weights(self, checkpoint: str) -> None:
        """Swap in another checkpoint of the same architecture; nothing computed with the old one is kept."""
        self.loaded.identity = load_weights_into(self.loaded, checkpoint)
        self._now_is(*split_revision(checkpoint))

    def _now_is(self, name: str, revision: str | None = None) -> None:
        """The weights in memory are those of `name` now: forgets what was found out with others."""
        if self._seq2seq is None:
            self._scorer.forget()
        self.options = replace(self.options, model=name, revision=revision)
        self.info = self._describe()

    def close(self) -> None:
        """Give memory back."""
        self._encoded.clear()
        self._keys.clear()
        self._model = self._scorer = self._generator = self._seq2seq = None  # type: ignore[assignment]
        self.loaded = None  # type: ignore[assignment]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _limits(options: ModelOptions, loaded: Any) -> Limits:
    on_gpu = loaded.device.type == "cuda"
    batch_tokens = options.batch_tokens or (16_384 if on_gpu else 1_024)
    vocabulary = int(loaded.model.config.get_text_config().vocab_size)
    logit_bytes = LOGIT_BYTES["cuda" if on_gpu else "cpu"]
    return Limits(
        batch_tokens=batch_tokens,
        logit_rows=max(64, logit_bytes // (4 * vocabulary)),
        # A number that was asked for bounds all of a batch's memory, as a batch size does elsewhere.
        cached_tokens=options.batch_tokens or 16 * batch_tokens,
        width=loaded.max_length,
        block_overhead=2_048 if on_gpu else 256,
        batch_overhead=2_048 if on_gpu else 64,
    )


def _rolled(request: RollingRequest, parts: Sequence[Scored | Exhausted]) -> Loglikelihood | Failure:
    scored = [part for part in parts if isinstance(part, Scored)]
    for part in parts:
        if isinstance(part, Exhausted):
            return Failure(request, "out_of_memory", part.message)
    if not all(part.finite for part in scored):
        return Failure(request, "nan_logits", "The model's log-probability of this text is not a finite number.")
    total = sum(part.total for part in sorted(scored, key=lambda s: s.request))
    return Loglikelihood(
        request, total, all(part.is_greedy for part in scored), sum(part.num_tokens for part in scored)
    )


def _seed_text(request: GenerateRequest) -> str:
    return f"{request.task}/{request.doc_id}/{request.index}"


def _add_tokens(digest: Any, tokens: Sequence[int]) -> None:
    digest.update(len(tokens).to_bytes(8, "little"))
    digest.update(array("q", tokens).tobytes())
