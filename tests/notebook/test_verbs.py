"""`evaluate` and `sweep` leave what the command line leaves, and say what is wrong as it does."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import benchbench
from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.training import TrainingBackend
from benchbench.core.errors import ArgumentError, BenchbenchError, ModelError
from benchbench.core.settings import with_written
from benchbench.runner import events
from benchbench.runner.settings import RunSettings, SweepSettings
from tests import models
from tests.runner.sweep.series import scripted_list
from tests.runner.toy import make_world, part_bytes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_llama(tmp_path_factory.mktemp("models") / "tiny", bos=False)


def of(world: Path, output: Path) -> dict[str, Any]:
    """Where the toy tasks are and the results go, in the words of a notebook."""
    places = {"include_path": str(world / "tasks"), "data_root": str(world / "hub"), "output": output}
    return {**places, "progress": False}


def scripted(world: Path, output: Path, **more: Any) -> benchbench.Result:
    """A run without a model."""
    return benchbench.evaluate("hash", **{"tasks": "toy", "backend": "scripted", **of(world, output), **more})


def records(result: benchbench.Result) -> dict[str, Any]:
    """run.json without what differs between two times."""
    found: dict[str, Any] = json.loads((result.path / "run.json").read_bytes())
    return {name: value for name, value in found.items() if name != "provenance"}


def test_a_function_and_the_command_leave_the_same_run(world: Path, tmp_path: Path) -> None:
    from benchbench.cli.run import app

    ours = scripted(world, tmp_path / "ours", num_fewshot=2, limit=4, gen_kwargs={"max_gen_toks": 4})
    line = ["--model", "hash", "--backend", "scripted", "--tasks", "toy", "--num-fewshot", "2", "--limit", "4"]
    line += ["--gen-kwargs", "max_gen_toks=4", "--include-path", str(world / "tasks")]
    done = CliRunner().invoke(app, [*line, "--data-root", str(world / "hub"), "--output", str(tmp_path / "theirs")])
    assert done.exit_code == 0, done.stderr
    theirs = tmp_path / "theirs" / ours.path.relative_to(tmp_path / "ours")
    assert part_bytes(theirs) == part_bytes(ours.path) != {}
    assert json.loads((theirs / "run.json").read_bytes()).keys() == {*records(ours), "provenance"}
    again = scripted(world, tmp_path / "theirs", num_fewshot=2, limit=4, gen_kwargs={"max_gen_toks": 4})
    assert (again.path, again.already_complete) == (theirs, True)
    assert records(again) == records(ours)


def test_a_result_is_frames_and_values(world: Path, tmp_path: Path) -> None:
    result = scripted(world, tmp_path, tasks=["toy_quiz", "toy_write"])
    table, loaded = result.table(), benchbench.load_runs(tmp_path)
    assert table.equals(loaded)
    assert result.items().equals(benchbench.load_items(tmp_path))
    assert list(result.items("toy_quiz", columns=["doc_id", "acc"]).columns) == ["doc_id", "acc"]
    acc = table[(table.task == "toy_quiz") & (table.metric == "acc")].value.item()
    assert result.value("toy_quiz") == result.value("toy_quiz", "acc") == acc
    with pytest.raises(ArgumentError, match="no task 'toy_quizz'; it has toy_quiz, toy_write"):
        result.value("toy_quizz")
    with pytest.raises(ArgumentError, match="toy_write has no metric 'acc'; it has exact_match"):
        result.value("toy_write", "acc")
    assert "toy_quiz" in str(result)
    assert "<td>toy_quiz</td>" in result._repr_html_()


def test_a_model_in_memory_has_the_run_of_its_folder_and_stays_as_it_was(
    world: Path, tiny: Path, tmp_path: Path
) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    model.train()
    before, state = {name: tensor.clone() for name, tensor in model.state_dict().items()}, torch.get_rng_state()
    live = benchbench.evaluate(model, "toy", tokenizer=tokenizer, **of(world, tmp_path / "live"))
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    saved = benchbench.evaluate(tiny, "toy", **of(world, tmp_path / "saved"))
    assert live.record.run_id == saved.record.run_id
    assert live.record.rows == saved.record.rows
    assert live.record.model == saved.record.model == "tiny"
    assert part_bytes(live.path) == part_bytes(saved.path)


def test_changed_weights_are_another_model(world: Path, tiny: Path, tmp_path: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    given = {"tokenizer": tokenizer, **of(world, tmp_path), "tasks": "toy_quiz"}
    first = benchbench.evaluate(model, name="mine", **given)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(-1)
    with pytest.raises(ArgumentError, match="mine"):
        benchbench.evaluate(model, name="mine", **given)
    second = benchbench.evaluate(model, name="turned", **given)
    assert first.record.backend.model_identity != second.record.backend.model_identity
    assert first.value("toy_quiz", "bpb_gold") != second.value("toy_quiz", "bpb_gold")


def test_what_cannot_be_scored_in_memory_is_said(world: Path, tiny: Path, tmp_path: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    given = of(world, tmp_path)

    def said(**more: Any) -> str:
        with pytest.raises(ArgumentError) as caught:
            benchbench.evaluate(**{"model": model, "tasks": "toy", "tokenizer": tokenizer, **given, **more})
        return str(caught.value)

    assert "needs its tokenizer" in said(tokenizer=None)
    assert "the model is a Linear" in said(model=torch.nn.Linear(1, 1))
    assert "dtype says how a model is opened" in said(dtype="float16")
    assert "but the model a name" in said(model=str(tiny))
    model.config.name_or_path = ""
    assert 'name="mine"' in said()
    assert not list(tmp_path.iterdir())


def test_an_adapter_in_memory_is_said_to_need_its_folder_and_its_base(world: Path, tiny: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    given = of(world, tmp_path / "results")
    with pytest.raises(ArgumentError, match="evaluate\\(folder, tasks, base=BASE\\)"):
        benchbench.evaluate(wrapped, "toy_quiz", tokenizer=tokenizer, **given)
    with pytest.raises(ModelError, match="sweep --watch --base BASE"):
        TrainingBackend(wrapped, tokenizer, ModelOptions("m"))
    wrapped.save_pretrained(tmp_path / "lora")
    assert benchbench.evaluate(tmp_path / "lora", "toy_quiz", base=str(tiny), limit=2, **given).failed_share == 0


def test_a_sweep_gives_curves_and_the_verdicts_of_the_command(world: Path, tmp_path: Path) -> None:
    from benchbench.cli.sweep import app

    listed = scripted_list(tmp_path, 3)
    given = of(world, tmp_path / "results")
    found = benchbench.sweep("series", ["toy_quiz", "toy_write"], checkpoints=listed, backend="scripted", **given)
    curve = found.curve("toy_quiz", "acc")
    assert list(curve.index) == [10, 20, 30]
    assert list(curve.columns) == ["series"]
    table = found.table()
    own = table[(table.task == "toy_quiz") & (table.metric == "acc")].set_index("step").value
    assert curve["series"].tolist() == own.loc[[10, 20, 30]].tolist()
    assert len(found.items("toy_quiz")) == 3 * 12
    assert not found.not_scored
    shown = CliRunner().invoke(app, ["show", str(found.path), "--output", str(tmp_path / "results")]).stdout
    assert found.verdicts
    assert all(" ".join(verdict.split()) in " ".join(shown.split()) for verdict in found.verdicts)
    assert found.verdicts[0].split(":")[0] in str(found)


def test_a_sweep_names_what_it_did_not_score(world: Path, tiny: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    models.tiny_llama(run / "checkpoint-1", bos=False)
    (run / "checkpoint-2").mkdir()
    (run / "checkpoint-2" / "config.json").write_text((tiny / "config.json").read_text())
    found = benchbench.sweep(run, "toy_quiz", limit=2, **of(world, tmp_path / "results"))
    assert list(found.curve("toy_quiz").index) == [1]
    assert list(found.not_scored) == ["run@checkpoint-2"]
    with pytest.raises(ArgumentError, match="is not a folder"):
        benchbench.sweep(tmp_path / "nowhere", "toy_quiz", **of(world, tmp_path / "results"))


def test_events_go_to_a_function_and_the_bar_is_text(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []
    scripted(world, tmp_path / "a", progress=seen.append)
    assert sum(isinstance(event, events.Progress) for event in seen) == 12 * 3 + 6
    assert capsys.readouterr() == ("", "")
    scripted(world, tmp_path / "b", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "preparing toy_write (2/2)" in err


def test_too_many_failures_are_a_warning(world: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="of the docs failed; they have no score"):
        result = benchbench.evaluate("hash,fail=0.5", "toy", backend="scripted", **of(world, tmp_path))
    assert result.failed_share > 0.01


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"limit": "5"}, "limit is '5'; it must be 1 or more docs"),
        ({"limit": True}, "limit is True; it must be 1 or more docs"),
        ({"limitt": 5}, "no setting 'limitt'. Did you mean limit"),
        ({"fewshot_mode": "some"}, "expected one of fixed, per_doc, lm_eval"),
        ({"num_fewshot": -1}, "must be 0 or more"),
        ({"gen_kwargs": {"max_tok": 3}}, "no 'max_tok'"),
        ({"tasks": "toy_quizz"}, "Did you mean toy_quiz"),
        ({"backend": "hff"}, "hff"),
    ],
)
def test_errors_are_the_sentences_of_the_command(
    given: dict[str, Any], sentence: str, world: Path, tmp_path: Path
) -> None:
    with pytest.raises(BenchbenchError) as caught:
        scripted(world, tmp_path, **given)
    assert sentence in str(caught.value)


def test_a_model_that_is_not_there_is_an_exception(world: Path, tmp_path: Path) -> None:
    with pytest.raises((ModelError, ArgumentError), match="nowhere"):
        benchbench.evaluate(tmp_path / "nowhere", "toy", **of(world, tmp_path / "results"))


def test_settings_are_written_as_people_write_them() -> None:
    plain = RunSettings(ModelOptions("m"))
    asked = with_written(
        plain,
        include_path=["a", Path("b")],
        data_root="hub",
        tasks=["x", "y"],
        model_args={"tensor_parallel_size": 2, "enforce_eager": True, "name": "n"},
        gen_kwargs={"temperature": 0.5},
        apply_chat_template=True,
        system="Be brief.",
        max_failed=0,
        tokenizer=Path("t"),
    )
    assert asked.include_paths == (Path("a"), Path("b"))
    assert asked.render.data_root == Path("hub")
    assert asked.tasks == "x,y"
    assert asked.model.model_args == (("enforce_eager", "true"), ("name", "n"), ("tensor_parallel_size", "2"))
    assert asked.render.gen_kwargs == (("do_sample", True), ("temperature", 0.5))
    assert asked.render.chat is not None
    assert asked.render.chat.system == "Be brief."
    assert (asked.max_failed, asked.model.tokenizer) == (0.0, "t")
    assert with_written(plain, include_path="a").include_paths == (Path("a"),)
    assert with_written(plain, chat=False) == plain
    swept = with_written(SweepSettings(models=("m",)), checkpoints="list.csv", limit=3, poll=1)
    assert (swept.listed, swept.run.render.limit, swept.poll) == (Path("list.csv"), 3, 1.0)


def test_every_public_name_says_what_it_does() -> None:
    said = {name: inspect.getdoc(getattr(benchbench, name)) for name in benchbench.__all__ if name != "__version__"}
    assert len(said) > 5
    assert [name for name, text in said.items() if not text] == []
