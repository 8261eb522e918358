"""benchbench evaluates language models while they are being trained.

`evaluate` and `sweep` score models, as the command line does; `load_runs` and `load_items` read results as DataFrames,
`compare` compares models, `compare_sweeps` trainings, `write_csv` writes their tables for spreadsheets. Everything is
loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.core import __version__

__all__ = [
    "Result", "Sweep", "__version__", "compare", "compare_sweeps", "evaluate", "load_items", "load_runs", "sweep",
    "write_csv",
]  # fmt: skip

if TYPE_CHECKING:
    from benchbench.leaderboard.duels import compare
    from benchbench.leaderboard.training_pairs import compare_sweeps
    from benchbench.notebook.results import Result, Sweep
    from benchbench.notebook.verbs import evaluate, sweep
    from benchbench.store.frames import load_items, load_runs
    from benchbench.store.spreadsheet import write_csv

_PLACES = {
    "Result": "benchbench.notebook.results",
    "Sweep": "benchbench.notebook.results",
    "compare": "benchbench.leaderboard.duels",
    "compare_sweeps": "benchbench.leaderboard.training_pairs",
    "evaluate": "benchbench.notebook.verbs",
    "load_items": "benchbench.store.frames",
    "load_runs": "benchbench.store.frames",
    "sweep": "benchbench.notebook.verbs",
    "write_csv": "benchbench.store.spreadsheet",
}
"""Name → the module that has it."""


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'benchbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
