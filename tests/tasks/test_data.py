"""`benchbench data`: from the Hub into a folder, what lies there, and whether it is what was pulled."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchbench.cli.data import app
from benchbench.core.errors import ArgumentError, DataError
from benchbench.tasks import hub
from benchbench.tasks.data_root import LOCK, entry_of, read_lock, write_lock
from benchbench.tasks.documents import open_source
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from tests.tasks.conftest import CHOICE, QUESTIONS, write_rows

COMMIT = "ab12" * 10
ROWS = {
    "test": [{"q": "Proč?", "a": ["x", "y"], "n": None}, {"q": "2\u2028", "a": [], "n": 2}],
    "train": [{"q": f"{i}", "a": ["z"], "n": i} for i in range(5)],
    "huge": [{"q": "no task reads it", "a": [], "n": 0}],
}
TASK = """
    task: quiz
    dataset_path: org/quiz
    training_split: train
    test_split: test
    doc_to_text: "{{q}}"
    doc_to_target: "{{a}}"
"""
FILES = {
    "quiz.yaml": TASK + "    num_fewshot: 2\n",
    "pinned.yaml": TASK.replace("quiz", "pinned") + "    dataset_name: cs\n    dataset_revision: v1\n",
    "gone.yaml": TASK.replace("quiz", "gone"),
    "clash.yaml": TASK.replace("task: quiz", "task: clash") + "    dataset_revision: v2\n",
    "sums.yaml": CHOICE,
    "suites.yaml": "all_quiz: {tasks: [quiz, pinned, sums]}\n",
}


class Hub:
    """Stands in for `datasets.load_dataset`, which needs a network."""

    def __init__(self, datasets: Any) -> None:
        self._datasets = datasets
        self.asked: list[tuple[str, str | None, str | None]] = []

    def __call__(self, path: str, name: str | None, revision: str | None) -> Any:
        self.asked.append((path, name, revision))
        if path == "org/gone":
            raise ConnectionError("no such data set")
        made = {split: self._datasets.Dataset.from_list(rows) for split, rows in ROWS.items()}
        if path == "org/pinned":
            del made["train"]
        for data in made.values():
            data.info.download_checksums = {f"hf://datasets/{path}@{COMMIT}/x.parquet": {"num_bytes": 1}}
        return self._datasets.DatasetDict(made)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Hub:
    datasets = pytest.importorskip("datasets")
    loader = Hub(datasets)
    monkeypatch.setattr(datasets, "load_dataset", loader)
    hub._load.cache_clear()
    return loader


@pytest.fixture
def tasks(tmp_path: Path, no_packaged_tasks: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(dedent(text), encoding="utf-8")
    write_rows(folder, {"test": QUESTIONS})
    return folder


def run(tasks: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "--include-path", str(tasks)])


def facts(tasks: Path, *arguments: object, code: int = 0) -> dict[str, Any]:
    result = run(tasks, *arguments, "--json")
    assert result.exit_code == code, (result.output, result.exception)
    return json.loads(result.stdout)


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_what_was_pulled_is_read_back_as_the_hub_gives_it(
    online: Hub, tasks: Path, tmp_path: Path, file_format: str
) -> None:
    root = tmp_path / "root"
    result = run(tasks, "pull", "all_quiz", "--to", root, "--format", file_format)
    assert result.exit_code == 0, (result.output, result.exception)
    index = TaskIndex([tasks])
    for name in ("quiz", "pinned"):
        assert open_source(index.task(name), root).rows("test") == ROWS["test"]
    assert open_source(index.task("quiz"), root).rows("train") == ROWS["train"]
    names = ["org/pinned/cs/test", "org/quiz/default/test", "org/quiz/default/train"]
    lock = read_lock(root)
    assert list(lock) == [f"{name}.{file_format}" for name in names]
    assert [(entry.documents, entry.revision, entry.asked) for entry in lock.values()] == [
        (2, COMMIT, "v1"), (2, COMMIT, None), (5, COMMIT, None),
    ]  # fmt: skip
    assert online.asked == [("org/pinned", "cs", "v1"), ("org/quiz", None, None)]
    assert "3 splits pulled" in result.stdout
    assert "org/pinned/cs/train: not on the Hub, and needed for shots only" in result.stderr
    assert not [path for path in root.rglob(".*") if path.is_file()]
    assert facts(tasks, "verify", "all_quiz", "--data-root", root)["locked"] == 3


def test_a_prepared_task_says_at_which_revision_its_data_were_pulled(online: Hub, tasks: Path, tmp_path: Path) -> None:
    root, quiz = tmp_path / "root", TaskIndex([tasks]).task("quiz")
    run(tasks, "pull", "all_quiz", "--to", root)
    settings = RenderSettings(data_root=root, num_fewshot=2, limit=1)
    assert prepare(quiz, settings).data_revision == COMMIT
    train = root / "org/quiz/default/train.jsonl"
    train.write_text(train.read_text().replace('"4"', '"9"'))
    assert prepare(quiz, settings).data_revision is None
    assert prepare(quiz, replace(settings, num_fewshot=0)).data_revision == COMMIT
    lock = read_lock(root)
    write_lock(root, {**lock, "org/quiz/default/train.jsonl": entry_of(train, 5, "cd34" * 10, None)})
    assert prepare(quiz, settings).data_revision == f"{COMMIT}, {'cd34' * 10}"
    (root / LOCK).write_text("no lock")
    assert prepare(quiz, settings).data_revision is None


def test_a_second_pull_asks_the_hub_for_nothing_that_is_there(online: Hub, tasks: Path, tmp_path: Path) -> None:
    facts(tasks, "pull", "quiz", "--to", tmp_path / "root")
    assert {f["outcome"] for f in facts(tasks, "pull", "quiz", "--to", tmp_path / "root")["files"]} == {"kept"}
    assert len(online.asked) == 1
    hub._load.cache_clear()
    again = facts(tasks, "pull", "quiz", "--to", tmp_path / "root", "--again")
    assert {file["outcome"] for file in again["files"]} == {"pulled"}
    assert len(online.asked) == 2
    newly_pinned = facts(tasks, "pull", "clash", "--to", tmp_path / "root")
    assert {(file["outcome"], file["entry"]["asked"]) for file in newly_pinned["files"]} == {("pulled", "v2")}


def test_a_file_of_the_users_own_is_never_touched(online: Hub, tasks: Path, tmp_path: Path) -> None:
    place = tmp_path / "root" / "org" / "quiz" / "default"
    place.mkdir(parents=True)
    (place / "test.csv").write_text("q,a\nmine,x\n", encoding="utf-8")
    found = facts(tasks, "pull", "quiz", "--to", tmp_path / "root", "--again")["files"]
    assert [(file["place"].rsplit("/", 1)[1], file["outcome"]) for file in found] == [
        ("test", "own"), ("train", "pulled"),
    ]  # fmt: skip
    assert sorted(path.name for path in place.iterdir()) == ["test.csv", "train.jsonl"]


def test_a_data_set_that_fails_does_not_stop_the_others(online: Hub, tasks: Path, tmp_path: Path) -> None:
    found = facts(tasks, "pull", "gone,quiz", "--to", tmp_path / "root", code=1)["files"]
    outcomes = {file["place"]: file["outcome"] for file in found}
    assert outcomes["org/gone/default/test"] == "failed"
    assert outcomes["org/quiz/default/test"] == "pulled"
    assert "no such data set" in found[0]["error"]
    assert not (tmp_path / "root" / "org" / "gone").exists()


def test_two_revisions_of_one_file_and_an_unknown_format_are_refused(online: Hub, tasks: Path, tmp_path: Path) -> None:
    result = run(tasks, "pull", "quiz,clash", "--to", tmp_path / "root")
    assert isinstance(result.exception, DataError)
    assert "pull them into two folders" in str(result.exception)
    assert isinstance(run(tasks, "pull", "quiz", "--to", tmp_path, "--format", "csv").exception, ArgumentError)
    assert online.asked == []


def test_verify_notices_every_kind_of_damage(online: Hub, tasks: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    facts(tasks, "pull", "all_quiz", "--to", root)
    train = root / "org" / "quiz" / "default" / "train.jsonl"
    train.write_bytes(train.read_bytes().splitlines(keepends=True)[0])
    (root / "org" / "pinned" / "cs" / "test.jsonl").unlink()
    write_rows(root / "org" / "quiz" / "default", {"empty": []})
    (root / "org" / "quiz" / "default" / "broken.jsonl").write_text("{\n", encoding="utf-8")
    found = facts(tasks, "verify", "--data-root", root, code=1)["damaged"]
    said = " | ".join(found)
    assert len(found) == 5
    assert "org/pinned/cs/test.jsonl is in data.lock.json but not there" in said
    assert "train.jsonl is not what was pulled" in said
    assert "train.jsonl has 1 documents, 5 in" in said
    assert "broken.jsonl:1: the line is not JSON" in said
    assert "empty.jsonl is empty" in said


def test_verify_names_what_is_missing_and_the_command_that_fetches_it(tasks: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "org" / "quiz" / "default").mkdir(parents=True)
    write_rows(root / "org" / "quiz" / "default", {"test": ROWS["test"]})
    found = facts(tasks, "verify", "all_quiz", "--data-root", root, code=1)
    assert found["missing"] == {"quiz": ["org/quiz/default/train"], "pinned": ["org/pinned/cs/test"]}
    assert found["command"] == f"benchbench data pull all_quiz --to {root}"
    found = facts(tasks, "verify", "--data-root", root)
    assert found["missing"] == {"quiz": ["org/quiz/default/train"]}
    assert found["command"] == f"benchbench data pull quiz --to {root}"


def test_ls_says_what_is_there_and_which_tasks_run_on_it(online: Hub, tasks: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    facts(tasks, "pull", "quiz", "--to", root)
    files = facts(tasks, "ls", "--data-root", root)["files"]
    assert [(file["split"], file["documents"], file["revision"]) for file in files] == [
        ("test", 2, COMMIT), ("train", 5, COMMIT),
    ]  # fmt: skip
    assert files[0]["bytes"] == (root / files[0]["file"]).stat().st_size
    assert files[0]["tasks"] == ["quiz", "clash"] or files[0]["tasks"] == ["clash", "quiz"]
    text = run(tasks, "ls", "--data-root", root).stdout
    assert "test 2, train 5" in text
    assert "2 tasks can run on it" in text


def test_a_missing_folder_a_foreign_lock_and_no_root_are_sentences(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCHBENCH_DATA", raising=False)
    assert "Give --data-root" in str(run(tasks, "ls").exception)
    assert "no such folder" in str(run(tasks, "verify", "--data-root", tmp_path / "nowhere").exception)
    for text in ("[]", "{", '{"format": 1, "files": {"../x": {}}}', '{"format": 2, "files": {}}'):
        (tmp_path / LOCK).write_text(text, encoding="utf-8")
        result = run(tasks, "verify", "--data-root", tmp_path)
        assert isinstance(result.exception, DataError), text
    entry = {"sha256": "", "bytes": 0, "documents": 0, "revision": None}
    (tmp_path / LOCK).write_text(json.dumps({"format": 1, "files": {"../x": entry}}), encoding="utf-8")
    assert "outside the data root" in str(run(tasks, "verify", "--data-root", tmp_path).exception)


def test_the_library_finds_its_data_in_real_rows(data_root: Path, tmp_path: Path) -> None:
    place = "openai/gsm8k/main"
    shutil.copytree(data_root / place, tmp_path / place)
    result = CliRunner().invoke(app, ["ls", "--data-root", str(tmp_path), "--json"])
    files = json.loads(result.stdout)["files"]
    assert [(file["split"], file["documents"], file["tasks"]) for file in files] == [
        ("test", 1319, ["gsm8k"]), ("train", 7473, ["gsm8k"]),
    ]  # fmt: skip
    assert CliRunner().invoke(app, ["verify", "gsm8k", "--data-root", str(tmp_path)]).exit_code == 0
