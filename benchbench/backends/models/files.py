"""A model's files on this machine: where they lie, which format they have, and whether the weights are whole.

Reads headers only, needs no torch.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from benchbench.backends.models.layouts import what_to_do
from benchbench.core.errors import ModelError
from benchbench.core.files import is_regular, open_regular, read_regular
from benchbench.core.types import Json

MAX_JSON = 100_000_000
"""Most bytes of a JSON file of a model. The largest honest ones are tokenizers of 40 MB."""
MAX_VALUES = 8_000_000
"""Most values in it: each takes ten times its bytes in memory."""
MAX_FILE = 1 << 28
"""Most bytes of a file beside the weights."""
SMALL_FILES = (".json", ".jinja", ".txt", ".model", ".tiktoken", ".spm", ".py")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model on this machine."""

    path: Path
    """The folder or file that is loaded."""
    format: str = "folder"
    """Its name in `formats.FORMATS`."""
    revision: str | None = None
    """Commit of a hub name; None for local models."""

    @property
    def folder(self) -> Path:
        """Where the files beside the weights lie: configuration, tokenizer, code."""
        return self.path.parent if self.path.is_file() else self.path

    @property
    def gguf_file(self) -> str | None:
        """Name of the GGUF file in `folder`, as transformers wants it, if that is what is loaded."""
        return self.path.name if self.format == "gguf" else None

    @property
    def name(self) -> str:
        """For sentences."""
        return str(self.path)


@contextlib.contextmanager
def quiet(source: ModelSource) -> Iterator[None]:
    """transformers without progress bars and warnings; whatever it raises becomes a ModelError naming the model.

    Only calls of transformers belong inside: a fault of ours would be taken for one of the model's.
    """
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except ModelError:
        raise
    except ModuleNotFoundError as error:
        raise ModelError(
            f"transformers cannot load {source.name} without the package {error.name}: pip install {error.name}"
        ) from error
    except Exception as error:
        raise ModelError(f"transformers cannot load {source.name}: {told(error)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of tokenizers and safetensors, which are written in Rust
            raise
        raise ModelError(f"transformers cannot load {source.name}: {told(error)}") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def and_more(names: Sized) -> str:
    """What follows the first of some names in a sentence."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def told(error: BaseException) -> str:
    """What an exception of a library says: its first line, or two where that ends in a colon.

    With its name, where it is a kind of error that the libraries do not raise in order to be read.
    """
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    said = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])[:400]
    spoken = isinstance(error, OSError | ValueError | RuntimeError | ImportError)
    is_clear = spoken and not isinstance(error, RecursionError | UnicodeError) and said
    return said if is_clear else ": ".join(filter(None, [type(error).__name__, said]))


def check_files(folder: Path) -> None:
    """ModelError where a file of a model is a pipe or a device, which would be read without end, or is far too large.

    Looks at the folder itself, and at the one inside it that transformers reads more templates from.
    """
    for path in [*_listed(folder), *_listed(folder / "additional_chat_templates")]:
        if path.is_dir() or not path.exists():
            continue
        if not is_regular(path):
            raise ModelError(f"{path} is a pipe or a device; a model consists of files.")
        size = path.stat().st_size
        if path.suffix in SMALL_FILES and size > MAX_FILE:
            raise ModelError(f"{path} has {size:,} bytes; no file of this kind is larger than {MAX_FILE:,}.")


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"
INDEX = ".index.json"
OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number that files of torch before 1.6 begin with, as pickled."""
MAX_HEADER = 100_000_000
"""The format's own limit on the header, in bytes."""

BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}
"""Bits per element of the safetensors types. An unknown type's size is not checked."""


TORCH_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Types that are computed with: name in safetensors and GGUF files → in torch."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies in its file."""

    dtype: str
    """Name as in safetensors: F32, BF16, …"""
    shape: tuple[int, ...]
    start: int
    """First byte, counted from the start of the file."""
    end: int
    """One past the last byte."""


def read_object(path: Path) -> dict[str, Json]:
    """The object in a JSON file, or {} if there is no file. Raises ModelError where it is not one."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object of keys and values.")
    return value


def read_json(path: Path) -> Json:
    """Content of a JSON file, or {} if there is none. Raises ModelError where it is not JSON."""
    try:
        return parsed(read_regular(path, MAX_JSON))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}.") from None


def parsed(data: bytes) -> Json:
    """What JSON of a stranger says. ValueError, whose message is a clause, where it is none, too deep or too much."""
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise ValueError(f"it holds more than {MAX_VALUES:,} values")
    try:
        value: Json = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that transformers would load from `folder`, in its order of preference; checks that shards exist.

    Raises ModelError where there are no weights, or where the index names a file that is not there.
    """
    for name in (SAFETENSORS, PICKLE):
        if (folder / name).is_file():
            return (folder / name,)
        if (folder / (name + INDEX)).is_file():
            return _shards(folder / (name + INDEX))
    if (said := what_to_do(folder)) is not None:
        raise ModelError(said)
    others = sorted(p.name for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".pt", ".gguf"))
    found = f" It has {', '.join(others[:4])}." if others else ""
    raise ModelError(f"{folder} has no weights: expected {SAFETENSORS}, {SAFETENSORS}{INDEX} or {PICKLE}.{found}")


def check_weights(folder: Path) -> tuple[Path, ...]:
    """`weight_files`, after reading every header: a corrupt, truncated or incomplete checkpoint raises ModelError."""
    files = weight_files(folder)
    tensors: dict[str, str] = {}
    for path in files:
        if path.suffix == ".safetensors":
            tensors.update(dict.fromkeys(safetensors_header(path), path.name))
        else:
            check_torch_file(path)
    index = folder / (SAFETENSORS + INDEX)
    if files[0].suffix == ".safetensors" and files[0].name != SAFETENSORS:
        for tensor, name in weight_map(index).items():
            if tensors.get(tensor) != name:
                raise ModelError(f"{index} says that {name} holds {tensor!r}, but it does not.")
    return files


def check_torch_file(path: Path) -> None:
    """ModelError for a torch file that is cut short, or whose parts would be larger in memory than on disk."""
    if not is_regular(path):
        raise ModelError(f"{path} is a pipe or a device; a model consists of files.")
    if is_old_torch(path):
        return
    check_stored(path, path)


def check_stored(file: Path | BinaryIO, place: Path) -> None:
    """ModelError where the torch file, or a part of the file `place`, is cut short or would grow when it is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError):
        raise not_whole(place) from None
    packed = next((part.filename for part in parts if part.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise ModelError(f"{place} is not a torch file: its part {packed!r} is compressed, which torch never does.")


def is_old_torch(path: Path) -> bool:
    """Whether a torch file is of the format before torch 1.6: pickles one after another, with no table of sizes."""
    with opened(path) as file:
        return OLD_TORCH in file.read(2 * len(OLD_TORCH) + 4)


def not_whole(path: Path) -> ModelError:
    """For a torch file that ends too early, or does not make sense."""
    return ModelError(f"{path} is not a whole torch file: it is truncated, corrupt or still being written.")


def safetensors_header(path: Path) -> dict[str, TensorInfo]:
    """Tensor name → place, for one safetensors file. Raises ModelError where size, offsets and shapes disagree."""
    size = path.stat().st_size
    with opened(path) as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else MAX_HEADER + 1
        if length > MAX_HEADER:
            raise ModelError(f"{path} is not a safetensors file: it does not start with the length of a header.")
        raw = file.read(length)
    if len(raw) < length:
        raise _cut_short(path, 8 + length, size)
    try:
        entries: Any = parsed(raw)
        tensors = {k: _tensor(v, 8 + length) for k, v in entries.items() if k != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{path} is corrupt: its safetensors header cannot be read.") from None
    end = max((t.end for t in tensors.values()), default=8 + length)
    if end > size:
        raise _cut_short(path, end, size)
    bad = next((name for name, t in tensors.items() if not _fits(t)), None)
    if bad is not None or end != size:
        what = f"the bytes of {bad!r} do not fit its shape" if bad else f"{size - end} bytes follow the last tensor"
        raise ModelError(f"{path} is corrupt: {what}.")
    at = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != at:
            raise ModelError(f"{path} is corrupt: {name!r} does not begin where the tensor before it ends.")
        at = tensor.end
    return tensors


def opened(path: Path) -> BinaryIO:
    """A regular file, to be read. ModelError for anything else."""
    try:
        return open_regular(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from None


@contextlib.contextmanager
def unchanged(files: Sequence[Path]) -> Iterator[None]:
    """Raises ModelError where a file changed meanwhile: its identity and its numbers might be of two checkpoints."""
    before = [_stamp(path) for path in files]
    yield
    for path, stamp in zip(files, before, strict=True):
        if _stamp(path) != stamp:
            raise ModelError(f"{path} changed while it was being loaded; wait until it is written, then try again.")


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def _shards(index: Path) -> tuple[Path, ...]:
    names = sorted(set(weight_map(index).values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"{index.parent} lacks {missing[0]}{more}, which {index.name} names; it has {len(names)} shards."
        )
    if not names:
        raise ModelError(f"{index} names no weight files.")
    return tuple(index.parent / name for name in names)


def weight_map(index: Path) -> Mapping[str, str]:
    """Tensor → the file beside the index that holds it. ModelError where the index says something else."""
    try:
        whole: Any = parsed(read_regular(index, MAX_JSON))
        weight_map = whole["weight_map"]
    except OSError as error:
        raise ModelError(f"{index} cannot be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{index} is corrupt: expected JSON with a weight_map.") from None
    if not isinstance(weight_map, dict) or any(Path(str(name)).name != name for name in weight_map.values()):
        raise ModelError(f"{index} is corrupt: its weight_map must give a file name beside it for each tensor.")
    return weight_map


def _tensor(entry: Any, data_start: int) -> TensorInfo:
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if any(type(n) is not int or not 0 <= n < 1 << 63 for n in (start, end, *shape)):
        raise ValueError("a size is no whole number")
    return TensorInfo(str(entry["dtype"]), shape, data_start + start, data_start + end)


def _fits(tensor: TensorInfo) -> bool:
    bits = BITS.get(tensor.dtype)
    length = tensor.end - tensor.start
    return length >= 0 and (bits is None or length * 8 == bits * math.prod(tensor.shape))


def _cut_short(path: Path, expected: int, size: int) -> ModelError:
    return ModelError(
        f"{path} is cut short: its header promises {expected:,} bytes, it has {size:,}. "
        "It is still being written, or the copy broke off."
    )
