"""A real Slurm of two nodes on this machine, for tests: started as root, without systemd and without accounting."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol")
NODES = ("n1", "n2")

CONF = """\
ClusterName=benchbench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={base}/run/munge.socket,cred_expire=5
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool/%n
SlurmctldPidFile={base}/run/slurmctld.pid
SlurmdPidFile={base}/run/slurmd.%n.pid
SlurmctldLogFile={base}/log/slurmctld.log
SlurmdLogFile={base}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ReturnToService=2
SlurmdTimeout=10
KillWait=5
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=1 RealMemory=2000
PartitionName=urgent Nodes=n[1-2] MaxTime=60 PriorityTier=10 PreemptMode=OFF DefMemPerCPU=500
PartitionName=low Nodes=n[1-2] Default=YES MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=3 DefMemPerCPU=500
"""


def missing() -> str:
    """What a real Slurm cannot start without here; "" where it can."""
    absent = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"needs a real Slurm; there is no {absent[0]} (Debian: slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "needs root to start slurmctld and slurmd"


class Site:
    """Two nodes of one core each; partition `urgent` preempts `low`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.conf = base / "slurm.conf"

    def start(self) -> None:
        """Starts munged, slurmctld and both slurmd; returns when both nodes are idle."""
        self.base.chmod(0o755)  # munge wants a socket that everybody can reach
        for name in ("state", "log", "run", "spool/n1", "spool/n2"):
            (self.base / name).mkdir(parents=True)
        host, port = socket.gethostname().split(".")[0], free_ports(3)
        self.conf.write_text(CONF.format(base=self.base, host=host, port=port, first=port + 1, last=port + 2))
        key = self.base / "run/munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        os.environ["SLURM_CONF"] = str(self.conf)
        munge = {"-S": "munge.socket", "--key-file": "munge.key", "--pid-file": "munged.pid", "--seed-file": "seed"}
        options = [
            f"{k}={self.base}/run/{v}" if k.startswith("--") else f"{k}{self.base}/run/{v}" for k, v in munge.items()
        ]
        self.daemon("munged", *options, f"--log-file={self.base}/log/munged.log")
        self.daemon("slurmctld", "-f", str(self.conf))
        for node in NODES:
            self.start_node(node)
        until(lambda: len(self.ask("sinfo", "-h", "-t", "idle", "-N", "-p", "low", "-o", "%N").split()) == 2, 30)

    def daemon(self, *command: str) -> None:
        """Starts something that puts itself into the background."""
        path = f"{os.environ['PATH']}:/usr/sbin"
        subprocess.run([shutil.which(command[0], path=path), *command[1:]], check=True, stderr=subprocess.DEVNULL)

    def start_node(self, node: str) -> None:
        """Starts the slurmd of a node."""
        self.daemon("slurmd", "-f", str(self.conf), "-N", node)

    def kill_node(self, node: str) -> None:
        """All that runs on the node dies at once, as when the power goes."""
        daemon = int((self.base / f"run/slurmd.{node}.pid").read_text())
        steps = [pid for pid, line in processes().items() if "slurmstepd" in line and daemon_of(pid, node, self.base)]
        for pid in [daemon, *(child for step in steps for child in [step, *descendants(step)])]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def ask(self, *command: str) -> str:
        """What a Slurm command prints."""
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def tasks(self) -> dict[str, tuple[str, str, int]]:
        """`job_task` → (state, node, restarts) of everything in the queue's memory."""
        said = self.ask(
            "squeue", "-h", "-r", "-t", "all", "-O", "ArrayJobID:12,ArrayTaskID:8,State:16,NodeList:8,RestartCnt:6"
        )
        rows = [(line[:12], line[12:20], line[20:36], line[36:44], line[44:]) for line in said.splitlines()]
        return {
            f"{job.strip()}_{task.strip()}": (state.strip(), node.strip(), int(count or 0))
            for job, task, state, node, count in rows
        }

    def stop(self) -> None:
        """Ends every daemon by its number."""
        subprocess.run(["scancel", "--full", "-u", "root"], check=False, capture_output=True)
        with suppress(AssertionError, subprocess.CalledProcessError):
            until(lambda: not self.running(), 15)
        for name in (*(f"slurmd.{node}" for node in NODES), "slurmctld", "munged"):
            file = self.base / f"run/{name}.pid"
            if file.is_file():
                self.end(int(file.read_text()))
        os.environ.pop("SLURM_CONF", None)

    @staticmethod
    def end(pid: int) -> None:
        """Stops a daemon and waits until it has written its last word."""
        with suppress(ProcessLookupError, AssertionError):
            os.kill(pid, signal.SIGTERM)
            until(lambda: not processes().get(pid), 10)  # one that nobody waits for has no command line

    def running(self) -> bool:
        """Whether a job still runs or is being ended."""
        return any(state in ("RUNNING", "COMPLETING") for state, _, _ in self.tasks().values())


def free_ports(count: int) -> int:
    """The first of `count` free ports in a row."""
    for first in range(17000, 27000, 10):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, one in enumerate(sockets):
                one.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        else:
            return first
        finally:
            for one in sockets:
                one.close()
    raise RuntimeError("no free ports")


def until(true: Callable[[], object], seconds: float, what: str = "") -> None:
    """Waits until `true()`; fails after `seconds`, on a machine that is too busy after as many times more."""
    deadline = time.monotonic() + seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain {what}"
        time.sleep(0.2)


def processes() -> dict[int, str]:
    """Number → command line of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found


def daemon_of(pid: int, node: str, base: Path) -> bool:
    """Whether a slurmstepd, or something below it, belongs to `node` of this site."""
    for one in [pid, *descendants(pid)]:
        try:
            said = Path(f"/proc/{one}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"SLURMD_NODENAME={node}".encode() in said and f"SLURM_CONF={base}/slurm.conf".encode() in said:
            return True
    return False


def descendants(pid: int) -> list[int]:
    """Every process that `pid` started, and those that they started."""
    try:
        text = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return []
    children = [int(one) for one in text.split()]
    return children + [one for child in children for one in descendants(child)]
