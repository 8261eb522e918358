"""The vLLM backend: a model opened and swapped with the checks and identities that transformers' models have.

vLLM itself checks neither configuration nor tensors of weights that are swapped in. Requests go through the
engine's own prefix cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.backends.encode import EncodedPair
from benchbench.backends.engine_options import read_options
from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.config import (
    architecture_of,
    check_config,
    choose_dtype,
    choose_length,
    config_object,
    own_length,
    read_config,
    stored_dtype,
    uses_own_code,
)
from benchbench.backends.models.files import ModelSource, check_weights, read_object, safetensors_header, unchanged
from benchbench.backends.models.find import find_model, find_tokenizer, split_revision
from benchbench.backends.models.formats import format_named
from benchbench.backends.models.identity import BROKEN_OFF, model_identity
from benchbench.backends.models.loaded import OPEN_ANEW, OpenedModel, check_swap
from benchbench.backends.models.options import make_encoder, set_template, text_identity
from benchbench.backends.models.shape import check_implementations, check_numbers, check_size, stored_shapes
from benchbench.backends.models.tokenizer import end_tokens, load_tokenizer, own_tokenizer_identity
from benchbench.backends.tokens import Exhausted, Scored, TokenBackend
from benchbench.backends.vllm import ENGINE
from benchbench.backends.vllm.answers import VLLMScorer, VLLMWriter
from benchbench.backends.vllm.engine import TESTED, RunningEngine, VLLMOptions, start_engine, start_vllm, vllm_version
from benchbench.backends.vllm.mpt_config import check_mpt, make_view, register
from benchbench.backends.writing import Ending, Job, Written
from benchbench.core.errors import BackendError, ModelError
from benchbench.core.types import BackendInfo

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


@dataclass(slots=True, kw_only=True)
class VLLMModel(OpenedModel):
    """A model that vLLM holds, and what its answers depend on."""

    engine: RunningEngine
    device: str
    """cpu or cuda."""
    vocab_size: int
    eos: frozenset[int]
    """Every token that ends a text."""
    tensors: dict[str, tuple[int, ...]]
    """Shape of each tensor in the checkpoint."""
    settings: VLLMOptions
    trusts_cache: bool
    """This version of vLLM is one whose prefix cache was tested."""
    view: Any = field(default=None, repr=False)
    """Temporary folder that the engine reads instead of the model's own, or None."""


def open_model(options: ModelOptions) -> VLLMModel:
    """Find, check and open the model of `options`.

    Raises BackendError where vLLM is missing or cannot run this model, ModelError for a model that is missing or
    broken, ArgumentError for options that do not fit.
    """
    settings = read_options(options.model_args, VLLMOptions, backend="vllm")
    settings.checked()
    source = find_model(options.model, options.revision)
    device = start_vllm(options, settings)
    return _open(source, options, settings, device)


def _open(source: ModelSource, options: ModelOptions, settings: VLLMOptions, device: str) -> VLLMModel:
    if (why := _not_read(source)) is not None:
        raise BackendError(why)
    folder, trusted = source.folder, options.trust_remote_code
    tokenizer_source = None if options.tokenizer is None else find_tokenizer(options.tokenizer)
    raw = read_config(folder)
    files = check_weights(folder)
    shapes = stored_shapes(files)
    check_numbers(raw, shapes, folder / "config.json")
    check_implementations(raw, folder / "config.json")
    own_code = uses_own_code(raw, folder, trusted=trusted) and raw.get("model_type") != "mpt"
    _check_architecture(raw, source, own_code=own_code)
    config = config_object(source, raw if raw.get("model_type") != "mpt" else _plain_mpt(raw), trusted=own_code)
    if not own_code:
        check_size(source, config, shapes, "causal")
    tokenizer = load_tokenizer(
        tokenizer_source or source,
        trusted=trusted,
        config=config,
        add_bos_token=settings.add_bos_token,
        prefix_token_id=settings.prefix_token_id,
    )
    set_template(tokenizer, settings, source.name)
    dtype, note = choose_dtype(options.dtype, raw, stored_dtype(files), device)
    length = choose_length(options.max_length, own_length(config, tokenizer), raw, source.name)
    code = sorted(folder.glob("*.py")) if own_code else []
    view = tempfile.TemporaryDirectory(prefix="benchbench-mpt-") if raw.get("model_type") == "mpt" else None
    place = make_view(raw, folder, Path(view.name)) if view else folder
    with unchanged(files), ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(model_identity, folder, files, code=code)
        engine = start_engine(place, options, settings, config, (device, dtype, length), own_code=own_code)
        identity = hashing.result()
    version = vllm_version()
    trusts_cache = version.startswith(TESTED)
    unknown = (
        f"vLLM {version} is newer or older than those tested ({', '.join(v + 'x' for v in TESTED)}): scoring does "
    )
    tensors = tensor_shapes(files)
    return VLLMModel(
        engine=engine,
        tokenizer=tokenizer,
        max_length=length,
        identity=identity,
        tokenizer_identity=own_tokenizer_identity((tokenizer_source or source).folder, trusted),
        dtype=dtype,
        device=device,
        vocab_size=int(config.get_text_config().vocab_size),
        num_parameters=sum(map(prod, tensors.values())) or None,
        revision=source.revision,
        notes=tuple(filter(None, [note, None if trusts_cache else unknown + "not read its prefix cache"])),
        source=source,
        config=raw,
        generation=read_object(folder / "generation_config.json"),
        eos=_end_tokens(folder, config, tokenizer),
        tensors=tensors,
        settings=settings,
        trusts_cache=trusts_cache,
        own_code=own_code,
        trusted=trusted,
        tokenizer_source=tokenizer_source,
        view=view,
        architecture="causal",
    )


def _plain_mpt(raw: Mapping[str, Any]) -> dict[str, Any]:
    """For transformers' MptConfig, which knows no grouped heads. Only lengths and sizes are read from it."""
    attention = {**(raw.get("attn_config") or {}), "attn_type": "multihead_attention"}
    return {**raw, "attn_config": attention}


def _check_architecture(raw: Mapping[str, Any], source: ModelSource, *, own_code: bool) -> None:
    from vllm import ModelRegistry

    register()
    if raw.get("model_type") == "mpt":
        check_mpt(raw, source.name)
        return
    check_config(raw, source.folder, own_code=own_code)
    names = [str(name) for name in raw.get("architectures") or ()]
    known = ModelRegistry.get_supported_archs()
    if architecture_of(raw) == "seq2seq" or (names and not any(name in known for name in names)):
        what = names[0] if names else raw.get("model_type")
        raise BackendError(f"{source.name} is a {what}, which vLLM {vllm_version()} cannot run; --backend hf can.")


def tensor_shapes(files: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    """Tensor name → shape of safetensors files; empty for others."""
    if any(path.suffix != ".safetensors" for path in files):
        return {}
    return {name: info.shape for path in files for name, info in safetensors_header(path).items()}


def _end_tokens(folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Those of the generation config, else of the configuration, and the tokenizer's."""
    generation = read_object(folder / "generation_config.json")
    return end_tokens(generation.get("eos_token_id", getattr(config, "eos_token_id", None)), tokenizer, str(folder))


def _not_read(source: ModelSource) -> str | None:
    """Why vLLM does not take a checkpoint of this format, as a sentence, or None if it does."""
    if source.format == "folder":
        return None
    if source.format == "gguf":
        return f"{source.name} is a GGUF file, which vLLM does not run well; --backend gguf does."
    return f"{source.name} is {format_named(source.format).title}, which vLLM does not read; --backend hf does."


def load_weights_into(opened: VLLMModel, checkpoint: str) -> None:
    """Swap the weights of `checkpoint` into the engine and empty its prefix cache, which holds what the old ones saw.

    Configuration, tokenizer, code and tensors must be those of the open model: else ModelError is raised, and the
    weights are as they were.
    """
    source = find_model(*split_revision(checkpoint))
    if (why := _not_read(source)) is not None:
        raise ModelError(why)
    files, identity = check_swap(opened, source)
    _check_tensors(opened, tensor_shapes(files), source.name)
    with unchanged(files):
        opened.identity = BROKEN_OFF
        opened.engine.reload(str(source.folder))
        opened.engine.forget()
    opened.identity, opened.source, opened.revision = identity, source, source.revision


def _check_tensors(opened: VLLMModel, tensors: dict[str, tuple[int, ...]], name: str) -> None:
    if bool(tensors) != bool(opened.tensors):
        raise ModelError(f"{name} has another kind of weight files than {opened.source.name}; {OPEN_ANEW}")
    for tensor in sorted(tensors.keys() | opened.tensors.keys()):
        new, old = tensors.get(tensor), opened.tensors.get(tensor)
        if new != old:
            found = f"has {tensor} with shape {list(new)}" if new else f"lacks {tensor}"
            asked = f"has it with shape {list(old)}" if old else "has no such tensor"
            raise ModelError(f"{name} {found}, the open model {asked}; {OPEN_ANEW}")


VERSION = "2"
"""Raised when a change of ours moves a log-likelihood beyond rounding: results of old versions are not reused."""


class VLLMBackend(TokenBackend):
    """Any causal model that vLLM runs, and MPT, in this process. One at a time: vLLM keeps global state.

    Equal requests in equal order run in equal batches from an empty cache, so a resumed run repeats its numbers to the
    last bit wherever the kernels do (on a CPU they do; on GPUs vLLM does not promise it). Sampled texts depend on the
    seed and the request alone, but are not those that `hf` samples.
    """

    abilities = ENGINE.abilities

    def __init__(self, options: ModelOptions) -> None:
        super().__init__(keep_tokens=options.keep_tokens)
        self.options = options
        self.loaded = open_model(options)
        self._encoder = make_encoder(self.loaded, self.loaded.settings)
        cached = options.plan == "auto" and self.loaded.trusts_cache
        self._scorer = VLLMScorer(self.loaded.engine, cached=cached)
        ending = Ending(self.loaded.tokenizer, self.loaded.eos)
        ending.cut_thinking(self.loaded.settings.think_end_token)
        self._writer, self._ending = VLLMWriter(self.loaded.engine, ending), ending
        self.info = self._describe()

    def _describe(self) -> BackendInfo:
        loaded = self.loaded
        quantization = loaded.settings.quantization
        numerics = (*loaded.settings.numerics, *([f"quantization={quantization}"] if quantization else []))
        return BackendInfo(
            name="vllm",
            version=VERSION,
            model=self.options.model,
            model_identity=loaded.identity,
            tokenizer_identity=text_identity(loaded.tokenizer_identity, loaded.settings),
            dtype=loaded.dtype,
            device=loaded.device,
            max_length=loaded.max_length,
            vocab_size=loaded.vocab_size,
            revision=loaded.revision,
            num_parameters=loaded.num_parameters,
            plan="cached" if self._scorer.cached else "plain",
            numerics=", ".join(numerics),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about this model that a reader of its results should see."""
        return (*self.loaded.notes, *self._encoder.notes, *self._ending.notes)

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
