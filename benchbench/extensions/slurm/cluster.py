"""The cluster file: what a site wants to know of a job. YAML; every value is read as the text that stands there."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.files import read_regular
from benchbench.core.types import Json

LARGEST_FILE = 2**20
"""Bytes of a cluster file."""
SIGNAL_SLACK = 60
"""Slurm may send its signal up to this many seconds early (sbatch's manual, --signal)."""
START_UP = 60
"""Seconds a worker is given to import, prepare tasks and load weights before it may be told to stop."""

_DAYS = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_MEMORY = re.compile(r"(\d+)([KMGT]?)B?", re.IGNORECASE)
_MEGABYTES = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}
_OURS = (
    "array", "chdir", "error", "job-name", "no-requeue", "open-mode", "output", "requeue", "signal", "wrap",
    "parsable", "wait", "test-only",
)  # fmt: skip
"""sbatch options that the engine sets itself or that would change what it reads back."""
_KEYS_FOR = {"partition": "partition", "account": "account", "qos": "qos", "time": "time", "mem": "mem"}
"""Keys that have an option of the same meaning: giving both would leave it to their order."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Resources of one array task and how the site is set up. ArgumentError if a value makes no sense."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    """Limit of one task as Slurm writes it (`4:00:00`, `1-12`, or minutes); None is the partition's default."""
    cpus: int = 1
    mem: str | None = None
    """Memory of one task, such as 64G; None is the site's default."""
    gpus: str | None = None
    """How many of one task, perhaps with their type: `1`, `a100:2`."""
    parallel: int | None = None
    """Most array tasks that run at once; None is no limit."""
    signal: int = 60
    """Seconds before the time limit at which a task stops and goes back into the queue."""
    setup: str = ""
    """Shell lines before the worker: modules, environments, variables."""
    sbatch: tuple[str, ...] = ()
    """More options for sbatch, such as `--constraint=h100`."""
    python: str | None = None
    """The Python that has benchbench on a node, perhaps inside a container; None is the one that submits."""
    shared: bool | None = None
    """True: the nodes see the results folder, although it does not look like it."""

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.time is not None:
            self._check_time(seconds(self.time))
        if self.mem is not None and _MEMORY.fullmatch(self.mem) is None:
            raise ArgumentError(f"mem is {self.mem!r}; expected an amount such as 64G or 8000M.")
        if self.gpus is not None and re.fullmatch(r"([\w.-]+:)?\d+", self.gpus) is None:
            raise ArgumentError(f"gpus is {self.gpus!r}; expected a number, perhaps with a type: 1 or a100:2.")
        for option in self.sbatch:
            _check_option(option)

    def _check_kinds(self) -> None:
        """Also for what was kept in a sweep's folder: no value may begin a line of its own in the script."""
        for name in ("partition", "account", "qos", "time", "mem", "gpus", "python"):
            if (value := getattr(self, name)) is not None:
                _line(name, value)
        for option in self.sbatch:
            _line("sbatch", option)
        for name in ("cpus", "parallel", "signal"):
            value = getattr(self, name)
            if not (type(value) is int and value > 0) and not (name == "parallel" and value is None):
                raise ArgumentError(f"{name} is {value!r}; expected a whole number, 1 or more.")
        if not isinstance(self.setup, str):
            raise ArgumentError(f"setup is {self.setup!r}; expected lines of text.")

    def _check_time(self, limit: int) -> None:
        needed = self.signal + SIGNAL_SLACK + START_UP
        if limit < needed:
            raise ArgumentError(
                f"time is {self.time}, which is {limit} s, but a task is told to stop up to "
                f"{self.signal + SIGNAL_SLACK} s before its limit and needs about {START_UP} s to start. Give at least "
                f"{-(-needed // 60)} minutes, or a smaller signal."
            )

    @property
    def megabytes(self) -> float | None:
        """`mem` in MB."""
        found = None if self.mem is None else _MEMORY.fullmatch(self.mem)
        return None if found is None else int(found[1]) * _MEGABYTES[found[2].upper()]

    @property
    def gpu_count(self) -> int:
        """How many GPUs a task asks for."""
        return 0 if self.gpus is None else int(self.gpus.rpartition(":")[2])

    def to_json(self) -> dict[str, Json]:
        """As JSON values; `Cluster.from_json` reads them back."""
        return {**asdict(self), "sbatch": list(self.sbatch)}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Cluster:
        """What `to_json` wrote. KeyError or TypeError if it is not that."""
        given: dict[str, Any] = dict(value)
        return cls(**{**given, "sbatch": tuple(given["sbatch"])})


KEYS = tuple(field.name for field in fields(Cluster))


def read_cluster(path: Path) -> Cluster:
    """The cluster file at `path`. ArgumentError, naming file and key, for anything that is wrong in it."""
    import yaml

    try:
        # BaseLoader keeps every value as text: YAML would make 14400 of 4:00:00
        text = read_regular(path, LARGEST_FILE).decode("utf-8")
        value = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - builds text only
    except OSError as error:
        raise ArgumentError(f"cannot read the cluster file {path}: {error.strerror}.") from None
    except RecursionError:
        raise ArgumentError(f"{path} cannot be read as YAML: it is nested too deep.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from None
    if value in (None, ""):
        return Cluster()
    if not isinstance(value, dict):
        raise ArgumentError(f"{path}: expected keys with values, such as `partition: gpu`; keys are {', '.join(KEYS)}.")
    for key in value:
        if key not in KEYS:
            raise ArgumentError(
                f"{path} has the unknown key {key!r}; keys are {', '.join(KEYS)}.{did_you_mean(str(key), KEYS)} "
                "Other options of sbatch go into the list `sbatch`."
            )
    try:
        return Cluster(**{key: _read(key, one) for key, one in value.items() if one != ""})
    except ArgumentError as error:
        raise ArgumentError(f"{path}: {error}") from None


def seconds(time: str) -> int:
    """A time limit as sbatch reads it, in seconds: minutes, min:s, h:min:s, d-h, d-h:min, d-h:min:s.

    >>> seconds("90"), seconds("4:00:00"), seconds("1-12")
    (5400, 14400, 129600)
    """
    found = _DAYS.fullmatch(time.strip())
    if found is None:
        raise ArgumentError(f"time is {time!r}; expected a limit such as 4:00:00, 1-12 (days-hours) or 90 (minutes).")
    days, a, b, c = (None if part is None else int(part) for part in found.groups())
    a = a or 0
    if days is not None:
        return days * 86400 + a * 3600 + (b or 0) * 60 + (c or 0)
    if c is not None:
        return a * 3600 + (b or 0) * 60 + c
    return a * 60 + (b or 0)


def _check_option(option: str) -> None:
    try:
        words = shlex.split(option)
    except ValueError as error:
        raise ArgumentError(f"sbatch has {option!r}, which cannot be read: {error}.") from None
    if not words or re.match(r"--[a-z]", words[0]) is None:
        raise ArgumentError(f"sbatch has {option!r}; expected long options such as --constraint=h100.")
    for word in words:
        _check_word(option, word)


def _check_word(option: str, word: str) -> None:
    """Also of what stands behind the first option: sbatch takes several on a line."""
    name = re.match(r"--([a-z][a-z-]*)", word)
    if name is None:
        if word.startswith("-"):
            raise ArgumentError(f"sbatch has {option!r}; expected long options such as --constraint=h100.")
        return
    if name[1] in _OURS:
        raise ArgumentError(f"sbatch has {option!r}, but --{name[1]} is set by the engine; leave it out.")
    if name[1] in _KEYS_FOR:
        raise ArgumentError(f"sbatch has {option!r}; say it with the key {_KEYS_FOR[name[1]]!r} instead.")


def _read(key: str, value: object) -> Any:
    return _READERS[key](key, value) if key in _READERS else _line(key, value)


def _line(key: str, value: object) -> str:
    if not isinstance(value, str) or any(unicodedata.category(sign)[0] in "CZ" and sign != " " for sign in value):
        raise ArgumentError(f"{key} is {value!r}; expected one line of text.")
    return value


def _count(key: str, value: object) -> int:
    if not isinstance(value, str) or not value.isdecimal() or int(value) < 1:
        raise ArgumentError(f"{key} is {value!r}; expected a whole number, 1 or more.")
    return int(value)


def _truth(key: str, value: object) -> bool:
    if value not in ("true", "false", "yes", "no"):
        raise ArgumentError(f"{key} is {value!r}; expected true or false.")
    return value in ("true", "yes")


def _lines(key: str, value: object) -> tuple[str, ...]:
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ArgumentError(f"{key} is {value!r}; expected lines of text.")
    return tuple(line.removeprefix("#SBATCH").strip() if key == "sbatch" else line for line in lines if line.strip())


def _text(key: str, value: object) -> str:
    return "\n".join(_lines(key, value))


_READERS: Mapping[str, Callable[[str, object], object]] = {
    "cpus": _count,
    "parallel": _count,
    "signal": _count,
    "setup": _text,
    "sbatch": _lines,
    "shared": _truth,
}
