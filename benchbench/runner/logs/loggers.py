"""The table of loggers, and what each of them does.

A new logger is one file with a function that makes a `Logger` of a `Place`, and a line in `LOGGERS`; one outside the
package is an entry point of the group `benchbench.loggers`. It is imported only where it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Protocol, cast

from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.plugins import entry_point_names, load
from benchbench.runner.logs.rows import LogRow

LOGGERS: Mapping[str, str] = {
    "wandb": "benchbench.extensions.log.wandb:WandbLogger",
    "tensorboard": "benchbench.extensions.log.tensorboard:TensorBoardLogger",
    "mlflow": "benchbench.extensions.log.mlflow:MlflowLogger",
    "trackio": "benchbench.extensions.log.trackio:TrackioLogger",
}
"""Name → what makes the logger of a `Place` and the results folder, as `module:name`."""
LOGGER_GROUP = "benchbench.loggers"
_WRITTEN = re.compile(r"(?P<logger>[^:#]+)(?::(?P<where>[^#]*))?(?:#(?P<run>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """What one `--log` says: NAME[:WHERE][#RUN]."""

    logger: str
    where: str | None = None
    """A project, a folder or an address, as the logger reads it; None: its own default."""
    run: str | None = None
    """The run to log into, the training's own for instance; None: one that is made for the series."""

    def __str__(self) -> str:
        where = "" if self.where is None else f":{self.where}"
        return f"{self.logger}{where}{'' if self.run is None else f'#{self.run}'}"

    @classmethod
    def read(cls, text: str) -> Place:
        """What is written there. ArgumentError if that is no place."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None or "" in found.groups():
            raise ArgumentError(
                f"--log {text!r}: it is written NAME, NAME:WHERE, NAME#RUN or NAME:WHERE#RUN, and no part is empty; "
                f"the names are {', '.join(LOGGERS)}."
            )
        return cls(**found.groupdict())


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one series for one run of a logger."""

    run: str
    """Its id."""
    series: str
    rows: Sequence[LogRow]
    """By step."""
    again: Sequence[LogRow]
    """Those of them that may be there already, whole or in part: a process was killed while it logged them, or the
    logger failed."""
    tries: int
    """How often rows were begun in the run before: from here on numbers of rows are free."""


class Logger(Protocol):
    """Draws rows into runs of one place. Made before anything is scored, with ArgumentError for what the person has to
    put right first: a package or a key that is missing, a place that is none.
    """

    address: str
    """Where it logs, in full: two with the same address share what was logged."""

    def run_for(self, series: str, before: str | None) -> str:
        """The id of the run into which a series goes that went into `before`; None: into none yet. Makes nothing."""
        ...

    def log(self, batch: Batch) -> bool:
        """Draws rows into a run, which is made if it is missing; each value is there once in the end.

        True: they are kept for good, whatever becomes of this process. False: that is not known, so that another
        process will get them in `again`. Raises whatever the logger raises where it does not work.
        """
        ...


def open_logger(place: Place, output: Path) -> Logger:
    """The logger of a place, for results in `output`. ArgumentError where it is unknown, missing or not set up."""
    names = sorted(LOGGERS.keys() | entry_point_names(LOGGER_GROUP))
    made = load(place.logger, LOGGERS, LOGGER_GROUP)
    if made is None:
        near = did_you_mean(place.logger, names)
        raise ArgumentError(f"--log: no logger named {place.logger!r}; there are {', '.join(names)}.{near}")
    return cast("Callable[[Place, Path], Logger]", made)(place, output)


def need(place: Place, module: str) -> None:
    """ArgumentError where the package of a logger is not installed."""
    if util.find_spec(module) is None:
        raise ArgumentError(
            f"--log {place}: {module} is not installed here. Install it: pip install 'benchbench-eval[{place.logger}]'"
        )
