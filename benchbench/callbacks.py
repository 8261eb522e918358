"""Scores inside a training loop: `EvalCallback` for transformers' Trainer. Importing this loads transformers."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler

from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.training import TrainingBackend
from benchbench.core.errors import ArgumentError, BenchbenchError
from benchbench.core.settings import with_written
from benchbench.runner.events import ignore
from benchbench.runner.identity import refuse_taken_series
from benchbench.runner.logs.follow import Logs
from benchbench.runner.logs.rows import curve_name
from benchbench.runner.plan import Plan, make_plan
from benchbench.runner.run import RunResult, run_plan
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder


class EvalCallback(TrainerCallback):
    """Every `every` steps, and when training ends, runs `tasks` on the model as it is.

    The weights are not copied; modes and random states are restored, so the training goes on as if nothing had been.
    Results are run folders as those of `benchbench run` on the checkpoint of that step: a later sweep takes them over.
    """

    def __init__(
        self,
        tasks: str,
        *,
        every: int,
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
        given = RunSettings(ModelOptions("")) if settings is None else settings
        asked = with_written(given, tasks=tasks, **changes)
        self.settings = replace(asked, name=None, series=asked.name)
        self.every = every
        self.results: list[RunResult] = []
        """What was scored, by step."""
        self._plan: Plan | None = None
        self._logs: Logs | None = None
        self._backend: TrainingBackend | None = None
        self._last: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Prepares the tasks, so that a wrong name ends the training before it begins."""
        if state.is_world_process_zero and self._plan is None:
            self._logs = Logs(self.settings.logs, self.settings.output, _warn)
            refuse_taken_series(self.settings, str(args.output_dir))
            self._plan = make_plan(self.settings, ignore)

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

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Scores the last step, if that was not one of them and the weights are still those of it.

        With `load_best_model_at_end` they are those of the best step now.
        """
        if state.global_step != self._last and not (args.load_best_model_at_end and state.best_model_checkpoint):
            self._score(args, state, kwargs, control)
        if self._logs is not None:
            self._logs.finish()

    def _score(
        self, args: TrainingArguments, state: TrainerState, given: dict[str, Any], control: TrainerControl
    ) -> None:
        """A failure of ours is a warning: it must not end a training."""
        if not state.is_world_process_zero or self._plan is None:
            return
        self._last = state.global_step
        try:
            self.results.append(self._run(self._plan, str(args.output_dir), state, given))
        except BenchbenchError as error:
            warnings.warn(f"step {state.global_step} was not scored: {error}", stacklevel=2)
            return
        record = self.results[-1].record
        scores = {curve_name(row, record): row.value for row in record.rows if row.value is not None}
        if self._logs is not None:
            self._logs.add([RunFolder(self.results[-1].path)])
        state.log_history.append({"step": state.global_step, **scores})
        _tell_others(self, scores, args, state, control, given)

    def _run(self, plan: Plan, folder: str, state: TrainerState, given: dict[str, Any]) -> RunResult:
        name = str(Path(folder).absolute() / f"checkpoint-{state.global_step}")
        model = replace(self.settings.model, model=name, keep_tokens=True)
        tokens = int(state.num_input_tokens_seen) or None
        settings = replace(self.settings, model=model, step=state.global_step, tokens_seen=tokens)
        if self._backend is None:
            tokenizer = given.get("processing_class") or given.get("tokenizer")
            if tokenizer is None:
                raise ArgumentError("the Trainer has no tokenizer; give it one as processing_class.")
            self._backend = TrainingBackend(given["model"], tokenizer, model)
        with self._backend.paused(name):
            return run_plan(plan, settings, self._backend)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)


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
