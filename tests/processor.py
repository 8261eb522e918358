"""What processes have spent of the processor, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
"""A second."""


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def idle_seconds() -> float:
    """Seconds, added over all processors, in which this machine has had nothing to do."""
    return int(Path("/proc/stat").read_text(encoding="ascii").split()[4]) / TICKS
