"""What vLLM calls when it starts, in every process, through the entry point group `vllm.general_plugins`."""

from __future__ import annotations

from benchbench.backends.vllm.mpt_config import ARCHITECTURES


def register() -> None:
    """Makes our MPT class known to vLLM. May be called more than once."""
    from vllm import ModelRegistry

    for name in ARCHITECTURES:
        ModelRegistry.register_model(name, "benchbench.backends.vllm.mpt:MPTForCausalLM")
