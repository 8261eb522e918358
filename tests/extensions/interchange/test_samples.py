"""Damaged samples are named; they cost neither the run's scores nor other runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import benchbench
from benchbench.cli import main
from tests.extensions.interchange.test_importing import new_results

Change = Callable[[list[dict[str, Any]]], list[Any]]


def changed(index: int, **new: Any) -> Change:
    return lambda lines: [{**line, **new} if i == index else line for i, line in enumerate(lines)]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`benchbench` with these words, which must end well; what it says."""

    def called(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["benchbench", *map(str, words)])
        try:
            main.main()
        except SystemExit as end:
            assert end.code in (0, None), capsys.readouterr()  # noqa: PT017 - the exit code of a command
        said = capsys.readouterr()
        return " ".join((said.out + said.err).split())

    return called


@pytest.mark.parametrize(
    ("change", "items", "words"),
    [
        (lambda lines: lines[:3], 3, "samples of 3 of 4 docs are there"),
        (changed(1, resps=[[None]]), 3, "line 2: doc 1 is not as lm-eval writes it"),
        (changed(1, resps=[[["x", "True"]]]), 3, "line 2: doc 1 is not as lm-eval writes it"),
        (changed(1, doc_id=None), 3, "line 2: a sample with `doc_id` was expected"),
        (changed(1, doc_id=1.5), 3, "line 2: a sample with `doc_id` was expected"),
        (
            lambda lines: [*lines, {**lines[0], "acc": 1 - lines[0]["acc"]}],
            3,
            "is of the same doc and says something else",
        ),
        (
            lambda lines: [*lines[:3], {"error": "out of memory", "doc_id": 3}],
            3,
            "it has neither an answer nor a score",
        ),
        (changed(1, acc=1.0), 4, "the mean of acc over its samples is 0.75, the file says 0.5"),
        (changed(1, acc="yes"), 4, "1 of 4 samples have no acc"),
        (lambda lines: [*lines[:3], "{torn"], 3, "line 4: not JSON"),
        (lambda lines: [*lines[:3], "\udcff"], 3, "line 4: not UTF-8"),
    ],
)
def test_what_is_damaged_is_named_and_the_scores_come_in(
    change: Change, items: int, words: str, tmp_path: Path, run: Callable[..., str]
) -> None:
    path = new_results(tmp_path / "in", "bad", [1, 0, 0, 1])
    new_results(tmp_path / "in", "good", [1, 1])
    file = next(path.parent.glob("samples_*"))
    lines = change([json.loads(line) for line in file.read_text().splitlines()])
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_bytes("\n".join(texts).encode("utf-8", "surrogateescape"))
    said = run("results", "import", tmp_path / "in", "--output", tmp_path / "out")
    assert words in said
    rows = benchbench.load_runs(tmp_path / "out")
    row = rows[(rows.model == "bad") & (rows.task == "quiz")].iloc[0]
    assert (row.value, row.n) == (0.5, 4)
    assert words in row.note
    assert set(rows.model) == {"bad", "good"}
    found = benchbench.load_items(tmp_path / "out")
    assert (found.model == "bad").sum() == items


def test_whole_samples_have_no_note(tmp_path: Path, run: Callable[..., str]) -> None:
    new_results(tmp_path / "in", "good", [1, 0, 0, 1])
    said = run("results", "import", tmp_path / "in", "--output", tmp_path / "out")
    assert "samples:" not in said
    rows = benchbench.load_runs(tmp_path / "out")
    assert rows[rows.task == "quiz"].note.isna().all()


def test_list_names_every_file_that_was_passed_over(tmp_path: Path, run: Callable[..., str]) -> None:
    new_results(tmp_path / "in", "good", [1, 0])
    for number in range(12):
        (tmp_path / "in" / f"notes{number}.json").write_text("{}")
    (tmp_path / "in" / "README.md").write_text("hello")
    (tmp_path / "in" / "samples_alone_x.jsonl").write_text("{}")
    said = run("results", "import", tmp_path / "in", "--output", tmp_path / "out")
    assert "passed over: 4 more; --list names them all" in said
    assert "README.md" not in said
    said = run("results", "import", tmp_path / "in", "--output", tmp_path / "out", "--list")
    assert all(f"notes{number}.json: no results that are known here" in said for number in range(12))
    assert "README.md: no kind of file that is imported" in said
    assert "samples_alone_x.jsonl: samples without the results file that they belong to" in said
