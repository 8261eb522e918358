"""Which model a record is of: filled in for records that do not say, and told apart where two models share a name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeAlias, TypeVar

from benchbench.core.checkpoint_names import read_name
from benchbench.core.json_record import text
from benchbench.core.record import ModelRun
from benchbench.core.types import Json
from benchbench.store.names import home_of, names_at, with_part

JsonObject: TypeAlias = Mapping[str, Json]
Run = TypeVar("Run", bound=ModelRun)


def is_former(record: JsonObject) -> bool:
    """Of a version that did not write `series`, `step` and `tokens_seen`."""
    return "series" not in record and "model" in record


def completed(record: JsonObject) -> dict[str, Json]:
    """What run.json or plan.json holds, with `series`, `step` and `tokens_seen`, which former versions did not write.

    Such a record's name is read once more where it was made from a path without asking for its last part, and its step
    where the name tells another one: former versions read `step-1M` as step 1.
    """
    if not is_former(record):
        return dict(record)
    checkpoint, settings = _part(record, "checkpoint"), _part(record, "settings")
    step, tokens = _count(checkpoint.get("step")), _count(checkpoint.get("tokens_seen"))
    model = _renamed(str(record["model"]), settings, known_step=step is not None)
    base, at, leaf = model.rpartition("@")
    reading = read_name(leaf) if at else read_name("")
    is_checkpoint = bool(base) and (reading.tells or (at and step is not None))
    return {
        **record,
        "model": model,
        "series": with_part(base, reading) if is_checkpoint else model,
        "step": step if reading.step is None else reading.step,
        "tokens_seen": reading.tokens if tokens is None else tokens,
    }


def _part(record: JsonObject, key: str) -> JsonObject:
    """What stands under a key; nothing where a damaged record has something else there."""
    found = record.get(key)
    return found if isinstance(found, dict) else {}


def _count(value: Json) -> int | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        return None
    return int(value)


def _renamed(model: str, settings: JsonObject, *, known_step: bool) -> str:
    """`./x` and `x/` are `x`; a checkpoint in a folder such as `75` is named after its training too."""
    if model.startswith(("./", "../")) or model.endswith("/"):
        return names_at(model).model
    found = names_at(str(settings.get("model") or ""), text(settings.get("revision")))
    return found.model if known_step and "@" not in model and found.model.endswith(f"@{model}") else model


@dataclass(slots=True)
class _Group:
    """Records of one series that are surely of one training (or of one model that is no checkpoint)."""

    homes: set[str]
    """Where it lies; empty where that is not known or the user gave the name."""
    arguments: tuple[tuple[str, str], ...]
    weights: set[tuple[int | None, int | None, str]]
    """(step, tokens, weights)."""
    members: list[int]
    is_named: bool = False
    """The user gave the name."""


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """The records in their order, where models that share a name get one each: `runA/final` and `runB/final`.

    Two folders are two models, unless the same weights lie in both. An imported model is known by its folder or hub
    name and by the arguments that change its numbers.
    """
    found = list(runs)
    by_series: dict[str, list[int]] = {}
    for place, run in enumerate(found):
        by_series.setdefault(run.series, []).append(place)
    for series, places in by_series.items():
        groups = _groups(found, places, series)
        if len(groups) > 1:
            for group, (before, behind) in zip(groups, _labels(groups, series), strict=True):
                for place in group.members:
                    found[place] = _renamed_apart(found[place], series, before, behind)
    return found


def _groups(found: Sequence[ModelRun], places: Iterable[int], series: str) -> list[_Group]:
    made: dict[tuple[str, bool, tuple[tuple[str, str], ...]], _Group] = {}
    for place in places:
        run = found[place]
        home, is_named = _home(run, series)
        arguments = _arguments(run)
        key = (home, is_named, arguments)
        group = made.setdefault(key, _Group({home} if home else set(), arguments, set(), [], is_named))
        group.members.append(place)
        if run.knows_weights:
            group.weights.add((run.step, run.tokens_seen, run.weights))
    return _homeless_joined(_with_same_weights_joined(list(made.values())))


def _home(run: ModelRun, series: str) -> tuple[str, bool]:
    """Where the run's training lies, if its name comes from there, and whether the user gave the name."""
    location, provenance = run.location, run.provenance
    found = names_at(location, run.revision)
    if found.series != series:
        return "", provenance.home is not None
    is_relative = provenance.location is None and not location.startswith("/") and found.model != location
    if is_relative and run.revision is None:
        return "", False
    return provenance.home or home_of(location, run.revision), False


def _arguments(run: ModelRun) -> tuple[tuple[str, str], ...]:
    """Of an imported model, those that change its numbers; of an adapter's checkpoint its training."""
    known = run.settings.get("model_args")
    if run.origin is None or not isinstance(known, dict):
        return ()
    return tuple(sorted((name, home_of(str(value))) for name, value in known.items()))


def _with_same_weights_joined(groups: list[_Group]) -> list[_Group]:
    kept: list[_Group] = []
    for group in groups:
        for other in [one for one in kept if one.arguments == group.arguments and one.weights & group.weights]:
            kept.remove(other)
            group = _joined(other, group)  # noqa: PLW2901 - grows by what it meets
        kept.append(group)
    return kept


def _homeless_joined(groups: list[_Group]) -> list[_Group]:
    """What does not say where it lay is taken for the one training of its name that does, if there is one."""
    homeless = [group for group in groups if not group.homes and not group.is_named]
    others = [group for group in groups if group not in homeless]
    for group in homeless:
        fit = [other for other in others if other.arguments == group.arguments]
        if len(fit) == 1:
            others[others.index(fit[0])] = _joined(fit[0], group)
        else:
            others.append(group)
    return others


def _joined(one: _Group, two: _Group) -> _Group:
    return _Group(
        one.homes | two.homes,
        one.arguments,
        one.weights | two.weights,
        one.members + two.members,
        one.is_named and two.is_named,
    )


def _labels(groups: Sequence[_Group], series: str) -> list[tuple[str, str]]:
    """What to call the base of each group's names, and what to add to it in brackets."""
    homes = [min(group.homes) if group.homes else "" for group in groups]
    tails = distinct_tails([home for home in homes if home])
    names = [tails[home] if home and len(set(homes)) > 1 else series.partition("@")[0] for home in homes]
    common = set.intersection(*(set(group.arguments) for group in groups))
    brackets = [", ".join(f"{k}={v}" for k, v in group.arguments if (k, v) not in common) for group in groups]
    return [(name, f" [{more}]" if more else "") for name, more in zip(names, brackets, strict=True)]


def distinct_tails(paths: Iterable[str]) -> dict[str, str]:
    """Path → its last parts, as many (two at least) as tell these paths apart: `runA/final` and `runB/final`."""
    parts = {path: [part for part in PurePosixPath(path).parts if part != "/"] for path in paths}
    for count in range(2, max(map(len, parts.values()), default=0) + 1):
        found = {path: "/".join(known[-count:]) for path, known in parts.items()}
        if len(set(found.values())) == len(found):
            return found
    return {path: "/".join(known) for path, known in parts.items()}


def _renamed_apart(run: Run, series: str, before: str, behind: str) -> Run:
    """The record under another base name; what follows the `@` stays."""
    base = series.partition("@")[0]

    def renamed(known: str) -> str:
        rest = known[len(base) :] if known.startswith(base) else f"@{known}"
        return f"{before}{behind}{rest}"

    return replace(run, model=renamed(run.model), series=renamed(run.series))


def twins(runs: Sequence[ModelRun]) -> list[tuple[str, ...]]:
    """For each record the other names under which its very weights stand, in their order."""
    names: dict[str, dict[str, None]] = {}
    for run in runs:
        if run.knows_weights:
            names.setdefault(run.weights, {})[run.model] = None
    return [tuple(name for name in names.get(run.weights, {}) if name != run.model) for run in runs]


def same_weights(names: Sequence[str]) -> str:
    """The note that names the twins."""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"same weights as {', '.join(names[:2])}{more}" if names else ""
