"""The few calls to a running vLLM engine that scoring and writing need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchbench.backends.tokens import first_line
from benchbench.core.errors import BackendError


class RunningEngine:
    """One `vllm.LLM`. Takes prompts as tokens; counts what was computed."""

    def __init__(self, llm: Any, *, block_size: int, cache_blocks: int, on_cpu: bool) -> None:
        self.llm = llm
        self.block_size = block_size
        self.cache_blocks = cache_blocks
        """Blocks of keys and values that fit at once."""
        self.on_cpu = on_cpu
        self.steps = 0
        self.computed_tokens = 0
        self._core = llm.llm_engine
        self._number = 0
        self._running: dict[str, int] = {}

    def run(self, prompts: Sequence[tuple[Sequence[int], Any]]) -> Iterator[tuple[int, Any]]:
        """Runs (tokens, sampling parameters) together; yields (index, output) whenever one has news.

        Parameters with `DELTA` output give news at every token, until `end(index)` is called.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            for i, (tokens, params) in enumerate(prompts):
                self._number += 1
                self._running[str(self._number)] = i
                self._core.add_request(str(self._number), {"prompt_token_ids": list(tokens)}, params)
            while self._running:
                outputs = self._core.step()
                self.steps += 1
                for output in outputs:
                    index = self._running.get(output.request_id)
                    if index is not None:
                        if output.finished:
                            del self._running[output.request_id]
                        yield index, output
        except (RuntimeError, MemoryError, EngineDeadError) as error:
            raise BackendError(
                f"vLLM stopped: {first_line(error)}. What was scored is kept and the same command goes on from there; "
                "if memory ran out, lower --batch-tokens or --max-length first."
            ) from error
        finally:
            self._abort(list(self._running))

    def end(self, index: int) -> None:
        """No more tokens for this prompt of the current `run`."""
        self._abort([name for name, i in self._running.items() if i == index])

    def _abort(self, names: list[str]) -> None:
        for name in names:
            del self._running[name]
        if names:
            self._core.abort_request(names)

    def forget(self) -> None:
        """Empties the prefix cache. Raises BackendError where vLLM keeps blocks."""
        for _ in range(3):
            if self._core.reset_prefix_cache():
                return
            self._core.step()  # lets go of requests that were just aborted
        raise BackendError("vLLM did not empty its prefix cache; open the model anew.")

    def reload(self, folder: str) -> None:
        """Reads the weights of `folder` into the model, in every worker."""
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        if self.on_cpu:
            self.llm.apply_model(_pack_tied)

    def close(self) -> None:
        """Stops the engine and its workers and gives their memory back."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self._core.engine_core.shutdown()
        self.llm = self._core = None
        cleanup_dist_env_and_memory()


def _pack_tied(model: Any) -> None:
    """On CPUs every layer computes with a packed copy of its weights. A reload makes new copies for the layers that it
    loads, but an output layer tied to the embedding is not loaded: its copy would still be of the old checkpoint.
    """
    from torch import Tensor

    owners: dict[int, list[Any]] = {}
    for module in model.modules():
        if isinstance(weight := getattr(module, "weight", None), Tensor):
            owners.setdefault(weight.data_ptr(), []).append(module)
    for module in (module for modules in owners.values() if len(modules) > 1 for module in modules):
        if hasattr(module, "quant_method"):
            module.quant_method.process_weights_after_loading(module)
