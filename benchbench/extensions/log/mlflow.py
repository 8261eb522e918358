"""MLflow: metrics of a run in a tracking server or a local store, by its client."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from benchbench.core.errors import ArgumentError
from benchbench.runner.logs.loggers import Batch, Place, need
from benchbench.runner.logs.rows import PREFIX, LogRow

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

TAG = "benchbench.run"
"""Of our runs: the id that was noted before the run was made, so that a kill between the two makes no second one."""
MOST = 1000
"""Metrics that MLflow takes at once."""
_FORBIDDEN = re.compile(r"[^\w.\- :/]")
"""What may not stand in a metric's name; `exact_match,strict` becomes `exact_match-strict`."""
_SQLITE = "sqlite:///"


class MlflowLogger:
    """WHERE is a tracking URI, RUN the id of a run there. Without them MLflow's own defaults and environment hold."""

    def __init__(self, place: Place, output: Path) -> None:
        need(place, "mlflow")
        from mlflow.tracking import get_tracking_uri

        self.address = _absolute(place.where or str(get_tracking_uri()))
        self._is_own = place.run is None
        lacking = [name for name in ("sqlalchemy", "alembic") if util.find_spec(name) is None]
        if self.address.startswith("sqlite:") and lacking:
            raise ArgumentError(
                f"--log {place}: MLflow keeps runs in {self.address}, for which it needs {' and '.join(lacking)}: pip "
                "install mlflow. Or give the address of a tracking server: --log mlflow:http://HOST:5000"
            )
        self._client = _opened(place, self.address)

    def run_for(self, series: str, before: str | None) -> str:
        """See Logger: what is tagged on the run that will be made."""
        return before or token_hex(8)

    def log(self, batch: Batch) -> bool:
        """See Logger. Rows that may be there are asked for first, curve by curve."""
        with _soon():
            run = self._run(batch) if self._is_own else batch.run
            metrics = [metric for row in batch.rows for metric in _metrics(row)]
            asked = {metric.key for row in batch.again for metric in _metrics(row)}
            known = {
                (name, metric.step, metric.value)
                for name in sorted(asked)
                for metric in self._client.get_metric_history(run, name)
            }
            missing = [one for one in metrics if (one.key, one.step, one.value) not in known]
            for start in range(0, len(missing), MOST):
                self._client.log_batch(run, metrics=missing[start : start + MOST], synchronous=True)
        return True

    def _run(self, batch: Batch) -> str:
        """The MLflow run of the batch, made if it is missing."""
        experiment = self._experiment()
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{batch.run}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        made = self._client.create_run(experiment, run_name=batch.series, tags={TAG: batch.run})
        self._client.set_terminated(made.info.run_id)  # it may be logged to all the same
        return str(made.info.run_id)

    def _experiment(self) -> str:
        if number := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return number
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PREFIX
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if found is None else found.experiment_id)


def _opened(place: Place, address: str) -> MlflowClient:
    """ArgumentError where a local store cannot be opened, or the store says that there is no such run. A server that
    does not answer now may later.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    is_local = not address.startswith(("http://", "https://"))
    try:
        with _soon():
            client = MlflowClient(tracking_uri=address)
            if is_local:
                client.search_experiments(max_results=1)
            if place.run is not None:
                client.get_run(place.run)
    except MlflowException as error:
        if is_local or error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise ArgumentError(f"--log {place}: MLflow says: {' '.join(str(error).split())}") from None
    return client


def _metrics(row: LogRow) -> list[Metric]:
    from mlflow.entities import Metric

    milliseconds = int(row.finished.timestamp() * 1000)
    return [Metric(_FORBIDDEN.sub("-", name), value, milliseconds, row.step) for name, value in row.values.items()]


def _absolute(uri: str) -> str:
    """A place on this machine as seen from anywhere."""
    path = uri.removeprefix(_SQLITE)
    if path != uri:
        return f"{_SQLITE}{Path(path).absolute()}"
    return uri if ":" in uri or not uri.startswith((".", "/", "~")) else str(Path(uri).expanduser().absolute())


@contextmanager
def _soon() -> Iterator[None]:
    """MLflow gives up after seconds where a server does not answer, not after its usual minutes: a sweep waits for it,
    and logs again later.
    """
    ours = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
    added = [name for name in ours if name not in os.environ]
    os.environ.update({name: ours[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
