"""`benchbench results check`: what in a results folder is not what was written, and its repair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import print_json, say, stoppable, tell
from benchbench.cli.options import AsJson, Output
from benchbench.cli.progress import watching
from benchbench.core.errors import BenchbenchError
from benchbench.store.damage import Damage, damage_of_run, damage_of_sweep, restore, restore_file, without_checksum
from benchbench.store.find import SWEEPS, SweepFolder, all_runs
from benchbench.store.folder import RunFolder
from benchbench.store.lock import RunLock, shortly

if TYPE_CHECKING:
    from benchbench.core.types import Json
    from benchbench.runner.events import OnEvent


@dataclass(frozen=True, slots=True)
class Finding:
    """A damaged file, and what became of it."""

    damage: Damage
    left: str
    """Why it is damaged still, as a sentence; empty: it was repaired."""


BY = {
    "copy": "restored from its copy",
    "original": "written again",
    "lines": "damaged lines removed; the run's command asks those docs again",
    "run": "made again by the run's command",
    "score": "scored again",
    "none": "nothing is known that restores it",
}
"""What a remedy does, or did."""


def check(
    path: Annotated[Path | None, typer.Argument(metavar="[PATH]", help="Results folder, a run or a sweep.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Restore what is damaged, or make it again.")] = False,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Check every file of the runs and sweeps against its checksum; exits with 1 if damage is left.

    --repair restores records from their copies, and asks a model again only for what cannot be had otherwise.
    """
    root = output if path is None else path
    runs, sweeps = _folders(root)
    old = [run for run in runs if without_checksum(run)]
    found: list[Finding] = []
    with stoppable(), watching(quiet=as_json) as on_event:
        for sweep in sweeps:
            found += _check_sweep(sweep, repair=repair)
        for run in runs:
            found += _check_run(run, on_event, repair=repair)
    if as_json:
        print_json(_to_json(runs, sweeps, old, found))
    else:
        _show(runs, sweeps, old, found)
    if any(one.left for one in found):
        raise typer.Exit(1)


def _folders(root: Path) -> tuple[list[RunFolder], list[SweepFolder]]:
    """The run folders and sweeps at or below `root`, also those whose first file is lost."""
    if (root / "sweep.json").exists() or (root / ".sweep.json.copy").exists():
        return [], [SweepFolder(root.absolute())]
    runs = {run.path: run for run in all_runs(root)}
    lost = [copy.parent for copy in root.glob("*/*/.plan.json.copy")]
    runs |= {place: RunFolder(place) for place in lost if place not in runs}
    places = {file.parent for name in ("sweep.json", ".sweep.json.copy") for file in root.glob(f"{SWEEPS}/*/{name}")}
    return [runs[place] for place in sorted(runs)], [SweepFolder(place) for place in sorted(places)]


def _check_sweep(sweep: SweepFolder, *, repair: bool) -> Iterator[Finding]:
    found = list(damage_of_sweep(sweep))
    if repair and found:
        with shortly(sweep.path):
            for damage in found:
                if damage.remedy == "run":  # the sweep's next command writes it again
                    damage.path.unlink(missing_ok=True)
                else:
                    restore_file(damage)
    left = {damage.path: damage.why for damage in damage_of_sweep(sweep)} if found else {}
    return (Finding(damage, left.get(damage.path, "")) for damage in found)


def _check_run(run: RunFolder, on_event: OnEvent, *, repair: bool) -> list[Finding]:
    found = list(damage_of_run(run))
    if not found or not repair:
        return [Finding(damage, damage.why) for damage in found]
    trouble = ""
    try:
        with RunLock(run.path):
            found += [damage for damage in restore(run) if all(damage.path != one.path for one in found)]
        run = RunFolder(run.path)
        _make_again(run, found, on_event)
    except BenchbenchError as error:
        trouble = f" {error}"
    left = {damage.path: f"{damage.why}{trouble}" for damage in damage_of_run(RunFolder(run.path))}
    if trouble and not left:  # put out of the way, and not made again
        return [Finding(damage, f"{damage.why}{trouble}" if damage.remedy == "run" else "") for damage in found]
    return [Finding(damage, left.get(damage.path, "")) for damage in found]


def _make_again(run: RunFolder, found: Sequence[Damage], on_event: OnEvent) -> None:
    """Asks the model for what is missing, and scores again what was added."""
    from benchbench.extensions.rescore.score import score_again
    from benchbench.runner.run import repair, settings_of

    if any(damage.remedy == "run" for damage in found):
        repair(run, settings_of(run.plan(), run.path.parent.parent), on_event=on_event)
    lost = [damage.path for damage in found if damage.remedy == "score"]
    if lost:
        score_again(run, lost, on_event=on_event)


def _to_json(
    runs: Sequence[RunFolder], sweeps: Sequence[SweepFolder], old: Sequence[RunFolder], found: Sequence[Finding]
) -> dict[str, Json]:
    damaged: list[Json] = [
        {"path": str(one.damage.path), "why": one.damage.why, "remedy": one.damage.remedy, "repaired": not one.left}
        for one in found
    ]
    return {
        "runs": len(runs),
        "sweeps": len(sweeps),
        "damaged": damaged,
        "left": sum(bool(one.left) for one in found),
        "without_checksum": [str(run.path) for run in old],
    }


def _show(
    runs: Sequence[RunFolder], sweeps: Sequence[SweepFolder], old: Sequence[RunFolder], found: Sequence[Finding]
) -> None:
    for one in found:
        if one.left:
            tell(f"damaged: {one.left}")
            tell(f"  remedy: {BY[one.damage.remedy]}")
        else:
            tell(f"repaired: {one.damage.path} ({BY[one.damage.remedy]})")
    for run in old:
        tell(f"no checksum: {run.path} was written by a former version")
    left = sum(bool(one.left) for one in found)
    tell(f"{len(runs)} runs and {len(sweeps)} sweeps checked: {len(found) - left} files repaired, {left} damaged.")
    if left:
        say("`benchbench results check --repair` restores what it can; a run's own command makes the rest again.")
