"""Documents from the Hugging Face Hub, at a known revision. The only module that imports `datasets`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from benchbench.core.errors import DataError
from benchbench.tasks.readers import DATA_ENV, Row, missing_split, plain_row
from benchbench.tasks.task import Task


class SplitInfo(Protocol):
    """What `datasets` knows of where a split is from."""

    download_checksums: Mapping[str, object] | None
    """By the address of each file."""


class HubSplit(Protocol):
    """What is used of `datasets.Dataset`."""

    info: SplitInfo

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Mapping[str, object]]: ...
    def select(self, indices: range) -> HubSplit:
        """Some of its rows."""
        ...

    def to_parquet(self, path: str) -> int:
        """Writes them."""
        ...


class HubSource:
    """One configuration of a Hub data set, loaded through `datasets` (and its cache)."""

    def __init__(self, task: Task) -> None:
        self._task = task
        config = task.config
        kwargs = {key: value for key, value in (config.dataset_kwargs or {}).items() if key != "trust_remote_code"}
        named = None if config.dataset_revision else kwargs.pop("revision", None)
        wanted = config.dataset_revision or (None if named is None else str(named))
        try:
            self._splits = _load(config.dataset_path, config.dataset_name, wanted, tuple(sorted(kwargs.items())))
        except ImportError as error:
            raise DataError(
                "Loading from the Hub needs `datasets`: pip install datasets; or use --data-root."
            ) from error
        except Exception as error:  # datasets, huggingface_hub and httpx raise what they like; all of it is a record
            raise DataError(_sentence(task, error)) from error
        self.revision = resolved_revision(config.dataset_path, wanted, self._splits)
        self.path = f"hf://datasets/{config.dataset_path}" + (f"@{self.revision}" if self.revision else "")

    def splits(self) -> list[str]:
        """See DataSource."""
        return sorted(self._splits)

    def rows(self, split: str, limit: int | None = None) -> list[Row]:
        """See DataSource."""
        if split not in self._splits:
            raise missing_split(self._task, split, self.splits(), self.path)
        data = self._splits[split]
        if len(data) == 0:
            raise DataError(f"{self._task.name}: the split {split!r} of {self.path} is empty.")
        kept = data if limit is None else data.select(range(min(limit, len(data))))
        return [plain_row(row) for row in kept]

    def save(self, split: str, path: Path) -> int:
        """Writes a split as `.jsonl` or `.parquet`, as the name of `path` says; returns the number of its rows."""
        if split not in self._splits:
            raise missing_split(self._task, split, self.splits(), self.path)
        data = self._splits[split]
        if path.suffix == ".parquet":
            data.to_parquet(str(path))
            return len(data)
        with path.open("w", encoding="utf-8", newline="\n") as lines:
            lines.writelines(json.dumps(plain_row(row), ensure_ascii=False) + "\n" for row in data)
        return len(data)


@lru_cache(maxsize=4)
def _load(
    path: str, name: str | None, revision: str | None, kwargs: tuple[tuple[str, object], ...]
) -> Mapping[str, HubSplit]:
    from datasets import DatasetDict, load_dataset

    data = load_dataset(path, name, revision=revision, **dict(kwargs))
    if not isinstance(data, DatasetDict):
        raise TypeError(f"expected splits, got {type(data).__name__}")
    splits: Mapping[str, HubSplit] = data
    return splits


def resolved_revision(path: str, wanted: str | None, splits: Mapping[str, HubSplit]) -> str | None:
    """The commit that was loaded: from the files' addresses, else from the Hub, else what was asked for."""
    for data in splits.values():
        for address in data.info.download_checksums or {}:
            found = re.search(r"@([0-9a-f]{40})/", str(address))
            if found:
                return found[1]
    return _asked_hub(path, wanted) or wanted


def _asked_hub(path: str, wanted: str | None) -> str | None:
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(path, revision=wanted, timeout=10).sha
    except Exception:  # noqa: BLE001  # offline with a filled cache: the data are there, their name is not
        return None


def _sentence(task: Task, error: Exception) -> str:
    config = task.config
    name = config.dataset_path + (f" ({config.dataset_name})" if config.dataset_name else "")
    reason = " ".join(str(error).split())
    reason = reason if len(reason) <= 200 else reason[:197] + "…"
    return (
        f"{task.name}: its data set {name} could not be loaded from the Hub: {type(error).__name__}: {reason} "
        f"Without a network, point --data-root (or {DATA_ENV}) at a folder that holds {config.dataset_path}."
    )
