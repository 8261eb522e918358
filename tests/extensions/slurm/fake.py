"""Slurm's commands as small scripts on PATH: they print what a test wrote down and note what they were asked."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

COMMANDS = {
    "sbatch": 'n=$(cat "$HERE/count"); echo $((n + 1)) > "$HERE/count"; echo $((n + 1))',
    "squeue": 'cat "$HERE/queue"; [ ! -e "$HERE/squeue.fails" ] || { cat "$HERE/squeue.fails" >&2; exit 1; }',
    "sacct": '[ -e "$HERE/accounting" ] || { echo "Slurm accounting storage is disabled" >&2; exit 1; }; '
    'cat "$HERE/accounting"',
    "sinfo": 'case "$*" in *%P*) echo "short"; echo "gpu*";; *) cat "$HERE/nodes";; esac',
    "scontrol": 'case "$1" in show) echo "MaxArraySize            = $(cat "$HERE/most")";; esac',
}
NODES = """\
gpu|{host}|4:00:00|16|64000|gpu:a100:4(S:0-1)
gpu|{host}|4:00:00|8|64000|gpu:a100:2
short|{host}|30:00|4|8000|(null)
"""


class FakeSlurm:
    """A folder for PATH. `queue` and `nodes` are what squeue and sinfo print."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        folder.mkdir()
        for name, body in COMMANDS.items():
            file = folder / name
            file.write_text(f'#!/bin/bash\nHERE={folder}\necho "{name} $*" >> "$HERE/asked"\n{body}\n')
            file.chmod(0o755)
        self.write("count", "100")
        self.write("queue", "")
        self.write("most", "1001")
        self.write("nodes", NODES.format(host=host))

    def write(self, name: str, text: str) -> None:
        """What a command prints from now on."""
        (self.folder / name).write_text(text)

    def asked(self, command: str) -> list[str]:
        """The arguments of every call of `command`."""
        file = self.folder / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.partition(" ")[2] for line in lines if line.split()[0] == command]

    def queue(self, *lines: str) -> None:
        """Array tasks as squeue prints them: `101|0|name|PENDING|node|Reason`."""
        self.write("queue", "".join(f"{line}\n" for line in lines))


def run_task(array: Path, index: int) -> subprocess.CompletedProcess[str]:
    """Runs one task of a job script as Slurm would, its log beside the script."""
    count = int(re.search(r"--array=0-(\d+)", (array / "job.sh").read_text())[1]) + 1
    assert index < count
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(index), "SLURM_JOB_ID": "101"}
    done = subprocess.run(["bash", array / "job.sh"], capture_output=True, text=True, check=False, env=environment)
    (array / f"{index}.log").write_text(done.stdout + done.stderr)
    return done
