"""What models are called: by where they lie, by their records, and told apart where two share a name. Names on disk."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias, TypeVar

from benchbench.core.checkpoint_names import NameReading, read_name
from benchbench.core.ids import content_hash
from benchbench.core.json_record import text
from benchbench.core.record import ModelRun
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


CONVERTED = frozenset(["hf", "huggingface", "hf_model", "transformers"])
"""What trainers call a folder with transformers' format inside that of a step."""


def _own_part(location: str) -> PurePosixPath:
    """The path whose last part names the model. Composer's files are `ep0-ba500-rank0.pt` or `ep0-ba500/rank0.pt`, and
    some trainers put transformers' format into a folder of the step, `step500/hf`.
    """
    path = PurePosixPath(location)
    if path.suffix != ".pt":
        return path.parent if path.name.lower() in CONVERTED and read_name(path.parent.name).is_whole else path
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
