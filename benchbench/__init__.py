"""benchbench evaluates language models while they are being trained.

`load_runs` and `load_items` read results as DataFrames, `compare` compares models; everything is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.core import __version__

__all__ = ["__version__", "compare", "load_items", "load_runs"]

if TYPE_CHECKING:
    from benchbench.leaderboard.duels import compare
    from benchbench.store.frames import load_items, load_runs


def __getattr__(name: str) -> object:
    if name in ("load_items", "load_runs"):
        from benchbench.store import frames

        return getattr(frames, name)
    if name == "compare":
        from benchbench.leaderboard.duels import compare

        return compare
    raise AttributeError(f"module 'benchbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
