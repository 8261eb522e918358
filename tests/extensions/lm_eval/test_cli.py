"""The commands on lm-eval's tasks, as their user types them."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from benchbench.tasks.data_root import needed_splits
from benchbench.tasks.index import TaskIndex
from tests.extensions.lm_eval.conftest import World
from tests.extensions.lm_eval.rows import CHOICES


@pytest.fixture
def command(world: World, tmp_path):
    from benchbench.cli.main import app

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200", "BENCHBENCH_DATA": str(world.data_root)})
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_names_groups_and_tags_are_listed(command):
    lines = [json.loads(line) for line in command("tasks", "ls", "lm_eval:glue*", "--json").splitlines()]
    assert {line["task"]: line["kind"] for line in lines}["lm_eval:glue"] == "tag"
    assert "mrpc" in lines[0]["tasks"]
    assert "lm_eval:haerae" in command("tasks", "ls", "lm_eval:haerae*")


def test_a_definition_is_shown_with_the_python_it_would_run(command):
    shown = command("tasks", "show", "lm_eval:hellaswag")
    assert "doc_to_text: '{{query}}'" in shown
    assert "run only with --trust-task-code: `process_docs` is process_docs in " in shown
    assert json.loads(command("tasks", "show", "lm_eval:piqa", "--json"))["lm_eval"] == "0.4.13"


def test_a_document_is_rendered(command):
    rendered = json.loads(command("tasks", "render", "lm_eval:piqa", "--num-fewshot", "1", "--doc", "2", "--json"))
    assert rendered["doc_id"] == 2
    assert [request["continuation"][0] for request in rendered["requests"]] == [" ", " "]
    assert rendered["gold"] in ([0], [1])


def test_a_run_prints_its_row(command, tmp_path):
    said = command(
        "run",
        "--model",
        "scripted:hash",
        "--tasks",
        "lm_eval:piqa,lm_eval:anagrams1",
        "--output",
        str(tmp_path),
        "--json",
    )
    rows = json.loads(said.splitlines()[-1])["rows"]
    assert [row["task"] for row in rows] == ["lm_eval:piqa", "lm_eval:piqa", "lm_eval:anagrams1"]
    assert (tmp_path / "hash").is_dir()


def test_what_a_task_reads_can_be_pulled():
    (task,) = TaskIndex().select("lm_eval:gsm8k").tasks
    assert [(one.place, one.required) for one in needed_splits(task)] == [
        ("openai/gsm8k/main/test", True),
        ("openai/gsm8k/main/train", True),
    ]
    (task,) = TaskIndex().select("lm_eval:piqa").tasks
    assert [one.required for one in needed_splits(task)] == [True, False]


def test_a_task_without_one_value_fails_and_says_why(command, world, tmp_path):
    (world.files / "broken.py").write_text("def raises(values):\n    raise ValueError('no values here')\n")
    (world.files / "broken.yaml").write_text(
        yaml.safe_dump({"task": "broken", **{key: value for key, value in CHOICES.items() if key != "metric_list"}})
        + "metric_list:\n- {metric: acc, aggregation: !function broken.raises}\n"
    )
    entry = f"lm_eval:{world.files / 'broken.yaml'}"
    run = ("run", "--model", "scripted:hash", "--output", str(tmp_path), "--trust-task-code", "--tasks")
    said = command(*run, f"{entry},lm_eval:mrpc", code=1)
    assert "lm_eval:broken has no value: its aggregation raised ValueError: no values here" in said
    assert command(*run, "lm_eval:mrpc").endswith("\n")


def test_a_group_is_shown_with_its_tasks(command):
    shown = command("tasks", "show", "lm_eval:lingoly")
    assert "- lm_eval:lingoly_nocontext" in shown
    assert "never calls: this is the mean" in shown
    told = json.loads(command("tasks", "show", "lm_eval:haerae", "--json"))
    assert len(told["tasks"]) == 5
    assert "gives 57 tasks the one name lm_eval:mmlu" in command("tasks", "show", "lm_eval:openllm")
