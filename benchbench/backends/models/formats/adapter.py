"""A folder as peft saves it: adapter_config.json and the adapter's weights. Its base is the one that the user names."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.adapter import AdapterFiles, holds_adapter, needs_base, put_on, read_adapter, take_off
from benchbench.backends.models.files import ModelSource, unchanged
from benchbench.backends.models.find import find_model, split_revision
from benchbench.backends.models.formats import CheckpointFormat, format_named
from benchbench.backends.models.identity import BROKEN_OFF
from benchbench.backends.models.loaded import OPEN_ANEW, LoadedModel
from benchbench.backends.models.tokenizer import has_tokenizer, own_tokenizer_identity
from benchbench.core.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    import torch


class AdapterFormat(CheckpointFormat):
    """A folder that peft's `save_pretrained`, or a Trainer with it, has written."""

    title = "a PEFT adapter"

    def locate(self, path: Path) -> Path | None:
        """See `CheckpointFormat`."""
        return path if holds_adapter(path) else None

    def check_whole(self, path: Path) -> None:
        """See `CheckpointFormat`."""
        read_adapter(path)

    def load(self, source: ModelSource, options: ModelOptions, device: torch.device) -> LoadedModel:
        """See `CheckpointFormat`. The base is opened first, with all that is checked of it."""
        files = read_adapter(source.folder)
        base = _base(files, options)
        loaded = format_named(base.format).load(base, replace(options, model=str(base.path), base=None), device)
        with unchanged([files.weights]):
            loaded.adapter = put_on(loaded.model, files, loaded.identity, base.name)
        loaded.identity, loaded.source = loaded.adapter.identity, source
        loaded.notes = (*loaded.notes, *_notes(files, loaded, base))
        return loaded

    def swap(self, loaded: LoadedModel, source: ModelSource) -> str:
        """See `CheckpointFormat`: another adapter on the same base."""
        old = loaded.adapter
        if old is None:
            raise ModelError(f"{source.name} is an adapter, and the loaded model is none; {OPEN_ANEW}")
        files = read_adapter(source.folder)
        take_off(old)
        with unchanged([files.weights]):
            try:
                new = put_on(loaded.model, files, old.base_identity, "the loaded base")
            except BaseException:
                loaded.identity = BROKEN_OFF
                loaded.adapter = put_on(loaded.model, old.files, old.base_identity, "the loaded base")
                loaded.identity = loaded.adapter.identity
                raise
        loaded.adapter = new
        return new.identity


FORMAT = AdapterFormat()


def _base(files: AdapterFiles, options: ModelOptions) -> ModelSource:
    if options.base is None:
        raise needs_base(files.folder, files.base)
    base = find_model(*split_revision(options.base))
    if base.format == "adapter":
        raise ArgumentError(f"--base {options.base} is an adapter itself; name the whole model that it stands on.")
    return base


def _notes(files: AdapterFiles, loaded: LoadedModel, base: ModelSource) -> list[str]:
    found = []
    leaf = base.folder.parent.parent.name.rpartition("--")[2] if base.revision else base.folder.name
    if files.base is not None and PurePath(files.base).name != leaf:
        found.append(f"{files.folder.name} was trained on {files.base}, as its configuration says; it stands on {leaf}")
    other = loaded.tokenizer_source is None and has_tokenizer(files.folder)
    if other and own_tokenizer_identity(files.folder, trusted=False) != loaded.tokenizer_identity:
        found.append(
            f"{files.folder.name} has a tokenizer that is not its base's; the base's is used. --tokenizer "
            f"{shlex.quote(str(files.folder))} takes the other"
        )
    return found
