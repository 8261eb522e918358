"""A Ray cluster: how to reach it, what its nodes have, and what each worker takes of them."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ray

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError, BackendError

Node: TypeAlias = Mapping[str, float]
"""What a node has, as Ray names it: CPU, GPU."""
SECONDS_TO_ANSWER = 10
CORES_OF_AUTO = 4
"""Of each worker that computes on processors, where their number was left to benchbench."""


@dataclass(frozen=True, slots=True)
class Share:
    """What each worker takes of its node."""

    cores: float
    gpus: float = 0
    threads: int | None = None
    """Threads of the engine; None: as many as it likes."""


def nodes() -> list[Node]:
    """What the nodes have that are alive now."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def share_out(options: ModelOptions, nodes: Sequence[Node]) -> tuple[int, Share]:
    """How many workers, and what each takes; none takes of two nodes.

    Raises ArgumentError for more workers than there is room for.
    """
    if options.device.startswith("cuda:"):
        raise ArgumentError(f"--device {options.device} names one GPU, and --workers gives each worker its own.")
    wanted = None if options.workers in (None, "auto") else int(str(options.workers))
    cores = [int(node.get("CPU", 0)) for node in nodes]
    gpus = [int(node["GPU"]) for node in nodes if node.get("GPU")]
    if gpus and options.device in ("auto", "cuda"):
        count, each = _on_gpus(options, wanted, gpus)
        return count, Share(cores=min(1, sum(cores) / count), gpus=each)
    own = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(own) if own.isdecimal() and int(own) else None
    count = wanted or max(1, sum(n // (threads or CORES_OF_AUTO) for n in cores))
    if count > sum(cores):
        raise ArgumentError(
            f"--workers {count}: Ray sees {sum(cores)} processor cores{_and_no_gpu(options)}; give {sum(cores)} or "
            "fewer."
        )
    share = _largest(cores, count)
    return count, Share(cores=share, threads=threads or share)


def _on_gpus(options: ModelOptions, wanted: int | None, gpus: Sequence[int]) -> tuple[int, int]:
    """How many workers, and GPUs of each: one, as many as its model is parallel, or where it is spread, all alike."""
    given = dict(options.model_args)
    named = given.get("tensor_parallel_size", "1")
    each = int(named) if named.isdecimal() and int(named) else 1
    is_spread = "device_map" in given or given.get("parallelize", "").lower() == "true"
    if is_spread:
        each = min(gpus) if wanted is None else max(1, _largest(gpus, wanted))
    if each > max(gpus):
        raise ArgumentError(
            f"--model-args tensor_parallel_size={each}: a worker's GPUs are of one node, and no node has more than "
            f"{max(gpus)}."
        )
    if wanted is None and not is_spread and (idle := next((n for n in gpus if n % each), None)) is not None:
        raise ArgumentError(
            f"--model-args tensor_parallel_size={each} does not divide the {idle} GPUs of a node: {idle % each} would "
            f"stand idle. Give a size that divides them, or say how many workers there are to be with --workers N."
        )
    most = sum(n // each for n in gpus)
    if wanted is not None and wanted > most:
        raise ArgumentError(
            f"--workers {wanted} with {each} GPU(s) each needs more than the {sum(gpus)} that Ray sees; give --workers "
            f"{most} or fewer."
        )
    return wanted or most, each


def _largest(have: Sequence[int], count: int) -> int:
    """The largest share of which the nodes together hold `count`, none of two nodes."""
    return next((share for share in range(max(have), 1, -1) if sum(n // share for n in have) >= count), 1)


def _and_no_gpu(options: ModelOptions) -> str:
    return "" if options.device == "cpu" else " and no GPU"


def connect(address: str | None) -> bool:
    """Connects to the cluster at `address`, or starts Ray on this machine; whether this process did so.

    Raises BackendError where no cluster answers, or one of another Python or Ray.
    """
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that it runs
        ray.init(address="local", include_dashboard=False, **quiet)
        return True
    try:
        _knock(address)
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise BackendError(_refusal(address, str(error), first_sentence(error))) from error
    return True


def _refusal(address: str, told: str, why: str) -> str:
    """What to say of a cluster that cannot be used."""
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", told)
    if len(versions) == 2:
        (ray_there, python_there), (ray_here, python_here) = versions
        return (
            f"--ray-address {address}: the cluster runs Ray {ray_there} on Python {python_there}, and this is Ray "
            f"{ray_here} on Python {python_here}. Start Ray on every node from the environment that has benchbench."
        )
    if address == "auto":
        return (
            "no Ray cluster runs on this machine. Start one with `ray start --head`, name one with --ray-address "
            f"HOST:PORT, or give --workers alone for this machine. ({why})"
        )
    return f"--ray-address {address}: no cluster answers there ({why}). Is it the HOST:PORT of `ray start --head`?"


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT: Ray would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()


def first_sentence(error: Exception) -> str:
    """The first sentence of what Ray says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
