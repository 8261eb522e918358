"""Which checkpoints there are: in a folder, among a hub model's revisions, or in a list file. By step, not by name."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.backends.models.formats import is_swappable, recognise
from benchbench.backends.models.layouts import layout_of, lightning_hint, model_inside
from benchbench.core.checkpoint_names import NameReading, axis_of, read_name
from benchbench.core.errors import ArgumentError, ModelError
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep.copies import OnLeftOut, without_copies
from benchbench.runner.sweep.listed import read_list
from benchbench.store.names import distinct_tails, find_location, own_name, with_part

_OTHER_RANK = re.compile(r"(?i)(?:^|-)rank0*[1-9]\d*\.pt$")
"""Composer's files of other ranks than 0: they hold optimizer states only."""


def _say_nothing(checkpoint: Checkpoint, why: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Search:
    """How to look for checkpoints."""

    revisions: str | None = None
    """A pattern such as `step*` over branches and tags of a hub model."""
    listed: Path | None = None
    """A list file."""
    name: str | None = None
    """What to call the series; None: as the folder or the hub name."""
    patient: bool = False
    """An empty or missing folder has no checkpoints yet."""
    lenient: bool = False
    """Names with two readings, and of two checkpoints with one step the second, are left out, rather than refused."""
    scored: frozenset[str] = frozenset()
    """Targets that stay where another folder has the same step."""
    on_left_out: OnLeftOut = _say_nothing
    """Called with each checkpoint that another one of the same step puts aside, and why."""


def find_checkpoints(model: str, how: Search = Search()) -> list[Checkpoint]:
    """The checkpoints of `model` in the order of their steps (or tokens, where no name tells a step), whole or not.

    Raises ArgumentError where there are none, where two have one step, or where a name has two readings; ModelError
    where the hub cannot be asked.
    """
    if how.listed is not None:
        found = read_list(how.listed, how.name or own_name(find_location(model)))
    elif how.revisions is not None:
        found = _revisions(model, how)
    else:
        found = _in_folder(Path(model).expanduser(), how)
    found.sort(key=lambda checkpoint: checkpoint.position)
    if not found and not how.patient:
        raise ArgumentError(_none_found(model, how))
    kept: list[Checkpoint] = []
    for series in dict.fromkeys(checkpoint.series for checkpoint in found):
        own = [checkpoint for checkpoint in found if checkpoint.series == series]
        own = without_copies(own, how.scored, how.on_left_out, lenient=how.lenient)
        _refuse_no_order(own)
        kept += own
    return sorted(kept, key=lambda checkpoint: checkpoint.position)


def find_all(
    settings: SweepSettings,
    *,
    lenient: bool = False,
    scored: frozenset[str] = frozenset(),
    on_left_out: OnLeftOut = _say_nothing,
) -> list[Checkpoint]:
    """The checkpoints of all series, each series in the order of its steps. The arguments are those of `Search`."""
    return [
        checkpoint
        for model, name in zip(settings.models, _series_names(settings), strict=True)
        for checkpoint in find_checkpoints(
            model,
            Search(
                settings.revisions,
                settings.listed,
                name,
                patient=settings.watch,
                lenient=lenient,
                scored=scored,
                on_left_out=on_left_out,
            ),
        )
    ]


def _series_names(settings: SweepSettings) -> list[str | None]:
    """What to call each series: as the user named it, or by more of the paths where two folders have one last part."""
    if len(settings.models) == 1:
        return [settings.name]
    places = [find_location(model) for model in settings.models]
    names = list(map(own_name, places))
    longer = distinct_tails(place for place, name in zip(places, names, strict=True) if names.count(name) > 1)
    return [longer.get(place) for place in places]


def _in_folder(folder: Path, how: Search) -> list[Checkpoint]:
    if not folder.is_dir():
        if how.patient:
            return []
        raise ArgumentError(
            f"--model {folder} is not a folder. A sweep takes the folder that holds the checkpoints, or a hub name "
            "with --revisions 'step*'."
        )
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay, `..` goes
    base = how.name or own_name(str(folder))
    entries = {entry.name: entry for entry in sorted(folder.iterdir()) if _is_candidate(entry)}
    return [
        _checkpoint(base, reading, str(_weights_of(entries[name])))
        for name, reading in _readings(entries, str(folder), how).items()
    ]


def _checkpoint(base: str, reading: NameReading, location: str, revision: str | None = None) -> Checkpoint:
    tokens = reading.tokens if reading.step is None else None
    return Checkpoint(with_part(base, reading), reading.step, location, revision, tokens)


def _readings(names: Iterable[str], where: str, how: Search) -> dict[str, NameReading]:
    """The names that tell a step or tokens. ArgumentError, naming them, for those that have two readings.

    Of bare numbers with a unit (`7B`, `8k`) most are no checkpoints: they are refused only beside other bare numbers.
    """
    read = {name: read_name(name) for name in names}
    found = {name: reading for name, reading in read.items() if reading.tells}
    has_bare = any(reading.is_bare for reading in found.values())
    unclear = {name: r.unclear for name, r in read.items() if r.unclear and (has_bare or not r.is_bare)}
    if unclear and not how.lenient:
        named = ", ".join(list(unclear)[:4]) + (", …" if len(unclear) > 4 else "")
        raise ArgumentError(
            f"{where} has checkpoints whose step cannot be told: {named} ({next(iter(unclear.values()))}). Name the "
            "checkpoints with their steps in a list with --checkpoints."
        )
    return found


def _is_candidate(entry: Path) -> bool:
    if entry.name.startswith((".", "tmp")) or (entry.is_symlink() and _is_beside(entry)):
        return False
    return entry.is_dir() or (is_swappable(entry) and not _OTHER_RANK.search(entry.name))


def _is_beside(link: Path) -> bool:
    """The link leads to another entry of its own folder, which is found under its own name. Others are checkpoints."""
    here = os.path.realpath(link.parent)
    first = link.parent / os.readlink(link)  # noqa: PTH115 - text
    return here in (os.path.realpath(first.parent), os.path.dirname(os.path.realpath(link)))  # noqa: PTH120 - text


def _weights_of(entry: Path) -> Path:
    """The entry itself, or the one model in it: a folder (`step500/hf`), or Composer's file of rank 0."""
    below = model_inside(entry)
    if below is not None:
        return below
    found = recognise(entry)
    is_model = (entry / "config.json").exists() or (found is not None and found[0] != "folder")
    if not entry.is_dir() or is_model or layout_of(entry) is not None:
        return entry
    inner = [path for path in sorted(entry.glob("*.pt")) if not _OTHER_RANK.search(path.name)]
    return inner[0] if len(inner) == 1 else entry


def _revisions(model: str, how: Search) -> list[Checkpoint]:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if Path(model).is_dir():
        raise ArgumentError(f"--revisions needs a hub name, but {model} is a folder here; leave --revisions out.")
    try:
        refs = HfApi().list_repo_refs(model)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError, httpx.HTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"cannot list the revisions of {model!r} on the Hub: {reason} Download the checkpoints with `hf download` "
            "and name them in a list with --checkpoints."
        ) from error
    every = sorted({ref.name for ref in [*refs.branches, *refs.tags]})
    names = [name for name in every if fnmatch.fnmatchcase(name, how.revisions or "*")]
    found = _readings(names, f"{model} on the Hub", how)
    return [_checkpoint(how.name or model, reading, model, name) for name, reading in found.items()]


def _refuse_no_order(found: Sequence[Checkpoint]) -> None:
    try:
        axis_of((checkpoint.step, checkpoint.tokens_seen) for checkpoint in found)
    except ValueError as error:
        tokens, step = (next(c for c in found if (c.step is None) is lacks) for lacks in (True, False))
        raise ArgumentError(
            f"of the checkpoints of {found[0].series} {error}: {step.target} and {tokens.target}. Name those you mean, "
            "each with its step, in a list with --checkpoints."
        ) from None


def _none_found(model: str, how: Search) -> str:
    if how.listed is not None:
        return f"{how.listed} lists no checkpoints; each needs a step and a path."
    if how.revisions is not None:
        return f"no revision of {model} fits --revisions {how.revisions!r} and tells a step (such as step500)."
    folder = Path(model).expanduser()
    if (folder / "config.json").is_file():
        return f"{model} is one model, not a folder of checkpoints; `benchbench run --model {model}` evaluates it."
    if (folder / "adapter_config.json").is_file():
        return f"{model} is one adapter; `benchbench run --model {model} --base BASE` evaluates it."
    inner = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and _holds_steps(path)]
    near = f" There are some in {folder / inner[0]}." if inner else ""
    unclear = next((f" {why}." for path in sorted(folder.iterdir()) if (why := read_name(path.name).unclear)), "")
    near = f"{lightning_hint(folder)}{near}"
    return (
        f"{model} has no checkpoints: expected folders like checkpoint-500 or step500, or Composer files like "
        f"ep0-ba500-rank0.pt.{near}{unclear} Others can be named in a list with --checkpoints, or waited for with "
        "--watch."
    )


def _holds_steps(folder: Path) -> bool:
    try:
        return any(read_name(path.name).tells and _is_candidate(path) for path in folder.iterdir())
    except OSError:
        return False
