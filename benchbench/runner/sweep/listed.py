"""A list file of checkpoints: what `--checkpoints` names."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchbench.core.checkpoint_names import read_name
from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.files import read_regular
from benchbench.runner.checkpoint import Checkpoint

KEYS = ("step", "path", "tokens", "revision")
MAX_LIST = 2**24
"""Bytes of the largest list of checkpoints that is read."""


def read_list(file: Path, series: str) -> list[Checkpoint]:
    """The checkpoints that `file` lists, in its order. ArgumentError, naming file and entry, for one that is wrong.

    An entry has `path` (a folder, a `.pt` file, or a hub name with `revision`), and `step`, `tokens` or both.
    """
    try:
        text = read_regular(file, MAX_LIST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ArgumentError(f"cannot read the list --checkpoints {file}: {reason}.") from None
    entries = _entries(file, text)
    return [_listed_checkpoint(file, number, entry, series) for number, entry in enumerate(entries, start=1)]


def _entries(file: Path, text: str) -> list[Any]:
    if file.suffix == ".csv":
        return [{key: value for key, value in row.items() if value != ""} for row in csv.DictReader(text.splitlines())]
    try:
        if file.suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        if file.suffix in (".yaml", ".yml"):
            return _yaml(text)
    except ValueError as error:
        raise ArgumentError(f"{file} cannot be read as {file.suffix[1:]}: {error}.") from None
    raise ArgumentError(f"--checkpoints {file}: expected a file that ends in .yaml, .csv or .jsonl.")


def _yaml(text: str) -> list[Any]:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    value = value.get("checkpoints") if isinstance(value, dict) else value
    if not isinstance(value, list):
        raise ValueError("expected a list of entries with step and path")
    return value


def _listed_checkpoint(file: Path, number: int, entry: Any, series: str) -> Checkpoint:
    place = f"{file}, entry {number}"
    if not isinstance(entry, Mapping):
        raise ArgumentError(f"{place}: expected step and path, got {entry!r}.")
    for key in entry:
        if key not in KEYS:
            raise ArgumentError(
                f"{place} has the unknown key {key!r}; there are {', '.join(KEYS)}.{did_you_mean(str(key), KEYS)}"
            )
    if not entry.get("path"):
        raise ArgumentError(f"{place} has no path.")
    tells_tokens_alone = entry.get("step") is None and entry.get("tokens") is not None
    step = None if tells_tokens_alone else _whole_number(place, "step", entry.get("step"))
    tokens = None if entry.get("tokens") is None else _whole_number(place, "tokens", entry["tokens"])
    revision = None if entry.get("revision") is None else str(entry["revision"])
    location = str(entry["path"])
    return Checkpoint(
        series, step, location if revision is not None else _beside(file, location), revision, tokens_seen=tokens
    )


def _whole_number(place: str, key: str, value: Any) -> int:
    """Also `4e9` and `2.5e11`, which YAML and CSV give as text or as fractions."""
    try:
        number = float(str(value))
        if isinstance(value, bool) or number < 0 or not number.is_integer():
            raise ValueError
    except ValueError:
        raise ArgumentError(f"{place}: {key} is {value!r}; expected a whole number, 0 or more.") from None
    return int(value) if isinstance(value, int) else int(number)


def _beside(file: Path, location: str) -> str:
    """A path as seen from the list; what is no path there (a hub name) stays as it is."""
    path = Path(location).expanduser()
    beside = file.parent / path
    is_path = path.is_absolute() or location.startswith(".") or len(path.parts) > 2 or read_name(path.name).is_whole
    inside = len(path.parts) > 1 and (file.parent / path.parts[0]).is_dir()
    return str(beside) if beside.exists() or is_path or inside else location
