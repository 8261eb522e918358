"""Weights & Biases: rows of a run, on an axis of their own, `benchbench/step`.

Its service keeps what is logged in memory until a run is finished: a row is there for good only then. So each batch
opens the run, logs, and finishes it, unless the run is open in this process already: that of the training.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from benchbench.core.errors import ArgumentError
from benchbench.runner.logs.loggers import Batch, Place, need
from benchbench.runner.logs.rows import PREFIX, STEP, TOKENS, LogRow

if TYPE_CHECKING:
    from wandb import Run

TIMEOUT = 30
"""Seconds that a server has to answer; W&B's own are 90, and a sweep waits for it."""


class WandbLogger:
    """WHERE is PROJECT or ENTITY/PROJECT, RUN the id of a run there. WANDB_MODE, WANDB_PROJECT and so on hold."""

    def __init__(self, place: Place, output: Path) -> None:
        need(place, "wandb")
        import wandb

        settings = wandb.setup().settings
        if settings.mode == "disabled":
            raise ArgumentError(f"--log {place}: WANDB_MODE=disabled switches W&B off. Unset it, or leave --log out.")
        self._place = place
        self._is_offline = settings.mode in ("offline", "dryrun")
        self._folder = Path(settings.wandb_dir)
        self._entity, self._project = _project(place, settings.entity, settings.project)
        self.address = f"{settings.base_url} {self._entity or ''}/{self._project}{' offline' * self._is_offline}"
        if not self._is_offline and not wandb.login(prompt=False, verify=False):
            raise ArgumentError(
                f"--log {place}: W&B has no key. Give `wandb login` or set WANDB_API_KEY; with WANDB_MODE=offline "
                "nothing is sent, and `wandb sync` sends it later."
            )

    def run_for(self, series: str, before: str | None) -> str:
        """See Logger. A run that is open in this process is the training's."""
        active = _active()
        return before or token_hex(4) if active is None else str(active.id)

    def log(self, batch: Batch) -> bool:
        """See Logger."""
        known = list(self._known(batch.run)) if batch.again else []
        rows = [row for row in batch.rows if not any(_line(row).items() <= line.items() for line in known)]
        active = _active()
        if active is not None and active.id == batch.run:
            _draw(active, rows)
            return False
        run = self._open(batch)
        try:
            # Each go offline is a folder of its own, and one after the other is sent: W&B's own steps must go on.
            _draw(run, rows, first=batch.tries if self._is_offline else None)
        finally:
            run.finish()
        return True

    def _open(self, batch: Batch) -> Run:
        """The run, beside any that is open in this process."""
        import wandb

        settings = wandb.Settings(
            console="off", disable_git=True, init_timeout=TIMEOUT, save_code=False, silent=True, x_disable_stats=True
        )
        asked: dict[str, Any] = {"name": batch.series, "config": {"model": batch.series}}
        if self._place.run is not None:
            asked = {}
            if not self._is_offline:  # the training writes it, too, and says when it ends
                asked["mode"] = "shared"
                settings.x_primary = False
                settings.x_update_finish_state = False
                settings.x_label = PREFIX
        return wandb.init(
            entity=self._entity,
            project=self._project,
            id=batch.run,
            resume="allow",
            reinit="create_new",
            settings=settings,
            **asked,
        )

    def _known(self, run: str) -> Iterator[Mapping[str, Any]]:
        """What is logged in a run of ours."""
        lines = self._written(run) if self._is_offline else self._sent(run)
        return (line for line in lines if STEP in line)

    def _written(self, run: str) -> Iterator[Mapping[str, Any]]:
        """The lines in the folders that wait to be sent. A file that a kill has torn is read as far as it goes."""
        for file in sorted(self._folder.glob(f"offline-run-*-{run}/run-{run}.wandb")):
            command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
            shown = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - W&B's own program
            if shown.returncode:
                raise OSError(f"W&B cannot read its own {file}: {shown.stderr}")
            for record in map(json.loads, shown.stdout.splitlines()):
                if record["type"] == "history":
                    yield record["history"]["item"]

    def _sent(self, run: str) -> Iterator[Mapping[str, Any]]:
        """The lines that the server has."""
        import wandb

        path = "/".join(filter(None, (self._entity, self._project, run)))
        try:
            found = wandb.Api(timeout=TIMEOUT).run(path)
        except (wandb.errors.CommError, ValueError) as error:
            if "could not find run" in str(error).lower():
                return
            raise
        yield from found.scan_history()


def _project(place: Place, entity: str | None, project: str | None) -> tuple[str | None, str]:
    """Entity, None for the person's own, and project."""
    if place.where is None:
        return entity, project or PREFIX
    *before, name = place.where.split("/")
    if len(before) > 1 or not all((*before, name)):
        raise ArgumentError(
            f"--log {place}: expected wandb:PROJECT or wandb:ENTITY/PROJECT, and the training's own run behind a #: "
            "wandb:ENTITY/PROJECT#RUN-ID"
        )
    return (before[0] if before else entity), name


def _active() -> Run | None:
    """The run that this process has open."""
    import wandb

    return wandb.run


def _line(row: LogRow) -> dict[str, float]:
    """What is logged of a row."""
    return {STEP: row.step, **({} if row.tokens is None else {TOKENS: row.tokens}), **row.values}


def _draw(run: Run, rows: Iterable[LogRow], first: int | None = None) -> None:
    """Logs rows, and says what their axis is. Ends of intervals get no panels of their own; charts may show them."""
    rows = list(rows)
    run.define_metric(STEP, hidden=True)
    run.define_metric(TOKENS, step_metric=STEP, hidden=True)
    run.define_metric(f"{PREFIX}/*", step_metric=STEP)
    for name in sorted(frozenset().union(*(row.ends for row in rows))):
        run.define_metric(name, step_metric=STEP, hidden=True)
    for place, row in enumerate(rows):
        run.log(_line(row), step=None if first is None else first + place)
