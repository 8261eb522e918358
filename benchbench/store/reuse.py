"""Responses that other runs under the same results folder already hold for the same question to the same weights."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from benchbench.core.errors import ArgumentError, StoreError
from benchbench.core.record import PlanRecord
from benchbench.core.types import Item, Json
from benchbench.store.folder import RunFolder
from benchbench.store.names import find_home, folder_name
from benchbench.store.part_items import items_with_keys


def same_compute(root: Path, identity: Mapping[str, Json], *, but: Path) -> list[RunFolder]:
    """Runs under `root`, whatever their model's name, whose plan.json says the same compute identity.

    Sorted by path; `but` (the run itself) is left out, and so are folders whose plan cannot be read.
    """
    found = []
    for path in sorted(root.glob("*/*/plan.json")):
        folder = RunFolder(path.parent)
        if path.parent.resolve() == but.resolve():
            continue
        try:
            if folder.plan().compute == dict(identity):
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
    sealed = run.is_sealed(task)
    for item in items_with_keys(run.part(task), keys) if sealed else run.items(task):
        if item.item_key in keys and item.outcome != "failed":
            yield item


def refuse_other_weights(root: Path, name: str, weights: str, *, engine: str | None = None) -> None:
    """ArgumentError where a run in `root` (with `engine`: one by that backend) has `name` and is of other weights, or
    where `name` is that of a series.
    """
    for run, plan in _called(root, name):
        by_it = engine is None or plan.backend.name == engine
        if plan.model == name and by_it and plan.weights != weights:
            raise ArgumentError(_sentence("other weights", root, name, run, plan))
        if plan.series == name != plan.model:
            raise ArgumentError(_sentence("a series of checkpoints", root, name, run, plan))


def refuse_other_training(root: Path, name: str, homes: Collection[str]) -> None:
    """ArgumentError where a run in `root` has `name`, or is of a series `name`, and lay elsewhere than in `homes`.

    `homes` are as `find_home` gives them.
    """
    for run, plan in _called(root, name):
        if name in (plan.model, plan.series):
            known = plan.provenance.home or find_home(plan.location, plan.revision)
            if known not in homes:
                raise ArgumentError(_sentence("a training that lies elsewhere", root, name, run, plan))


def _called(root: Path, name: str) -> Iterator[tuple[RunFolder, PlanRecord]]:
    """Runs in the folders that models of this name have, with their plans; broken ones stand for nothing."""
    folder = folder_name(name)
    for pattern in (f"{folder}/*/plan.json", f"{folder}@*/*/plan.json"):
        for path in sorted(root.glob(pattern)):
            run = RunFolder(path.parent)
            try:
                yield run, run.plan()
            except StoreError:
                continue


def _sentence(what: str, root: Path, name: str, run: RunFolder, plan: PlanRecord) -> str:
    return (
        f"--name {name!r} already stands for {what} in {root}: run {run.name} of {plan.date or 'an unknown date'}, "
        f"{plan.location or 'from an unknown place'}. Give another name, or another --results folder."
    )
