"""Finding tasks by name, group, tag, suite, glob and file."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

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


def test_a_name_that_two_files_have_is_refused_and_no_other(make_index: MakeIndex) -> None:
    found = make_index({"a.yaml": task("x", "    version: 1\n"), "b.yaml": task("x"), "c.yaml": task("y")})
    assert [path.name for path in found.skipped] == ["b.yaml"]
    with pytest.raises(TaskError, match=r"b\.yaml:\d+: .*a\.yaml has a task 'x' too"):
        found.task("x")
    assert found.task("y").name == "y"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("group: g\ntask: [{task: x}]\n", "no task named 'x', and the entry has no `dataset_path`"),
        ("group: g\ntask: [7]\n", "a group lists names of tasks, tags or groups, or tasks"),
        ("group: g\ntask: [{doc_to_text: x}]\n", "a task inside a group has a name"),
        ("task: [a_one]\n", "give it a `group` name"),
        ("group: g\ntask: [a_one]\nagregate: 1\n", "unknown key 'agregate'.*aggregate_metric_list"),
        ("dataset_path: x\n", "no `task` key"),
        ("services: {}\n", "no `task` key"),
        ("a: 1\n---\nb: 2\n", "but found another document"),
        ("- 1\n", "expected a mapping"),
        ("task: {a: b}\n", "`task` must be a name"),
        ("task: x\ndoc_to_text: !function utils.x\n", "never Python"),
    ],
)
@pytest.mark.parametrize("name", ["g.yaml", "0.yml"])
def test_a_file_that_is_none_of_ours_hides_no_other(make_index: MakeIndex, name: str, text: str, message: str) -> None:
    found = make_index({"a.yaml": task("a_one"), name: text})
    assert [task.name for task in found.select("a_one").tasks] == ["a_one"]
    assert [path.name for path in found.skipped] == [name]
    with pytest.raises(TaskError, match=f"(?s)named 'other'.*Skipped.*{message}"):
        found.select("other")


def test_a_file_that_is_named_itself_is_not_skipped(found: TaskIndex, tmp_path: Path) -> None:
    (tmp_path / "stray.yaml").write_text("services: {}\n", encoding="utf-8")
    with pytest.raises(TaskError, match="no `task` key"):
        found.select(str(tmp_path / "stray.yaml"))


def test_a_group_with_a_lost_member_stops_nobody_who_did_not_ask_for_it(make_index: MakeIndex) -> None:
    found = make_index({"a.yaml": task("a_one"), "g.yaml": "group: g\ntask: [a_oen, a_one]\n"})
    assert [task.name for task in found.select("a_*").tasks] == ["a_one"]
    assert "g" not in found.groups
    with pytest.raises(TaskError, match=r"no task, group or tag named 'a_oen'\. Did you mean a_one"):
        found.select("g")


def test_hidden_folders_and_files_are_not_read(make_index: MakeIndex) -> None:
    found = make_index(
        {
            "a.yaml": task("a_one"),
            ".github/workflow.yaml": "on: push\n",
            "deep/.cache/b.yaml": task("b"),
            ".pre-commit-config.yaml": "repos: []\n",
        }
    )
    assert [*found.variants] == ["a_one"]
    assert not found.skipped


def test_a_group_file_may_hold_its_tasks(make_index: MakeIndex) -> None:
    inside = """
        group: g
        dataset_path: json
        test_split: test
        output_type: multiple_choice
        doc_to_choice: ["yes", "no"]
        task:
          - {task: g_0, doc_to_text: "{{ q }}", doc_to_target: 0, dataset_kwargs: {data_files: {test: x.jsonl}}}
          - {task: a_one, num_fewshot: 3, dataset_path: org/own}
          - other
    """
    changed = "group: h\ntask:\n  - {task: other, num_fewshot: 5}\n"
    found = make_index({"a.yaml": task("a_one"), "b.yaml": task("other"), "g.yaml": inside, "h.yaml": changed})
    assert not found.skipped
    assert found.groups["g"].tasks == ("g_0", "g::a_one", "other")
    assert found.task("g_0").config.doc_to_choice == ["yes", "no"]
    assert found.task("g_0").config.group == []
    assert found.task("a_one").config.num_fewshot != 3
    assert found.task("g::a_one").config.num_fewshot == 3
    assert found.groups["h"].tasks == ("h::other",)
    assert found.task("h::other").config.num_fewshot == 5
    assert found.task("h::other").config.doc_to_text == found.task("other").config.doc_to_text


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


PACK = {
    "plain.yaml": "task: plain\ndataset_path: json\ntag: [x, y]\ngroup: g\nnum_fewshot: 3\n",
    "quoted.yaml": '"task": "quoted"\n"dataset_path": json\n',
    "sub/_base": "task: inherited\ndataset_path: org/name\ntag: x\n",
    "sub/child.yaml": "include: _base\ndataset_name: cs\n",
    "languages.yaml": 'task: "l_{{ language }}"\nlanguages: [ces_Latn, fra_Latn]\ndataset_path: json\n',
    "flow.yaml": "{task: flow, dataset_path: json}\n",
    "inline.yaml": "group: several\ndataset_path: json\ntask: [plain, {task: inside}]\n",
    "python.yaml": "task: python\ndataset_path: json\nprocess_docs: !function utils.f\n",
    "sub/_python": "dataset_path: json\nprocess_docs: !function utils.f\n",
    "sub/python_too.yaml": "include: _python\ntask: python_too\n",
    "sub/again.yaml": "task: plain\ndataset_path: json\n",
    "workflow.yaml": "name: CI\non: [push]\njobs: {}\n",
    "broken.yaml": "task: [\n",
    "out.yaml": "task: out\ninclude: /etc/passwd\n",
    "up.yaml": "task: up\ninclude: ../../_outside.yaml\n",
    "loop.yaml": "task: loop\ninclude: loop.yaml\n",
    ".hidden/t.yaml": "task: hidden\n",
}


def test_a_large_folder_is_known_by_names_and_says_the_same(
    make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "_outside.yaml").write_text("task: outside\n", encoding="utf-8")
    whole = make_index(PACK)
    monkeypatch.setattr("benchbench.tasks.index.READ_WHOLE", 3)
    named = make_index(PACK)
    assert {*named.variants} == {*whole.variants}
    assert {*named.variants} == {"plain", "quoted", "inherited", "l_ces_Latn", "l_fra_Latn", "flow", "inside"}
    assert named.tags == whole.tags == {"x": ("plain", "inherited"), "y": ("plain",)}
    assert named.groups == whole.groups
    assert {*named.groups} == {"g", "several"}
    assert {path.name: str(reason) for path, reason in named.skipped.items()} == {
        path.name: str(reason) for path, reason in whole.skipped.items()
    }
    assert len(named.skipped) == 8
    for name in named.variants:
        shown = named.variants.listed(name).raw
        assert named.variants[name] == whole.variants[name]
        assert shown.get("dataset_path") == whole.variants[name].raw.get("dataset_path")
        assert shown.get("num_fewshot") == whole.variants[name].raw.get("num_fewshot")


@pytest.mark.parametrize("most", [0, 500])
def test_a_task_that_was_skipped_says_why_by_its_name(
    make_index: MakeIndex, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchbench.tasks.index.READ_WHOLE", most)
    found = make_index({**PACK, "of_python.yaml": "group: of_python\ntask: [python_too]\n"})
    with pytest.raises(TaskError, match=r"_python:2: the tag !function is not allowed.*--tasks lm_eval:NAME"):
        found.select("python_too")
    with pytest.raises(TaskError, match=r"of_python.yaml:2: no task.*'python_too'.*!function is not allowed"):
        found.select("of_python")
    with pytest.raises(TaskError, match="includes itself"):
        found.select("loop")


def test_a_wrong_key_in_a_large_folder_is_told_when_the_task_is_asked_for(
    make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchbench.tasks.index.READ_WHOLE", 0)
    found = make_index(
        {"a.yaml": "task: a\ndataset_path: json\nprompt: [\n", "b.yaml": "task: b\ndataset_pat: json\ndoc_to_text: x\n"}
    )
    assert {*found.variants} == {"a", "b"}
    with pytest.raises(TaskError, match=r"a\.yaml:4: .*expected"):
        found.task("a")
    with pytest.raises(TaskError, match=r"b\.yaml:2: unknown key 'dataset_pat'"):
        found.task("b")


def test_a_file_that_is_named_may_include_what_lies_in_the_folder_that_is_given(
    no_packaged_tasks: Path, tmp_path: Path
) -> None:
    file, pack = tmp_path / "pack" / "sub" / "t.yaml", tmp_path / "pack"
    file.parent.mkdir(parents=True)
    (pack / "_base_yaml").write_text(task("t").replace("\n    ", "\n"), encoding="utf-8")
    file.write_text("include: ../_base_yaml\ntask: mine\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"_base_yaml lies outside .*sub and is not read"):
        TaskIndex().select(str(file))
    assert [one.name for one in TaskIndex([pack]).select(str(file)).tasks] == ["mine"]
    with pytest.raises(TaskError, match="lies outside"):
        TaskIndex([file.parent]).select(str(file))
    (tmp_path / "other").mkdir()
    with pytest.raises(TaskError, match="lies outside"):
        TaskIndex([tmp_path / "other"]).select(str(file))
    (tmp_path / "other" / "o.yaml").write_text(f"include: {pack / '_base_yaml'}\ntask: o\n", encoding="utf-8")
    assert "o" not in TaskIndex([pack, tmp_path / "other"]).variants


def test_of_a_large_folder_only_what_is_asked_for_is_read_whole(
    make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchbench.tasks import dialect

    read: list[str] = []
    whole = dialect.read_yaml
    monkeypatch.setattr(dialect, "read_yaml", lambda path: (read.append(path.name), whole(path))[1])
    files = {f"t{number}.yaml": f"include: _base\ntask: t{number}\n" for number in range(600)}
    base = {"_base": task("base").replace("\n    ", "\n"), "g.yaml": "group: g\ntask: ['t1*']\n"}
    found = make_index({**files, **base})
    assert read == ["g.yaml"]
    assert (len(found.variants), len(found.groups["g"].tasks)) == (600, 111)
    assert found.task("t7").name == "t7"
    assert read == ["g.yaml", "t7.yaml", "_base"]


@pytest.mark.parametrize("most", [0, 500])
def test_not_even_the_name_of_a_file_outside_is_read_through_a_link(
    make_index: MakeIndex, tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchbench.tasks.index.READ_WHOLE", most)
    (tmp_path / "outside.yaml").write_text("task: secret\ndataset_path: json\n", encoding="utf-8")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    found = make_index({"a.yaml": task("a")})
    assert [*found.variants] == ["a"]
    with pytest.raises(TaskError, match=r"named 'secret'.*(?s:.)*link\.yaml lies outside"):
        found.select("secret")


def test_folders_may_be_named_like_files_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    for place, name in (("pack/a.yaml", "inner"), ("pack", "outer"), ("pack/.git", "hidden"), ("elsewhere", "linked")):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / f"{name}.yml").write_text(dedent(task(name)))
    (tmp_path / "pack" / "link").symlink_to(tmp_path / "elsewhere")
    index = TaskIndex([tmp_path / "pack"])
    assert {"inner", "outer"} <= index.variants.keys()
    assert not {"hidden", "linked"} & index.variants.keys()
