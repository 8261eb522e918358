"""Engines that answer requests, and the one door to them. Importing this loads no engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from benchbench.backends.engines import ModelOptions, installed, open_engine
from benchbench.core.errors import BackendError
from benchbench.core.plugins import load_place

if TYPE_CHECKING:
    from benchbench.backends.protocol import Backend

POOL = "benchbench.backends.pool.ray:open_pool"


def open_backend(options: ModelOptions) -> Backend:
    """The engine named in `options`, with its model loaded; a pool of such engines where it asks for workers.

    Raises BackendError for an unknown or missing engine, ModelError for a model that cannot be loaded.
    """
    if options.workers is None and options.ray_address is None:
        return open_engine(options)
    if installed("ray") is None:
        raise BackendError("--workers needs Ray. Install it with: pip install 'benchbench-eval[ray]'")
    return cast("Callable[[ModelOptions], Backend]", load_place(POOL))(options)
