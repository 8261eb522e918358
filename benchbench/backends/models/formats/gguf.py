"""A GGUF file, whose quantised weights transformers expands to full precision."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.backends.models.config import choose_dtype, config_object
from benchbench.backends.models.formats import CheckpointFormat
from benchbench.backends.models.formats.gguf_header import GGUFHeader, read_header, split_files
from benchbench.backends.models.identity import file_identity
from benchbench.backends.models.loaded import LoadedModel, set_length
from benchbench.backends.models.memory import MemoryEstimate, check_memory, expanded
from benchbench.backends.models.source import ModelSource
from benchbench.backends.models.tokenizer import load_tokenizer
from benchbench.backends.models.weights import unchanged
from benchbench.backends.options import ModelOptions
from benchbench.core.errors import ModelError
from benchbench.core.ids import content_hash
from benchbench.core.json_record import whole
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch


class GGUFFormat(CheckpointFormat):
    """One file, or the parts of a split one; a folder with one file of it and no configuration is that file."""

    title = "a GGUF file"
    swaps = False

    def locate(self, path: Path) -> Path | None:
        """See `CheckpointFormat`. ModelError for a folder with several files."""
        if not path.is_dir():
            return path if path.suffix == ".gguf" and path.exists() else None
        files = sorted(path.glob("*.gguf"))
        if len(files) > 1:
            raise ModelError(f"{path} has {len(files)} GGUF files; name one, such as {files[0]}.")
        return files[0] if files else None

    def check_whole(self, path: Path) -> None:
        """See `CheckpointFormat`."""
        for part in split_files(path):
            read_header(part)

    def estimate(self, source: ModelSource, dtype: str) -> MemoryEstimate:
        """See `CheckpointFormat`. As llama.cpp computes it, in the types of the file."""
        return estimate_gguf(source.path)

    def load(self, source: ModelSource, options: ModelOptions, device: torch.device) -> LoadedModel:
        """See `CheckpointFormat`."""
        from benchbench.backends.models.pretrained import from_pretrained

        path = source.path
        needed = estimate_gguf(path)
        tokenizer = load_tokenizer(source, trusted=False)
        dtype, note = choose_dtype("float32" if options.dtype == "auto" else options.dtype, {}, None, device.type)
        check_memory(expanded(needed, dtype), source.name, device)
        config = config_object(source, {}, trusted=False)
        raw = config.to_dict()
        length = set_length(config, raw, tokenizer, options, source.name)
        with unchanged([path]), ThreadPoolExecutor(1) as pool:
            hashing = pool.submit(file_identity, path)
            model = from_pretrained(source, "causal", config=config, dtype=dtype, trusted=False)
            identity = hashing.result()
        backend_tokenizer = getattr(tokenizer, "backend_tokenizer", None)
        vocabulary = backend_tokenizer.to_str() if backend_tokenizer is not None else identity
        return LoadedModel(
            model=model,
            tokenizer=tokenizer,
            architecture="causal",
            max_length=length,
            identity=identity,
            tokenizer_identity=content_hash(["gguf", vocabulary, tokenizer.chat_template], digits=64),
            dtype=dtype,
            device=device,
            num_parameters=model.num_parameters(),
            revision=source.revision,
            notes=(f"{path.name} is a GGUF file; its weights were expanded to {dtype}", *filter(None, [note])),
            source=source,
            config=raw,
            generation={},
        )


FORMAT = GGUFFormat()


def estimate_gguf(path: Path) -> MemoryEstimate:
    """What llama.cpp needs for the file, with keys and values in float16. ModelError where it is broken."""
    headers = [read_header(part) for part in split_files(path)]
    first = next((h for h in headers if h.architecture), headers[0])
    return MemoryEstimate(
        architecture=first.architecture or "unknown",
        num_parameters=sum(header.num_parameters for header in headers),
        dtype=first.quantisation,
        weights=sum(header.weight_bytes for header in headers),
        cache_per_token=_gguf_cache(first),
        length=whole(first.model("context_length")),
    )


def _gguf_cache(header: GGUFHeader) -> int | None:
    layers, width = whole(header.model("block_count")), whole(header.model("embedding_length"))
    heads = _per_layer(header.model("attention.head_count"), layers or 0)
    if not (layers and heads and width):
        return None
    key_heads = _per_layer(header.model("attention.head_count_kv"), layers or 0) or heads
    head = width // max(heads)
    keys, values = (whole(header.model(f"attention.{name}_length")) or head for name in ("key", "value"))
    return sum(key_heads) * (keys + values) * 2


def _per_layer(stated: Json, layers: int) -> list[int]:
    """A number of each layer, where the file states one for all or a list; [] where it states none."""
    counts = stated if isinstance(stated, list) else [stated] * layers if stated else []
    return [whole(count) or 0 for count in counts]
