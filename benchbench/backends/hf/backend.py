"""The transformers backend: requests in, responses out, through the prefix plan."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from benchbench.backends.encode import EncodedPair
from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.causality import check_causal
from benchbench.backends.hf.generate import CausalGenerator
from benchbench.backends.hf.model import PASS_TOKENS, CausalModel
from benchbench.backends.hf.scorer import CausalScorer
from benchbench.backends.models.delta import add_delta
from benchbench.backends.models.files import ModelSource
from benchbench.backends.models.find import find_model, split_revision
from benchbench.backends.models.formats import format_named
from benchbench.backends.models.loaded import OPEN_ANEW, LoadedModel, check_prefix
from benchbench.backends.models.options import (
    TransformersOptions,
    make_encoder,
    set_template,
    text_identity,
    transformers_options,
)
from benchbench.backends.models.placement import set_attention
from benchbench.backends.models.quantise import quantise
from benchbench.backends.plan import Limits
from benchbench.backends.tokens import Exhausted, Scored, TokenBackend
from benchbench.backends.writing import Job, Written
from benchbench.core.errors import ArgumentError, ModelError
from benchbench.core.types import BackendInfo, GenerationParams

VERSION = "2"
"""Raised when a change of ours moves a log-likelihood beyond rounding: results of old versions are not reused."""
LOGIT_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}
"""How much memory one batch's logits may take, as fp32."""


class HFBackend(TokenBackend):
    """Any causal or sequence-to-sequence model that transformers can load, on the CPU or one GPU."""

    def __init__(self, options: ModelOptions, loaded: LoadedModel | None = None) -> None:
        """Opens the model that `options` names, unless it is `loaded` already."""
        super().__init__(keep_tokens=options.keep_tokens)
        self.options = options
        self._own = transformers_options(options)
        self.loaded = load_model(options) if loaded is None else loaded
        self._start_engine()
        languages = self._seq2seq.languages if self._seq2seq is not None else None
        self._encoder = make_encoder(self.loaded, self._own, languages)
        self.info = self._describe()

    def _start_engine(self) -> None:
        loaded = self.loaded
        self._limits = _limits(self.options, loaded)
        self._seq2seq: Any = None
        if loaded.architecture == "seq2seq":
            from benchbench.backends.hf.seq2seq import Seq2SeqEngine

            self._seq2seq = Seq2SeqEngine(loaded, self._limits.batch_tokens)
            self._seq2seq.writer.ending.cut_thinking(self._own.think_end_token)
            return
        self._model = CausalModel(loaded.model, loaded.device)
        self._scorer = CausalScorer(self._model, self._limits, plan=self.options.plan, config=loaded.model.config)
        self._generator = CausalGenerator(self._model, loaded.tokenizer, self._scorer, self._limits)
        self._generator.ending.cut_thinking(self._own.think_end_token)

    def _describe(self) -> BackendInfo:
        loaded = self.loaded
        return BackendInfo(
            name="hf",
            version=VERSION,
            model=self.options.model,
            model_identity=loaded.identity,
            tokenizer_identity=text_identity(loaded.tokenizer_identity, self._own),
            dtype=loaded.dtype,
            device=str(loaded.device),
            max_length=loaded.max_length,
            vocab_size=int(loaded.model.config.get_text_config().vocab_size),
            revision=loaded.revision,
            num_parameters=loaded.num_parameters,
            plan="plain" if self._seq2seq is not None else self._scorer.layout,
            numerics=", ".join(self._own.numerics),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about this model that a reader of its results should see."""
        if self._seq2seq is not None:
            return (*self.loaded.notes, *self._encoder.notes, *self._seq2seq.notes, *self._seq2seq.writer.ending.notes)
        own = (*self._model.notes, *self._scorer.notes, *self._generator.ending.notes)
        return (*self.loaded.notes, *self._encoder.notes, *own)

    def refuses(self, params: GenerationParams) -> str | None:
        """Languages, where the model has no tokens for them; nothing else."""
        if self._seq2seq is None:
            return super().refuses(params)
        refused: str | None = self._seq2seq.refuses(params)
        return refused

    def score_pairs(self, pairs: Sequence[EncodedPair], skip: Collection[int]) -> Iterator[Scored | Exhausted]:
        """Through the prefix plan, or the sequence-to-sequence engine."""
        engine = self._seq2seq if self._seq2seq is not None else self._scorer
        return self.counted(engine.score(pairs, skip))

    def write_jobs(self, jobs: Sequence[Job], skip: Collection[int]) -> Iterator[Written | Exhausted]:
        """In our own loop, through the prefix plan; beam search through transformers."""
        engine = self._seq2seq if self._seq2seq is not None else self._generator
        return self.counted(engine.write(jobs, skip))

    def count_work(self) -> None:
        """See `TokenBackend`."""
        if self._seq2seq is not None:
            self.work.tokens_computed = self._seq2seq.computed_tokens
            self.work.batches = self._seq2seq.batches + self._seq2seq.writer.batches
            self.work.out_of_memory_retries = self._seq2seq.retries + self._seq2seq.writer.retries
            return
        if self.info.plan != self._scorer.layout:
            self.info = replace(self.info, plan=self._scorer.layout)
        self.work.tokens_computed = self._model.computed_tokens
        self.work.batches = self._scorer.batches
        self.work.out_of_memory_retries = self._scorer.retries + self._generator.retries

    def lessons(self) -> object:
        """What the self-checks found."""
        return (self._scorer.lessons(), self._generator.was_right) if self._seq2seq is None else self._seq2seq.lessons()

    def take_lessons(self, lessons: object) -> None:
        """See `Learner`."""
        if self._seq2seq is not None:
            self._seq2seq.take_lessons(lessons)
            return
        verdicts, self._generator.was_right = cast("tuple[object, bool | None]", lessons or (None, None))
        self._scorer.take_lessons(verdicts)

    def load_weights(self, checkpoint: str) -> None:
        """Swap in another checkpoint of the same architecture; nothing computed with the old one is kept."""
        self.loaded.identity = load_weights_into(self.loaded, checkpoint)
        self._now_is(*split_revision(checkpoint))

    def _now_is(self, name: str, revision: str | None = None) -> None:
        """The weights in memory are those of `name` now: forgets what was found out with others."""
        if self._seq2seq is not None:
            self._seq2seq.forget()
        else:
            self._model.find_head()
            self._scorer.forget()
            self._generator.forget()
        self.options = replace(self.options, model=name, revision=revision)
        self.info = replace(self._describe(), chosen=self.info.chosen)

    def close(self) -> None:
        """Give memory back."""
        self.forget_tokens()
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
        batch_overhead=PASS_TOKENS[loaded.device.type if on_gpu else "cpu"],
    )


def load_model(options: ModelOptions) -> LoadedModel:
    """Find, check and load the model of `options` for inference.

    Raises ModelError for a model that is missing, broken, untrusted or unsupported; ArgumentError for options that do
    not fit it.
    """
    own = transformers_options(options)
    source = find_model(options.model, options.revision, own.subfolder)
    _check_fits(own, options, source)
    device = choose_device(options.device)
    loaded = format_named(source.format).load(source, options, device)
    if own.delta is not None:
        add_delta(loaded, own.delta)
    module: torch.nn.Module = loaded.model
    if not loaded.is_placed:
        module.to(device)
    module.eval().requires_grad_(False)
    if own.attn_implementation is not None:
        set_attention(loaded.model, own.attn_implementation)
    _set_texts(loaded, own)
    if own.torchao is not None:
        quantise(loaded, own.torchao)
    if loaded.architecture == "causal":
        check_causal(loaded)
    return loaded


def _check_fits(own: TransformersOptions, options: ModelOptions, source: ModelSource) -> None:
    """ArgumentError for options that have no meaning for what lies there."""
    if options.base is not None and source.format != "adapter":
        raise ArgumentError(f"--base names the model below an adapter, but {source.name} is a whole model.")
    if own.delta is not None and source.format == "adapter":
        raise ArgumentError("--model-args has both an adapter (peft) and a delta; merge one of them first.")
    named = {"device_map or parallelize": own.placement, "load_in_8bit or load_in_4bit": own.quantises}
    for name, given in named.items():
        if given and source.format not in ("folder", "adapter"):
            raise ArgumentError(f"--model-args {name}: {source.name} is {format_named(source.format).title}.")


def _set_texts(loaded: LoadedModel, own: TransformersOptions) -> None:
    """What the user says of chat template and beginnings, into the opened tokenizer."""
    if own.add_bos_token is not None and loaded.architecture == "seq2seq":
        raise ArgumentError("--model-args add_bos_token is for causal models; this one is an encoder-decoder.")
    if own.prefix_token_id is not None:
        check_prefix(loaded.model, loaded.tokenizer, loaded.source.name, own.prefix_token_id)
        loaded.given_prefix = own.prefix_token_id
    set_template(loaded.tokenizer, own, loaded.source.name)


def choose_device(wanted: str) -> torch.device:
    """auto is the first GPU, else the CPU. Raises ArgumentError for a device that torch does not have."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ArgumentError(f"--device {wanted!r} is not a device; try auto, cpu, cuda or cuda:1.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ArgumentError(f"--device {wanted} is not there: torch sees {torch.cuda.device_count()} CUDA devices.")
    return device


def load_weights_into(loaded: LoadedModel, checkpoint: str) -> str:
    """Swap the weights of `checkpoint` into `loaded` in place; returns (and notes in `loaded`) the new identity.

    `checkpoint` is a folder, a `.pt` file, a hub name, or `org/name@revision`. Its configuration, tokenizer, code and
    tensors must be those of the loaded model: else ModelError is raised, and the loaded weights are as they were.
    """
    source = find_model(*split_revision(checkpoint))
    if loaded.fixed is not None or (loaded.adapter is None) is (source.format == "adapter"):
        why = loaded.fixed or "one is an adapter, the other a whole model"
        raise ModelError(f"{source.name} cannot take the place of {loaded.source.name}: {why}; {OPEN_ANEW}")
    for form in (format_named(source.format), format_named(loaded.source.format)):
        if not form.swaps:
            raise ModelError(
                f"{source.name}: the weights of {form.title} cannot be swapped; open it as a model of its own."
            )
    identity = format_named(source.format).swap(loaded, source)
    loaded.identity, loaded.source, loaded.revision = identity, source, source.revision
    return identity
