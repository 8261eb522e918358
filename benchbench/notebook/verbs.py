"""`evaluate` and `sweep`: the verbs `run` and `sweep` of the command line as functions, with the same records."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError
from benchbench.core.settings import changed, with_written
from benchbench.notebook.progress import shown
from benchbench.notebook.results import Result, Sweep
from benchbench.runner.run import RunResult, run
from benchbench.runner.settings import RunSettings, SweepSettings
from benchbench.runner.sweep import sweep as run_sweep
from benchbench.runner.sweep.session import SweepEvent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Progress: TypeAlias = bool | Callable[[SweepEvent], None]
Tasks: TypeAlias = str | Sequence[str] | None
OPENS = ("backend", "base", "revision", "dtype", "device", "trust_remote_code", "tokenizer", "model_args")
"""Settings that say how a model is opened: nothing for one that is in memory."""


def evaluate(
    model: str | os.PathLike[str] | PreTrainedModel,
    tasks: Tasks = None,
    *,
    tokenizer: str | os.PathLike[str] | PreTrainedTokenizerBase | None = None,
    output: str | os.PathLike[str] = "results",
    progress: Progress = True,
    **settings: object,
) -> Result:
    """Evaluate one model on tasks, as `benchbench run` does, and with the same run folder.

    A run that was broken off goes on where it was, and a finished one is read from the disk, wherever it was begun.

    >>> result = benchbench.evaluate("HuggingFaceTB/SmolLM2-135M", "hellaswag", limit=100)  # doctest: +SKIP
    >>> result.table()[["task", "metric", "value", "ci_low", "ci_high"]]  # doctest: +SKIP

    Args:
        model: a folder, a Hub name, a file, or a model of transformers that is in memory. The latter is scored as it is
            now; it is not changed, and must not be trained meanwhile.
        tasks: names, groups, suites or globs: a list, or a text with commas. None: the default suite.
        tokenizer: of a model in memory its tokenizer; of others a folder or a Hub name, if not beside the weights.
        output: the results folder.
        progress: True for a bar, False for none, or a function that is called with each event.
        settings: every other option of `benchbench run` by its name, `-` as `_`: `num_fewshot=5`, `limit=100`,
            `data_root="hub"`, `gen_kwargs={"max_gen_toks": 64}`, `apply_chat_template=True`, `name="mine"`.

    Raises:
        BenchbenchError: whatever is wrong with settings, tasks, data, model or results folder, as a sentence.
    """
    asked = with_written(RunSettings(ModelOptions("")), tasks=tasks, output=output, **settings)
    with shown(progress) as on_event:
        if isinstance(model, str | os.PathLike):
            opened = with_written(asked, tokenizer=_named(tokenizer))
            place = changed(opened.model, model=os.fspath(model))
            found = run(changed(opened, model=place), on_event=on_event)
        else:
            found = _in_memory(model, tokenizer, asked, on_event)
    if found.failed_share > asked.max_failed:
        warnings.warn(f"{found.failed_share:.1%} of the docs failed; they have no score.", stacklevel=2)
    return Result(found.path, found.record, found.already_complete)


def sweep(
    models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    tasks: Tasks = None,
    *,
    output: str | os.PathLike[str] = "results",
    progress: Progress = True,
    keep_watching: Callable[[], bool] = lambda: True,
    **settings: object,
) -> Sweep:
    """Score every checkpoint of a training (or of several), as `benchbench sweep` does, in this process.

    What is scored already is read from the disk.

    >>> curves = benchbench.sweep("runs/csmpt", ["belebele_ces_Latn", "cs_hellaswag"])  # doctest: +SKIP
    >>> curves.curve("cs_hellaswag", "acc_norm").plot()  # doctest: +SKIP

    Args:
        models: a folder of checkpoints, or a Hub name with `revisions="step*"`; several make one series each.
        tasks: as for `evaluate`; one unit of work with each checkpoint.
        output: the results folder.
        progress: as for `evaluate`.
        keep_watching: with `watch=True`, asked when nothing is ready; False ends the sweep after a last look.
        settings: every other option of `benchbench sweep` by its name, `-` as `_`: `limit=100`, `until=5000`.

    Raises:
        BenchbenchError: there are no checkpoints, or something is wrong with settings, tasks or results folder.
    """
    places = [models] if isinstance(models, str | os.PathLike) else models
    first = SweepSettings(models=tuple(os.fspath(place) for place in places) or ("",))
    given = {"task_groups": _group(tasks), "output": output, **settings}
    with shown(progress) as on_event:
        found = run_sweep(with_written(first, **given), on_event=on_event, keep_watching=keep_watching)
    runs = [(done, found.folder.run_of(done)) for done in found.done]
    ordered = sorted(runs, key=lambda pair: (pair[0].series, pair[0].position, pair[0].group))
    not_scored = {checkpoint.name: why for checkpoint, why in found.skipped}
    return Sweep(found.folder.path, tuple(Result(run.path, run.record(), True) for _, run in ordered), not_scored)


def _group(tasks: Tasks) -> tuple[str | None]:
    return (tasks if tasks is None or isinstance(tasks, str) else ",".join(tasks),)


def _named(tokenizer: object) -> str | None:
    if tokenizer is None or isinstance(tokenizer, str | os.PathLike):
        return None if tokenizer is None else os.fspath(tokenizer)
    raise ArgumentError(
        "the tokenizer is an object, but the model a name; name the tokenizer's folder, too, or give both in memory."
    )


def _in_memory(
    model: PreTrainedModel, tokenizer: object, asked: RunSettings, on_event: Callable[[SweepEvent], None]
) -> RunResult:
    from transformers import PreTrainedModel as Model
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from benchbench.backends.hf.training import TrainingBackend

    if hasattr(model, "peft_config") and not isinstance(model, Model):
        raise ArgumentError(
            "the model is an adapter on its base (PEFT), which is not scored in memory; save it, and give its folder "
            "with the base: evaluate(folder, tasks, base=BASE)."
        )
    if not isinstance(model, Model):
        raise ArgumentError(
            f"the model is a {type(model).__name__}; expected a folder, a Hub name, or a model of transformers."
        )
    if not isinstance(tokenizer, Tokenizer):
        raise ArgumentError(
            "a model in memory needs its tokenizer: evaluate(model, tasks, tokenizer=AutoTokenizer.from_pretrained(…))."
        )
    _refuse_opening(asked.model)
    name = asked.name or model.config.name_or_path
    if not name:
        raise ArgumentError('the model has no name, for it was not read from a folder; give it one: name="mine".')
    options = changed(asked.model, model=name)
    backend = TrainingBackend(model, tokenizer, options)
    with backend.paused(name):
        return run(changed(asked, model=options), on_event=on_event, backend=backend)


def _refuse_opening(options: ModelOptions) -> None:
    """ArgumentError for settings that would have no effect."""
    plain = ModelOptions("")
    given: Mapping[str, object] = {name: getattr(options, name) for name in OPENS}
    for name, value in given.items():
        if value != getattr(plain, name) and (name, value) != ("backend", "hf"):
            raise ArgumentError(f"{name} says how a model is opened, but this one is in memory; leave it out.")
