"""Names for weights and tokenizers that depend on their content alone: not on paths, file names or sharding.

Two checkpoints have the same model identity iff they have the same tensors (name, type, shape, bytes), the same
configuration apart from keys that change no number, and run the same custom code. Nothing is remembered between
calls: a path whose content changed gets a new identity.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from benchbench.backends.models.files import (
    TensorInfo,
    check_torch_file,
    is_old_torch,
    not_whole,
    read_json,
    safetensors_header,
    told,
)
from benchbench.core.activity import doing
from benchbench.core.errors import ModelError
from benchbench.core.ids import canonical_json, content_hash
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch

CHUNK = 1 << 22
BROKEN_OFF = "unknown: a swap of weights was broken off"
"""In place of an identity, while weights are being swapped."""
VOLATILE_CONFIG = frozenset(
    [
        "_name_or_path",
        "_commit_hash",
        "_attn_implementation",
        "attn_implementation",
        "attn_impl",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "use_cache",
        "auto_map",
        "init_device",
        "init_config",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "torchscript",
        "gradient_checkpointing",
        "id2label",
        "label2id",
        "verbose",
        "_from_model_config",
    ]
)
"""Keys of config.json and generation_config.json, at any depth, that do not shape the computation."""
VOLATILE_TOKENIZER = frozenset(
    [
        "name_or_path",
        "tokenizer_file",
        "special_tokens_map_file",
        "transformers_version",
        "processor_class",
        "auto_map",
        "_commit_hash",
        "model_max_length",
        "backend",
        "is_local",
        "local_files_only",
        "max_length",
        "pad_to_multiple_of",
        "pad_token_type_id",
        "padding_side",
        "stride",
        "truncation_side",
        "truncation_strategy",
    ]
)
"""Keys of a tokenizer's files that change no token of a whole text. Of truncation and padding nothing is used here."""
LAST_CALL = frozenset(["truncation", "padding"])
"""Keys of tokenizer.json that say how it was called last by whoever saved it."""
TOKENIZER_FILES = (
    "added_tokens.json",
    "bpe.codes",
    "chat_template.jinja",
    "emoji.json",
    "merges.txt",
    "prophetnet.tokenizer",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "source.spm",
    "special_tokens_map.json",
    "spiece.model",
    "target.spm",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab-src.json",
    "vocab-tgt.json",
    "vocab.json",
    "vocab.txt",
)
TEKKEN = "tekken.json"
"""Mistral's own vocabulary, which the package mistral-common reads."""
ASKS_FOR_CODE = re.compile(r"(?i)global|function|instantiate|reduce")
"""In torch's words on a pickle that names more than tensors; other words are about one that makes no sense."""
TORCH_TYPES = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float64": "F64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def model_identity(folder: Path, files: Sequence[Path], *, code: Iterable[Path] = ()) -> str:
    """sha256 (64 hex digits) of the weights in `files`, the configuration in `folder` and the custom `code` that runs.

    Raises ModelError where a file cannot be read as weights.
    """
    weights = weights_identity(files)
    config, generation = read_json(folder / "config.json"), read_json(folder / "generation_config.json")
    return identity_from(weights, config, generation, code=code)


def identity_from(weights: str, config: Json, generation: Json, *, code: Iterable[Path] = ()) -> str:
    """The identity of a model whose weights have the identity `weights`; the configurations are as saved."""
    parts = {
        "weights": weights,
        "config": canonical(config, VOLATILE_CONFIG),
        "generation": canonical(generation, VOLATILE_CONFIG),
        "code": sorted((path.name, file_identity(path)) for path in code),
    }
    return content_hash(parts, digits=64)


@doing("hashing the weights")
def tensors_identity(tensors: Mapping[str, torch.Tensor]) -> str:
    """`weights_identity` of torch tensors in memory, equal to that of a file which holds them under these names."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digests = list(pool.map(_hash_tensor, tensors.values()))
    return content_hash(sorted(zip(tensors, digests, strict=True)), digits=64)


@doing("hashing the weights")
def weights_identity(files: Sequence[Path]) -> str:
    """sha256 over all tensors of `files` (.safetensors, or .bin read as plain tensors), sorted by name."""
    if all(path.suffix == ".safetensors" for path in files):
        digests = _hash_safetensors(files)
    else:
        digests = {name: digest for path in files for name, digest in _hash_pickle(path)}
    return content_hash(sorted(digests.items()), digits=64)


def tokenizer_identity(folder: Path, *, code: Iterable[Path] = ()) -> str:
    """sha256 of the tokenizer files in `folder` (vocabulary, merges, special tokens, settings, chat template) and of
    the custom `code` that runs.
    """
    parts: dict[str, object] = {"code": sorted((path.name, file_identity(path)) for path in code)}
    files = [*(folder / name for name in TOKENIZER_FILES), *sorted(folder.glob("*.tiktoken"))]
    if not (folder / "tokenizer.json").is_file():  # beside it the same vocabulary stands there twice
        files.append(folder / TEKKEN)
    for path in files:
        if not path.is_file():
            continue
        if path.suffix == ".json":
            settings = canonical(read_json(path), VOLATILE_TOKENIZER, depth=1)
            if isinstance(settings, dict):
                settings |= dict.fromkeys(LAST_CALL & settings.keys())
            parts[path.name] = content_hash(settings, digits=64)
        else:
            parts[path.name] = file_identity(path)
    return content_hash(parts, digits=64)


def file_identity(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@overload
def canonical(value: dict[str, Json], volatile: frozenset[str], *, depth: int = 9) -> dict[str, Json]: ...
@overload
def canonical(value: Json, volatile: frozenset[str], *, depth: int = 9) -> Json: ...
def canonical(value: Json, volatile: frozenset[str], *, depth: int = 9) -> Json:
    """`value` without the `volatile` keys of its outer `depth` levels of objects."""
    if depth and isinstance(value, dict):
        return {k: canonical(v, volatile, depth=depth - 1) for k, v in value.items() if k not in volatile}
    return value


def _hash_safetensors(files: Sequence[Path]) -> dict[str, str]:
    """Tensor name → digest. Threads share the tensors; hashing and reading both let the others run."""
    jobs = [(path, name, info) for path in files for name, info in safetensors_header(path).items()]
    jobs.sort(key=lambda job: job[2].start - job[2].end)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(_hash_slice, *zip(*jobs, strict=True)) if jobs else ()
        return {name: digest for (_, name, _), digest in zip(jobs, digests, strict=True)}


def _hash_slice(path: Path, name: str, info: TensorInfo) -> str:
    """Reads instead of mapping: a file that shrinks meanwhile raises an error here and would kill the process there."""
    hasher = _hasher(info.dtype, info.shape)
    buffer = memoryview(bytearray(min(CHUNK, max(info.end - info.start, 1))))
    with path.open("rb", buffering=0) as file:
        file.seek(info.start)
        left = info.end - info.start
        while left:
            count = file.readinto(buffer[: min(left, len(buffer))])
            if not count:
                raise ModelError(f"{path} changed while it was read: {name!r} ended early. Is it still being written?")
            hasher.update(buffer[:count])
            left -= count
    return str(hasher.hexdigest())


def _hash_pickle(path: Path) -> Iterable[tuple[str, str]]:
    """Digests of the tensors in a torch file, equal to those of the same tensors in safetensors."""
    for name, tensor in load_pickle(path).items():
        if hasattr(tensor, "untyped_storage"):
            yield name, _hash_tensor(tensor)


def _hash_tensor(tensor: torch.Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    hasher = _hasher(TORCH_TYPES.get(kind, kind), tuple(tensor.shape))
    flat = tensor.detach().cpu().contiguous().flatten()
    hasher.update(flat.view(_bytes_type()).numpy().data if flat.numel() else b"")
    return hasher.hexdigest()


def load_pickle(path: Path) -> Mapping[str, Any]:
    """Tensors of a torch file. Only tensors: a pickle that would run code raises ModelError instead."""
    import pickle

    import torch

    check_torch_file(path)
    old = is_old_torch(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=not old)
    except pickle.UnpicklingError as error:
        if old and not ASKS_FOR_CODE.search(str(error)):
            raise not_whole(path) from None
        raise ModelError(
            f"{path} holds more than tensors and would run code when opened, so it was not. Convert it to safetensors."
        ) from None
    except Exception as error:
        if old:
            raise not_whole(path) from error
        raise ModelError(f"{path} cannot be read as a torch file: {told(error)}") from error
    if not isinstance(state, dict):
        raise ModelError(f"{path} holds a {type(state).__name__}, expected tensors by name.")
    return state


def _bytes_type() -> torch.dtype:
    import torch

    return torch.uint8


def _hasher(dtype: str, shape: Sequence[int]) -> hashlib._Hash:
    return hashlib.sha256(canonical_json([dtype, list(shape)]).encode() + b"\n")
