"""What a task file may say of its data set: names of the Hub and files of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import BenchbenchError, DataError, TaskError
from benchbench.tasks import hub, rows, text_file
from benchbench.tasks.borders import check_hub, own_files
from benchbench.tasks.data_root import needed_splits, pull
from benchbench.tasks.documents import open_source
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests.tasks.conftest import CHOICE, QUESTIONS, MakeIndex, MakeTask

HUB = """
    task: h
    dataset_path: {path}
    test_split: test
    output_type: generate_until
    doc_to_text: "{{{{q}}}}"
    doc_to_target: "{{{{a}}}}"
"""


@pytest.mark.parametrize(
    "path", ["conll", "xml", "webdataset", "sql", "generator", "pandas", "foo.py", "buckets/x", "../x", "/etc", "hf://datasets/a/b"]
)  # fmt: skip
def test_a_reader_inside_the_library_is_no_data_set(path: str, make_task: MakeTask) -> None:
    with pytest.raises(DataError, match=r"t\.yaml:\d+: h: `dataset_path`"):
        open_source(make_task(HUB.format(path=path)), None)


def test_a_folder_here_of_the_same_name_is_not_read(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="also a file or folder here"):
        open_source(make_task(HUB.format(path="org/name")), None)


OUTSIDE = [
    "/etc/passwd", "http://a/b", "hf://datasets/a/b/c", "zip://a::b", "a::b", "../x", "~/x", "file:///etc/passwd",
    "s3:x", "C:\\x", "", "a\nb",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_files_of_a_hub_data_set_are_names_inside_it(name: str) -> None:
    for given in (name, [name], {"test": name}, {"test": ["fine.json", name]}, {"test": [["fine.json", name]]}):
        with pytest.raises(DataError, match="names of files inside the data set"):
            check_hub("w", "org/name", options={"data_files": given})
    with pytest.raises(DataError, match="the name of a folder inside the data set"):
        check_hub("w", "org/name", options={"data_dir": name})


@pytest.mark.parametrize(
    "key",
    [
        "cache_dir",
        "download_config",
        "storage_options",
        "token",
        "split",
        "num_proc",
        "name",
        "path",
        "save_infos",
        "x",
    ],
)
def test_other_words_do_not_reach_the_library(key: str) -> None:
    with pytest.raises(DataError, match=rf"'{key}', which a task file may not give; .*--trust-task-code"):
        check_hub("w", "org/name", options={key: "x"})


UPSTREAM: list[dict[str, Any]] = [
    {"data_files": {"train": "en/c4-train.00000-of-01024.json.gz"}, "verification_mode": "no_checks"},
    {"data_files": {"test": "gu/test/0000.parquet"}, "revision": "refs/convert/parquet"},
    {"column_names": ["question", "answer"], "header": None, "data_files": {"test": "a/b c.csv"}},
    {"features": {"id": {"dtype": "int64"}, "answer": {"dtype": "string", "sequence": True}}},
    {"streaming": True, "trust_remote_code": True},
]


@pytest.mark.parametrize("options", UPSTREAM, ids="+".join)
def test_every_option_of_lm_evals_tasks_is_let_through(options: dict[str, Any], make_task: MakeTask) -> None:
    refused = []
    for path in ("org/name", "orange_sum", "paws-x", "xnli"):
        try:
            check_hub("w", path, "General Knowledge", options=options)
        except DataError as error:
            refused.append(str(error))
    assert refused == []


def test_options_of_other_types_are_refused() -> None:
    wrong = {
        "column_names": "q",
        "header": "x",
        "features": {"a": {"_type": "Image"}},
        "streaming": 1,
        "revision": "../a",
    }
    for key, value in wrong.items():
        with pytest.raises(DataError, match=f"`{key}` of `dataset_kwargs` is"):
            check_hub("w", "org/name", options={key: value})


def test_trust_lets_everything_through(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load(*given: Any) -> Any:
        asked.append(given)
        raise ValueError("stop here")

    monkeypatch.setattr(hub, "_load", load)
    task = make_task(HUB.format(path="conll") + "    dataset_kwargs: {data_files: /x}\n")
    with pytest.raises(DataError, match="stop here"):
        prepare(task, RenderSettings(trust_task_code=True))
    with pytest.raises(DataError, match="reader inside the library"):
        prepare(task, RenderSettings())
    assert asked == [("conll", None, None, '{"data_files": "/x"}')]


def test_pull_asks_for_no_more_than_a_run(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task(HUB.format(path="org/name") + "    dataset_kwargs: {data_files: 'http://127.0.0.1:9/x'}\n")
    assert needed_splits(task)
    (found,) = pull([task], tmp_path / "root")
    assert found.outcome == "failed"
    assert "names of files inside the data set" in found.error


def test_own_files_lie_in_the_folder_or_the_data_root(tmp_path: Path) -> None:
    task, root = tmp_path / "task", tmp_path / "root"
    for folder in (task, root):
        folder.mkdir()
        (folder / f"{folder.name}.jsonl").write_text("{}")
    (tmp_path / "out.jsonl").write_text("{}")
    (task / "link.jsonl").symlink_to(tmp_path / "out.jsonl")
    os.mkfifo(task / "pipe.jsonl")
    found = own_files("w", {"a": "task.jsonl", "b": ["root.jsonl", str(root / "root.jsonl")]}, task, (root,))
    assert found == {"a": [task / "task.jsonl"], "b": [root / "root.jsonl"] * 2}
    for name, reason in {
        "root.jsonl": "no such file", "../out.jsonl": "lies outside", "link.jsonl": "lies outside",
        "/etc/passwd": "outside", "pipe.jsonl": "no regular file", ".": "no regular file",
        "http://a/b": "is an address", "zip::x": "is an address", "x" * 5000: "cannot be opened",
        "a\0b": "names files", "": "names files",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=reason):
            own_files("w", {"test": name}, task, ())


@pytest.mark.parametrize("line", ["dataset_name: " + "a" * 5000, "test_split: " + "a" * 5000, 'test_split: "a\\0b"'])
def test_a_name_that_no_file_can_have_is_a_sentence(line: str, make_task: MakeTask, tmp_path: Path) -> None:
    (tmp_path / "root" / "org" / "name" / "default").mkdir(parents=True)
    text = HUB.format(path="org/name")
    if line.startswith("test_split"):
        text = text.replace("    test_split: test\n", "")
    with pytest.raises(BenchbenchError):
        open_source(make_task(text + f"    {line}\n"), tmp_path / "root").rows(line.removeprefix("test_split: "))


def test_task_files_are_regular_files_with_numbers_of_a_persons_length(make_index: MakeIndex, tmp_path: Path) -> None:
    text = CHOICE.replace("dataset_path", "version: 59:59\n    dataset_path")
    assert make_index({"t.yaml": text}, {"test": QUESTIONS}).task("sums").version == "59:59"
    for line, reason in {
        "!!int " + ":".join(["59"] * 9): "no number that a task can use", "9" * 101: "no number", ".inf": "no number",
        "0x" + "f" * 999: "no number", "!!int ''": "cannot be read", "!!bool x": "cannot be read",
        "!!timestamp x": "cannot be read", "2024-99-99": "cannot be read",
    }.items():  # fmt: skip
        assert reason in skipped(make_index({"t.yaml": text.replace("59:59", line)}))
    os.mkfifo(tmp_path / "tasks" / "pipe")
    assert "pipe, not a file" in skipped(make_index({"t.yaml": text + "    include: pipe\n"}))
    os.mkfifo(tmp_path / "tasks" / "z.yaml")
    assert "pipe, not a file" in skipped(make_index({"t.yaml": text}))


def skipped(found: TaskIndex) -> str:
    """Why the one file that was skipped was."""
    (reason,) = found.skipped.values()
    return str(reason)


def test_includes_end(make_index: MakeIndex) -> None:
    long = {f"_{i}.yaml": f"include: _{i + 1}.yaml\n" for i in range(300)} | {"_300.yaml": "tag: x\n"}
    assert "includes more than 100 files" in skipped(make_index({"t.yaml": "include: _0.yaml\n", **long}))
    wide = {f"_{i}.yaml": f"include: [_{i + 1}.yaml, _{i + 1}.yaml]\n" for i in range(30)} | {"_30.yaml": "tag: x\n"}
    assert "includes more than 100 files" in skipped(make_index({"t.yaml": "include: _0.yaml\n", **wide}))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("repeats: 1000000000", "less than or equal to 10000"),
        ("num_fewshot: 1000000000", "less than or equal to 10000"),
        ("generation_kwargs: {max_gen_toks: 1000000000}", "less than or equal to 1000000"),
        ("generation_kwargs: {num_beams: 1000000000}", "less than or equal to 10000"),
        ("filter_list: [{name: f, filter: [{function: regex, regex_pattern: '('}]}]", "no regular expression"),
        ("filter_list: [{name: f, filter: [{function: regex, group_select: x}]}]", "a whole number"),
        ("filter_list: [{name: f, filter: [{function: take_first_k, k: 10000000}]}]", "a whole number"),
        ("metric_list: [{metric: exact_match, regexes_to_ignore: ['(']}]", "no regular expression"),
    ],
)
def test_counts_and_patterns_are_checked_before_they_are_used(line: str, reason: str, make_task: MakeTask) -> None:
    with pytest.raises(TaskError, match=reason):
        make_task(HUB.format(path="org/name") + f"    {line}\n")


def test_rows_have_bounds_that_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": ' + "[" * 150 + "]" * 150 + "}\n")
    with pytest.raises(DataError, match="deeper than 100 levels"):
        list(rows.read_jsonl(path))
    monkeypatch.setattr(text_file, "MAX_LINE_BYTES", 20)
    for read in (rows.read_jsonl, rows.read_csv, rows.read_text):
        path.write_text('{"a": "' + "x" * 50 + '"}\n')
        with pytest.raises(DataError, match="a line of more than 20 bytes"):
            list(read(path))
    os.mkfifo(tmp_path / "pipe.json")
    for read in (rows.read_json, rows.read_jsonl, rows.read_csv, rows.read_text, rows.read_parquet):
        with pytest.raises(DataError, match="a pipe, not a file"):
            list(read(tmp_path / "pipe.json"))


def test_lines_end_as_they_did(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r3,4\n')
    assert list(rows.read_csv(path)) == [{"a": "1", "b": "x\r\ny"}, {"a": "3", "b": "4"}]
    path.write_bytes("ä\r\nb\rc\n\n\u2028d".encode())
    assert [row["text"] for row in rows.read_text(path)] == path.read_text(encoding="utf-8").split("\n")
