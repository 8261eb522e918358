"""Data files as people bring them: byte order marks, gzip, semicolons, tabs, rows under a key."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from benchbench.core.errors import DataError
from benchbench.tasks.prepare import prepare
from benchbench.tasks.rows import read_csv, read_json, split_name
from benchbench.tasks.settings import RenderSettings
from tests.tasks.conftest import MakeIndex

ROWS_ALIKE = [{"q": "Pr\u00e1g, \u017de?", "a": "x"}, {"q": "two", "a": "y"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS_ALIKE)
BOM = "\ufeff"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl", BOM + LINES),
        ("a.json", LINES),
        ("a.json", json.dumps(ROWS_ALIKE)),
        ("a.json", BOM + json.dumps(ROWS_ALIKE, indent=1)),
        ("a.json", json.dumps({"version": 1, "data": ROWS_ALIKE})),
        ("a.csv", 'q,a\n"Pr\u00e1g, \u017de?",x\ntwo,y\n'),
        ("a.csv", BOM + "q;a\r\nPr\u00e1g, \u017de?;x\r\ntwo;y\r\n"),
        ("a.csv", 'sep=;\nq;a\n"Pr\u00e1g, \u017de?";x\ntwo;y\n'),
        ("a.csv", "q\ta\nPr\u00e1g, \u017de?\tx\ntwo\ty\n"),
        ("a.tsv", BOM + "q\ta\nPr\u00e1g, \u017de?\tx\ntwo\ty\n"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_as_people_bring_it_has_the_same_rows(tmp_path: Path, name: str, text: str, packed: bool) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    read = read_json if ".json" in name else read_csv
    assert [*read(path)] == ROWS_ALIKE


def test_rows_under_another_key_are_found_when_the_task_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"examples": ROWS_ALIKE, "version": 2}), encoding="utf-8")
    assert [*read_json(path, "examples")] == ROWS_ALIKE
    with pytest.raises(DataError, match="field: examples"):
        [*read_json(path)]
    with pytest.raises(DataError, match="no list under 'rows'; its keys: examples, version"):
        [*read_json(path, "rows")]


def test_a_long_field_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"q,a\n{'x' * 500_000},y\n", encoding="utf-8")
    assert [len(str(row["q"])) for row in read_csv(path)] == [500_000]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04rest", "a zip archive or a spreadsheet"),
        (b"BZh9rest", "bzip2"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        ("q,a\n1,2\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
        (gzip.compress(b"q,a\n1,2\n" * 100, mtime=0)[:-12], "a damaged gzip file"),
        ("q,a\n\u010d,2\n".encode("cp1250"), "not CSV in UTF-8"),
        (b"q;a\n1;2;3\n", "the separator is ';'"),
        (b"PAR1rest", "parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(said)):
        [*read_csv(path)]


def test_a_split_of_a_data_root_may_be_packed_or_separated_by_tabs(tmp_path: Path) -> None:
    for name, split in {"test.jsonl.gz": "test", "a.b.tsv": "a.b", "train.csv.gz": "train", "x.jsonl": "x"}.items():
        assert split_name(tmp_path / name) == split
    for name in ("README.md", "test.zip", "jsonl", "test.gz"):
        assert split_name(tmp_path / name) is None


OWN = """
    task: own
    dataset_path: {kind}
    dataset_kwargs: {kwargs}
    test_split: test
    doc_to_text: "{{{{ q }}}}"
    doc_to_target: a
"""


def test_a_task_may_say_how_its_file_is_written(make_index: MakeIndex, tmp_path: Path) -> None:
    kinds = {
        "csv": "{data_files: {test: x.txt}, sep: '|'}",
        "json": "{data_files: {test: y.json}, field: examples}",
    }
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "x.txt").write_text("q|a\none;two,three|x\n", encoding="utf-8")
    (tmp_path / "tasks" / "y.json").write_text('{"examples": [{"q": "one;two,three", "a": "x"}]}', encoding="utf-8")
    for kind, kwargs in kinds.items():
        task = make_index({"own.yaml": OWN.format(kind=kind, kwargs=kwargs)}).task("own")
        assert prepare(task, RenderSettings()).docs[0].doc.fields == {"q": "one;two,three", "a": "x"}


@pytest.mark.parametrize(
    ("kind", "kwargs", "said"),
    [
        ("jsonl", "{data_files: {test: x.jsonl}}", "for such files write 'json'"),
        ("tsv", "{data_files: {test: x.tsv}}", "for such files write 'csv'"),
        ("csv", "{data_files: {test: x.csv}, sep: '::'}", "it is one character"),
        ("json", "{data_files: {test: x.json}, field: 3}", "it is the name of a key"),
        ("json", "{data_files: {test: x.json}, split: test}", "it may also give field"),
        ("parquet", "{data_files: {test: x.json}, field: a}", "and nothing else"),
    ],
)
def test_a_wrong_option_of_a_file_is_a_sentence(make_index: MakeIndex, kind: str, kwargs: str, said: str) -> None:
    task = make_index({"own.yaml": OWN.format(kind=kind, kwargs=kwargs)}).task("own")
    with pytest.raises(DataError, match=re.escape(said)):
        prepare(task, RenderSettings())
