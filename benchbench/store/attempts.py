"""The attempts of a run: folders `<id>`, `<id>-2`, … of one model, of which the newest counts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from benchbench.core.errors import StoreError
from benchbench.store.files import make_folder, os_errors


def attempts(model_folder: Path, run_id: str) -> list[Path]:
    """The attempts of a run in order: `<id>`, `<id>-2`, … A folder without plan.json counts too."""
    found: list[tuple[int, Path]] = []
    with suppress(FileNotFoundError), os_errors(model_folder, "list"):
        for path in model_folder.glob(f"{run_id}*"):
            suffix = path.name.removeprefix(run_id)
            if suffix == "":
                found.append((1, path))
            elif suffix.startswith("-") and suffix[1:].isdigit():
                found.append((int(suffix[1:]), path))
    return [path for _, path in sorted(found)]


def attempt_number(path: Path, run_id: str) -> int:
    """1 for `<id>`, 2 for `<id>-2`, …"""
    return int(path.name.removeprefix(run_id).lstrip("-") or 1)


def choose_attempt(model_folder: Path, run_id: str, *, fresh: bool) -> Path:
    """The folder to work in: the newest attempt (the first if there is none), or with `fresh` a new one."""
    known = attempts(model_folder, run_id)
    if not known:
        return model_folder / run_id
    if not fresh:
        return known[-1]
    make_folder(model_folder)
    number = attempt_number(known[-1], run_id) + 1
    while True:
        path = model_folder / f"{run_id}-{number}"
        try:
            with os_errors(path, "create"):
                path.mkdir()
            return path
        except StoreError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
            number += 1
