"""What the Slurm engine keeps beside sweep.json: one folder for each array that was submitted.

slurm/cluster.json        the cluster file, as it was read last
      <k>/units.json      the units of array k; line n is what task n does
          job.sh          its script
          job.json        its number; written when sbatch has answered
          <n>.log         what task n printed
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchbench.core.errors import ArgumentError, StoreError
from benchbench.extensions.slurm.cluster import Cluster
from benchbench.extensions.slurm.queue import Task, tasks_of
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.record import now
from benchbench.runner.sweep.folder import SweepWriter, Unit, UnitStatus
from benchbench.store.files import make_folder, read_json, write_json, write_whole
from benchbench.store.find import SweepFolder


@dataclass(frozen=True, slots=True)
class Array:
    """One job array."""

    path: Path
    job: str
    """Its number; "" where sbatch did not answer."""
    name: str
    units: tuple[Unit, ...]

    @property
    def sweep(self) -> SweepWriter:
        """The sweep that it works for."""
        return SweepWriter(self.path.parent.parent)


@dataclass(frozen=True, slots=True)
class Sent:
    """The array task that was last to do a unit, and what the cluster says of it."""

    job: str
    """As scancel takes it: `123_4`."""
    log: Path
    task: Task | None
    """None: the cluster has forgotten it."""


def slurm_folder(sweep: SweepFolder) -> Path:
    """Where the arrays of a sweep are kept; it is there only if one was asked for."""
    return sweep.path / "slurm"


def keep_cluster(sweep: SweepFolder, cluster: Cluster) -> None:
    """Writes cluster.json, so that `sweep resume` needs no cluster file."""
    make_folder(slurm_folder(sweep))
    write_json(slurm_folder(sweep) / "cluster.json", cluster.to_json())


def kept_cluster(sweep: SweepFolder) -> Cluster | None:
    """The cluster file as it was read last; None for a sweep that never asked for Slurm."""
    path = slurm_folder(sweep) / "cluster.json"
    if not path.is_file():
        return None
    try:
        return Cluster.from_json(read_json(path))
    except (KeyError, TypeError) as error:
        raise StoreError(f"{path} is not as expected ({error!r}); give --cluster FILE again.") from error


def job_script(cluster: Cluster, name: str, folder: Path, count: int) -> str:
    """The script that runs units 0 … count-1 of `folder`, each as one array task, with its log beside it."""
    _check_path(folder)
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
    resources = {
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
        *(f"--{option}={_quoted(value)}" for option, value in resources.items() if value is not None),
        *cluster.sbatch,
    ]


def _quoted(value: str) -> str:
    """As sbatch reads a value in a script's comment lines: quoted where a space, a quote or a `#` would end it."""
    if re.fullmatch(r"[\w%+,./:=@^~-]+", value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def _check_path(folder: Path) -> None:
    """ArgumentError for a folder that no line of a script can name."""
    if not str(folder).isprintable():
        raise ArgumentError(
            f"the results folder {str(folder)!r} has a line break or another invisible character in its name, which a "
            "job script cannot hold; choose one without (--results)."
        )


def script_for(sweep: SweepFolder, cluster: Cluster, number: int, count: int) -> str:
    """The script of array `number` with `count` tasks."""
    return job_script(cluster, _name(sweep, number), slurm_folder(sweep) / str(number), count)


def next_number(sweep: SweepFolder) -> int:
    """The number of the array that comes next, from 1."""
    return max((int(path.name) for path in slurm_folder(sweep).glob("[0-9]*") if path.name.isdecimal()), default=0) + 1


def write_array(sweep: SweepFolder, cluster: Cluster, units: Sequence[Unit]) -> Array:
    """Writes an array's units and script; nothing is submitted."""
    number = next_number(sweep)
    path = slurm_folder(sweep) / str(number)
    script = script_for(sweep, cluster, number, len(units))
    make_folder(path)
    write_json(path / "units.json", {"units": [asdict(unit) for unit in units]})
    write_whole(path / "job.sh", script.encode())
    return Array(path, "", _name(sweep, number), tuple(units))


def note_job(array: Array, job: str) -> Array:
    """Writes job.json."""
    write_json(array.path / "job.json", {"job": job, "submitted": now()})
    return replace(array, job=job)


def read_array(path: Path) -> Array:
    """The array in `path`. StoreError if it is not one."""
    content: Any = read_json(path / "units.json")
    units = tuple(map(_unit, content["units"]))
    job = str(read_json(path / "job.json")["job"]) if (path / "job.json").is_file() else ""
    return Array(path, job, _name(SweepFolder(path.parent.parent), int(path.name)), units)


def arrays(sweep: SweepFolder) -> list[Array]:
    """The arrays of a sweep, the first one first."""
    paths = [path.parent for path in slurm_folder(sweep).glob("[0-9]*/units.json") if path.parent.name.isdecimal()]
    return [read_array(path) for path in sorted(paths, key=lambda path: int(path.name))]


def sent(sweep: SweepFolder) -> dict[tuple[str, int, int], Sent]:
    """Unit's series, step and group → the array task that was last to do it, with its state in the queue."""
    known = [array for array in arrays(sweep) if array.job]
    tasks = tasks_of({array.job: array.name for array in known})
    return {
        unit.place: Sent(f"{array.job}_{index}", array.path / f"{index}.log", tasks.get((array.job, index)))
        for array in known
        for index, unit in enumerate(array.units)
    }


def _name(sweep: SweepFolder, number: int) -> str:
    last = re.sub(r"[^\w.]", "_", sweep.path.name.rpartition("-")[2])
    return f"benchbench-{last}-{number}"


def _unit(value: dict[str, Any]) -> Unit:
    return Unit(Checkpoint(**value["checkpoint"]), int(value["group"]))


TAIL = 20_000
"""Bytes at the end of a log in which its last word is looked for."""


def with_queue(units: Iterable[UnitStatus], sent: Mapping[tuple[str, int, int], Sent]) -> list[UnitStatus]:
    """The units with the state of the array tasks that were last to do them."""
    return [_with_task(unit, sent.get(unit.place)) for unit in units]


def _with_task(unit: UnitStatus, sent: Sent | None) -> UnitStatus:
    if sent is None or unit.state == "done":
        return unit
    task = sent.task
    if task is not None and task.kind == "queued":
        reason = f": {task.reason}" if task.reason else ""
        return replace(unit, state="queued", why=f"job {sent.job}{reason}")
    if task is not None and task.kind == "running":
        where = f" on {task.node}" if task.node else ""
        return replace(unit, state="running", why=f"job {sent.job}{where}, {task.state.lower()}")
    if unit.state != "to do":
        return unit
    became = "the cluster has forgotten its job" if task is None else task.meaning
    return replace(unit, why=f"job {sent.job}: {became}{_last_word(sent.log)}")


def _last_word(log: Path) -> str:
    """The error at the end of a task's log, or where to look."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line for line in lines if line.startswith("error: ")]
    return f". It said: {errors[-1].removeprefix('error: ')}" if errors else f". See {log}"
