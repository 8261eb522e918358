"""A model that is being trained, scored where it is, and training does not notice.

Its weights are not copied, unless they are spread over the processes that train it: the first of them holds a whole
copy while it scores.
"""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import HFBackend, choose_device
from benchbench.backends.models.config import choose_length, own_length
from benchbench.backends.models.files import ModelSource
from benchbench.backends.models.identity import identity_from, tensors_identity
from benchbench.backends.models.loaded import (
    LoadedModel,
    copy_into,
    from_tensors,
    saved_config,
    saved_generation,
    saved_tensors,
)
from benchbench.backends.models.tokenizer import load_tokenizer, own_tokenizer_identity
from benchbench.core.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Weights = Mapping[str, torch.Tensor]
"""Whole tensors by the model's own names, on the CPU."""


class TrainingBackend(HFBackend):
    """Scores a transformers model between two training steps. Use it inside `paused` only."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        options: ModelOptions,
        weights: Weights | None = None,
    ) -> None:
        """`weights` are what `gathered` gave of the model. ModelError for a model that has code of its own, or whose
        weights are spread over processes and were not gathered.
        """
        check_own(model)
        self._device: torch.device | None = None
        """Where the copy is while it is scored; None: the model is scored itself."""
        if weights is not None:
            own = next(model.parameters()).device
            self._device = own if options.device == "auto" else choose_device(options.device)
            model = _whole_copy(model, weights)
        elif is_spread(model):
            raise ModelError(
                "the model's weights are spread over several processes, and this is one of them; give the training "
                "benchbench.callbacks.EvalCallback, or score its checkpoints with `benchbench sweep --watch`."
            )
        with _own_forward(model):
            super().__init__(options, _loaded(model, tokenizer, options, self._device))

    @contextmanager
    def paused(self, name: str, weights: Weights | None = None) -> Iterator[None]:
        """Evaluation mode for the length of the block; then modes, random states and all else are as before.

        `name` is what the weights are called now, such as the checkpoint that would be saved at this step. `weights`
        are those of now, if the model was opened with gathered ones. ModelError where they do not fit on the device.
        """
        model = self.loaded.model
        modes = {module: module.training for module in model.modules()}
        with same_randomness():
            try:
                if weights is not None:
                    copy_into(model, weights.items())
                    move(model, self.loaded.device)
                model.eval()  # type: ignore[no-untyped-call]
                self.loaded.identity = _identity(model)
                self._now_is(name)
                with _own_forward(model):
                    yield
            finally:
                for module, mode in modes.items():
                    module.training = mode
                if self._device is not None:
                    move(model, torch.device("cpu"))


def gathered(model: PreTrainedModel) -> Weights | None:
    """The whole weights of a model that is spread over the processes of its training, which all call this.

    They come in the first process, {} in the others; None where every process has the whole model. The model stays as
    it is. ModelError, in all processes, for one that cannot be scored in memory.
    """
    check_own(model)
    if not is_spread(model):
        return None
    return whole_weights(model)


def whole_weights(model: torch.nn.Module) -> Weights:
    """A copy of all weights in the first process, as a checkpoint would hold them; {} in the others. All call this."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found = {
        name: value.detach()
        for name, value in get_model_state_dict(model, options=options).items()
        if isinstance(value, torch.Tensor)
    }
    if next(model.parameters()).device.type == "cpu":  # what every process has whole is the model's own memory
        found = {name: tensor.clone() for name, tensor in found.items()}
    return found


def is_spread(model: PreTrainedModel) -> bool:
    """Whether this process has a part of the weights only: FSDP, or tensor parallel."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    if any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        return True
    return any(type(parameter).__name__ == "DTensor" for parameter in model.parameters())


def _own_class(model: PreTrainedModel) -> type[PreTrainedModel]:
    """The model's class as its author wrote it: FSDP puts one of its own before it, or a module around it."""
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    seen: Any = model
    if isinstance(seen, FullyShardedDataParallel):
        return cast("type[PreTrainedModel]", type(seen.module))
    place = 2 if isinstance(seen, FSDPModule) else 0  # after FSDP's class for this one, and its class for all
    return cast("type[PreTrainedModel]", type(model).__mro__[place])


def _whole_copy(model: PreTrainedModel, weights: Weights) -> PreTrainedModel:
    """A model of the same class on the CPU that holds `weights`."""
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    place = ModelSource(Path("the model that is trained"))
    found = from_tensors(
        place, config=copy.deepcopy(model.config), tensors=weights, dtype=dtype, made=_own_class(model)
    )
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        found.generation_config = copy.deepcopy(generation)
    found.requires_grad_(False)
    return found


def move(model: torch.nn.Module, device: torch.device) -> None:
    """Brings a copy of the trained model to where it is scored, or back. ModelError where it does not fit there."""
    try:
        model.to(device)
    except torch.OutOfMemoryError as error:
        model.to("cpu")
        raise ModelError(
            f"the whole model does not fit on {device} beside the training; score it on another device "
            "(device='cpu'), or its checkpoints with blocking=False."
        ) from error


@contextmanager
def _own_forward(model: PreTrainedModel) -> Iterator[None]:
    """Mixed precision wraps a model's forward; without the wrapper the weights compute in their own type."""
    wrapped = model.__dict__.pop("forward", None)
    try:
        yield
    finally:
        if wrapped is not None:
            model.forward = wrapped


def _loaded(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, options: ModelOptions, device: torch.device | None
) -> LoadedModel:
    config = model.config.to_dict()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)  # ours is another object, opened as from a checkpoint
        identity = own_tokenizer_identity(Path(folder), trusted=False)
        tokenizer = load_tokenizer(ModelSource(Path(folder)), trusted=False)
    own = own_length(model.config, tokenizer)
    parameter = next(model.parameters())
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        architecture="seq2seq" if model.config.is_encoder_decoder else "causal",
        max_length=choose_length(options.max_length, own, config, type(model).__name__),
        identity="unknown: not paused yet",
        tokenizer_identity=identity,
        dtype=str(parameter.dtype).removeprefix("torch."),
        device=parameter.device if device is None else device,
        num_parameters=model.num_parameters(),
        revision=None,
        notes=(),
        source=ModelSource(Path(options.model)),
        config=config,
        generation={},
    )


def _identity(model: PreTrainedModel) -> str:
    weights = tensors_identity(saved_tensors(model))
    return identity_from(weights, saved_config(model.config, type(model)), saved_generation(model))


def check_own(model: PreTrainedModel) -> None:
    """ModelError for a model that cannot be scored in memory, whoever asks."""
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise ModelError(
            "DeepSpeed spreads the model's weights over several processes, so it cannot be scored inside the training "
            "loop; score its checkpoints with `benchbench sweep --watch`, or with EvalCallback(…, blocking=False)."
        )
    own = _own_class(model)
    if hasattr(model, "peft_config") and not own.__module__.startswith("transformers.models."):
        raise ModelError(
            f"{own.__name__} is an adapter on its base, which is not scored in memory; score its checkpoints "
            "with `benchbench sweep --watch --base BASE`."
        )
    if not own.__module__.startswith("transformers.models."):
        raise ModelError(
            f"{own.__name__} is not one of transformers' own models; score its checkpoints with "
            "`benchbench sweep --watch`."
        )


@contextmanager
def same_randomness() -> Iterator[None]:
    """After the block every random state of this process is as it was before."""
    import numpy as np

    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    own, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(own)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        random.setstate(python)
        np.random.set_state(numpy)
