"""Engines that answer requests, and the one door to them. Importing this loads no engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from benchbench.backends.engines import ModelOptions, installed, open_engine
from benchbench.core.errors import BackendError
from benchbench.core.plugins import load_place

if TYPE_CHECKING:
    from benchbench.backends.protocol import Backend
    from benchbench.backends.workers import Workers

POOL = "benchbench.backends.pool.ray:open_pool"
WORKERS = "benchbench.backends.pool.ray:open_workers"


def open_backend(options: ModelOptions) -> Backend:
    """The engine named in `options`, with its model loaded; a pool of such engines where it asks for workers.

    Raises BackendError for an unknown or missing engine, ModelError for a model that cannot be loaded.
    """
    if not options.on_workers:
        return open_engine(options)
    _need_ray()
    return cast("Callable[[ModelOptions], Backend]", load_place(POOL))(options)


def open_workers(options: ModelOptions, needs: Sequence[str]) -> Workers:
    """As many workers as `options` ask for, without a model; `needs` are paths that each has to see.

    Raises ArgumentError for more than there is room for, BackendError where there is no Ray or no cluster.
    """
    _need_ray()
    return cast("Callable[[ModelOptions, Sequence[str]], Workers]", load_place(WORKERS))(options, needs)


def _need_ray() -> None:
    if installed("ray") is None:
        raise BackendError("--workers and --engine ray need Ray. Install it with: pip install 'benchbench-eval[ray]'")
