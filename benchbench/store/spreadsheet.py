"""Tables as CSV that a spreadsheet opens as what they say: no text in them is taken for a formula."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.core.format import OBEYED_OR_INVISIBLE
from benchbench.store.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

# What a spreadsheet, or what prints the table, may leave out before it looks at the first sign of a cell.
_LEFT_OUT = rf"[\s\"'`\u00b4\u2018-\u201f{OBEYED_OR_INVISIBLE}]*"
# Signs that begin a formula, also as wide as Chinese letters; or, behind a tab or a line break, a new cell.
_FORMULA = re.compile(rf"{_LEFT_OUT}[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def is_formula(text: str) -> bool:
    """Whether a spreadsheet may compute a cell with this text instead of showing it. A number is none."""
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None


def protected(text: str) -> str:
    """The text as a cell of a CSV file: with an apostrophe before what would be a formula.

    >>> protected("=1+1"), protected("-0.5"), protected("llama")
    ("'=1+1", '-0.5', 'llama')
    """
    return f"'{text}" if is_formula(text) else text


def unprotected(cell: str) -> str:
    """The text of which `protected` made this cell."""
    return cell[1:] if cell.startswith("'") and is_formula(cell[1:]) else cell


def to_csv(frame: pd.DataFrame) -> str:
    """The table as CSV without its index. Text is as `protected` makes it, headings too; numbers are as they are."""
    import pandas as pd

    columns = [frame.iloc[:, place] for place in range(frame.shape[1])]
    safe = [one if pd.api.types.is_numeric_dtype(one.dtype) else one.astype(object).map(_cell) for one in columns]
    headings = [protected(str(name)) for name in frame.columns]
    text: str = pd.DataFrame(dict(enumerate(safe)), index=frame.index).to_csv(index=False, header=headings)
    return text


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a table of `load_runs`, `load_items` or `compare` as a CSV file that is safe to open in a spreadsheet.

    Names come from strangers, and one such as `=HYPERLINK(...)` would be a formula there: text that would be one gets
    an apostrophe in front, which `benchbench results import` takes away again. Raises StoreError if it cannot be
    written.
    """
    write_whole(Path(path), to_csv(frame).encode("utf-8", errors="replace"))


def _cell(value: object) -> object:
    return protected(value) if isinstance(value, str) else value
