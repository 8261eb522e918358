"""A PEFT adapter: what lies in its folder, who it is, and how it stands on a base model in memory and is taken off.

An adapter is of a stranger. Its configuration is read within bounds, may name no code, and the base that it names is
not looked for; its weights are tensors alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.backends.models.files import (
    and_more,
    check_files,
    check_torch_file,
    read_json,
    safetensors_header,
    told,
)
from benchbench.backends.models.identity import load_pickle, weights_identity
from benchbench.core import patterns
from benchbench.core.errors import ArgumentError, BackendError, ModelError
from benchbench.core.ids import content_hash
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
NAME = "default"
"""What the one adapter is called inside peft."""
VOLATILE = frozenset(
    [
        *("base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_version", "task_type"),
        *("lora_dropout", "module_dropout", "rank_dropout", "runtime_config"),
    ]
)
"""Keys of adapter_config.json that change no number when the adapter answers."""
VIRTUAL_TOKENS = frozenset(
    ["PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "ADAPTION_PROMPT", "CARTRIDGE"]
)
"""Kinds that put tokens or states of their own before a text, where no tokenizer knows of them."""
MIXTURES = frozenset(["XLORA", "POLY", "SHADOW"])
"""Kinds that need other adapters, or to be told which task they are asked."""
LEAST_RANK = 64
_PLAIN_NAME = re.compile(r"[\w.-]*")


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter on the disk, checked as far as that is possible without its base."""

    folder: Path
    config: dict[str, Json]
    weights: Path

    @property
    def base(self) -> str | None:
        """What its configuration says that it was trained on: a name, or a path on somebody's machine."""
        named = self.config.get("base_model_name_or_path")
        return named if isinstance(named, str) and named.isprintable() and 0 < len(named) <= 200 else None

    @property
    def identity(self) -> str:
        """sha256 of the tensors and of what shapes the computation: wherever the folder lies."""
        kept = {key: _unordered(value) for key, value in self.config.items() if key not in VOLATILE}
        return content_hash({"config": kept, "weights": weights_identity([self.weights])}, digits=64)


def _unordered(value: Json) -> Json:
    """Lists of names are sets, which peft writes in any order."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return sorted(value, key=str)
    return value


def holds_adapter(folder: Path) -> bool:
    """Whether an adapter lies there, and no weights of a whole model."""
    whole = ("model.safetensors", "pytorch_model.bin")
    return (folder / CONFIG).is_file() and not any(
        (folder / f"{name}{end}").is_file() for name in whole for end in ("", ".index.json")
    )


def needs_base(folder: Path, named: str | None) -> ArgumentError:
    """What to say of an adapter without a base; `named` is the base that its configuration names."""
    found = "" if named is None else f" Its configuration names it: --base {shlex.quote(named)}"
    return ArgumentError(
        f"{folder} is an adapter; say with --base which model it was trained on: a folder, or a hub name. Or merge it "
        f"into that model, and save what comes out (`merge_and_unload()`, `save_pretrained`).{found}"
    )


def read_adapter(folder: Path) -> AdapterFiles:
    """The adapter in `folder`, its configuration and the header of its weights checked.

    Raises ModelError where it is incomplete, broken, asks for code or is of a kind that cannot be scored.
    """
    check_files(folder)
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise ModelError(f"{folder / CONFIG} names no peft_type, so it is not an adapter's configuration.")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise ModelError(f"{folder} has no adapter weights: expected {WEIGHTS[0]} or {WEIGHTS[1]}.")
    found = AdapterFiles(folder, config, weights)
    _check_kind(found)
    if weights.suffix == ".safetensors":
        largest = max((n for tensor in safetensors_header(weights).values() for n in tensor.shape), default=0)
        _check_ranks(found, largest)
    else:
        check_torch_file(weights)
        _check_ranks(found, weights.stat().st_size)
    return found


def _check_kind(files: AdapterFiles) -> None:
    kind, place = str(files.config["peft_type"]), files.folder
    if kind in VIRTUAL_TOKENS:
        raise ModelError(
            f"{place} is an adapter of the kind {kind}, which puts virtual tokens before a text. Only adapters that "
            "change layers, such as LoRA, are scored here; lm-eval scores others."
        )
    if kind in MIXTURES:
        raise ModelError(f"{place} is an adapter of the kind {kind}, a mixture, which is not scored here.")
    for key in ("megatron_config", "layer_replication", "arrow_config"):
        if files.config.get(key):
            raise ModelError(
                f"{place} asks with {key} for another model than its base; merge it into its base with peft, and save "
                "that."
            )


def _check_ranks(files: AdapterFiles, largest: int) -> None:
    """A rank is a dimension of a tensor; one that is in no file would only take memory."""
    ranks = files.config.get("rank_pattern")
    named = {"r": files.config.get("r"), **(ranks if isinstance(ranks, dict) else {})}
    for key, rank in named.items():
        if isinstance(rank, int) and rank > max(largest, LEAST_RANK):
            raise ModelError(f"{files.folder / CONFIG}: {key} is {rank:,}, but no tensor of the adapter is that large.")


@dataclass(slots=True)
class Adapter:
    """An adapter that stands on a base model in memory."""

    wrapped: Any
    """peft's model, which holds the base and has put its layers into it."""
    files: AdapterFiles
    tensors: Mapping[str, torch.Tensor]
    base_identity: str
    changed_base: bool
    """The base's own weights are not what they were: this adapter stays."""

    @property
    def identity(self) -> str:
        """sha256 of base and adapter."""
        return combined_identity(self.base_identity, adapter=self.files.identity)


def combined_identity(base: str, **parts: str) -> str:
    """The identity of a model that is made of a base and something else."""
    return content_hash({"base": base, **parts}, digits=64)


def put_on(model: PreTrainedModel, files: AdapterFiles, base_identity: str, base_name: str) -> Adapter:
    """Put the adapter on the base `model`, whose layers are replaced in place.

    Raises BackendError where peft is not installed; ModelError where the adapter does not fit the base, which is then
    as it was.
    """
    import torch

    tensors = _without_base(read_tensors(files), model)
    before = _stamps(model)
    grown = _grow(model, tensors, files, base_name)
    with _peft(files, base_name) as peft:
        config = _config(peft, files, model)
        device = model.get_input_embeddings().weight.device
        wrapped = peft.PeftModel(model, config, NAME)
        try:
            with torch.no_grad():
                _fill(wrapped, tensors, files, base_name)
            wrapped.base_model._cast_adapter_dtype(adapter_name=NAME, autocast_adapter_dtype=True)
            wrapped.to(device) if not hasattr(model, "hf_device_map") else None
        except BaseException:
            wrapped.base_model.unload()
            raise
    torch.nn.Module.eval(model).requires_grad_(False)
    return Adapter(wrapped, files, tensors, base_identity, grown or _stamps(None, before) != before)


def take_off(adapter: Adapter) -> None:
    """The base model is again as it was before `put_on`; ModelError where the adapter has changed its weights."""
    if adapter.changed_base:
        raise ModelError(
            f"{adapter.files.folder} has changed weights of its base, so no other adapter can take its place."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapter.wrapped.base_model.unload()


def read_tensors(files: AdapterFiles) -> Mapping[str, torch.Tensor]:
    """The adapter's tensors by name, on the CPU."""
    if files.weights.suffix != ".safetensors":
        return load_pickle(files.weights)
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(str(files.weights))
    return found


def _without_base(tensors: Mapping[str, torch.Tensor], model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Without copies of the base's own weights, which peft saves where an embedding has an adapter."""
    import torch

    own = dict(model.named_parameters())

    def is_copy(name: str, tensor: torch.Tensor) -> bool:
        base = own.get(name.removeprefix("base_model.model.").replace(".base_layer.", "."))
        return base is not None and base.shape == tensor.shape and torch.equal(tensor.to(base), base)

    return {name: tensor for name, tensor in tensors.items() if not is_copy(name, tensor)}


Stamps = list[tuple[Any, int, int]]


def _stamps(model: PreTrainedModel | None, before: Stamps = []) -> Stamps:  # noqa: B006 - only read
    """(tensor, its place, how often it was written) of every weight of the model, or of those looked at `before`."""
    tensors = [tensor for tensor, *_ in before] if model is None else list(model.parameters())
    return [(tensor, tensor.data_ptr(), tensor._version) for tensor in tensors]


@contextlib.contextmanager
def _peft(files: AdapterFiles, base: str) -> Iterator[Any]:
    """The package, without its warnings; whatever it raises becomes a ModelError that names adapter and base."""
    if importlib.util.find_spec("peft") is None:
        raise BackendError(f"{files.folder} is an adapter, which needs the package peft: pip install peft")
    import peft

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield peft
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{files.folder} does not fit {base}: {told(error)}") from error


def _config(peft: Any, files: AdapterFiles, model: PreTrainedModel) -> Any:
    _try_patterns(files, [name for name, _ in model.named_modules()])
    raw = {key: value for key, value in files.config.items() if key not in ("runtime_config", "auto_mapping")}
    config = peft.PeftConfig.from_peft_type(**raw)
    config.inference_mode = True
    config.base_model_name_or_path = None
    return config


def _try_patterns(files: AdapterFiles, names: list[str]) -> None:
    """ModelError where a regular expression of the configuration takes too long on the names of the base's layers."""
    config, tried = files.config, list[str]()
    for key in ("target_modules", "exclude_modules"):
        tried += [value] if isinstance(value := config.get(key), str) else []
    for key in ("rank_pattern", "alpha_pattern", "modules_to_save", "layers_pattern"):
        value = config.get(key)
        tried += (
            [rf"(.*\.)?({one})$" for one in value if isinstance(one, str) and not _PLAIN_NAME.fullmatch(one)]
            if (isinstance(value, dict | list))
            else []
        )
    try:
        with patterns.one_doc():
            for pattern in tried:
                for name in names:
                    patterns.pick(patterns.check(pattern), name, 0)
    except (ValueError, patterns.TooMuchWorkError) as error:
        raise ModelError(f"{files.folder / CONFIG} has a pattern that cannot be used: {error}.") from None


def _fill(wrapped: Any, tensors: Mapping[str, torch.Tensor], files: AdapterFiles, base: str) -> None:
    """Put the adapter's tensors into its layers. ModelError unless they fill all of them, and nothing is left."""
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
    from peft.utils.save_and_load import set_peft_model_state_dict

    prefix = PEFT_TYPE_TO_PREFIX_MAPPING.get(wrapped.peft_config[NAME].peft_type, "")
    try:
        result: Any = set_peft_model_state_dict(wrapped, dict(tensors), NAME)
    except KeyError as error:
        raise ModelError(f"{files.weights} lacks {error}, which its configuration says it has.") from None
    missing = sorted(key for key in result.missing_keys if prefix in key and f".{NAME}" in key)
    if missing:
        raise ModelError(
            f"{files.weights} lacks {missing[0]}{and_more(missing)}, which an adapter on {base} has: the file is "
            "incomplete, or the adapter was trained on another base."
        )
    unknown = sorted(result.unexpected_keys)
    if unknown:
        raise ModelError(
            f"{files.weights} has {unknown[0]}{and_more(unknown)}, which has no place in {base}: the adapter was "
            "trained on another base."
        )


def _grow(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor], files: AdapterFiles, base: str) -> bool:
    """More rows for the tokens that were added in training, all of which the adapter must bring. Whether there are."""
    table: Any = model.get_input_embeddings()
    rows = int(table.weight.shape[0])
    ends = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight", "lm_head.weight")
    found = {name: int(tensor.shape[0]) for name, tensor in tensors.items() if name.endswith(ends)}
    wanted = max(found.values(), default=rows)
    if wanted == rows:
        return False
    whole: Any = model
    head = whole.get_output_embeddings()
    tied = head is None or head.weight.data_ptr() == table.weight.data_ptr()
    if wanted < rows or sum(n == wanted for n in found.values()) < (1 if tied else 2):
        raise ModelError(
            f"{files.folder} has an embedding of {wanted:,} tokens, {base} one of {rows:,}: the adapter was trained on "
            "another base, or does not bring all rows of the tokens that were added."
        )
    model.resize_token_embeddings(wanted, mean_resizing=False)
    return True
