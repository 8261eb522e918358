"""Scores inside a training with Composer or llm-foundry: `benchbench.callbacks.ComposerCallback`.

Importing this loads composer and transformers.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from composer.callbacks import CheckpointSaver
from composer.core import Callback, State
from composer.loggers import Logger
from composer.models import HuggingFaceModel
from composer.utils.checkpoint import get_save_filename

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import HFBackend, choose_device
from benchbench.backends.hf.ranks import Ranks
from benchbench.backends.hf.training import Weights, move, same_randomness, whole_weights
from benchbench.backends.models.files import ModelSource
from benchbench.backends.models.formats.composer import ComposerFormat, renamed
from benchbench.backends.models.formats.state_dict import TrainingState
from benchbench.core.errors import ArgumentError, BenchbenchError, ModelError
from benchbench.runner.inside import Inside, settings_inside
from benchbench.runner.plan import Plan
from benchbench.runner.run import RunResult, run_plan
from benchbench.runner.settings import RunSettings

NAME = "{run_name}/ep{epoch}-ba{batch}-rank{rank}.pt"
"""What Composer calls a checkpoint, where the training saves none."""


class _LiveFormat(ComposerFormat):
    """A checkpoint that was never written."""

    state: TrainingState

    def read_state(self, path: Path) -> TrainingState:
        """See `StateDictFormat`."""
        return self.state


class _Copy(HFBackend):
    """transformers' own model with the weights that are trained, which Composer's stay apart from."""

    def __init__(self, options: ModelOptions, state: TrainingState) -> None:
        self._live = _LiveFormat()
        self._live.state = state
        loaded = self._live.load(ModelSource(Path(options.model), "composer"), options, choose_device(options.device))
        torch.nn.Module.eval(loaded.model).requires_grad_(False)
        super().__init__(options, loaded)

    @contextmanager
    def holding(self, name: str, state: TrainingState) -> Iterator[None]:
        """On its device and with the weights of now, which are called `name`, for the length of the block."""
        self._live.state = state
        self.loaded.identity = self._live.swap(self.loaded, ModelSource(Path(name), "composer"))
        try:
            move(self.loaded.model, self.loaded.device)
            self._now_is(name)
            yield
        finally:
            move(self.loaded.model, torch.device("cpu"))


class ComposerCallback(Callback):  # type: ignore[misc]
    """Every `every` batches, and when training ends, runs `tasks` on the model as it is: Composer's `EvalCallback`.

    Results are run folders as those of `benchbench run` on the checkpoint of that batch: a later sweep takes them over.
    The model that is trained is not touched: its weights are copied, gathered from all processes where FSDP spreads
    them, and computed by transformers' own class in the first process, as those of a checkpoint are; the others wait.
    Scores go to Composer's loggers as `benchbench/TASK/METRIC`.
    """

    def __init__(self, tasks: str, *, every: int, settings: RunSettings | None = None, **changes: Any) -> None:
        """The arguments are those of `EvalCallback`. The tokenizer is the one in the setting `tokenizer`, which a sweep
        of the checkpoints needs as well, else the model's.

        Raises ArgumentError for settings that make no sense; tasks are prepared when training begins.
        """
        if every < 1:
            raise ArgumentError(f"every is {every}; it must be 1 or more batches.")
        self.settings = settings_inside(tasks, settings, changes)
        self.every = every
        self.results: list[RunResult] = []
        """What was scored, by batch; in the first of several processes."""
        self._inside: Inside | None = None
        self._backend: _Copy | None = None
        self._ranks: Ranks | None = None
        self._last: int | None = None
        self._own_tokenizer: tempfile.TemporaryDirectory[str] | None = None

    def fit_start(self, state: State, logger: Logger) -> None:
        """Prepares the tasks, so that a wrong name ends the training before it begins."""
        if self._ranks is None:
            self._ranks = Ranks()
        self._ranks.first(lambda: self._prepare(state))

    def _prepare(self, state: State) -> None:
        if self._inside is None:
            self._inside = Inside.prepare(self.settings, str(_checkpoint(state).parent))

    def batch_end(self, state: State, logger: Logger) -> None:
        """Scores the model if the batch is one of those asked for."""
        if state.timestamp.batch.value % self.every == 0:
            self._score(state, logger)

    def fit_end(self, state: State, logger: Logger) -> None:
        """Scores the last batch, if that was not one of them."""
        if state.timestamp.batch.value != self._last:
            self._score(state, logger)
        if self._inside is not None:
            self._inside.logs.finish()

    def _score(self, state: State, logger: Logger) -> None:
        """A failure of ours is a warning: it must not end a training."""
        ranks, batch = self._ranks, int(state.timestamp.batch.value)
        if ranks is None:
            return
        self._last = batch
        try:
            with same_randomness():
                tensors = whole_weights(state.model)
                scores = ranks.first(lambda: self._scores(state, tensors))
        except BenchbenchError as error:
            if ranks.is_first:
                warnings.warn(f"batch {batch} was not scored: {error}", stacklevel=2)
            return
        logger.log_metrics(scores, step=batch)

    def _scores(self, state: State, tensors: Weights) -> dict[str, float]:
        """Of the model as it is, under the names of the training's log."""
        if self._inside is None:
            raise ArgumentError("the training has not begun; the callback is called by Composer's Trainer.")
        self.results.append(self._run(self._inside.plan, state, tensors))
        return self._inside.tell(self.results[-1])

    def _run(self, plan: Plan, state: State, tensors: Weights) -> RunResult:
        place, own = _checkpoint(state), _hugging_face(state)
        tokenizer = self.settings.model.tokenizer or self._tokenizer_of(own)
        model = replace(self.settings.model, model=str(place), tokenizer=tokenizer, keep_tokens=True)
        settings = replace(
            self.settings,
            model=model,
            step=int(state.timestamp.batch.value),
            tokens_seen=int(state.timestamp.token.value) or None,
        )
        config = own.get_metadata()["model"]["config"]["content"]
        live = TrainingState(renamed(place, tensors), config)
        if self._backend is None:
            self._backend = _Copy(model, live)
        with self._backend.holding(str(place), live):
            return run_plan(plan, settings, self._backend)

    def _tokenizer_of(self, model: HuggingFaceModel) -> str:
        """The folder with the model's own tokenizer."""
        if model.tokenizer is None:
            raise ArgumentError(
                "the model has no tokenizer; name the one it is trained with: ComposerCallback(…, tokenizer=FOLDER)."
            )
        if self._own_tokenizer is None:
            self._own_tokenizer = tempfile.TemporaryDirectory()
            model.tokenizer.save_pretrained(self._own_tokenizer.name)
        return self._own_tokenizer.name


def _hugging_face(state: State) -> HuggingFaceModel:
    model = state.model.module if state.is_model_ddp else state.model
    if not isinstance(model, HuggingFaceModel) or model.using_peft:
        raise ModelError(
            f"{type(model).__name__} is no whole model as composer.models.HuggingFaceModel holds one (llm-foundry's "
            "are), so it cannot be scored inside the training."
        )
    return model


def _checkpoint(state: State) -> Path:
    """Where Composer saves this batch, or would."""
    saver = next((one for one in state.callbacks if isinstance(one, CheckpointSaver)), None)
    name = NAME if saver is None else saver.filename.format(state, keep_placeholders=True)
    place = Path(get_save_filename(state, name)).absolute()
    return place.parent if state.fsdp_sharded_state_dict_enabled else place
