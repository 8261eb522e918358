"""The vLLM backend: requests in, responses out, through the engine's own prefix cache."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from benchbench.backends.encode import EncodedPair, Encoder
from benchbench.backends.models.find import split_revision
from benchbench.backends.options import ModelOptions
from benchbench.backends.tokens import Ending, Exhausted, Job, Scored, TokenBackend, Written
from benchbench.backends.vllm import ENGINE
from benchbench.backends.vllm.answers import VLLMScorer, VLLMWriter
from benchbench.backends.vllm.open import load_weights_into, open_model
from benchbench.core.errors import ArgumentError
from benchbench.core.types import BackendInfo

VERSION = "1"
"""Raised when a change of ours moves a log-likelihood beyond rounding: results of old versions are not reused."""
PLANS = ("auto", "plain")


class VLLMBackend(TokenBackend):
    """Any causal model that vLLM runs, and MPT, in this process. One at a time: vLLM keeps global state.

    Equal requests in equal order run in equal batches from an empty cache, so a resumed run repeats its numbers to the
    last bit wherever the kernels do (on a CPU they do; on GPUs vLLM does not promise it). Sampled texts depend on the
    seed and the request alone, but are not those that `hf` samples.
    """

    abilities = ENGINE.abilities

    def __init__(self, options: ModelOptions) -> None:
        super().__init__(keep_tokens=options.keep_tokens)
        if options.plan not in PLANS:
            raise ArgumentError(f"the plan {options.plan!r} is not one of {', '.join(PLANS)}, which vLLM has.")
        self.options = options
        self.loaded = open_model(options)
        self._encoder = Encoder(self.loaded.tokenizer, self.loaded.max_length)
        cached = options.plan == "auto" and self.loaded.trusts_cache
        self._scorer = VLLMScorer(self.loaded.engine, cached=cached)
        self._writer = VLLMWriter(self.loaded.engine, Ending(self.loaded.tokenizer, self.loaded.eos))
        self.info = self._describe()

    def _describe(self) -> BackendInfo:
        loaded = self.loaded
        quantization = loaded.settings.quantization
        return BackendInfo(
            name="vllm",
            version=VERSION,
            model=self.options.model,
            model_identity=loaded.identity,
            tokenizer_identity=loaded.tokenizer_identity,
            dtype=loaded.dtype,
            device=loaded.device,
            max_length=loaded.max_length,
            vocab_size=loaded.vocab_size,
            revision=loaded.revision,
            num_parameters=loaded.num_parameters,
            plan="cached" if self._scorer.cached else "plain",
            numerics=f"quantization={quantization}" if quantization else "",
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about this model that a reader of its results should see."""
        return self.loaded.notes

    def score_pairs(self, pairs: Sequence[EncodedPair], skip: Collection[int]) -> Iterator[Scored | Exhausted]:
        """In chunks that fit the cache, each prefix before what begins with it."""
        return self.counted(self._scorer.score(pairs, skip))

    def write_jobs(self, jobs: Sequence[Job], skip: Collection[int]) -> Iterator[Written | Exhausted]:
        """In vLLM's continuous batches."""
        return self.counted(self._writer.write(jobs, skip))

    def count_work(self) -> None:
        """See `TokenBackend`."""
        self.work.tokens_computed = self.loaded.engine.computed_tokens
        self.work.batches = self.loaded.engine.steps

    def load_weights(self, checkpoint: str) -> None:
        """Swap in another checkpoint of the same architecture; nothing computed with the old one is kept."""
        load_weights_into(self.loaded, checkpoint)
        name, revision = split_revision(checkpoint)
        self.options = replace(self.options, model=name, revision=revision)
        self.info = replace(self._describe(), chosen=self.info.chosen)

    def close(self) -> None:
        """Stop the engine and give memory back."""
        self.forget_tokens()
        self.loaded.engine.close()
        if self.loaded.view is not None:
            self.loaded.view.cleanup()
