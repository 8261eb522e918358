"""Rows of data sets on the Hugging Face Hub, and what to say where it refuses them.

The only module that imports `datasets`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from benchbench.core.errors import DataError
from benchbench.tasks.borders import check_hub
from benchbench.tasks.rows import DATA_ENV, AllRows, Row, missing_split, plain_row
from benchbench.tasks.task import Task

TOKEN_ENV = "HF_TOKEN"  # noqa: S105 - the name of a variable
TOO_MANY = 429


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


class HubSource(AllRows):
    """One configuration of a Hub data set, loaded through `datasets` (and its cache)."""

    def __init__(self, task: Task, *, trusted: bool = False) -> None:
        """DataError unless the task names a data set of the Hub and nothing else, or is `trusted`."""
        self._task = task
        config = task.config
        if not trusted:
            where = task.where("dataset_kwargs" if config.dataset_kwargs else "dataset_path")
            check_hub(where, config.dataset_path, config.dataset_name, config.dataset_revision, config.dataset_kwargs)
        kwargs = {key: value for key, value in (config.dataset_kwargs or {}).items() if key != "trust_remote_code"}
        named = None if config.dataset_revision else kwargs.pop("revision", None)
        wanted = config.dataset_revision or (None if named is None else str(named))
        try:
            self._splits = _load(config.dataset_path, config.dataset_name, wanted, json.dumps(kwargs, sort_keys=True))
        except ImportError as error:
            raise DataError(
                "Loading from the Hub needs `datasets`: pip install datasets; or use --data-root."
            ) from error
        except Exception as error:  # datasets, huggingface_hub and httpx raise what they like; all of it is a record
            name = config.dataset_path + (f" ({config.dataset_name})" if config.dataset_name else "")
            raise DataError(hub_sentence(task.name, name, error)) from error
        self.revision = resolved_revision(config.dataset_path, wanted, self._splits)
        self.path = f"hf://datasets/{config.dataset_path}" + (f"@{self.revision}" if self.revision else "")

    def splits(self) -> list[str]:
        """See DataSource."""
        return sorted(self._splits)

    def each(self, split: str, limit: int | None = None) -> Iterator[Row]:
        """See DataSource."""
        if split not in self._splits:
            raise missing_split(self._task, split, self.splits(), self.path)
        data = self._splits[split]
        if len(data) == 0:
            raise DataError(f"{self._task.name}: the split {split!r} of {self.path} is empty.")
        return (plain_row(row) for row in (data if limit is None else data.select(range(min(limit, len(data))))))

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
def _load(path: str, name: str | None, revision: str | None, options: str) -> Mapping[str, HubSplit]:
    """`options`: a JSON object, so that equal ones are loaded once."""
    from datasets import DatasetDict, load_dataset

    data = load_dataset(path, name, revision=revision, **json.loads(options))
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


def hub_sentence(who: str, name: str, error: Exception) -> str:
    """What to say where the Hub did not give what `who` reads, by the kind of its refusal."""
    reason = " ".join(str(error).split())
    reason = reason if len(reason) <= 200 else reason[:197] + "…"
    end = "" if reason.endswith((".", "…")) else "."
    said = f"{who}: its data set {name} could not be loaded from the Hub: {type(error).__name__}: {reason}{end}"
    return f"{said} {_way_out(error)}"


def _way_out(error: Exception) -> str:
    """What to do about it."""
    every = [*_causes(error)]
    text = " ".join(map(str, every))
    if "gated" in text.lower():
        return f"Accept its terms on the Hub, then put a token of yours into {TOKEN_ENV}, or run `hf auth login`."
    if any(_status(one) == TOO_MANY for one in every):
        return f"The Hub answers no more requests for now (429): wait, or put a token of yours into {TOKEN_ENV}."
    if "scripts are no longer supported" in text:
        return (
            "Its rows are made by a program, which is not run. Name a data set with the rows as files, or put them "
            f"into the folder of --data-root (or {DATA_ENV})."
        )
    if "doesn't exist" in text or any(_status(one) in (401, 404) for one in every):
        return f"Is its name right? A private one needs a token in {TOKEN_ENV}."
    return f"Without a network, point --data-root (or {DATA_ENV}) at a folder that holds it."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it came from."""
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of the Hub's client tells."""
    return getattr(getattr(error, "response", None), "status_code", None)
