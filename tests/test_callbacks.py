"""The callback in a real Trainer run of a tiny model."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    default_data_collator,
)

import benchbench
from benchbench.backends.engines import ModelOptions
from benchbench.callbacks import EvalCallback, _refuse_shared_device
from benchbench.core.errors import ArgumentError, TaskError
from benchbench.runner.settings import RunSettings
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.beside import Beside
from benchbench.runner.sweep.session import CheckpointFinished
from benchbench.tasks.settings import RenderSettings
from tests import models
from tests.runner.sweep.series import base, impatient, on_folder, separate_run
from tests.runner.sweep.test_beside import Process
from tests.runner.toy import make_world, part_bytes
from tests.tiny_training import ROWS, training_arguments


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return models.tiny_llama(tmp_path_factory.mktemp("start") / "model", bos=False)


def train(start, folder, callback=None, *, steps=6, save=3, more=(), **changes):
    """Trains with dropout, so that every draw of a random number shows in the weights."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(start, attention_dropout=0.1)
    arguments = training_arguments(folder, max_steps=steps, save_steps=save, per_device_train_batch_size=4, **changes)
    rows = [{**row, "labels": row["input_ids"]} for row in ROWS]
    callbacks = [*more, *([] if callback is None else [callback])]
    tokenizer = AutoTokenizer.from_pretrained(start)
    given = {"train_dataset": rows, "processing_class": tokenizer, "data_collator": default_data_collator}
    given["eval_dataset"] = rows if "eval_strategy" in changes else None
    trainer = Trainer(model, arguments, callbacks=callbacks, **given)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def trained(world, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    settings = base(world, folder / "results")
    callback = EvalCallback("toy", every=3, output=folder / "results", settings=settings)
    return folder, callback, train(start, folder / "tiny", callback)


def test_it_scores_the_live_model_as_a_run_scores_the_saved_checkpoint(world, trained, tmp_path):
    folder, callback, _ = trained
    assert [result.record.step for result in callback.results] == [3, 6]
    settings = on_folder(world, folder / "tiny", tmp_path)
    for result, step in zip(callback.results, (3, 6), strict=True):
        alone = separate_run(settings, str(folder / "tiny" / f"checkpoint-{step}"), tmp_path)
        assert alone.record.run_id == result.record.run_id
        assert alone.record.rows == result.record.rows
        assert part_bytes(alone.path) == part_bytes(result.path)
    assert callback.results[0].rows != callback.results[1].rows


def test_training_goes_on_as_if_nothing_had_been(start, trained, tmp_path):
    _, _, trainer = trained
    undisturbed = train(start, tmp_path / "tiny")
    before, after = undisturbed.model.state_dict(), trainer.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert trainer.model.training == undisturbed.model.training


def test_a_later_sweep_takes_the_results_over(world, trained):
    folder, callback, _ = trained
    seen = []
    sweep(on_folder(world, folder / "tiny", folder / "results"), on_event=seen.append, readiness=impatient())
    finished = [event for event in seen if isinstance(event, CheckpointFinished)]
    assert [event.result.already_complete for event in finished] == [True, True]
    assert {event.result.path for event in finished} == {result.path for result in callback.results}


def test_steps_and_tokens_are_in_the_rows_and_scores_in_the_trainers_log(trained):
    folder, callback, _ = trained
    rows = benchbench.load_runs(folder / "results")
    assert set(zip(rows["step"], rows["tokens_seen"], strict=True)) == {(3, 288), (6, 576)}
    state = json.loads((folder / "tiny" / "checkpoint-6" / "trainer_state.json").read_text())
    logged = {entry["step"]: entry for entry in state["log_history"] if "benchbench/toy_quiz/acc" in entry}
    assert set(logged) == {3, 6}
    values = {(row.task, row.metric): row.value for row in callback.results[0].rows}
    assert logged[3]["benchbench/toy_quiz/acc"] == values["toy_quiz", "acc"]


def test_the_end_of_training_is_scored_once(world, start, tmp_path):
    settings = base(world, tmp_path)
    callback = EvalCallback("toy_quiz", every=2, limit=2, output=tmp_path / "results", settings=settings)
    train(start, tmp_path / "tiny", callback, steps=3, save=100)
    assert [result.record.step for result in callback.results] == [2, 3]
    assert callback.results[0].record.tasks["toy_quiz"].counts.n == 2


def test_the_training_is_called_as_the_user_says_and_no_other_is(world, start, tmp_path):
    given = {"every": 2, "output": tmp_path / "results", "settings": base(world, tmp_path), "name": "mix"}
    train(start, tmp_path / "one", EvalCallback("toy_quiz", **given), steps=2, save=100)
    runs = benchbench.load_runs(tmp_path / "results")
    assert set(runs.model) == {"mix@checkpoint-2"}
    assert set(runs.series) == {"mix"}
    train(start, tmp_path / "one", EvalCallback("toy_quiz", **given), steps=2, save=100)
    with pytest.raises(ArgumentError, match="--name 'mix' already stands for a training that lies elsewhere"):
        train(start, tmp_path / "two", EvalCallback("toy_quiz", **given), steps=2, save=100)
    with pytest.raises(ArgumentError, match="--name is empty"):
        EvalCallback("toy_quiz", every=2, name=" ")


def test_an_unknown_task_ends_the_training_before_it_begins(start, tmp_path):
    with pytest.raises(TaskError, match="no_such_task"):
        train(start, tmp_path / "tiny", EvalCallback("no_such_task", every=1, output=tmp_path / "results"))
    assert not list(tmp_path.glob("tiny/checkpoint-*"))


def test_a_full_disk_is_a_warning_and_training_goes_on(world, start, tmp_path):
    (tmp_path / "results").write_text("a file, not a folder")
    settings = base(world, tmp_path)
    callback = EvalCallback("toy_quiz", every=1, output=tmp_path / "results", settings=settings)
    with pytest.warns(UserWarning, match="step 1 was not scored: .* a part of the path is a file"):
        trainer = train(start, tmp_path / "tiny", callback, steps=1, save=1)
    assert trainer.state.global_step == 1


def test_any_setting_of_a_run_may_be_given_by_its_name(tmp_path):
    base = RunSettings(ModelOptions(""), output=tmp_path, render=RenderSettings(num_fewshot=2, limit=9))
    callback = EvalCallback("demo", every=5, settings=base, limit=3, split="test", dtype="float32", name="mix")
    assert callback.settings.render == RenderSettings(num_fewshot=2, limit=3, split="test")
    asked = callback.settings
    assert (asked.tasks, asked.output, asked.model.dtype, asked.series) == ("demo", tmp_path, "float32", "mix")
    assert EvalCallback("demo", every=5, output="results").settings.output == Path("results")
    with pytest.raises(ArgumentError, match=r"there is no setting 'limits'\. Did you mean limit"):
        EvalCallback("demo", every=5, limits=3)


def test_every_must_be_a_step():
    with pytest.raises(ArgumentError, match="every is 0"):
        EvalCallback("demo", every=0)


BEST = {"eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True, "greater_is_better": True}


def test_the_last_step_is_scored_before_the_best_weights_are_loaded(world, start, tmp_path):
    settings = base(world, tmp_path)
    callback = EvalCallback("toy_quiz", every=2, output=tmp_path / "results", settings=settings)
    trainer = train(start, tmp_path / "tiny", callback, steps=3, save=1, metric_for_best_model="eval_loss", **BEST)
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-1")
    assert [result.record.step for result in callback.results] == [2, 3]
    sweep(on_folder(world, tmp_path / "tiny", tmp_path / "true"), readiness=impatient())
    rows = benchbench.load_runs(tmp_path / "true")
    true = dict(zip(rows.step, rows.model_identity, strict=True))
    assert {r.record.step: r.record.weights for r in callback.results} == {2: true[2], 3: true[3]}


def test_a_training_that_an_evaluation_ends_has_its_last_step_scored(world, start, tmp_path):
    settings = base(world, tmp_path)
    callback = EvalCallback("toy_quiz", every=100, output=tmp_path / "results", settings=settings)
    stop = EarlyStoppingCallback(early_stopping_patience=1)
    given = {**BEST, "metric_for_best_model": "eval_loss"}
    trainer = train(start, tmp_path / "tiny", callback, steps=6, save=1, more=[stop], **given)
    assert trainer.state.global_step == 2
    assert [result.record.step for result in callback.results] == [2]
    sweep(on_folder(world, tmp_path / "tiny", tmp_path / "true"), readiness=impatient())
    rows = benchbench.load_runs(tmp_path / "true")
    assert set(rows[rows.step == 2].model_identity) == {callback.results[0].record.weights}


class Listener(TrainerCallback):
    """Stands for those that report to W&B and TensorBoard."""

    def __init__(self):
        self.heard = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.heard += [(state.global_step, name, value) for name, value in logs.items() if "benchbench" in name]


def test_other_callbacks_hear_the_scores_through_on_log(world, start, tmp_path):
    settings, listener = base(world, tmp_path), Listener()
    callback = EvalCallback("toy_quiz", every=2, output=tmp_path / "results", settings=settings)
    train(start, tmp_path / "tiny", callback, steps=4, save=100, more=[listener])
    told = [
        (result.record.step, f"benchbench/{row.task}/{row.metric}", row.value)
        for result in callback.results
        for row in result.rows
    ]
    assert len(told) > 1
    assert listener.heard == told


@pytest.fixture
def idle(monkeypatch):
    """A process beside the training that never scores anything."""
    started = []
    monkeypatch.setattr(Beside, "_begin", lambda self: started.append(self) or Process())
    return started


def test_without_waiting_the_trainer_saves_what_is_to_be_scored(world, start, tmp_path, idle):
    settings = base(world, tmp_path)
    callback = EvalCallback("toy_quiz", every=2, blocking=False, output=tmp_path / "results", settings=settings)
    with pytest.warns(UserWarning, match=r"Not scored yet: steps 2, 3\. Process 4711 goes on with steps 2, 3\."):
        train(start, tmp_path / "tiny", callback, steps=3, save=100)
    listed = [json.loads(line) for line in (tmp_path / "tiny" / "benchbench.jsonl").read_text().splitlines()]
    assert [(one["step"], one["tokens"]) for one in listed] == [(2, 192), (3, 288)]
    assert all((Path(one["path"]) / "model.safetensors").is_file() for one in listed)
    assert len(idle) == 1
    undisturbed = train(start, tmp_path / "alone", steps=3, save=100).model.state_dict()
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny" / "checkpoint-3").state_dict()
    assert all(torch.equal(undisturbed[name], saved[name]) for name in saved)


def test_without_waiting_a_gpu_that_the_training_uses_is_not_taken_unasked():
    class Arguments:
        device = torch.device("cuda")

    with pytest.raises(ArgumentError, match="device='cuda:7' for one that the training leaves free"):
        _refuse_shared_device(ModelOptions(""), Arguments())
    for options in (ModelOptions("", device="cpu"), ModelOptions("", device="cuda:1"), ModelOptions("", backend="api")):
        _refuse_shared_device(options, Arguments())
