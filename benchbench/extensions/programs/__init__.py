"""Programs that a model wrote, run where they can do no harm: what a program is, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["passed", "failed", "crashed", "slow", "memory", "output"]
ENDINGS: dict[Ending, str] = {
    "passed": "passed",
    "failed": "failed",
    "crashed": "died of a signal",
    "slow": "ran out of time",
    "memory": "wanted more memory than allowed",
    "output": "wrote more than allowed",
}
"""How a program may end, and how that is told."""


@dataclass(frozen=True, slots=True)
class Program:
    """A whole program with its tests: it passes if it runs to its end."""

    source: str
    language: str = "python"
    """A name in `languages.LANGUAGES`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a program."""

    ending: Ending
    why: str = ""
    """The error's last line, cut; empty where it passed."""

    @property
    def passed(self) -> bool:
        """It ran to its end."""
        return self.ending == "passed"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. All of it is private to the program and gone when it ends."""

    seconds: float = 5.0
    """Of processor time, of each of its processes. On the clock it may take `wall` seconds."""
    memory: int = 1 << 30
    """Bytes, of all its processes together; where the language allows it also of address space."""
    processes: int = 32
    """And threads."""
    files: int = 64 << 20
    """Bytes in /tmp, and again in /dev/shm."""
    output: int = 1 << 20
    """Bytes of error messages; what it prints goes nowhere."""

    @property
    def wall(self) -> float:
        """Seconds on the clock: twice the processor's and two, since it shares the processor with others."""
        return 2 * self.seconds + 2
