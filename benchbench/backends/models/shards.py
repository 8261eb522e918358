"""torch's distributed shards (`torch.distributed.checkpoint`): pieces of tensors in `.distcp` files, and their index.

The index, `.metadata`, is a pickle of a stranger. Nothing that it names is ever imported or called: what would be
objects of torch become values of our own, and of these only names, numbers and places are taken.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchbench.backends.models.files import check_stored, opened, told
from benchbench.core.errors import ModelError
from benchbench.core.files import read_regular

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

INDEX = ".metadata"
"""The file that is written last."""
SHARDS = "*.distcp"
MAX_INDEX = 1 << 30
"""Most bytes of an index. One of a model of 7 billion parameters on 512 GPUs with its optimizer has a tenth of it."""
DTYPES: Mapping[str, int] = {
    **dict.fromkeys(("float64", "int64", "complex64"), 8),
    **dict.fromkeys(("float32", "int32"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16"), 2),
    **dict.fromkeys(("int8", "uint8", "bool", "float8_e4m3fn", "float8_e5m2"), 1),
}
"""torch's name of a number type → its bytes."""
PLAIN: Mapping[str, Any] = {
    "torch.Size": tuple,
    "collections.OrderedDict": dict,
    **{f"torch.{name}": name for name in DTYPES},
}
"""Names that an index asks for → what it gets."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one tensor, and the part of a file that holds it."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor that lies in pieces."""

    dtype: str
    """torch's name."""
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]


def has_shards(folder: Path) -> bool:
    """Whether shards lie in `folder`, whole or not."""
    return folder.is_dir() and any(folder.glob(SHARDS))


def read_index(folder: Path) -> Mapping[str, Stored]:
    """The tensors of all shards by name. Reads no weights.

    ModelError where there is no index, it asks for code or makes no sense, or where shards lack what it promises.
    """
    found = _from_index(folder, _tensors)
    _check_files_hold(folder, found)
    return found


def read_count(folder: Path, name: str) -> int | None:
    """A whole number that the shards hold beside their tensors, None if there is none. ModelError as `read_index`."""

    def find(index: Any) -> Piece | None:
        key = next((key for key in index["storage_data"] if key["fqn"] == name), None)
        return None if key is None else _place(name, (), (), index["storage_data"][key])

    piece = _from_index(folder, find)
    found = None if piece is None else _read_piece(folder, piece)
    return found if isinstance(found, int) else None


def _from_index(folder: Path, read: Callable[[Any], T]) -> T:
    """What `read` makes of the index. ModelError where it is missing, asks for code or makes no sense."""
    if not (folder / INDEX).is_file():
        raise ModelError(
            f"{folder} has shards but no {INDEX}, which is written last: it is still being written, or the copy is not "
            "whole."
        )
    try:
        return read(_IndexUnpickler(io.BytesIO(read_regular(folder / INDEX, MAX_INDEX))).load())
    except _AsksForCodeError as error:
        raise ModelError(
            f"{folder / INDEX} asks for {error}, which no index of shards needs; it might run code, so it was not "
            "opened."
        ) from None
    except _NotFilledError as error:
        raise ModelError(f"{folder / INDEX} is no whole index: {error}.") from None
    except (Exception, RecursionError) as error:
        raise ModelError(f"{folder / INDEX} cannot be read as an index of shards: {told(error)}") from error


def read_tensor(folder: Path, name: str, stored: Stored) -> torch.Tensor:
    """One tensor, put together from its pieces. ModelError where a shard holds something else than the index says."""
    import torch

    whole = torch.zeros(stored.shape, dtype=getattr(torch, stored.dtype))
    for piece in stored.pieces:
        part = _read_piece(folder, piece)
        if type(part) is not torch.Tensor or part.layout != torch.strided:
            raise ModelError(f"{folder / piece.file} holds a {type(part).__name__} where the index promises a tensor.")
        if tuple(part.shape) != piece.sizes or part.dtype != whole.dtype:
            raise ModelError(
                f"{folder / piece.file} holds {list(part.shape)} numbers of {part.dtype} as a part of {name!r}; the "
                f"index says {list(piece.sizes)} of {whole.dtype}."
            )
        place = tuple(slice(at, at + size) for at, size in zip(piece.offsets, piece.sizes, strict=True))
        whole[place] = part
    return whole


def _read_piece(folder: Path, piece: Piece) -> object:
    import torch

    path = folder / piece.file
    with opened(path) as file:
        file.seek(piece.start)
        part = io.BytesIO(file.read(piece.length))
    check_stored(part, path)
    part.seek(0)
    try:
        return torch.load(part, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"{path} holds more than a tensor, or a broken one: {told(error)}") from error


class _AsksForCodeError(Exception):
    """An index names something that no index needs."""


class _NotFilledError(Exception):
    """An index does not say of every part of its tensors where it lies."""


class _Record:
    """An object of torch, of which nothing is kept but what it was made of."""

    def __init__(self, *arguments: Any) -> None:
        self.fields: Any = arguments

    def __setstate__(self, state: Any) -> None:
        self.fields = state

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


@cache
def _record(name: str) -> type[_Record]:
    return type(name, (_Record,), {})


class _IndexUnpickler(pickle.Unpickler):
    """Reads an index and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in for what the index asks for."""
        full = f"{module}.{name}"
        if full in PLAIN:
            return PLAIN[full]
        if not name.isidentifier() or not (module == "torch" or module.startswith(("torch.", "pathlib"))):
            raise _AsksForCodeError(full)
        return _record(name)


def _tensors(index: Any) -> dict[str, Stored]:
    places = {
        (str(key["fqn"]), _sizes(key.fields.get("offset") or ())): value for key, value in index["storage_data"].items()
    }
    return {
        str(name): _stored(str(name), value, places)
        for name, value in index["state_dict_metadata"].items()
        if type(value).__name__ == "TensorStorageMetadata"
    }


def _stored(name: str, tensor: _Record, places: Mapping[tuple[str, tuple[int, ...]], _Record]) -> Stored:
    shape, dtype = _sizes(tensor["size"]), tensor["properties"].fields[0]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _NotFilledError(f"it gives {name!r} numbers of a type that is not known here")
    pieces = tuple(_piece(name, chunk, places) for chunk in tensor["chunks"])
    for piece in pieces:
        if len(piece.sizes) != len(shape) or any(
            at + size > whole for at, size, whole in zip(piece.offsets, piece.sizes, shape, strict=True)
        ):
            raise _NotFilledError(f"a part of {name!r} lies outside of its shape {list(shape)}")
        if math.prod(piece.sizes) * DTYPES[dtype] > piece.length:
            raise _NotFilledError(f"a part of {name!r} has fewer bytes in {piece.file} than numbers")
    distinct = {piece.offsets: math.prod(piece.sizes) for piece in pieces}
    if sum(distinct.values()) != math.prod(shape):
        raise _NotFilledError(f"it does not say where all of {name!r} lies")
    return Stored(dtype, shape, pieces)


def _piece(name: str, chunk: _Record, places: Mapping[tuple[str, tuple[int, ...]], _Record]) -> Piece:
    offsets, sizes = _sizes(chunk["offsets"]), _sizes(chunk["sizes"])
    place = places.get((name, offsets))
    if place is None:
        raise _NotFilledError(f"it does not say where all of {name!r} lies")
    return _place(name, offsets, sizes, place)


def _place(name: str, offsets: tuple[int, ...], sizes: tuple[int, ...], place: _Record) -> Piece:
    if place.fields.get("transform_descriptors"):
        raise _NotFilledError(f"{name!r} is compressed, which is not read here")
    file, (start, length) = str(place["relative_path"]), _sizes((place["offset"], place["length"]))
    if Path(file).name != file or not file:
        raise _NotFilledError(f"it says that {name!r} lies in another folder")
    return Piece(offsets, sizes, file, start, length)


def _sizes(value: Any) -> tuple[int, ...]:
    found = tuple(value)
    if any(type(one) is not int or not 0 <= one < 1 << 63 for one in found):
        raise ValueError("a size is no whole number")
    return found


def _check_files_hold(folder: Path, tensors: Mapping[str, Stored]) -> None:
    ends: dict[str, int] = {}
    for tensor in tensors.values():
        for piece in tensor.pieces:
            ends[piece.file] = max(ends.get(piece.file, 0), piece.start + piece.length)
    for name, end in ends.items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{folder} lacks {name}, which its {INDEX} names.")
        if path.stat().st_size < end:
            raise ModelError(
                f"{path} is cut short: its {INDEX} promises {end:,} bytes, it has {path.stat().st_size:,}. It is still "
                "being written, or the copy broke off."
            )
