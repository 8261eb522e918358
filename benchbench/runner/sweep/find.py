"""Which checkpoints there are: in a folder, among a hub model's revisions, or in a list file. By step, not by name."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from pathlib import Path

from benchbench.core.errors import ArgumentError, ModelError
from benchbench.runner.checkpoint import Checkpoint, step_in
from benchbench.runner.sweep.listed import read_list
from benchbench.store.names import model_name

_OTHER_RANK = re.compile(r"(?i)(?:^|-)rank0*[1-9]\d*\.pt$")
"""Composer's files of other ranks than 0: they hold optimizer states only."""


def find_checkpoints(
    model: str, *, revisions: str | None = None, listed: Path | None = None, patient: bool = False
) -> list[Checkpoint]:
    """The checkpoints of `model` in the order of their steps, whole or not.

    `revisions` is a pattern such as `step*` over branches and tags of a hub model; `listed` a list file. `patient`: an
    empty or missing folder has no checkpoints yet. Raises ArgumentError where there are none, or two with one step;
    ModelError where the hub cannot be asked.
    """
    if listed is not None:
        found = read_list(listed, model)
    elif revisions is not None:
        found = _revisions(model, revisions)
    else:
        found = _in_folder(Path(model).expanduser(), patient=patient)
    found.sort(key=lambda checkpoint: checkpoint.step)
    _refuse_twins(found)
    if not found and not patient:
        raise ArgumentError(_none_found(model, revisions, listed))
    return found


def _in_folder(folder: Path, *, patient: bool) -> list[Checkpoint]:
    if not folder.is_dir():
        if patient:
            return []
        raise ArgumentError(
            f"--model {folder} is not a folder. A sweep takes the folder that holds the checkpoints, or a hub name "
            "with --revisions 'step*'."
        )
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay, `..` goes
    series = model_name(str(folder))
    found = []
    for entry in folder.iterdir():
        step = step_in(entry.name)
        if step is not None and _is_candidate(entry):
            found.append(Checkpoint(series, step, str(_weights_of(entry))))
    return found


def _is_candidate(entry: Path) -> bool:
    if entry.name.startswith((".", "tmp")) or entry.is_symlink():
        return False
    return entry.is_dir() or (entry.suffix == ".pt" and not _OTHER_RANK.search(entry.name))


def _weights_of(entry: Path) -> Path:
    """The entry itself, or the one `.pt` file of rank 0 in it (Composer's `ep0-ba500/rank0.pt`)."""
    if not entry.is_dir() or (entry / "config.json").exists():
        return entry
    inner = [path for path in sorted(entry.glob("*.pt")) if not _OTHER_RANK.search(path.name)]
    return inner[0] if len(inner) == 1 else entry


def _revisions(model: str, pattern: str) -> list[Checkpoint]:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if Path(model).is_dir():
        raise ArgumentError(f"--revisions needs a hub name, but {model} is a folder here; leave --revisions out.")
    try:
        refs = HfApi().list_repo_refs(model)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError, httpx.HTTPError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"cannot list the revisions of {model!r} on the Hub: {said} Download the checkpoints with `hf download` "
            "and name them in a list with --checkpoints."
        ) from error
    names = {ref.name for ref in [*refs.branches, *refs.tags] if fnmatch.fnmatchcase(ref.name, pattern)}
    steps = {name: step_in(name) for name in sorted(names)}
    return [Checkpoint(model, step, model, name) for name, step in steps.items() if step is not None]


def _refuse_twins(found: Iterable[Checkpoint]) -> None:
    by_step: dict[int, Checkpoint] = {}
    for checkpoint in found:
        twin = by_step.setdefault(checkpoint.step, checkpoint)
        if twin is not checkpoint:
            raise ArgumentError(
                f"two checkpoints of {checkpoint.series} have step {checkpoint.step}: {twin.target} and "
                f"{checkpoint.target}. Move one away, or name those you mean in a list with --checkpoints."
            )


def _none_found(model: str, revisions: str | None, listed: Path | None) -> str:
    if listed is not None:
        return f"{listed} lists no checkpoints; each needs a step and a path."
    if revisions is not None:
        return f"no revision of {model} fits --revisions {revisions!r} and tells a step (such as step500)."
    folder = Path(model)
    if (folder / "config.json").is_file():
        return f"{model} is one model, not a folder of checkpoints; `benchbench run --model {model}` evaluates it."
    inner = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and _holds_steps(path)]
    near = f" There are some in {folder / inner[0]}." if inner else ""
    return (
        f"{model} has no checkpoints: expected folders like checkpoint-500 or step500, or Composer files like "
        f"ep0-ba500-rank0.pt.{near} Others can be named in a list with --checkpoints, or waited for with --watch."
    )


def _holds_steps(folder: Path) -> bool:
    try:
        return any(step_in(path.name) is not None and _is_candidate(path) for path in folder.iterdir())
    except OSError:
        return False
