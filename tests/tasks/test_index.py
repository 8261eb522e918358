"""Finding tasks by name, group, tag, suite, glob and file."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.core.errors import TaskError
from benchbench.tasks.index import TaskIndex, packaged_tasks
from tests.tasks.conftest import CHOICE, MakeIndex


def task(name: str, more: str = "") -> str:
    """CHOICE under another name, with further lines."""
    return CHOICE.replace("task: sums", f"task: {name}") + more


@pytest.fixture
def found(make_index: MakeIndex) -> TaskIndex:
    files = {
        "a.yaml": task("a_one", "    tag: easy\n    group: a\n"),
        "b.yaml": task("a_two", "    tag: [easy, hard]\n    group: a\n    weight_by_size: false\n"),
        "c.yaml": task("c", ""),
        "all.yaml": "group: all\ntask: [a, c]\naggregate_metric_list: [{metric: acc, weight_by_size: true}]\n",
        "suites.yaml": "small: {description: few, tasks: [c, 'a_*']}\ndefault: [small]\nlost: [gone]\nloop: [loop]\n",
    }
    return make_index(files)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("c", ["c"]),
        ("c, a_one,c", ["c", "a_one"]),
        ("easy", ["a_one", "a_two"]),
        ("a", ["a_one", "a_two"]),
        ("all", ["a_one", "a_two", "c"]),
        ("a_*", ["a_one", "a_two"]),
        ("small", ["c", "a_one", "a_two"]),
        (None, ["c", "a_one", "a_two"]),
    ],
)
def test_names_groups_tags_suites_and_globs_select_tasks(
    found: TaskIndex, names: str | None, expected: list[str]
) -> None:
    assert [task.name for task in found.select(names).tasks] == expected


def test_only_groups_asked_for_by_name_are_aggregated(found: TaskIndex) -> None:
    assert [group.name for group in found.select("a,c").groups] == ["a"]
    assert found.select("a_*").groups == ()
    assert found.groups["a"].weight_by_size is False
    assert found.groups["all"].weight_by_size is True


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("a_tow", "No task, group, tag or suite named 'a_tow'. Did you mean a_two"),
        ("zz_*", "named 'zz_\\*'"),
        ("lost", r"'gone' \(in the suite 'lost'\)"),
        ("loop", "holds itself"),
        (" , ", "No task was named"),
        ("nowhere/x.yaml", "no such task file"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(found: TaskIndex, names: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        found.select(names)


def test_a_yaml_file_can_be_named_as_a_task(found: TaskIndex, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(task("mine").replace("    ", ""), encoding="utf-8")
    assert [task.name for task in found.select(str(tmp_path / "mine.yaml")).tasks] == ["mine"]


def test_the_users_file_wins_over_a_packaged_one(no_packaged_tasks: Path, make_index: MakeIndex) -> None:
    (no_packaged_tasks / "c.yaml").write_text(
        task("c", "    version: packaged\n").replace("\n    ", "\n"), encoding="utf-8"
    )
    assert make_index({"c.yaml": task("c", "    version: mine\n")}).task("c").version == "mine"


def test_two_files_with_one_name_are_a_sentence(make_index: MakeIndex) -> None:
    with pytest.raises(TaskError, match=r"a\.yaml has a task 'x' too"):
        make_index({"a.yaml": task("x"), "b.yaml": task("x")})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("group: g\ntask: [a_oen]\n", "no task, group or tag named 'a_oen'. Did you mean a_one"),
        ("group: g\ntask: [{task: x}]\n", "a group lists names"),
        ("task: [a_one]\n", "give it a `group` name"),
        ("group: g\ntask: [a_one]\nagregate: 1\n", "unknown key 'agregate'.*aggregate_metric_list"),
        ("dataset_path: x\n", "no `task` key"),
    ],
)
def test_a_wrong_group_file_is_a_sentence(make_index: MakeIndex, text: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        _ = make_index({"a.yaml": task("a_one"), "g.yaml": text}).groups


def test_a_wrong_suite_is_a_sentence(make_index: MakeIndex) -> None:
    with pytest.raises(TaskError, match=r"suites\.yaml:1: a suite is"):
        make_index({"suites.yaml": "small: 3\n"})


def test_a_broken_task_is_found_when_it_is_selected_not_when_another_is(make_index: MakeIndex) -> None:
    found = make_index({"a.yaml": task("good"), "b.yaml": task("bad", "    nonsense: 1\n")})
    assert found.task("good").name == "good"
    with pytest.raises(TaskError, match="nonsense"):
        found.task("bad")


def test_packaged_suites_name_only_tasks_that_exist() -> None:
    found = TaskIndex()
    assert packaged_tasks().is_dir()
    assert "default" in found.suites
    for name in found.suites:
        if name != "demo":
            assert found.select(name).tasks
