"""A model that is being trained, scored where it is: no copy of its weights, and training does not notice."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import HFBackend
from benchbench.backends.models.config import choose_length, own_length
from benchbench.backends.models.files import ModelSource
from benchbench.backends.models.identity import identity_from, tensors_identity
from benchbench.backends.models.loaded import LoadedModel, saved_config, saved_generation, saved_tensors
from benchbench.backends.models.tokenizer import load_tokenizer, own_tokenizer_identity
from benchbench.core.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TrainingBackend(HFBackend):
    """Scores a transformers model between two training steps. Use it inside `paused` only."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, options: ModelOptions) -> None:
        """ModelError for a model whose weights are spread over processes, or that has code of its own."""
        _check_whole(model)
        with _own_forward(model):
            super().__init__(options, _loaded(model, tokenizer, options))

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Evaluation mode for the length of the block; then modes, random states and all else are as before.

        `name` is what the weights are called now, such as the checkpoint that would be saved at this step.
        """
        model = self.loaded.model
        modes = {module: module.training for module in model.modules()}
        randomness = _random_states()
        model.eval()  # type: ignore[no-untyped-call]
        try:
            self.loaded.identity = _identity(model)
            self._now_is(name)
            with _own_forward(model):
                yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            _restore(randomness)


@contextmanager
def _own_forward(model: PreTrainedModel) -> Iterator[None]:
    """Mixed precision wraps a model's forward; without the wrapper the weights compute in their own type."""
    wrapped = model.__dict__.pop("forward", None)
    try:
        yield
    finally:
        if wrapped is not None:
            model.forward = wrapped


def _loaded(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, options: ModelOptions) -> LoadedModel:
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
        device=parameter.device,
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


def _check_whole(model: PreTrainedModel) -> None:
    kind = type(next(model.parameters())).__name__
    if kind == "DTensor" or any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise ModelError(
            "the model's weights are spread over several processes, so it cannot be scored inside the training loop; "
            "score its checkpoints with `benchbench sweep --watch`."
        )
    if hasattr(model, "peft_config") and not type(model).__module__.startswith("transformers.models."):
        raise ModelError(
            f"{type(model).__name__} is an adapter on its base, which is not scored in memory; score its checkpoints "
            "with `benchbench sweep --watch --base BASE`."
        )
    if not type(model).__module__.startswith("transformers.models."):
        raise ModelError(
            f"{type(model).__name__} is not one of transformers' own models; score its checkpoints with "
            "`benchbench sweep --watch`."
        )


def _random_states() -> tuple[Any, ...]:
    import numpy as np

    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return (torch.get_rng_state(), cuda, random.getstate(), np.random.get_state())


def _restore(states: tuple[Any, ...]) -> None:
    import numpy as np

    torch.set_rng_state(states[0])
    if states[1]:
        torch.cuda.set_rng_state_all(states[1])
    random.setstate(states[2])
    np.random.set_state(states[3])
