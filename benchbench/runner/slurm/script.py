"""The job script of one array: everything Slurm has to know stands in it, and a person can read and send it by hand."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from benchbench.runner.slurm.cluster import Cluster


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
