"""Reading documents: what is there is read as it is, what is not is a sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchbench.core.errors import DataError
from benchbench.tasks.documents import open_source
from benchbench.tasks.hub import resolved_revision
from tests.tasks.conftest import CHOICE, QUESTIONS, MakeTask, write_rows

HUB = """
    task: t
    dataset_path: org/name
    test_split: test
    doc_to_text: "{{q}}"
    doc_to_target: "{{a}}"
"""
ROWS: list[dict[str, Any]] = [{"q": "Proč?", "a": ["x", 1, None, {"b": 1.5}]}, {"q": "2", "a": []}]


def folder(root: Path, config: str = "default") -> Path:
    place = root / "org" / "name" / config
    place.mkdir(parents=True)
    return place


def test_jsonl_rows_come_as_they_are(make_task: MakeTask, tmp_path: Path) -> None:
    write_rows(folder(tmp_path / "root"), {"test": ROWS, "dev": ROWS})
    source = open_source(make_task(HUB), tmp_path / "root")
    assert source.rows("test") == ROWS
    assert source.rows("test", 1) == ROWS[:1]
    assert source.splits() == ["dev", "test"]
    assert source.revision is None
    assert source.path.endswith("org/name/default")


def test_parquet_rows_equal_jsonl_rows(make_task: MakeTask, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    rows = [
        {"q": "Proč?", "a": ["x", "y"], "n": 1, "d": {"en": "b", "fr": None}},
        {"q": "2", "a": [], "n": None, "d": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder(tmp_path / "root") / "test.parquet")
    assert open_source(make_task(HUB), tmp_path / "root").rows("test") == rows


def test_csv_values_stay_text(make_task: MakeTask, tmp_path: Path) -> None:
    (folder(tmp_path / "root") / "test.csv").write_text('q,a\n"one, two",1\nx,[1]\n', encoding="utf-8")
    assert open_source(make_task(HUB), tmp_path / "root").rows("test") == [
        {"q": "one, two", "a": "1"},
        {"q": "x", "a": "[1]"},
    ]


def test_the_environment_names_the_data_root(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(folder(tmp_path / "root"), {"test": ROWS})
    monkeypatch.setenv("BENCHBENCH_DATA", str(tmp_path / "root"))
    assert open_source(make_task(HUB), None).rows("test") == ROWS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the split 'test' is empty"),
        ("\n \n", "the split 'test' is empty"),
        ('{"q": 1}\n{"q": \n', r"test\.jsonl:2: the line is not JSON"),
        ('["q"]\n', "row 1 is not an object"),
        ('{"q": ' + "[" * 100_000 + "\n", "not JSON"),
        (b'{"q": "\xff"}\n', "not JSON in UTF-8"),
    ],
)
def test_a_broken_file_is_a_sentence(make_task: MakeTask, tmp_path: Path, text: str | bytes, message: str) -> None:
    (folder(tmp_path / "root") / "test.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        open_source(make_task(HUB), tmp_path / "root").rows("test")


def test_a_broken_parquet_file_is_a_sentence(make_task: MakeTask, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (folder(tmp_path / "root") / "test.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DataError, match="not readable as parquet"):
        open_source(make_task(HUB), tmp_path / "root").rows("test")


def test_a_missing_split_is_answered_with_those_that_exist(make_task: MakeTask, tmp_path: Path) -> None:
    write_rows(folder(tmp_path / "root"), {"validation": ROWS, "train": ROWS})
    with pytest.raises(DataError, match=r"no split 'test' in .*default\. Splits there: train, validation"):
        open_source(make_task(HUB), tmp_path / "root").rows("test")


def test_a_missing_configuration_is_answered_with_those_that_exist(make_task: MakeTask, tmp_path: Path) -> None:
    folder(tmp_path / "root", "fr")
    with pytest.raises(DataError, match="Configurations there: fr"):
        open_source(make_task(HUB + "    dataset_name: cs\n"), tmp_path / "root")


def test_a_missing_data_set_or_root_is_a_sentence(make_task: MakeTask, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_source(make_task(HUB), tmp_path / "nowhere")
    with pytest.raises(DataError, match="does not hold this data set"):
        open_source(make_task(HUB), tmp_path)


@pytest.mark.parametrize(
    "line", ["dataset_path: ../../etc", "dataset_path: /etc", "dataset_name: ../x", "dataset_name: a/b"]
)
def test_names_cannot_climb_out_of_the_data_root(make_task: MakeTask, tmp_path: Path, line: str) -> None:
    key = line.split(":", maxsplit=1)[0]
    text = "\n".join(old for old in HUB.splitlines() if not old.strip().startswith(key + ":"))
    with pytest.raises(DataError, match="is not"):
        open_source(make_task(text + f"\n    {line}\n"), tmp_path)


def test_a_split_cannot_climb_out_of_the_data_root(make_task: MakeTask, tmp_path: Path) -> None:
    write_rows(folder(tmp_path / "root"), {"test": ROWS})
    write_rows(tmp_path, {"secret": ROWS})
    with pytest.raises(DataError, match="no split"):
        open_source(make_task(HUB), tmp_path / "root").rows("../../../../secret")


def test_files_beside_the_task_are_read(make_task: MakeTask) -> None:
    assert open_source(make_task(CHOICE, {"test": QUESTIONS}), None).rows("test") == QUESTIONS


def test_a_json_list_is_read_like_lines(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task(CHOICE.replace("test.jsonl", "test.json"), {"test": QUESTIONS})
    task.path.with_name("test.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")
    assert open_source(task, None).rows("test") == QUESTIONS


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("{test: ../../secret.jsonl}", "outside the task's folder"),
        ("{test: /etc/passwd}", "outside the task's folder"),
        ("{test: gone.jsonl}", "no such file"),
        ("3", "this is `{data_files"),
    ],
)
def test_a_task_reads_no_file_outside_its_folder(make_task: MakeTask, tmp_path: Path, files: str, message: str) -> None:
    write_rows(tmp_path, {"secret": QUESTIONS})
    task = make_task(CHOICE.replace("{test: test.jsonl}", files), {"test": QUESTIONS})
    with pytest.raises(DataError, match=message):
        open_source(task, None)


def test_a_link_out_of_the_tasks_folder_is_refused(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task(CHOICE.replace("test.jsonl", "link.jsonl"), {"test": QUESTIONS})
    task.path.with_name("link.jsonl").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="outside the task's folder"):
        open_source(task, None)


def test_without_a_network_the_sentence_points_to_the_data_root(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_dataset(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'org/name' on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset, DatasetDict=dict))
    with pytest.raises(DataError, match=r"org/name could not be loaded from the Hub.*Offline.*--data-root"):
        open_source(make_task(HUB), None)


def test_the_hub_is_asked_for_the_pinned_revision_and_the_resolved_one_is_kept(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[Any] = []
    data = datasets.Dataset.from_list([{"q": "a", "a": "b"}] * 3)
    data.info.download_checksums = {f"hf://datasets/org/name@{'ab12' * 10}/test.parquet": {"num_bytes": 1}}

    def load_dataset(*args: object, **kwargs: object) -> Any:
        asked.append((args, kwargs))
        return datasets.DatasetDict({"test": data})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = open_source(make_task(HUB + "    dataset_revision: v1.0\n    dataset_name: pinned\n"), None)
    assert asked == [(("org/name", "pinned"), {"revision": "v1.0"})]
    assert source.revision == "ab12" * 10
    assert source.path == f"hf://datasets/org/name@{'ab12' * 10}"
    assert source.rows("test", 2) == [{"q": "a", "a": "b"}] * 2
    with pytest.raises(DataError, match="no split 'dev'"):
        source.rows("dev")


def test_an_unknown_revision_is_the_one_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    class Unreachable:
        def dataset_info(self, *_: object, **__: object) -> None:
            raise OSError("offline")

    monkeypatch.setattr(hub, "HfApi", Unreachable)
    assert resolved_revision("org/name", "v1", {}) == "v1"
    assert resolved_revision("org/name", None, {}) is None
