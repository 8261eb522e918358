"""Responses that other runs under the same results folder already hold for the same question to the same weights."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchbench.core.errors import StoreError
from benchbench.core.types import Item
from benchbench.store.folder import PART, RunFolder
from benchbench.store.table import read_table


def same_compute(root: Path, identity: Mapping[str, Any], *, but: Path) -> list[RunFolder]:
    """Runs under `root`, whatever their model's name, whose plan.json says the same compute identity.

    Sorted by path; `but` (the run itself) is left out, and so are folders whose plan cannot be read.
    """
    found = []
    for path in sorted(root.glob("*/*/plan.json")):
        folder = RunFolder(path.parent)
        if path.parent.resolve() == but.resolve():
            continue
        try:
            if folder.plan().get("compute") == dict(identity):
                found.append(folder)
        except StoreError as error:
            warnings.warn(f"passed over while looking for items to reuse: {error}", stacklevel=2)
    return found


def reusable(runs: Collection[RunFolder], task: str, wanted: Collection[str]) -> dict[str, Item]:
    """Item key → an item of `task` in `runs` that answers it. Failed items are never reused."""
    missing = set(wanted)
    found: dict[str, Item] = {}
    for run in runs:
        if not missing:
            break
        try:
            for item in _answered(run, task, missing):
                found.setdefault(item.item_key, item)
        except StoreError as error:
            warnings.warn(f"passed over while looking for items to reuse: {error}", stacklevel=2)
        missing -= found.keys()
    return found


def _answered(run: RunFolder, task: str, keys: Collection[str]) -> Iterator[Item]:
    if not run.is_sealed(task) or _holds_any(run, task, keys):
        for item in run.items(task):
            if item.item_key in keys and item.outcome != "failed":
                yield item


def _holds_any(run: RunFolder, task: str, keys: Collection[str]) -> bool:
    """Reads the keys alone first: most runs of the same weights share none, and texts can be large."""
    column = read_table(run.task_folder(task) / PART, ["item_key"]).column("item_key")
    return any(key in keys for key in column.to_pylist())
