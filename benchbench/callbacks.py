"""Scores inside a training loop: `EvalCallback` for transformers' Trainer, and Composer's `ComposerCallback`.

Importing this loads transformers; Composer is loaded when its callback is asked for.
"""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.ranks import Ranks
from benchbench.backends.hf.training import TrainingBackend, Weights, gathered, same_randomness
from benchbench.core.errors import ArgumentError, BenchbenchError
from benchbench.core.plugins import load_place
from benchbench.runner.inside import Inside, settings_inside
from benchbench.runner.plan import Plan
from benchbench.runner.run import RunResult, run_plan
from benchbench.runner.settings import RunSettings
from benchbench.runner.sweep.beside import Beside


def __getattr__(name: str) -> object:
    """`ComposerCallback`. ArgumentError where Composer is not installed."""
    if name != "ComposerCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if importlib.util.find_spec("composer") is None:
        raise ArgumentError("ComposerCallback needs Composer, which is not installed here: pip install mosaicml")
    return load_place("benchbench.composer:ComposerCallback")


class EvalCallback(TrainerCallback):
    """Every `every` steps, and when training ends, runs `tasks` on the model as it is.

    The weights are not copied; modes and random states are restored, so the training goes on as if nothing had been.
    Results are run folders as those of `benchbench run` on the checkpoint of that step: a later sweep takes them over.

    Of several processes that train (torchrun, accelerate) the first scores, and the others wait for it. Where FSDP
    spreads the weights, that process gathers a whole copy first, on the device of the setting `device`: as a rule the
    one it trains on.

    With `blocking=False` the training does not wait: it saves a checkpoint at each of these steps, and a process
    beside it scores them, on the `device` that the settings name. `wait` waits for the last of them.
    """

    def __init__(
        self,
        tasks: str,
        *,
        every: int,
        blocking: bool = True,
        settings: RunSettings | None = None,
        **changes: Any,
    ) -> None:
        """`settings` are those of a run of each step; the model is the one that is trained, and `name` is what to call
        the training (without it, as its output folder). `changes` are settings by their names, such as `limit=100`,
        `num_fewshot=0` or `output="results"`, and come before those in `settings`.

        Raises ArgumentError for settings that make no sense; tasks are prepared when training begins.
        """
        if every < 1:
            raise ArgumentError(f"every is {every}; it must be 1 or more steps.")
        self.settings = settings_inside(tasks, settings, changes)
        self.every = every
        self.blocking = blocking
        self.results: list[RunResult] = []
        """What was scored, by step; in the first of several processes. With `blocking=False` after `wait`."""
        self._inside: Inside | None = None
        self._backend: TrainingBackend | None = None
        self._beside: Beside | None = None
        self._ranks: Ranks | None = None
        self._last: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Prepares the tasks, so that a wrong name ends the training before it begins."""
        if self._ranks is None:
            self._ranks = Ranks()
        self._ranks.first(lambda: self._prepare(args, state))

    def _prepare(self, args: TrainingArguments, state: TrainerState) -> None:
        if self._inside is None:
            self._inside = Inside.prepare(self.settings, str(args.output_dir))
        if not self.blocking:
            _refuse_shared_device(self.settings.model, args)
            self._beside = Beside.of(self.settings, Path(str(args.output_dir)), step=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Scores the model if the step is one of those asked for, or the last: later, other weights may be loaded."""
        is_last = control.should_training_stop or 0 < state.max_steps <= state.global_step
        if state.global_step % self.every == 0 or is_last:
            self._score(args, state, kwargs, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Scores the last step where an evaluation ended the training (early stopping)."""
        if control.should_training_stop and state.global_step != self._last:
            self._score(args, state, kwargs, control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """With `blocking=False`: asks for the scores of the checkpoint, if it is of a step that is scored."""
        if self._beside is not None and state.global_step == self._last:
            try:
                self._beside.add(state.global_step, _checkpoint(args, state), _tokens(state))
            except (BenchbenchError, OSError) as error:
                _warn(state, error)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Scores the last step, if that was not one of them and the weights are still those of it.

        With `load_best_model_at_end` they are those of the best step now. With `blocking=False` says what is not scored
        yet.
        """
        if self._ranks is None:
            return
        if not self.blocking:
            if self._beside is not None:
                self._beside.wanted.add(state.global_step)
                if (left := self._beside.leave()) is not None:
                    warnings.warn(left, stacklevel=2)
        # Whether there is a best checkpoint each process has seen for itself, on a disk that may be its own.
        elif self._ranks.first(
            lambda: (
                state.global_step != self._last and not (args.load_best_model_at_end and state.best_model_checkpoint)
            )
        ):
            self._score(args, state, kwargs, control)
        if self._inside is not None:
            self._inside.logs.finish()

    def wait(self) -> list[RunResult]:
        """With `blocking=False`: waits until the process beside the training has scored what was asked for, and gives
        the results; call it after the training. [] in all but the first of several processes.
        """
        if self._beside is not None:
            self.results = self._beside.wait()
        return self.results

    def _score(
        self, args: TrainingArguments, state: TrainerState, given: dict[str, Any], control: TrainerControl
    ) -> None:
        """A failure of ours is a warning: it must not end a training."""
        if self._ranks is None:
            return
        self._last = state.global_step
        if not self.blocking:
            control.should_save = True  # in every process: they save together
            if self._beside is not None:
                self._beside.wanted.add(state.global_step)
            return
        try:
            with same_randomness():
                weights = gathered(given["model"])
                scores = self._ranks.first(lambda: self._scores(args, state, given, weights))
        except BenchbenchError as error:
            if self._ranks.is_first:
                _warn(state, error)
            return
        state.log_history.append({"step": state.global_step, **scores})
        _tell_others(self, scores, args, state, control, given)

    def _scores(
        self, args: TrainingArguments, state: TrainerState, given: dict[str, Any], weights: Weights | None
    ) -> dict[str, float]:
        """Of the model as it is, under the names of the training's log."""
        if self._inside is None:
            raise ArgumentError("the training has not begun; the callback is called by transformers' Trainer.")
        self.results.append(self._run(self._inside.plan, args, state, given, weights))
        return self._inside.tell(self.results[-1])

    def _run(
        self,
        plan: Plan,
        args: TrainingArguments,
        state: TrainerState,
        given: dict[str, Any],
        weights: Weights | None,
    ) -> RunResult:
        name = str(_checkpoint(args, state))
        model = replace(self.settings.model, model=name, keep_tokens=True)
        settings = replace(self.settings, model=model, step=state.global_step, tokens_seen=_tokens(state))
        if self._backend is None:
            tokenizer = given.get("processing_class") or given.get("tokenizer")
            if tokenizer is None:
                raise ArgumentError("the Trainer has no tokenizer; give it one as processing_class.")
            self._backend = TrainingBackend(given["model"], tokenizer, model, weights)
        with self._backend.paused(name, weights):
            return run_plan(plan, settings, self._backend)


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    """Where the Trainer saves this step."""
    return Path(str(args.output_dir)).absolute() / f"checkpoint-{state.global_step}"


def _tokens(state: TrainerState) -> int | None:
    return int(state.num_input_tokens_seen) or None


def _warn(state: TrainerState, error: Exception) -> None:
    warnings.warn(f"step {state.global_step} was not scored: {error}", stacklevel=3)


def _refuse_shared_device(model: ModelOptions, args: TrainingArguments) -> None:
    """ArgumentError where the process beside a training would take, of itself, the GPU that the training uses."""
    elsewhere = model.backend == "api" or model.ray_address is not None
    if model.device == "auto" and args.device.type == "cuda" and not elsewhere:
        raise ArgumentError(
            "blocking=False scores beside the training, which uses the GPUs; say where: device='cuda:7' for one that "
            "the training leaves free, or device='cpu'."
        )


def _tell_others(
    own: EvalCallback,
    scores: dict[str, float],
    args: TrainingArguments,
    state: TrainerState,
    control: TrainerControl,
    given: dict[str, Any],
) -> None:
    """Calls `on_log` of the training's other callbacks, as `Trainer.log` does, so that W&B and TensorBoard get the
    scores. transformers gives a callback no way to the others but the handler that is calling it.
    """
    handler = _handler()
    for callback in [] if handler is None else handler.callbacks:
        if callback is not own and not isinstance(callback, EvalCallback):
            callback.on_log(args, state, control, logs=dict(scores), **given)


def _handler() -> CallbackHandler | None:
    """The handler that called this callback."""
    frame = inspect.currentframe()
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, CallbackHandler):
            return found
        frame = frame.f_back
    return None
