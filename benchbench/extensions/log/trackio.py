"""Trackio: rows of a project's local database. `trackio sync` shows a project on a Space."""

from __future__ import annotations

from pathlib import Path

from benchbench.core.errors import ArgumentError
from benchbench.core.ids import content_hash
from benchbench.runner.logs.loggers import Batch, Place, need
from benchbench.runner.logs.rows import PREFIX


class TrackioLogger:
    """WHERE is a project, RUN the name of a run in it. By the database and not by `trackio.init`, which would end a run
    that the training has open in this process.
    """

    def __init__(self, place: Place, output: Path) -> None:
        need(place, "trackio")
        from trackio.sqlite_storage import SQLiteStorage
        from trackio.utils import TRACKIO_DIR

        self._storage = SQLiteStorage
        self._project = place.where or PREFIX
        self._is_own = place.run is None
        self.address = f"{Path(TRACKIO_DIR).absolute()}:{self._project}"
        try:
            SQLiteStorage.validate_project_name(self._project)
        except ValueError as error:
            raise ArgumentError(f"--log {place}: {error}") from None
        if place.run is not None and self._id_of(place.run) is None:
            raise ArgumentError(
                f"--log {place}: the project {self._project} has no run {place.run}. `trackio list runs --project "
                f"{self._project}` lists them."
            )

    def _id_of(self, name: str) -> str | None:
        """The id of the newest run of that name."""
        found = self._storage.get_latest_run_record_by_name(self._project, name)
        return None if found is None else found["id"]

    def run_for(self, series: str, before: str | None) -> str:
        """See Logger."""
        return before or f"{series}-{content_hash([self.address, series], digits=8)}"

    def log(self, batch: Batch) -> bool:
        """See Logger. Trackio takes a row of a known id for the row that it has."""
        run_id = batch.run if self._is_own else self._id_of(batch.run) or batch.run
        self._storage.bulk_log(
            project=self._project,
            run=batch.run,
            run_id=run_id,
            metrics_list=[dict(row.values) for row in batch.rows],
            steps=[row.step for row in batch.rows],
            timestamps=[row.finished.isoformat() for row in batch.rows],
            config={"model": batch.series, "_Created": batch.rows[0].finished.isoformat()} if self._is_own else None,
            log_ids=[content_hash([run_id, row.key], digits=32) for row in batch.rows],
        )
        return True
