"""Tables that a spreadsheet opens hold no formulas, and lose nothing."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchbench
from benchbench.core.format import clean_lines
from benchbench.extensions.interchange.table import Mapped, read_table
from benchbench.store.spreadsheet import is_formula, protected, to_csv, unprotected, write_csv

FORMULAS = [
    '=HYPERLINK("http://x","y")', "+1+1", "-1+1", "@SUM(A1)", "\tx", "\rx", "\nx", " =1", '"=1"', "'=1", "\u00a0=1",
    "\u3000+x", "\ufeff=1", "\u202e=1", "\x01=1", "\u200b@x", "\uff1d1", "-", "=", "-inf", "--5", "+-1", "-1 ",
    "-\u0661", "\u201c=1\u201d", " \t=1",
]  # fmt: skip
PLAIN = [
    "",
    "llama",
    "-1",
    "+0.5",
    "-.5e-3",
    "1=1",
    "a-b",
    "a=b",
    "'quoted'",
    "−1",
    "'",
    "#x",
    "BUT-FIT/csmpt7b",
    "-3.",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_would_be_a_formula_gets_an_apostrophe(text: str) -> None:
    assert protected(text) == f"'{text}"
    assert unprotected(protected(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_and_numbers_stay(text: str) -> None:
    assert protected(text) == text == unprotected(text)


@given(st.text(alphabet=st.one_of(st.sampled_from("=+-@'\" \t\r\n1.e\u202e\uff1da"), st.characters())))
def test_every_text_comes_back(text: str) -> None:
    assert unprotected(protected(text)) == text
    assert not is_formula(protected(text)) or protected(text).startswith("'")


@given(st.text(alphabet="=+-@'\" \t\r\n1.e\u202ea\x01"))
def test_what_the_terminal_leaves_out_makes_no_formula(text: str) -> None:
    shown = clean_lines(to_csv(pd.DataFrame({"a": [text], "b": [1]})).partition("\n")[2])
    cell = next(csv.reader(io.StringIO(shown)))[0]
    assert cell[:1] not in ("=", "+", "-", "@") or not is_formula(cell)


def test_numbers_are_written_as_pandas_writes_them() -> None:
    frame = pd.DataFrame(
        {
            "x": pd.array([-0.5, None, 1e-30], "Float64"),
            "n": pd.array([-3, None, 2], "Int64"),
            "b": pd.array([True, None, False], "boolean"),
            "s": pd.array(["a,b", None, 'say "x"'], "string"),
            "f": [-1.0, float("nan"), float("-inf")],
        }
    )
    assert to_csv(frame) == frame.to_csv(index=False)
    assert to_csv(frame.iloc[:0]) == "x,n,b,s,f\n"


def test_headings_and_categories_are_text_too() -> None:
    frame = pd.DataFrame({"=acc": [-1.0], "c": pd.Categorical(["@x"])})
    assert to_csv(frame) == "'=acc,c\n-1.0,'@x\n"


def test_a_table_that_was_written_is_imported_with_its_names(tmp_path: Path) -> None:
    names = ["=HYPERLINK(1)", " @me", "'=old", "'plain", "-5"]
    rows = [{"model": name, "task": "+task", "metric": "acc", "value": -0.5, "n": 10} for name in names]
    write_csv(pd.DataFrame(rows), tmp_path / "t.csv")
    runs = read_table(tmp_path / "t.csv", "t.csv", Mapped())
    assert [run.model.name for run in runs] == names
    assert [list(run.tasks) for run in runs] == [["+task"]] * len(names)
    assert runs[0].tasks["+task"].scores[0].value == -0.5


def test_every_verb_and_page_writes_tables_in_this_one_way(tmp_path: Path) -> None:
    package = Path(benchbench.__file__).parent
    writers = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if ".to_csv(" in path.read_text() or "csv.writer" in path.read_text() or "DictWriter" in path.read_text()
    ]
    assert writers == ["store/spreadsheet.py"]
