"""GGUF files: their front, and as a format whose quantised weights transformers expands to full precision.

The front is metadata and where the tensors lie; it is read without an engine and without reading weights.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3). Read here and not by the package
`gguf`, because a damaged count keeps that one busy for good: it asks for each of 2^40 entries, whatever the file holds.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.config import choose_dtype, config_object
from benchbench.backends.models.files import ModelSource, unchanged
from benchbench.backends.models.formats import CheckpointFormat
from benchbench.backends.models.identity import file_identity
from benchbench.backends.models.loaded import LoadedModel, from_pretrained, set_length
from benchbench.backends.models.memory import MemoryEstimate, check_memory, expanded
from benchbench.backends.models.tokenizer import load_tokenizer
from benchbench.core.errors import ModelError
from benchbench.core.ids import content_hash
from benchbench.core.json_record import whole
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch


MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_TEXT = 1 << 28
"""Longest string that is believed, in bytes: beyond it the header is corrupt."""
MAX_COUNT = 1 << 28
MAX_DIMENSIONS = 8
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Value type → struct code."""
TEXT, ARRAY = 8, 9
# fmt: off
BLOCKS: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}
"""Tensor type → (name, elements in a block, bytes of a block)."""
FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}
# fmt: on
"""`general.file_type` → the name that people give the quantisation."""
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """One tensor. `size` counts bytes; None for a type that is not in `BLOCKS`."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    """From the start of the tensor data."""
    size: int | None


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a GGUF file says of itself."""

    path: Path
    version: int
    metadata: Mapping[str, Json]
    tensors: Sequence[GGUFTensor]

    @property
    def architecture(self) -> str:
        """llama, mpt, qwen2, ...: the prefix of the keys that describe the model."""
        return str(self.metadata.get("general.architecture", ""))

    def model(self, key: str) -> Json:
        """Value of `<architecture>.<key>`, or None."""
        return self.metadata.get(f"{self.architecture}.{key}")

    @property
    def quantisation(self) -> str:
        """Q4_K_M, F16, ...: as the file names it, else the type that most of its bytes have."""
        stated = self.metadata.get("general.file_type")
        named = FILE_TYPES.get(stated) if isinstance(stated, int) else None
        sizes: dict[str, int] = {}
        for tensor in self.tensors:
            sizes[tensor.type] = sizes.get(tensor.type, 0) + (tensor.size or 0)
        return named or max(sizes, key=lambda kind: sizes[kind], default="unknown")

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors of this file."""
        return sum(tensor.size or 0 for tensor in self.tensors)

    @property
    def num_parameters(self) -> int:
        """Elements of all tensors of this file."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)


def read_header(path: Path) -> GGUFHeader:
    """Header of the file at `path`.

    Raises ModelError where it is no GGUF file, one of an unknown version, corrupt, or shorter than its header promises.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        if magic != MAGIC:
            raise ModelError(f"{path} is not a GGUF file: it begins with {magic!r}, not with the letters GGUF.")
        try:
            version = _version(path, file)
            header = _parse(path, file, version)
            data = file.tell()
        except (EOFError, struct.error):
            raise ModelError(
                f"{path} is cut short: its {size:,} bytes end inside the header. It is still being written, or the "
                "copy broke off."
            ) from None
        except (OverflowError, UnicodeDecodeError, KeyError) as error:
            raise ModelError(f"{path} is corrupt: its GGUF header cannot be read ({error}).") from None
    alignment = whole(header.metadata.get("general.alignment")) or 32
    start = -(-data // alignment) * alignment
    end = max((start + tensor.offset + (tensor.size or 0) for tensor in header.tensors), default=data)
    if end > size:
        raise ModelError(
            f"{path} is cut short: its header promises {end:,} bytes, it has {size:,}. It is still being written, or "
            "the copy broke off."
        )
    return header


def split_files(path: Path) -> tuple[Path, ...]:
    """All files of a model that is split as `name-00001-of-00003.gguf`; the file itself where it is not.

    Raises ModelError where a part is missing.
    """
    found = _SPLIT.fullmatch(path.name)
    if found is None:
        return (path,)
    stem, _, count = found.groups()
    parts = tuple(path.with_name(f"{stem}-{number:05}-of-{count}.gguf") for number in range(1, int(count) + 1))
    if missing := [part.name for part in parts if not part.is_file()]:
        raise ModelError(f"{path} is one of {int(count)} parts, but {missing[0]} is not beside it.")
    return parts


def _version(path: Path, file: BinaryIO) -> int:
    version = int(_unpack(file, "I"))
    if version in VERSIONS:
        return version
    if version & 0xFFFF == 0:
        raise ModelError(f"{path} is a big-endian GGUF file; convert it to little-endian, which this machine reads.")
    if version > max(VERSIONS):
        raise ModelError(
            f"{path} is a GGUF file of version {version}; this release reads versions 2 and 3. A newer benchbench and "
            "llama-cpp-python may read it."
        )
    raise ModelError(f"{path} is a GGUF file of version {version}, which is no longer read; convert the model anew.")


def _parse(path: Path, file: BinaryIO, version: int) -> GGUFHeader:
    count, pairs = _count(file), _count(file)
    metadata = {}
    for _ in range(pairs):
        key = _text(file)
        metadata[key] = _value(file, int(_unpack(file, "I")))
    return GGUFHeader(path, version, metadata, tuple(_tensor(file) for _ in range(count)))


def _tensor(file: BinaryIO) -> GGUFTensor:
    name, dimensions = _text(file), int(_unpack(file, "I"))
    if dimensions > MAX_DIMENSIONS:
        raise OverflowError(f"{name!r} has {dimensions} dimensions")
    shape = tuple(int(_unpack(file, "Q")) for _ in range(dimensions))
    kind, offset = int(_unpack(file, "I")), int(_unpack(file, "Q"))
    known = BLOCKS.get(kind)
    if known is None:
        return GGUFTensor(name, shape, f"type {kind}", offset, None)
    title, elements, size = known
    return GGUFTensor(name, shape, title, offset, math.prod(shape) // elements * size)


def _value(file: BinaryIO, kind: int) -> Json:
    if kind == TEXT:
        return _text(file)
    if kind != ARRAY:
        scalar: Json = _unpack(file, SCALARS[kind])
        return scalar
    inner, count = int(_unpack(file, "I")), _count(file)
    if inner in SCALARS:
        code = f"<{count}{SCALARS[inner]}"
        return list(struct.unpack(code, _read(file, struct.calcsize(code))))
    return [_value(file, inner) for _ in range(count)]


def _text(file: BinaryIO) -> str:
    length = int(_unpack(file, "Q"))
    if length > MAX_TEXT:
        raise OverflowError(f"a text of {length:,} bytes")
    return _read(file, length).decode("utf-8", errors="surrogateescape")


def _count(file: BinaryIO) -> int:
    count = int(_unpack(file, "Q"))
    if count > MAX_COUNT:
        raise OverflowError(f"a list of {count:,} entries")
    return count


def _unpack(file: BinaryIO, code: str) -> Any:
    return struct.unpack(f"<{code}", _read(file, struct.calcsize(f"<{code}")))[0]


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


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
