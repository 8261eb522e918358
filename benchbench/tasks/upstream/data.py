"""lm-eval's data sets from a data root: `datasets.load_dataset` reads `<root>/<path>/<config>/<split>` while open."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchbench.core.errors import DataError
from benchbench.tasks.readers import DATA_ENV, FILE_FORMATS, READERS


class Loaded:
    """What was loaded, for the record."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.revisions: list[str] = []


@contextlib.contextmanager
def rows_from(root: Path | None, who: str, spare: str | None = None) -> Iterator[Loaded]:
    """While open, lm-eval's tasks get their rows from `root`, or from the Hub if that is None. DataError if they fail.

    `spare` names the split of shots that nobody will draw: lm-eval reads it all the same, so where it is not there it
    is empty.
    """
    import datasets

    class Splits(datasets.DatasetDict):  # type: ignore[misc]
        def __missing__(self, split: str) -> Any:
            if split == spare:
                return next(iter(self.values())).select([])
            raise DataError(f"{who}: no split {split!r} in {loaded.places[-1]}. Splits there: {', '.join(self)}.")

    loaded, original = Loaded(), datasets.load_dataset

    def from_root(path: str, name: str | None = None, *, split: str | None = None, **kwargs: Any) -> Any:
        if root is None or path in FILE_FORMATS:
            return from_elsewhere(path, name, split=split, **kwargs)
        folder = folder_of(root, path, name, who)
        loaded.places.append(str(folder))
        files = _files(folder, who)
        parts = {name: datasets.Dataset.from_list(list(READERS[file.suffix](file))) for name, file in files.items()}
        return Splits(parts) if split is None else Splits(parts)[split]

    def from_elsewhere(path: str, name: str | None = None, **kwargs: Any) -> Any:
        try:
            found = original(path, name, **{key: value for key, value in kwargs.items() if value is not None})
        except Exception as error:  # datasets, huggingface_hub and httpx raise what they like; all of it is a record
            raise DataError(_sentence(who, path, name, error)) from error
        loaded.places.append(f"hf://datasets/{path}" if path not in FILE_FORMATS else str(path))
        if path not in FILE_FORMATS and isinstance(found, datasets.DatasetDict):
            from benchbench.tasks.hub import resolved_revision

            loaded.revisions += [resolved_revision(path, kwargs.get("revision"), found) or "unknown"]
        return found

    datasets.load_dataset = from_root
    try:
        yield loaded
    finally:
        datasets.load_dataset = original


def folder_of(root: Path, path: str, name: str | None, who: str) -> Path:
    """Where a data set's splits lie. DataError if they do not, or for names that would climb out of the root."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", path) or ".." in path:
        raise DataError(f"{who}: the data set {path!r} is not `organisation/name`.")
    if name is not None and not re.fullmatch(r"[^/\\]+", name.replace("..", "/")):
        raise DataError(f"{who}: {name!r} is not the name of a configuration.")
    if not root.is_dir():
        raise DataError(f"--data-root {root}: no such folder.")
    folder = root / path / (name or "default")
    if folder.is_dir():
        return folder
    there = sorted(place.name for place in (root / path).iterdir() if place.is_dir()) if (root / path).is_dir() else []
    more = f"Configurations there: {', '.join(there)}. " if there else ""
    raise DataError(
        f"{who}: its data are not at {folder}. {more}`benchbench data pull {who} --to {root}` fetches them, "
        f"or leave --data-root (and {DATA_ENV}) away."
    )


def _files(folder: Path, who: str) -> dict[str, Path]:
    """Split → file; where there are several formats, the one that our own tasks read."""
    found: dict[str, Path] = {}
    for suffix in READERS:
        for file in sorted(folder.glob(f"*{suffix}")):
            found.setdefault(file.stem, file)
    if not found:
        raise DataError(f"{who}: {folder} holds no split ({', '.join(READERS)}).")
    return found


def _sentence(who: str, path: str, name: str | None, error: Exception) -> str:
    reason, config = " ".join(str(error).split())[:200], f" ({name})" if name else ""
    return (
        f"{who}: its data set {path}{config} could not be loaded: {type(error).__name__}: {reason} "
        f"Without a network, point --data-root (or {DATA_ENV}) at a folder that holds it."
    )
