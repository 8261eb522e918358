"""What models are called, and names on disk: the model's folder and the run's id."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchbench.core.checkpoint_names import NameReading, read_name
from benchbench.core.ids import content_hash
from benchbench.core.types import BackendInfo, Json

_UNSAFE = re.compile(r"[^\w.@+=:-]+")


@dataclass(frozen=True, slots=True)
class ModelNames:
    """What a place says of the model that lies there."""

    model: str
    """What to call it."""
    series: str
    """The training run that it is a checkpoint of; of other models the name again."""
    reading: NameReading
    """What its own name, or its revision's, tells of step and tokens."""


def find_location(model: str) -> str:
    """Where a model lies, however it was typed: the absolute path of a folder or file that is here.

    Anything else (a hub name, a name on a server) stays as it is. Links stay, for people name models by them.
    """
    path = Path(model).expanduser()
    return os.path.abspath(path) if path.is_absolute() or path.exists() else model  # noqa: PTH100 - `..` goes, links stay


def find_home(location: str, revision: str | None = None) -> str:
    """Where the training that a model belongs to lies: the folder of its checkpoints, links followed; a hub name."""
    return real_path(home_of(location, revision))


def real_path(location: str) -> str:
    """A path with its links followed, also where nothing is there yet; a hub name as it is."""
    return os.path.realpath(location) if location.startswith("/") else location


def home_of(location: str, revision: str | None = None) -> str:
    """`find_home`, from the text alone."""
    path = _own_part(location)
    if revision is not None or not path.name:
        return location
    return str(path.parent) if read_name(path.name).is_whole and path.parent.name else str(path)


def names_at(location: str, revision: str | None = None) -> ModelNames:
    """What to call the model at `location`: a hub name as it is, a folder by its last part, a checkpoint as
    `run@step500`. Nothing is looked up; `find_location` comes first where the location was typed by a user.

    >>> names_at("/runs/csmpt/step500").model, names_at("BUT-FIT/csmpt7b").model, names_at("/m/SmolLM2-135M/").model
    ('csmpt@step500', 'BUT-FIT/csmpt7b', 'SmolLM2-135M')
    """
    leaf, own = leaf_of(location, revision), own_name(location)
    reading = read_name(leaf)
    base = _own_part(location).parent.name if revision is None else own
    if revision is None and not (reading.is_whole and base):
        return ModelNames(own, own, reading)
    model = f"{base}@{leaf}"
    return ModelNames(model, with_part(base, reading) if reading.tells else model, reading)


def own_name(location: str) -> str:
    """A folder's last part, whatever it tells; a hub name as it is. So is a training called by its folder."""
    return (_own_part(location).name or location) if _is_path(location) else location


def names_called(model: str) -> ModelNames:
    """What a name itself says, such as one that a user gave: `mix@step500` is of the series `mix`."""
    base, at, leaf = model.rpartition("@")
    reading = read_name(leaf) if at else NameReading()
    return ModelNames(model, with_part(base, reading) if reading.tells and base else model, reading)


def leaf_of(location: str, revision: str | None = None) -> str:
    """The part of a checkpoint's place that names it: the revision, or the last part of the path without `.pt`."""
    return _own_part(location).name if revision is None else revision


def with_part(base: str, reading: NameReading) -> str:
    """The series of a checkpoint: one for each stage and seed, whose steps are not one count."""
    return f"{base}@{reading.part}" if reading.part else base


def _is_path(location: str) -> bool:
    """Written as a path. `org/name` is a hub name, unless something of that name is here (`find_location`)."""
    parts = PurePosixPath(location).parts
    return location.startswith((".", "~", "/")) or location.endswith(("/", ".pt")) or len(parts) > 2


def _own_part(location: str) -> PurePosixPath:
    """The path whose last part names the model. Composer's files are `ep0-ba500-rank0.pt` or `ep0-ba500/rank0.pt`."""
    path = PurePosixPath(location)
    if path.suffix != ".pt":
        return path
    is_plain = not read_name(path.stem).tells and read_name(path.parent.name).tells
    return path.parent if is_plain or path.stem == "rank0" else path.with_suffix("")


def folder_name(name: str) -> str:
    """`name` as one safe folder name: slashes become `--`, other characters that shells or disks dislike `_`.

    Names over 100 characters are cut and end in a hash, so that two of them do not meet.
    """
    safe = _UNSAFE.sub("_", name.strip("/").replace("/", "--")).lstrip(".-") or "unnamed"
    return safe if len(safe) <= 100 else f"{safe[:87]}-{content_hash(name, digits=12)}"


def compute_identity(info: BackendInfo) -> dict[str, Json]:
    """What must be equal for a response to be the same response: weights, tokenizer, engine and its version, type,
    length, numerics.

    The model's path and name are not in it, nor are batch sizes.
    """
    return {
        "backend": info.name,
        "version": info.version,
        "model_identity": info.model_identity,
        "tokenizer_identity": info.tokenizer_identity,
        "dtype": info.dtype,
        "device": info.device.partition(":")[0],
        "max_length": info.max_length,
        "numerics": info.numerics,
    }


def run_id(info: BackendInfo, tasks: Mapping[str, Mapping[str, Json]], settings: Mapping[str, Json]) -> str:
    """12 hex digits over what decides the results: the same command finds its folder again.

    `tasks` maps each task to its identity (prompt and data hash, shots, version); `settings` holds limit and seed.
    """
    return content_hash(
        {"compute": compute_identity(info), "tasks": dict(tasks), "settings": dict(settings)}, digits=12
    )
