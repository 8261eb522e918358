"""Where the demo's checkpoints lie, and how they are written so that somebody who watches sees whole ones only."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.core.errors import ArgumentError, StoreError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

MARKER = "demo.json"
"""In the folder of checkpoints: what they were trained with. Says that the folder is the demo's own."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """`<folder>/checkpoint-<step>`, as transformers' Trainer names it."""
    return folder / f"checkpoint-{step}"


def find_finished(folder: Path, identity: Mapping[str, Any], steps: Sequence[int]) -> tuple[Path, ...] | None:
    """The checkpoints of an earlier demo with this identity, by step; None unless all are there."""
    paths = tuple(checkpoint_path(folder, step) for step in steps)
    if _read_marker(folder) != identity or not all((path / "model.safetensors").is_file() for path in paths):
        return None
    return paths


def begin(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make `folder` ready for new checkpoints: an earlier demo's are removed.

    ArgumentError if the folder holds anything and is not a demo's; StoreError if it cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and _read_marker(folder) is None)):
            raise ArgumentError(f"{folder} holds something that is no demo; name an empty or new folder with --out.")
        folder.mkdir(parents=True, exist_ok=True)
        for old in [*folder.glob("checkpoint-*"), *folder.glob(".checkpoint-*")]:
            shutil.rmtree(old)
        _write(folder / f".{MARKER}", identity)
        (folder / f".{MARKER}").replace(folder / MARKER)
    except OSError as error:
        raise StoreError(_cannot_write(folder, error)) from error


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, state: Mapping[str, Any]) -> Path:
    """Write `checkpoint-<global_step>` with configuration, tokenizer, weights and `trainer_state.json`.

    All files are made in a hidden folder beside it, which is then renamed. StoreError if the disk says no.
    """
    path = checkpoint_path(folder, state["global_step"])
    unfinished = folder / f".{path.name}"
    try:
        unfinished.mkdir()
        with _no_progress_bars():
            model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        _write(unfinished / "trainer_state.json", state)
        for file in unfinished.iterdir():
            _flush(file)
        unfinished.rename(path)
    except OSError as error:
        raise StoreError(_cannot_write(folder, error)) from error
    return path


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _read_marker(folder: Path) -> Any:
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _cannot_write(folder: Path, error: OSError) -> str:
    return (
        f"The demo cannot write its checkpoints to {folder}: {error.strerror or error}. Name another folder with --out."
    )
