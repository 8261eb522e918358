"""The rows that lm-eval's tasks load, from a data root or the Hub, and what their Python makes of them once for all.

lm-eval calls `process_docs` anew whenever it wants docs and rests on `datasets`, which keeps what `map` made of
files. Of rows that lie elsewhere it keeps nothing, and a task that shuffles would ask about other docs than it drew.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from benchbench.core.errors import DataError
from benchbench.core.ids import content_hash
from benchbench.extensions.lm_eval.names import tasks_folder
from benchbench.tasks.borders import FILE_FORMATS, check_hub, is_configuration_name, is_data_set_name, own_files
from benchbench.tasks.hub import hub_sentence, resolved_revision
from benchbench.tasks.hub_file import HubFile, hub_files
from benchbench.tasks.rows import DATA_ENV, READERS


class Loaded:
    """What was loaded, for the record."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.revisions: list[str] = []


@contextlib.contextmanager
def rows_from(
    root: Path | None, who: str, spare: str | None = None, *, file: Path | None = None, trusted: bool = False
) -> Iterator[Loaded]:
    """While open, lm-eval's tasks get their rows from `root`, or from the Hub if that is None. DataError if they fail.

    `file` is the task's: unless it is `trusted`, data files that it names lie in its folder or in `root`, and nothing
    but the Hub is asked. `spare` names the split of shots that nobody will draw: lm-eval reads it all the same, so
    where it is not there it is empty.
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
            if root is not None:
                kwargs = {**kwargs, "data_files": pulled(kwargs.get("data_files"), root, who)}
            if not trusted:
                kwargs = checked(path, name, kwargs)
            return from_elsewhere(path, name, split=split, **kwargs)
        folder = folder_of(root, path, name, who)
        loaded.places.append(str(folder))
        files = _files(folder, who)
        parts = {name: _held(datasets, file) for name, file in files.items()}
        return Splits(parts) if split is None else Splits(parts)[split]

    def checked(path: str, name: str | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """What the task gives, with its own files in full; DataError if it names anything else."""
        is_lm_evals = file is not None and file.resolve().is_relative_to(tasks_folder().resolve())
        files = kwargs.get("data_files")
        if path not in FILE_FORMATS or (is_lm_evals and "hf://" in str(files)):
            check_hub(who, path, name, options=kwargs, may_name_hub_files=is_lm_evals)
            return kwargs
        named = own_files(who, files, (file or Path()).parent, () if root is None else (root,))
        check_hub(who, "own/files", name, options={**kwargs, "data_files": None})
        return {**kwargs, "data_files": {split: [str(one) for one in paths] for split, paths in named.items()}}

    def from_elsewhere(path: str, name: str | None = None, **kwargs: Any) -> Any:
        try:
            found = original(path, name, **{key: value for key, value in kwargs.items() if value is not None})
        except Exception as error:  # datasets, huggingface_hub and httpx raise what they like; all of it is a record
            place = path + (f" ({name})" if name else "") + _addresses(kwargs.get("data_files"))
            raise DataError(hub_sentence(who, place, error)) from error
        loaded.places.append(f"hf://datasets/{path}" if path not in FILE_FORMATS else str(path))
        if path not in FILE_FORMATS and isinstance(found, datasets.DatasetDict):
            loaded.revisions += [resolved_revision(path, kwargs.get("revision"), found) or "unknown"]
        return found

    datasets.load_dataset = from_root
    try:
        yield loaded
    finally:
        datasets.load_dataset = original


def pulled(files: Any, root: Path, who: str) -> Any:
    """`data_files` with the file in `root` in place of every address of the Hub. DataError where it is not there."""
    if isinstance(files, Mapping):
        return {split: pulled(names, root, who) for split, names in files.items()}
    if isinstance(files, list | tuple):
        return [pulled(name, root, who) for name in files]
    if not isinstance(files, str) or "://" not in files:
        return files
    file = HubFile.of(files)
    if file is None:
        raise DataError(f"{who}: its data file {files} is no file of the Hub by name, so no data root can hold it.")
    if not (root / file.name).is_file():
        raise DataError(
            f"{who}: its data file is not at {root / file.name}. `benchbench data pull {who} --to {root}` fetches it."
        )
    return str(root / file.name)


def folder_of(root: Path, path: str, name: str | None, who: str) -> Path:
    """Where a data set's splits lie. DataError if they do not, or for names that would climb out of the root."""
    if not is_data_set_name(path):
        raise DataError(f"{who}: the data set {path!r} is not `organisation/name`.")
    if not is_configuration_name(name):
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


def _addresses(files: Any) -> str:
    """The first address among a task's data files, in brackets; nothing where there is none."""
    found = [*hub_files(files)]
    return f" ({found[0]})" if found else ""


def _held(datasets: Any, file: Path) -> Any:
    """The rows of a split, in memory, under a name of their own: those of another split may be the same."""
    rows = datasets.Dataset.from_list(list(READERS[file.suffix](file)))
    rows._fingerprint = content_hash([rows._fingerprint, str(file)])
    return rows


@contextlib.contextmanager
def mapped_once() -> Iterator[None]:
    """While open, `map` gives a second call with the same rows and function what the first one made.

    `datasets` does so for rows that it holds in files, and lm-eval rests on it: a function that draws from the global
    generator makes one shuffle. Here it holds wherever the rows lie, and no earlier process's shuffle is taken.
    """
    import datasets
    from datasets.fingerprint import Hasher

    original: Callable[..., Any] = datasets.Dataset.map
    made: dict[str, Any] = {}

    def once(self: Any, *args: Any, **kwargs: Any) -> Any:
        is_of_files = self.cache_files and not kwargs.get("keep_in_memory") and kwargs.get("cache_file_name") is None
        own = {"cache_file_name": _temporary(), "load_from_cache_file": False} if is_of_files else {}
        try:
            key = Hasher.hash([self._fingerprint, args, kwargs])
        except Exception:  # noqa: BLE001 - what cannot be pickled has no name, so `datasets` keeps nothing of it either
            return original(self, *args, **{**kwargs, **own})
        if key not in made:
            made[key] = original(self, *args, **{**kwargs, **own})
        return made[key]

    datasets.Dataset.map = once
    try:
        yield
    finally:
        datasets.Dataset.map = original


def _temporary() -> str:
    """The path of a new file, in a folder that goes with the process."""
    number = len(_NUMBERS)
    _NUMBERS.append(number)
    return str(Path(_folder().name) / f"map-{number}.arrow")


_NUMBERS: list[int] = []


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="benchbench-map-")
