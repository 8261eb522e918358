"""`keep` and `join`: which rows of a data set a task sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import BenchbenchError, DataError, TaskError
from benchbench.tasks.documents import NothingKeptError
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from benchbench.tasks.task import PreparedTask
from tests.tasks.conftest import MakeTask

PAIR = """
    task: "{{a}}-{{b}}"
    matrix: [{a: cs, b: fr}]
    dataset_path: some/set
    dataset_name: "{{a}}"
    join: {field: other, dataset_name: "{{b}}", by: id}
    test_split: test
    fewshot_split: dev
    doc_to_text: "{{a}}: {{text}}\\n{{b}}:"
    doc_to_target: "{{other.text}}"
"""
CS = [{"id": 1, "text": "pes"}, {"id": 2, "text": "kočka"}, {"id": 3, "text": "kůň"}]
FR = [{"id": 2, "text": "chat"}, {"id": 3, "text": "cheval"}, {"id": 1, "text": "chien"}]


def write(root: Path, config: str, split: str, rows: list[dict[str, Any]]) -> None:
    folder = root / "some" / "set" / config
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def prepared(make_task: MakeTask, text: str, root: Path, **settings: Any) -> PreparedTask:
    return prepare(make_task(text), RenderSettings(data_root=root, **settings))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("test", "dev"):
        write(tmp_path, "cs", split, CS)
        write(tmp_path, "fr", split, FR)
    return tmp_path


def test_rows_are_joined_by_their_key_not_by_their_place(make_task: MakeTask, root: Path) -> None:
    docs = prepared(make_task, PAIR, root, num_fewshot=2).docs
    assert [doc.targets for doc in docs] == [("chien",), ("chat",), ("cheval",)]
    shots = docs[0].requests[0].prompt.shots
    assert set(shots) <= {"cs: pes\nfr: chien\n\n", "cs: kočka\nfr: chat\n\n", "cs: kůň\nfr: cheval\n\n"}
    assert "cs: pes\nfr: chien\n\n" not in shots


def test_a_limit_counts_joined_rows(make_task: MakeTask, root: Path) -> None:
    assert [doc.targets for doc in prepared(make_task, PAIR, root, limit=1).docs] == [("chien",)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (FR[:2], "1 of .* is not in"),
        ([*FR, FR[0]], "2 stands twice in"),
        ([{"text": "chien"}], "has no text or number there"),
    ],
)
def test_rows_without_one_partner_are_refused(
    rows: list[dict[str, Any]], said: str, make_task: MakeTask, root: Path
) -> None:
    write(root, "fr", "test", rows)
    with pytest.raises(DataError, match=said):
        prepared(make_task, PAIR, root)


def test_a_field_that_the_rows_have_is_not_overwritten(make_task: MakeTask, root: Path) -> None:
    with pytest.raises(DataError, match="have a field 'text' already"):
        prepared(make_task, PAIR.replace("field: other", "field: text"), root)


def test_a_join_with_a_set_that_is_not_there_is_an_error(make_task: MakeTask, root: Path) -> None:
    with pytest.raises(BenchbenchError, match="Configurations there: cs, fr"):
        prepared(make_task, PAIR.replace("b: fr", "b: de"), root)


KEPT = """
    task: long
    dataset_path: some/set
    dataset_name: cs
    test_split: test
    keep: "{{ text | length > 3 }}"
    doc_to_text: "{{text}}"
    doc_to_target: x
"""


def test_kept_rows_are_numbered_anew_and_limited_after_the_choice(make_task: MakeTask, root: Path) -> None:
    write(root, "cs", "test", [*CS, {"id": 4, "text": "krokodýl"}])
    docs = prepared(make_task, KEPT, root).docs
    assert [(doc.doc.id, doc.doc.fields["text"]) for doc in docs] == [(0, "kočka"), (1, "krokodýl")]
    assert [doc.doc.fields["text"] for doc in prepared(make_task, KEPT, root, limit=1).docs] == ["kočka"]


def test_shots_are_chosen_among_kept_rows(make_task: MakeTask, root: Path) -> None:
    write(root, "cs", "test", [*CS, {"id": 4, "text": "krokodýl"}])
    docs = prepared(make_task, KEPT, root, num_fewshot=1).docs
    assert [doc.requests[0].prompt.shots for doc in docs] == [("krokodýl x\n\n",), ("kočka x\n\n",)]


def test_a_matrix_variable_may_say_what_is_kept(make_task: MakeTask, root: Path) -> None:
    text = KEPT.replace("task: long", "task: 'only_{{wanted}}'\n    matrix: {wanted: [pes]}")
    docs = prepared(make_task, text.replace("text | length > 3", "text == wanted"), root).docs
    assert [doc.doc.fields["text"] for doc in docs] == ["pes"]


@pytest.mark.parametrize(
    ("expression", "error", "said"),
    [
        ("text | length > 30", NothingKeptError, "none of the 3 rows of 'test' is kept"),
        ("text", TaskError, "row 0 gives 'pes'; `keep` says true or false"),
        ("txt == 'a'", TaskError, "the template fails on row 0: 'txt' is undefined"),
    ],
)
def test_a_keep_that_makes_no_sense_is_a_sentence(
    expression: str, error: type[BenchbenchError], said: str, make_task: MakeTask, root: Path
) -> None:
    with pytest.raises(error, match=said):
        prepared(make_task, KEPT.replace("text | length > 3", expression), root)
