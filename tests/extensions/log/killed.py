"""The command line in a process that kills itself: `python -m tests.extensions.log.killed LOGGER WHEN WORD…`.

WHEN is `begun` or `logged`: with -9 just before the logger's ledger gets a line that says so; or `inside`: while the
logger works, after W&B has been told of a row, or when MLflow has taken half of a batch. `never` ends well.
"""

from __future__ import annotations

import os
import signal
import sys


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    logger, when = sys.argv[1:3]
    sys.argv = ["benchbench", *sys.argv[3:]]
    if when in ("begun", "logged"):
        from benchbench.runner.logs import follow

        name = {"begun": "begin", "logged": "end"}[when]
        note = getattr(follow._Ledger, name)

        def noted(self, row, run):
            if self._lines.path.parent.name.startswith(logger):
                die()
            note(self, row, run)

        setattr(follow._Ledger, name, noted)
    if when == "inside" and logger == "wandb":
        import wandb

        wandb.Run.finish = die
    if when == "inside" and logger == "mlflow":
        from mlflow.tracking import MlflowClient

        whole = MlflowClient.log_batch

        def half(self, run, metrics, **more):
            whole(self, run, metrics[: len(metrics) // 2], **more)
            die()

        MlflowClient.log_batch = half
    from benchbench.__main__ import main as command_line

    sys.exit(command_line())


if __name__ == "__main__":
    main()
