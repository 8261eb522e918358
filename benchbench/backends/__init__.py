"""Engines that answer requests, and the one door to them. Importing this loads no engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchbench.backends.options import ModelOptions, check_model_args
from benchbench.core.errors import BackendError, did_you_mean

if TYPE_CHECKING:
    from benchbench.backends.protocol import Backend

BUILT = ("auto", "hf", "vllm", "gguf", "api", "scripted")


def open_backend(options: ModelOptions) -> Backend:
    """The engine named in `options`, with its model loaded.

    Raises BackendError for an unknown or missing engine, ModelError for a model that cannot be loaded.
    """
    if options.backend == "auto":
        from benchbench.backends.choose import choose

        choice = choose(options)
        chosen = open_backend(replace(options, backend=choice.backend))
        chosen.info = replace(chosen.info, chosen=choice.reason)
        return chosen
    if options.backend == "hf":
        check_model_args(options, (), backend="hf")
        from benchbench.backends.hf.backend import HFBackend

        return HFBackend(options)
    if options.backend == "vllm":
        from benchbench.backends.vllm.backend import VLLMBackend

        return VLLMBackend(options)
    if options.backend == "gguf":
        from benchbench.backends.gguf.backend import GGUFBackend

        return GGUFBackend(options)
    if options.backend == "api":
        from benchbench.backends.api.tokens import open_server

        backend: Backend = open_server(options)
        return backend
    if options.backend == "scripted":
        check_model_args(options, (), backend="scripted")
        from benchbench.backends.scripted import ScriptedBackend

        return ScriptedBackend(options)
    near = did_you_mean(options.backend, BUILT)
    raise BackendError(f"no backend named {options.backend!r}; there are {', '.join(BUILT)}.{near}")
