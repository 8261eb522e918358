"""benchbench evaluates language models while they are being trained.

`load_runs` and `load_items` read results as DataFrames, `compare` compares models, `write_csv` writes their
tables for spreadsheets; everything is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.core import __version__

__all__ = ["__version__", "compare", "load_items", "load_runs", "write_csv"]

if TYPE_CHECKING:
    from benchbench.leaderboard.duels import compare
    from benchbench.store.frames import load_items, load_runs
    from benchbench.store.spreadsheet import write_csv


def __getattr__(name: str) -> object:
    if name in ("load_items", "load_runs"):
        from benchbench.store import frames

        return getattr(frames, name)
    if name == "write_csv":
        from benchbench.store.spreadsheet import write_csv

        return write_csv
    if name == "compare":
        from benchbench.leaderboard.duels import compare

        return compare
    raise AttributeError(f"module 'benchbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
