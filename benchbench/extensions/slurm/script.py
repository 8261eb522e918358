"""The job script of one array: everything Slurm has to know stands in it, and a person can read and send it by hand."""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.extensions.slurm import queue
from benchbench.extensions.slurm.cluster import Cluster, seconds
from benchbench.extensions.slurm.queue import Node


def job_script(cluster: Cluster, name: str, folder: Path, count: int) -> str:
    """The script that runs units 0 … count-1 of `folder`, each as one array task, with its log beside it."""
    python = shlex.quote(sys.executable) if cluster.python is None else cluster.python
    units = shlex.quote(str(folder / "units.json"))
    unseen = shlex.quote(f"error: this node does not see {folder}: the results folder has to be on a shared disk.")
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {option}" for option in _options(cluster, name, folder, count)),
            "# The signal before the time limit must not end the task while its worker is still starting.",
            "trap '' USR1",
            f"export OMP_NUM_THREADS={cluster.cpus}",
            *([cluster.setup] if cluster.setup else []),
            f"[ -r {units} ] || {{ echo {unseen} >&2; exit 2; }}",
            f'exec {python} -m benchbench sweep worker {shlex.quote(str(folder))} --unit "$SLURM_ARRAY_TASK_ID"',
            "",
        ]
    )


def _options(cluster: Cluster, name: str, folder: Path, count: int) -> list[str]:
    limit = "" if cluster.parallel is None else f"%{cluster.parallel}"
    log = str(folder).replace("%", "%%") + "/%a.log"
    said = {
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "time": cluster.time,
        "mem": cluster.mem,
        "gres": None if cluster.gpus is None else f"gpu:{cluster.gpus}",
    }
    return [
        f"--job-name={name}",
        f"--array=0-{count - 1}{limit}",
        f"--output={_quoted(log)}",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{cluster.signal}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={cluster.cpus}",
        *(f"--{option}={_quoted(value)}" for option, value in said.items() if value is not None),
        *cluster.sbatch,
    ]


def _quoted(value: str) -> str:
    """As sbatch reads a value with spaces in a script's comment lines."""
    return f'"{value}"' if any(sign.isspace() for sign in value) else value


_OWN_DISK = {"tmpfs", "ramfs", "overlay", "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs"}
"""File systems that live on one machine; its own nodes see them only if it serves them to others."""


def check_fit(cluster: Cluster, output: Path) -> None:
    """ArgumentError where the cluster cannot run what the cluster file asks for, or cannot see `output`."""
    nodes = queue.nodes()
    partition = cluster.partition or queue.default_partition()
    names = {node.partition for node in nodes}
    if partition is None:
        raise ArgumentError(f"the cluster has no default partition; name one as `partition`: {_listed(names)}.")
    if partition not in names:
        raise ArgumentError(
            f"the cluster has no partition {partition!r}; there are {_listed(names)}.{did_you_mean(partition, names)}"
        )
    own = [node for node in nodes if node.partition == partition]
    _check_time(cluster, partition, own)
    for what, wanted, most in (
        ("cpus", cluster.cpus, max(node.cpus for node in own)),
        ("gpus", cluster.gpu_count, max(node.gpus for node in own)),
        ("MB of mem", cluster.megabytes or 0, max(node.megabytes for node in own)),
    ):
        if wanted > most:
            raise ArgumentError(
                f"the cluster file asks for {wanted:g} {what}, but no node of partition {partition} has more "
                f"than {most}."
            )
    _check_shared(cluster, output, own)


def _check_time(cluster: Cluster, partition: str, own: Sequence[Node]) -> None:
    limits = [node.limit for node in own if node.limit is not None]
    if cluster.time is not None and limits and seconds(cluster.time) > max(limits):
        raise ArgumentError(
            f"time is {cluster.time}, but a job in partition {partition} may run for {max(limits) // 60} minutes at "
            "most."
        )


def _check_shared(cluster: Cluster, output: Path, own: Sequence[Node]) -> None:
    kind = file_system(output)
    here = socket.gethostname().split(".")[0]
    others = sorted({node.host for node in own if node.host.split(".")[0] != here})
    if cluster.shared is None and others and kind in _OWN_DISK:
        raise ArgumentError(
            f"the results folder {output} lies on a disk of this machine ({kind}), which {others[0]} cannot see. "
            "Choose one on a shared file system with --output, or write `shared: true` into the cluster file if this "
            "machine serves the folder to the nodes."
        )


def file_system(path: Path) -> str:
    """The type of the file system that `path` is on, or would be; "" where the system does not tell."""
    place = path.expanduser().absolute().resolve()
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    over = [(len(point), kind) for _, point, kind, *_ in mounts if place.is_relative_to(point.replace("\\040", " "))]
    # of two on one place the later hides the earlier
    return max(enumerate(over), key=lambda one: (one[1][0], one[0]))[1][1] if over else ""


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
