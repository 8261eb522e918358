"""The task files that ship: small, explained, and no two of them alike."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from benchbench.cli.tasks_metrics import Entry, entries
from benchbench.core.post_metrics import listed_metrics
from benchbench.tasks.dialect import read_yaml
from benchbench.tasks.index import TaskIndex, packaged_tasks

ROOT = packaged_tasks()
FILES = sorted(ROOT.glob("*/*.yaml"))
FOLDERS = sorted({path.parent for path in FILES})
QUESTIONS = ("doc", "doc_to_text", "doc_to_choice", "doc_to_target")


@pytest.fixture(scope="module")
def index() -> TaskIndex:
    return TaskIndex()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_task_file_is_longer_than_eighty_lines(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 140


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_folder_says_what_a_reader_of_its_numbers_must_know(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8").lower()
    for word in ("data", "licence", "prompt", "chance", "known flaws"):
        assert word in text, f"{folder.name}/README.md says nothing of {word}"


def test_every_readme_names_its_tasks(index: TaskIndex) -> None:
    assert len(FOLDERS) > 20
    for folder in FOLDERS:
        text = (folder / "README.md").read_text(encoding="utf-8")
        names = [name for name, variant in index.variants.items() if variant.path.parent == folder]
        stems = {name.split("_")[0].split("-")[0] for name in names}
        assert any(stem.lower() in text.lower() for stem in stems), folder


def test_no_two_files_ask_the_same_of_other_data() -> None:
    asked = {path: read_yaml(path) for path in FILES}
    same = {path: [raw.get("output_type"), *(raw.get(key) for key in QUESTIONS)] for path, raw in asked.items()}
    alike = [(one, other) for one, other in combinations(FILES, 2) if same[one] == same[other] and any(same[one][2:])]
    assert {same[one][0] for one, _ in alike} == {"loglikelihood_rolling"}, f"make one file of two: {alike}"


def test_every_task_has_a_licence_a_citation_and_metrics(index: TaskIndex) -> None:
    assert len(index.variants) > 100
    for name in index.variants:
        task = index.task(name)
        assert task.config.licence, name
        assert task.config.citation, name
        assert task.scoring.metrics or listed_metrics(task.resolved()), name


def test_every_suite_names_tasks_that_exist(index: TaskIndex) -> None:
    for name in index.suites:
        assert index.names(name), name
    assert {"czech", "french", "english", "translation", "trivia"} <= set(index.suites)
    kinds = {index.task(name).output_type for name in index.names(None)}
    assert kinds == {"multiple_choice"}


def test_the_french_suite_holds_all_of_french_bench(index: TaskIndex) -> None:
    french = [name for name in index.variants if name.startswith("french_bench_")]
    assert len(french) == 18
    assert set(french) < set(index.names("french"))


def test_the_guide_lists_what_tasks_metrics_lists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    guide = text[text.index("**Metrics**") : text.index("**One file, many tasks**")]
    rows = [line for line in guide.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(_row(entry) for entry in entries() if entry.kind != "aggregation")


def _row(entry: Entry) -> str:
    values = f" One of {', '.join(entry.values)}." if entry.values and entry.values[0] != "true" else ""
    cells = [f"`{entry.name}`", f"{entry.explanation}{values}"]
    if entry.kind == "metric":
        cells.append(", ".join(f"`{name}`" for name in entry.of))
    if entry.kind in ("metric", "filter"):
        cells.append(", ".join(f"`{name}`" for name in entry.options))
    return f"| {' | '.join(cells)} |"
