"""The notebook of the docs, run by a real kernel from top to bottom."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import REPO

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

slow = pytest.mark.slow  # a kernel of its own, which loads torch and trains: half a minute
NOTEBOOK = REPO / "docs" / "evaluate.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list:
    """The cells after they were run. A cell that raises ends this with its traceback."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    folder = tmp_path_factory.mktemp("notebook")
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    with asyncio.Runner() as runner:
        runner.run(client.async_execute())
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: dict, kind: str) -> str:
    """What a cell shows of one kind: `text/plain`, `text/html`, or the name of a stream."""
    found = [one for one in cell["outputs"] if one.get("name") == kind or kind in one.get("data", {})]
    return "".join(one["text"] if "text" in one else one["data"][kind] for one in found)


def cell_with(cells: list, text: str) -> dict:
    """The one cell whose source has the text."""
    return next(cell for cell in cells if text in cell["source"])


@slow
def test_a_result_is_shown_as_a_table(cells: list) -> None:
    html = shown(cell_with(cells, "result = benchbench.evaluate"), "text/html")
    assert "<table" in html
    assert "demo_choice_fr" in html
    assert "demo@checkpoint-40" in html


@slow
def test_the_bar_is_written_as_text_where_there_are_no_widgets(cells: list) -> None:
    said = shown(cell_with(cells, "result = benchbench.evaluate"), "stderr")
    assert "requests" in said
    assert "Warning" not in said
    assert "Traceback" not in said


@slow
def test_the_weights_in_memory_have_the_run_of_their_folder(cells: list) -> None:
    value = shown(cell_with(cells, "again.already_complete"), "text/plain")
    assert value.startswith("(True, 0.")


@slow
def test_a_sweep_has_a_curve_and_verdicts(cells: list) -> None:
    curve = shown(cell_with(cells, "curves.curve"), "text/plain").splitlines()
    assert [line.split()[0] for line in curve[2:]] == ["0", "20", "40"]
    assert "demo_choice_cs acc (n=20)" in shown(cell_with(cells, "curves.verdicts"), "stdout")


@slow
def test_what_is_wrong_is_a_sentence(cells: list) -> None:
    assert "Did you mean demo_choice_cs or" in shown(cell_with(cells, "except BenchbenchError"), "stdout")


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
