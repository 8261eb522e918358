from __future__ import annotations

import pytest

from benchbench.core.errors import DataError
from benchbench.store.reported import read_reported
from tests.conftest import REPO

FILES = sorted((REPO / "results" / "reported").glob("*.yaml"))


def cell(file: str, table: str, model: str, column: str) -> float | None:
    source = read_reported(REPO / "results" / "reported" / file)
    (found,) = (one for one in source.tables if one.title == table)
    place = [one.name for one in found.columns].index(column)
    (row,) = (one for one in found.rows if one.model == model)
    return row.values[place]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_names_its_source_its_date_and_what_it_leaves_unsaid(path):
    source = read_reported(path)
    assert source.source
    assert source.date
    assert "shots" in source.unknown
    assert all(table.rows for table in source.tables)


@pytest.mark.parametrize(
    ("file", "table", "model", "column", "expected"),
    [
        ("csmpt7b-card.yaml", "CS-HellaSwag by training step", "mistral7b", "CS-HellaSwag", 0.4992),
        ("csmpt7b-card.yaml", "CS-HellaSwag by training step", "csmpt@130k", "CS-HellaSwag", 0.5004),
        ("croissantllm-slides.yaml", "FrenchBench multiple choice", "Mistral(7B)", "Belebele(fr)", 0.78),
        ("croissantllm-slides.yaml", "FrenchBench generative", "GPT-fr(1B)", "FTrivia", None),
        ("croissantllm-slides.yaml", "FrenchBench generative", "CroissantCool", "FTrivia", 0.53),
        ("croissantllm-slides.yaml", "English", "Llama2(7B)", "SciQ", 0.97),
        ("croissantllm-slides.yaml", "Translation", "TowerInstruct-7B-v0.1", "WMT fr→en BLEU", 46.75),
        ("croissantllm-slides.yaml", "French trivia, chat models", "CroissantLLMChat", "French trivia", 47.11),
    ],
)
def test_published_values_stand_as_their_sources_print_them(file, table, model, column, expected):
    assert cell(file, table, model, column) == expected


def test_averages_are_the_means_of_their_rows():
    source = read_reported(REPO / "results" / "reported" / "croissantllm-slides.yaml")
    rows = [(table.title, row) for table in source.tables[:3] for row in table.rows]
    assert len(rows) > 10
    for title, row in rows:
        known = [value for value in row.values[:-1] if value is not None]
        assert sum(known) / len(known) == pytest.approx(row.values[-1], abs=0.011), (title, row.model)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source: a\ntabels: []\n", "no key 'tabels'. Did you mean tables"),
        ("source: a\n", "the key 'tables' is missing"),
        ("- 1\n", "keys and values were expected"),
        ("source: [", "cannot be read as YAML"),
        (
            "source: a\ntables: [{title: t, columns: [{name: c, metric: m}], rows: [{model: x, values: [1, 2]}]}]",
            "row 1: 2 values for 1 columns",
        ),
        (
            "source: a\ntables: [{title: t, columns: [{name: c, metric: m}], rows: [{model: x, values: [high]}]}]",
            "'high' is not a number",
        ),
    ],
)
def test_a_file_with_a_mistake_is_refused_in_a_sentence(tmp_path, text, words):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(DataError, match=words):
        read_reported(tmp_path / "r.yaml")
