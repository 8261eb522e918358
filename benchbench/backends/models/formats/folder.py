"""A folder as transformers saves it: config.json, and weights in safetensors or torch files.

Everything is checked before memory is spent: configuration, every weight file's header, tokenizer. After loading, a
tensor that is missing, left over or misshapen is an error, because the model would otherwise run with random numbers.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.config import (
    architecture_of,
    check_config,
    choose_dtype,
    config_object,
    read_config,
    stored_dtype,
    uses_own_code,
)
from benchbench.backends.models.files import (
    ModelSource,
    check_files,
    check_weights,
    read_object,
    safetensors_header,
    unchanged,
)
from benchbench.backends.models.find import find_tokenizer
from benchbench.backends.models.formats import CheckpointFormat
from benchbench.backends.models.identity import BROKEN_OFF, model_identity
from benchbench.backends.models.loaded import (
    LoadedModel,
    check_prefix,
    check_swap,
    copy_into,
    from_pretrained,
    loads_directly,
    new_tensors,
    set_length,
)
from benchbench.backends.models.memory import MemoryEstimate, check_memory, estimate_config
from benchbench.backends.models.options import transformers_options
from benchbench.backends.models.placement import input_device, placement, why_fixed
from benchbench.backends.models.shape import check_implementations, check_numbers, check_size, stored_shapes
from benchbench.backends.models.tokenizer import load_tokenizer, own_tokenizer_identity
from benchbench.core.errors import ModelError

if TYPE_CHECKING:
    import torch

PICKLED_BYTES = 2
"""Assumed of a parameter in a torch file, whose header is not read."""


class FolderFormat(CheckpointFormat):
    """A folder that transformers' `save_pretrained` has written."""

    title = "a transformers model"

    def locate(self, path: Path) -> Path | None:
        """See `CheckpointFormat`."""
        return path if (path / "config.json").is_file() else None

    def check_whole(self, path: Path) -> None:
        """See `CheckpointFormat`."""
        if not (path / "config.json").is_file():
            raise ModelError(f"{path} has no config.json.")
        check_files(path)
        check_weights(path)

    def estimate(self, source: ModelSource, dtype: str) -> MemoryEstimate:
        """See `CheckpointFormat`."""
        return estimate_folder(source.folder, dtype)

    def load(self, source: ModelSource, options: ModelOptions, device: torch.device) -> LoadedModel:
        """See `CheckpointFormat`."""
        folder = source.folder
        raw = read_config(folder)
        files = check_weights(folder)
        shapes = stored_shapes(files)
        check_numbers(raw, shapes, folder / "config.json")
        check_implementations(raw, folder / "config.json")
        own_code = uses_own_code(raw, folder, trusted=options.trust_remote_code)
        check_config(raw, folder, own_code=own_code)
        notes = (
            [f"{folder.name} brings its own code, which was not run"] if raw.get("auto_map") and not own_code else []
        )
        config = config_object(source, raw, trusted=options.trust_remote_code)
        tokenizer_source = None if options.tokenizer is None else find_tokenizer(options.tokenizer)
        own = transformers_options(options)
        tokenizer = load_tokenizer(
            tokenizer_source or source,
            trusted=options.trust_remote_code,
            config=config,
            add_bos_token=own.add_bos_token,
            prefix_token_id=own.prefix_token_id,
        )
        dtype, note = choose_dtype(options.dtype, raw, stored_dtype(files), device.type)
        placed = placement(own, device, dtype)
        if not placed:
            direct = loads_directly(device)
            check_memory(estimate_folder(folder, dtype, device.type), source.name, device, direct=direct)
        kind = architecture_of(raw)
        if not own_code:
            check_size(source, config, shapes, kind)
        length = set_length(config, raw, tokenizer, options, source.name)
        code = sorted(folder.glob("*.py")) if own_code else []
        with unchanged(files), ThreadPoolExecutor(1) as pool:
            hashing = pool.submit(model_identity, folder, files, code=code)
            model = from_pretrained(
                source, kind, config=config, dtype=dtype, trusted=own_code, device=device, placement=placed
            )
            identity = hashing.result()
        check_prefix(model, tokenizer, source.name, own.prefix_token_id)
        return LoadedModel(
            model=model,
            tokenizer=tokenizer,
            architecture=kind,
            max_length=length,
            identity=identity,
            tokenizer_identity=own_tokenizer_identity((tokenizer_source or source).folder, options.trust_remote_code),
            dtype=dtype,
            device=input_device(model) if placed else device,
            num_parameters=model.num_parameters(),
            revision=source.revision,
            notes=(*notes, *filter(None, [note])),
            source=source,
            config=raw,
            own_code=own_code,
            trusted=options.trust_remote_code,
            generation=read_object(folder / "generation_config.json"),
            tokenizer_source=tokenizer_source,
            is_placed=bool(placed),
            fixed=why_fixed(model),
        )

    def swap(self, loaded: LoadedModel, source: ModelSource) -> str:
        """See `CheckpointFormat`."""
        files, identity = check_swap(loaded, source)
        kind, dtype = loaded.architecture, loaded.dtype
        with unchanged(files):
            tensors = new_tensors(loaded.model, source, files, kind=kind, dtype=dtype, trusted=loaded.own_code)
            loaded.identity = BROKEN_OFF
            copy_into(loaded.model, tensors)
        return identity


FORMAT = FolderFormat()


def estimate_folder(folder: Path, dtype: str = "auto", device_type: str | None = None) -> MemoryEstimate:
    """What the transformers model in `folder` needs, computed in `dtype`. ModelError where files are broken."""
    config = read_object(folder / "config.json")
    files = check_weights(folder)
    counts: dict[str, int] = {}
    if files[0].suffix != ".safetensors":
        counts["F16"] = sum(file.stat().st_size for file in files) // PICKLED_BYTES
        return estimate_config(config, counts, dtype, device_type=device_type)
    for file in files:
        for tensor in safetensors_header(file).values():
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + math.prod(tensor.shape)
    return estimate_config(config, counts, dtype, device_type=device_type)
