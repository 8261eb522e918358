"""A few of the mutated result files; `python -m tests.fuzz.imports` makes thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import imports


def test_mutated_results_bring_no_other_number_and_no_traceback() -> None:
    assert imports.search(len(imports.SOURCES) * 6, seed=1) == []


@pytest.mark.parametrize("source", imports.SOURCES, ids=lambda source: source.name)
def test_sound_files_bring_every_number(source: imports.Source, tmp_path: Path) -> None:
    for path, content in source.files.items():
        (tmp_path / path).write_bytes(imports.encoded(path, content))
    found = imports.find_imports(tmp_path, imports.Mapped(), lambda task: None)
    rows = [row for run in found.runs for row in imports.write_imported(run, tmp_path / "out").folder.record().rows]
    assert {(row.task, row.metric): row.value for row in rows} == source.truth(source.files[source.target])


def test_the_search_sees_a_number_that_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    read = imports.find_imports

    def wrong(*given: object) -> object:
        found = read(*given)
        for run in found.runs:
            for task in run.tasks.values():
                for score in task.scores:
                    if score.value is not None:
                        object.__setattr__(score, "value", score.value + 1e-9)
        return found

    monkeypatch.setattr(imports, "find_imports", wrong)
    assert imports.search(7, seed=0)
