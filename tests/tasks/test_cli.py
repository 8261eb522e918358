"""`benchbench tasks`: list, show, render, check."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchbench.cli.tasks import app
from benchbench.core.errors import ArgumentError, BenchbenchError, TaskError
from tests.cli.command import benchbench
from tests.tasks.conftest import CHOICE, QUESTIONS, MakeIndex

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(make_index: MakeIndex, tmp_path: Path) -> Path:
    languages = (
        CHOICE.replace("task: sums", "task: many_{{language}}\n    group: many") + "    languages: [a, b, c, d]\n"
    )
    broken = [{**row, "options": ["x", "x", ""]} for row in QUESTIONS]
    files = {
        "sums.yaml": CHOICE,
        "many.yaml": languages,
        "broken.yaml": CHOICE.replace("sums", "broken").replace("test.jsonl", "broken.jsonl"),
        "fails.yaml": CHOICE.replace("sums", "fails").replace("{{q}}", "{{qq}}"),
        "suites.yaml": "some: {description: A few., tasks: [sums]}\n",
    }
    make_index(files, {"test": QUESTIONS, "broken": [*broken, broken[0]]})
    return tmp_path / "tasks"


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--include-path", str(folder)])


def output(folder: Path, *arguments: str) -> str:
    result = run(folder, *arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def lines(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output(folder, *arguments, "--json").splitlines()]


def test_ls_lists_tasks_groups_and_suites(folder: Path) -> None:
    text = output(folder, "ls")
    assert "sums" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith("many_")] == [f"many_{x}" for x in "abcd"]
    assert "4 tasks" in text
    assert "A few." in text


def test_ls_json_gives_a_line_per_task(folder: Path) -> None:
    found = {line["task"]: line for line in lines(folder, "ls")}
    assert set(found) == {"sums", "broken", "fails", "many_a", "many_b", "many_c", "many_d"}
    assert found["many_b"]["group"] == ["many"]
    assert [line["task"] for line in lines(folder, "ls", "many_[ab]")] == ["many_a", "many_b"]


def test_show_tells_every_key_that_is_set(folder: Path) -> None:
    assert "doc_to_choice: options" in output(folder, "show", "sums")
    (shown,) = lines(folder, "show", "many_c")
    assert shown["variables"] == {"language": "c"}


def test_render_shows_the_prompt_and_marks_the_right_answer(folder: Path) -> None:
    text = output(folder, "render", "sums", "--doc", "4", "--num-fewshot", "1")
    assert "Q: What is 4 plus 4?\nA:\n" in text
    assert '--- answer 1 (right): " 9"' in text
    assert text.count("Q: What is") == 2


def test_render_json_holds_the_exact_requests(folder: Path) -> None:
    (rendered,) = lines(folder, "render", "sums", "--doc", "2")
    assert rendered["requests"][2] == {"prompt": "Q: What is 2 plus 2?\nA:", "continuation": " not 2"}
    assert rendered["gold"] == [2]


def test_render_shows_control_characters_to_nobodys_terminal(folder: Path) -> None:
    rows = [{**QUESTIONS[0], "q": "red \x1b[31m"}]
    (folder / "test.jsonl").write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    assert "\x1b" not in output(folder, "render", "sums")


def test_check_says_ok_when_every_gold_answer_is_right(folder: Path) -> None:
    assert output(folder, "check", "sums", "--num-fewshot", "2").startswith("sums: ok (12 documents, 2 shots)")


def test_check_finds_empty_and_equal_choices_and_double_documents(folder: Path) -> None:
    result = run(folder, "check", "broken", "--json")
    assert result.exit_code == 2
    report = json.loads(result.output)
    assert "document 0: a choice is empty" in report["errors"]
    assert "document 0: two choices are equal, one of them right" in report["warnings"]
    assert "document 12: the same document as 0" in report["warnings"]


def test_check_reports_a_task_that_does_not_render_and_goes_on(folder: Path) -> None:
    result = run(folder, "check", "fails,sums")
    assert result.exit_code == 2
    assert "fails: 1 error (0 documents, 0 shots)" in result.output
    assert "'qq' is undefined" in result.output
    assert "sums: ok" in result.output


BAD = {
    "an unknown metric": ("metric_list: [{metric: acuracy}]", {}, "t.yaml:10: bad: `metric_list`: No metric 'acuracy'"),
    "a wrong gold index": ("", {"right": 7}, "document 3"),
    "a text that is no choice": ("", {"right": "none of these"}, "document 3"),
    "an empty choice": ("", {"options": ["6", "", "no"]}, "document 3: a choice is empty"),
    "equal choices": ("", {"options": ["6", "6", "no"]}, "document 3: two choices are equal"),
    "a document that comes twice": ("", QUESTIONS[1], "document 3: the same document as 1"),
}


@pytest.mark.parametrize("kind", BAD)
def test_check_names_the_file_and_the_document_of(kind: str, make_index: MakeIndex, tmp_path: Path) -> None:
    key, row, said = BAD[kind]
    text = CHOICE.replace("sums", "bad") + f"    {key}\n"
    make_index({"t.yaml": text}, {"test": [{**q, **row} if q["id"] == 3 else q for q in QUESTIONS]})
    result = run(tmp_path / "tasks", "check", "bad")
    assert said in result.output, result.output
    assert str(tmp_path / "tasks" / "t.yaml") in result.output


def test_check_names_the_line_that_is_not_utf8(folder: Path) -> None:
    lines = [json.dumps(row).encode() for row in QUESTIONS]
    (folder / "test.jsonl").write_bytes(b"\n".join([*lines[:4], b'{"q": "\xff"}', *lines[4:]]))
    result = run(folder, "check", "sums")
    assert result.exit_code == 2
    assert f"{folder / 'test.jsonl'}:5: the line is not JSON in UTF-8" in result.output


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.yaml": CHOICE, "b.yaml": CHOICE}, "a task 'sums' too"),
        ({"a.yaml": "include: _b.yaml\ntask: a\n", "_b.yaml": "include: a.yaml\n"}, "includes itself"),
    ],
)
def test_a_pack_with_double_names_or_a_circle_of_includes_is_refused(
    files: dict[str, str], said: str, tmp_path: Path, no_packaged_tasks: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(dedent(text), encoding="utf-8")
    result = run(tmp_path, "check", "--all")
    assert result.exit_code == 2
    assert said in result.output
    assert str(tmp_path / "a.yaml") in result.output


def test_check_all_goes_on_after_a_broken_task_and_sums_up(folder: Path) -> None:
    result = run(folder, "check", "--all")
    assert result.exit_code == 2
    assert "'qq' is undefined" in result.output
    assert result.output.splitlines()[-1] == "7 tasks read, 6 of them rendered (73 documents): errors in 2."


def test_check_wants_names_or_all(folder: Path) -> None:
    for arguments in (["check"], ["check", "sums", "--all"]):
        assert isinstance(run(folder, *arguments).exception, ArgumentError)


def test_check_tries_every_prompt(make_index: MakeIndex, tmp_path: Path) -> None:
    make_index({"t.yaml": CHOICE + "    prompts: {bad: {doc_to_text: '{{ nothing }}'}}\n"}, {"test": QUESTIONS})
    result = run(tmp_path / "tasks", "check", "sums")
    assert result.exit_code == 2
    assert "'nothing' is undefined" in result.output


@pytest.mark.parametrize("kind", ["multiple_choice", "generate_until"])
def test_a_new_task_passes_its_check_as_it_is(kind: str, tmp_path: Path, no_packaged_tasks: Path) -> None:
    made = CliRunner().invoke(app, ["new", "capitals", "--kind", kind, "--to", str(tmp_path)])
    assert made.exit_code == 0, made.output
    assert output(tmp_path, "check", "capitals", "--num-fewshot", "1").startswith("capitals: ok (3 documents, 1 shot)")
    again = CliRunner().invoke(app, ["new", "capitals", "--to", str(tmp_path)])
    assert "is there already" in str(again.exception)


def test_a_new_task_needs_a_name_and_a_kind_that_exist(tmp_path: Path) -> None:
    for arguments in (["new", "a b"], ["new", "../a"], ["new", "a", "--kind", "multiple_choise"]):
        result = CliRunner().invoke(app, [*arguments, "--to", str(tmp_path)])
        assert isinstance(result.exception, ArgumentError), arguments
    assert not [*tmp_path.iterdir()]


def test_the_page_of_tasks_is_as_the_task_files_say() -> None:
    result = CliRunner().invoke(app, ["page", "--check", "--to", str(REPO / "tasks" / "TASKS.md")])
    assert result.exception is None, result.exception


def test_a_page_that_has_drifted_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "TASKS.md"
    assert CliRunner().invoke(app, ["page", "--to", str(page)]).exit_code == 0
    page.write_text(page.read_text(encoding="utf-8").replace("10,042", "10,043"), encoding="utf-8")
    result = CliRunner().invoke(app, ["page", "--check", "--to", str(page)])
    assert isinstance(result.exception, ArgumentError)
    assert "benchbench tasks page --to" in str(result.exception)


def test_every_packaged_task_passes_its_check_on_the_fixtures() -> None:
    fixtures = REPO / "tests" / "parity" / "fixtures"
    result = CliRunner().invoke(app, ["check", "--all", "--data-root", str(fixtures)])
    assert result.exit_code == 0, result.output
    assert re.search(r"tasks read, 1\d\d of them rendered \(1,\d{3} documents\): no errors", result.output)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["show", "smus"], TaskError, "Did you mean sums"),
        (["ls", "nothing"], TaskError, "nothing"),
        (["render", "sums", "--doc", "99"], ArgumentError, "0 to 11"),
        (["render", "sums", "--doc", "-1"], ArgumentError, "counted from 0"),
    ],
)
def test_wrong_arguments_are_sentences(
    folder: Path, arguments: list[str], error: type[BenchbenchError], message: str
) -> None:
    result = run(folder, *arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_a_wrong_name_exits_with_2_and_one_sentence() -> None:
    result = benchbench("tasks", "show", "hellaswagg")
    assert result.returncode == 2
    (said,) = result.stderr.splitlines()
    assert "Did you mean hellaswag" in said


def test_the_packaged_tasks_pass_their_own_check(data_root: Path) -> None:
    names = (
        "arc_easy,piqa,boolq,hellaswag,belebele_eng_Latn,mmlu_anatomy,lambada_openai,triviaqa,nq_open,gsm8k,wmt14-fr-en"
    )
    result = CliRunner().invoke(
        app, ["check", names, "--data-root", str(data_root), "--limit", "50", "--num-fewshot", "0"]
    )
    assert result.exit_code == 0, result.output
    assert len(re.findall(r": ok \(50 of [\d,]+ documents, 0 shots", result.output)) == 11
