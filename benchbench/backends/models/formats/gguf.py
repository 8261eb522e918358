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
from benchbench.backends.models.files import ModelSource, opened, unchanged
from benchbench.backends.models.formats import CheckpointFormat
from benchbench.backends.models.identity import file_identity
from benchbench.backends.models.loaded import LoadedModel, from_pretrained, set_length
from benchbench.backends.models.memory import MemoryEstimate, check_memory, expanded
from benchbench.backends.models.shape import check_size, stored_layers
from benchbench.backends.models.tokenizer import load_tokenizer
from benchbench.core.errors import ModelError
from benchbench.core.ids import content_hash
from benchbench.core.json_record import whole
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch


MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_TEXT = 1 << 26
"""Longest string that is believed, in bytes: beyond it the header is corrupt."""
MAX_COUNT = 1 << 20
"""Most keys, tensors or entries of one list that are believed: vocabularies have less than 300,000 words."""
MAX_ENTRIES = 1 << 22
"""Most keys, tensors and entries of all lists of one file."""
MAX_DIMENSIONS = 8
MAX_DEPTH = 4
"""Of lists in lists."""
MAX_ALIGNMENT = 1 << 20
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
    with opened(path) as file:
        magic = file.read(4)
        if magic != MAGIC:
            raise ModelError(f"{path} is not a GGUF file: it begins with {magic!r}, not with the letters GGUF.")
        try:
            version = _version(path, file)
            header = _parse(path, _Front(file), version)
            data = file.tell()
        except (EOFError, struct.error):
            raise ModelError(
                f"{path} is cut short: its {size:,} bytes end inside the header. It is still being written, or the "
                "copy broke off."
            ) from None
        except (OverflowError, UnicodeDecodeError, KeyError, MemoryError) as error:
            raise ModelError(f"{path} is corrupt: its GGUF header cannot be read ({error}).") from None
    alignment = whole(header.metadata.get("general.alignment")) or 32
    if not 0 < alignment <= MAX_ALIGNMENT:
        raise ModelError(f"{path} is corrupt: its general.alignment is {alignment:,}.")
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
    version = _Front(file).number("I")
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


def _parse(path: Path, front: _Front, version: int) -> GGUFHeader:
    count, pairs = front.count(), front.count()
    metadata = {}
    for _ in range(pairs):
        key = front.text()
        if key in metadata:
            raise OverflowError(f"{key!r} stands twice")
        metadata[key] = front.value(front.number("I"))
    tensors: dict[str, GGUFTensor] = {}
    for _ in range(count):
        tensor = _tensor(front)
        if tensor.name in tensors or not tensor.name:
            raise OverflowError(f"a tensor named {tensor.name!r} stands twice, or has no name")
        tensors[tensor.name] = tensor
    return GGUFHeader(path, version, metadata, tuple(tensors.values()))


def _tensor(front: _Front) -> GGUFTensor:
    name, dimensions = front.text(), front.number("I")
    if dimensions > MAX_DIMENSIONS:
        raise OverflowError(f"{name!r} has {dimensions} dimensions")
    shape = tuple(front.number("Q") for _ in range(dimensions))
    kind, offset = front.number("I"), front.number("Q")
    known = BLOCKS.get(kind)
    if known is None:
        return GGUFTensor(name, shape, f"type {kind}", offset, None)
    title, elements, size = known
    return GGUFTensor(name, shape, title, offset, math.prod(shape) // elements * size)


class _Front:
    """Reads values one after another. EOFError where the file ends; OverflowError for more than is believed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_ENTRIES

    def value(self, kind: int, depth: int = 0) -> Json:
        """A value of the type with this number. KeyError for a number that no type has."""
        if kind == TEXT:
            return self.text()
        if kind != ARRAY:
            scalar: Json = self._unpack(SCALARS[kind])
            return scalar
        if depth >= MAX_DEPTH:
            raise OverflowError(f"lists in lists in lists, {MAX_DEPTH} deep")
        inner, count = self.number("I"), self.count()
        if inner in SCALARS:
            code = f"<{count}{SCALARS[inner]}"
            return list(struct.unpack(code, self._read(struct.calcsize(code))))
        return [self.value(inner, depth + 1) for _ in range(count)]

    def text(self) -> str:
        """A text."""
        length = self.number("Q")
        if length > MAX_TEXT:
            raise OverflowError(f"a text of {length:,} bytes")
        return self._read(length).decode("utf-8", errors="surrogateescape")

    def count(self) -> int:
        """How many entries follow."""
        count = self.number("Q")
        self._left -= count
        if count > MAX_COUNT or self._left < 0:
            raise OverflowError(f"a list of {count:,} entries")
        return count

    def number(self, code: str) -> int:
        """A whole number, by its struct code."""
        return int(self._unpack(code))

    def _unpack(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._read(struct.calcsize(f"<{code}")))[0]

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
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
        read_headers(path)

    def estimate(self, source: ModelSource, dtype: str) -> MemoryEstimate:
        """See `CheckpointFormat`. As llama.cpp computes it, in the types of the file."""
        return estimate_gguf(source.path)

    def load(self, source: ModelSource, options: ModelOptions, device: torch.device) -> LoadedModel:
        """See `CheckpointFormat`."""
        from benchbench.backends.models.options import transformers_options  # pydantic, where a model is opened

        path = source.path
        headers = read_headers(path)
        own = transformers_options(options)
        tokenizer = load_tokenizer(
            source, trusted=False, add_bos_token=own.add_bos_token, prefix_token_id=own.prefix_token_id
        )
        dtype, note = choose_dtype("float32" if options.dtype == "auto" else options.dtype, {}, None, device.type)
        check_memory(expanded(_estimated(headers), dtype), source.name, device)
        config = config_object(source, {}, trusted=False)
        raw = config.to_dict()
        check_size(source, config, tensor_shapes(headers), "causal")
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


def read_headers(path: Path) -> tuple[GGUFHeader, ...]:
    """The headers of all parts of the file. ModelError where what they say of the model is not what they hold."""
    headers = tuple(read_header(part) for part in split_files(path))
    shapes = tensor_shapes(headers)
    layers, largest = stored_layers(shapes), max((n for shape in shapes.values() for n in shape), default=0)
    bounds = {
        "block_count": (1, layers),
        "embedding_length": (1, largest),
        "attention.head_count": (0, largest),  # 0: a layer without attention
        "attention.head_count_kv": (0, largest),
    }
    for header in headers:
        for key, (least, most) in bounds.items():
            stated = header.model(key)
            numbers = [] if stated is None else stated if isinstance(stated, list) else [stated]
            if any(type(number) is not int or not least <= number <= most for number in numbers):
                raise ModelError(
                    f"{path} is corrupt: its {header.architecture}.{key} is {str(stated)[:60]}, but its tensors have "
                    f"{layers} layers and at most {largest:,} columns."
                )
    return headers


def tensor_shapes(headers: Sequence[GGUFHeader]) -> dict[str, tuple[int, ...]]:
    """Tensor name → shape."""
    return {tensor.name: tensor.shape for header in headers for tensor in header.tensors}


def estimate_gguf(path: Path) -> MemoryEstimate:
    """What llama.cpp needs for the file, with keys and values in float16. ModelError where it is broken."""
    return _estimated(read_headers(path))


def _estimated(headers: Sequence[GGUFHeader]) -> MemoryEstimate:
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
    if not (layers and width and max(heads, default=0)):
        return None
    key_heads = _per_layer(header.model("attention.head_count_kv"), layers or 0) or heads
    head = width // max(heads)
    keys, values = (whole(header.model(f"attention.{name}_length")) or head for name in ("key", "value"))
    return sum(key_heads) * (keys + values) * 2


def _per_layer(stated: Json, layers: int) -> list[int]:
    """A number of each layer, where the file states one for all or a list; [] where it states none."""
    counts = stated if isinstance(stated, list) else [stated] * layers if stated else []
    return [whole(count) or 0 for count in counts]
