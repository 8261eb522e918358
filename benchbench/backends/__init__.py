"""Engines that answer requests, and the one door to them. Importing this loads no engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchbench.backends.engines import ModelOptions, choose, engine, installed
from benchbench.core.errors import BackendError

if TYPE_CHECKING:
    from benchbench.backends.protocol import Backend


def open_backend(options: ModelOptions) -> Backend:
    """The engine named in `options`, with its model loaded.

    Raises BackendError for an unknown or missing engine, ModelError for a model that cannot be loaded.
    """
    if options.workers is not None or options.ray_address is not None:
        return _pool(options)
    if options.backend != "auto":
        return engine(options.backend).open(options)
    choice = choose(options)
    chosen = open_backend(replace(options, backend=choice.backend))
    chosen.info = replace(chosen.info, chosen=choice.reason)
    return chosen


def _pool(options: ModelOptions) -> Backend:
    """Several engines by Ray. Raises BackendError where that is not installed."""
    if installed("ray") is None:
        raise BackendError("--workers needs Ray. Install it with: pip install 'benchbench-eval[ray]'")
    from benchbench.backends.pool.ray import open_pool

    return open_pool(options)
