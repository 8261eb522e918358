"""The llama.cpp backend: GGUF files as they are, quantised weights and all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from benchbench.backends.chat import ChatTemplate
from benchbench.backends.encode import EncodedPair, Encoder
from benchbench.backends.engine_options import WHOLE, EngineOptions, expected, read_options
from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.files import TORCH_DTYPES, ModelSource
from benchbench.backends.models.find import find_model, gguf_template
from benchbench.backends.models.formats.gguf import GGUFHeader, read_header, read_headers, split_files
from benchbench.backends.models.identity import file_identity
from benchbench.backends.tokens import Exhausted, Scored, TokenBackend
from benchbench.backends.writing import Job, Written
from benchbench.core.activity import doing
from benchbench.core.errors import ArgumentError, BackendError, ModelError
from benchbench.core.ids import content_hash
from benchbench.core.types import BackendInfo
from benchbench.extensions.gguf import ENGINE
from benchbench.extensions.gguf.answers import Cache, LlamaGenerator, LlamaScorer
from benchbench.extensions.gguf.llama import GGUFTokenizer, LlamaModel, LlamaOptions, default_threads, library

VERSION = "2"
"""Raised when a change of ours moves a log-likelihood beyond rounding: results of old versions are not reused."""
BATCH_TOKENS = {"cpu": 512, "cuda": 2048}
VOLATILE_PREFIXES = ("general.", "tokenizer.", "quantize.", "split.")
"""Metadata that does not shape the computation."""


class GGUFOptions(EngineOptions):
    """`--model-args` for llama.cpp."""

    threads: Annotated[int, WHOLE, Field(ge=1), expected("is not a whole number of 1 or more")] | None = None
    """None: OMP_NUM_THREADS, else all cores."""
    n_gpu_layers: Annotated[int, WHOLE, Field(ge=-1), expected("is not a whole number of -1 or more")] | None = None
    """-1: all. None: all where the library was built for a GPU."""
    cache_type: Annotated[Literal["float16", "float32"], expected("is not one of float16, float32")] | None = None
    """Type of keys and values. None: float32 for float32 files, else llama.cpp's own float16."""
    flash_attention: Annotated[Literal["on", "off"], expected("is not one of on, off")] | None = None
    """It computes in float16 whatever the cache. None: on with a float16 cache."""


class GGUFBackend(TokenBackend):
    """A GGUF file on the CPU, or with some or all layers on the GPU. `--model-args` are `GGUFOptions`."""

    abilities = ENGINE.abilities

    def __init__(self, options: ModelOptions) -> None:
        super().__init__(keep_tokens=options.keep_tokens)
        self.options = options
        library()
        self._args = read_options(options.model_args, GGUFOptions, backend="gguf")
        source = find_gguf(options.model, options.revision)
        self._revision = source.revision
        self._open(source.folder / str(source.gguf_file))

    def _open(self, path: Path) -> None:
        headers = {header.path: header for header in read_headers(path)}
        self.header = headers[path]
        dtype = TORCH_DTYPES.get(self.header.quantisation, self.header.quantisation)
        if self.options.dtype not in ("auto", dtype):
            raise ArgumentError(
                f"--dtype {self.options.dtype} does not fit {path.name}: the backend gguf computes with the weights as "
                f"they are stored, {dtype}. Leave --dtype out, or expand the file with --backend hf."
            )
        engine = _engine_options(self.options, self._args, dtype)
        with ThreadPoolExecutor(1) as pool:
            hashing = pool.submit(file_content_identity, path)
            model = LlamaModel(path, engine)
            identity = hashing.result()
        self.path, self._model = path, model
        length = _max_length(self.options.max_length, model.train_length, self.header, path)
        self._tokenizer = GGUFTokenizer(model)
        self._encoder = Encoder(self._tokenizer, length, open_chat=self._open_chat)
        self._cache = Cache(model)
        self._scorer = LlamaScorer(model, self._cache, length, plain=self.options.plan == "plain")
        self._generator = LlamaGenerator(self._scorer, self._tokenizer)
        self.info = BackendInfo(
            name="gguf",
            version=VERSION,
            model=self.options.model,
            model_identity=identity,
            tokenizer_identity=vocabulary_identity(self.header),
            dtype=dtype,
            device="cuda" if engine.gpu_layers else "cpu",
            max_length=length,
            vocab_size=model.vocab_size,
            revision=self._revision,
            num_parameters=model.num_parameters,
            plan="branched" if self._scorer.sharing else "plain",
            numerics=_numerics(engine),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about this model that a reader of its results should see."""
        if self.info.dtype in TORCH_DTYPES.values():
            return ()
        return (
            f"{self.path.name} holds {self.info.dtype} weights, and llama.cpp rounds activations too: its scores are "
            "those of the quantised model, not of the original",
        )

    def _open_chat(self) -> ChatTemplate:
        return gguf_template(self.path.name, self.header, self._tokenizer.encode_pieces)

    def score_pairs(self, pairs: Sequence[EncodedPair], skip: Collection[int]) -> Iterator[Scored | Exhausted]:
        """Through the prefix plan."""
        return self.counted(self._scorer.score(pairs, skip))

    def write_jobs(self, jobs: Sequence[Job], skip: Collection[int]) -> Iterator[Written | Exhausted]:
        """Side by side, over the prefix plan."""
        return self.counted(self._generator.write(jobs, skip))

    def count_work(self) -> None:
        """See `TokenBackend`."""
        self.work.tokens_computed = self._counted_before + self._cache.tokens_read
        self.work.batches = self._scorer.batches

    _counted_before = 0
    """Tokens that were read with weights that are no longer loaded."""

    def load_weights(self, checkpoint: str) -> None:
        """Open another file of the same model: other weights or another quantisation, the same shape and vocabulary.

        Raises ModelError where it is another model; the loaded one then stays.
        """
        source = find_gguf(checkpoint)
        path = source.folder / str(source.gguf_file)
        _check_same(self.header, read_header(path))
        self._counted_before += self._cache.tokens_read
        self._close_engine()
        self.forget_tokens()
        self._revision = source.revision
        batches, chosen = self._scorer.batches, self.info.chosen
        self.options = replace(self.options, model=checkpoint)
        self._open(path)
        self.info = replace(self.info, chosen=chosen)
        self._scorer.batches = batches

    def close(self) -> None:
        """Give memory back."""
        self.forget_tokens()
        self._close_engine()

    def _close_engine(self) -> None:
        self._cache.close()
        self._model.close()


def _engine_options(options: ModelOptions, own: GGUFOptions, dtype: str) -> LlamaOptions:
    layers = own.n_gpu_layers
    offload = bool(library().llama_supports_gpu_offload())
    if options.device not in ("auto", "cpu", "cuda"):
        raise ArgumentError(
            f"--device {options.device!r} is not known to the backend gguf; it takes auto, cpu or cuda."
        )
    if (options.device == "cuda" or layers) and not offload:
        raise BackendError(
            "this llama-cpp-python was built without a GPU, so no layers can be put there. Build it with "
            "CMAKE_ARGS=-DGGML_CUDA=on, or leave --device and n_gpu_layers out."
        )
    if layers is None:
        layers = -1 if offload and options.device != "cpu" else 0
    cache_type = own.cache_type or ("float32" if dtype == "float32" else "float16")
    flash = own.flash_attention or ("on" if cache_type == "float16" else "off")
    return LlamaOptions(
        threads=own.threads or default_threads(),
        gpu_layers=layers,
        cache_type=cache_type,
        flash_attention=flash == "on",
        batch_tokens=options.batch_tokens or BATCH_TOKENS["cuda" if layers else "cpu"],
    )


def _max_length(wanted: int | None, trained: int, header: GGUFHeader, path: Path) -> int:
    alibi = header.model("attention.max_alibi_bias")
    if wanted is None:
        return trained
    if wanted < 2:
        raise ArgumentError(f"--max-length {wanted} is too short to predict a token from another.")
    if wanted > trained and not alibi:
        raise ArgumentError(
            f"--max-length {wanted:,} is more than the {trained:,} positions of {path.name}; only models with ALiBi "
            "can read further."
        )
    return wanted


def _numerics(engine: LlamaOptions) -> str:
    layers = {0: "none", -1: "all"}.get(engine.gpu_layers, str(engine.gpu_layers))
    flash = "on" if engine.flash_attention else "off"
    parts = [f"llama-cpp-python {library().__version__}", f"cache {engine.cache_type}", f"flash attention {flash}"]
    return ", ".join([*parts, f"GPU layers {layers}"])


def _check_same(before: GGUFHeader, after: GGUFHeader) -> None:
    """Raises ModelError where the files are of different models."""
    if vocabulary_identity(before) != vocabulary_identity(after):
        raise ModelError(f"{after.path} has another tokenizer than {before.path}; open it as a model of its own.")
    old, new = (
        {key: value for key, value in header.metadata.items() if not key.startswith(VOLATILE_PREFIXES)}
        | {"architecture": header.architecture}
        for header in (before, after)
    )
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            raise ModelError(
                f"{after.path} is another model than {before.path}: its {key} is {new.get(key)!r}, not "
                f"{old.get(key)!r}; open it as a model of its own."
            )


def find_gguf(model: str, revision: str | None = None) -> ModelSource:
    """The file that `model` names: a path, a folder with one GGUF file, `org/repo:file.gguf` or `org/repo/file.gguf`.

    A hub file is downloaded, or taken from the cache. Raises ModelError where there is none.
    """
    source = find_model(model, revision)
    if source.gguf_file is None:
        raise ModelError(
            f"{model} is a transformers model, not a GGUF file; the backend gguf reads .gguf files only. Use "
            "--backend hf, or name a file."
        )
    split_files(source.folder / source.gguf_file)
    return source


@doing("hashing the weights")
def file_content_identity(path: Path) -> str:
    """sha256 over the bytes of the file, or of all parts of a split model."""
    parts = split_files(path)
    if len(parts) == 1:
        return file_identity(path)
    return content_hash([file_identity(part) for part in parts], digits=64)


def vocabulary_identity(header: GGUFHeader) -> str:
    """sha256 over the file's tokenizer: vocabulary, merges, special tokens, chat template."""
    tokenizer = {key: value for key, value in header.metadata.items() if key.startswith("tokenizer.")}
    return content_hash(tokenizer, digits=64)
