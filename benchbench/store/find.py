"""From what a user types (a path, a run id, its beginning, `latest`) to a run folder."""

from __future__ import annotations

from pathlib import Path

from benchbench.core.errors import StoreError, did_you_mean
from benchbench.store.folder import RunFolder


def all_runs(root: Path) -> list[RunFolder]:
    """Every run folder at or below `root` (a run, a model's folder or the whole results folder), by path."""
    if (root / "plan.json").is_file() or (root / "run.json").is_file():
        return [RunFolder(root)]
    if not root.is_dir():
        raise StoreError(f"there is no results folder {root}. Give one with --output, or start with `benchbench run`.")
    found = {path.parent for pattern in ("*/", "*/*/") for path in root.glob(f"{pattern}plan.json")}
    found |= {path.parent for pattern in ("*/", "*/*/") for path in root.glob(f"{pattern}run.json")}
    return [RunFolder(path) for path in sorted(found)]


def find_run(name: str, root: Path) -> RunFolder:
    """The run that `name` means: a path, a run id or a unique beginning of one (also `model/id`), or `latest`.

    StoreError, naming what there is, if none or several match.
    """
    path = Path(name)
    if (path / "plan.json").is_file() or (path / "run.json").is_file():
        return RunFolder(path)
    runs = all_runs(root)
    if not runs:
        raise StoreError(f"there are no runs in {root}. Start with `benchbench run --model M`.")
    if name == "latest":
        return max(runs, key=_changed)
    exact = [run for run in runs if name in (run.path.name, _long_name(run))]
    matches = exact or [run for run in runs if begins_with(run, name)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        near = did_you_mean(name, [run.path.name for run in runs])
        raise StoreError(f"no run {name!r} in {root}.{near} See `benchbench results ls`.")
    listed = ", ".join(_long_name(run) for run in matches[:5])
    raise StoreError(
        f"{name!r} fits {len(matches)} runs: {listed}{', …' if len(matches) > 5 else ''}. Give more of the id."
    )


def begins_with(run: RunFolder, name: str) -> bool:
    """`name` is the beginning of the run's id, or of `model/id`."""
    return run.path.name.startswith(name) or _long_name(run).startswith(name)


def _long_name(run: RunFolder) -> str:
    return f"{run.path.parent.name}/{run.path.name}"


def _changed(run: RunFolder) -> float:
    """When the run was last worked on, in seconds."""
    paths = [run.path / name for name in ("run.json", "log.jsonl", "plan.json")]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
