"""A fresh lm-eval process on one checkpoint: prints the seconds from its start to its first scored request.

`python -m tests.runner.sweep.fresh_lm_eval MODEL TASK_FOLDER STARTED`, STARTED being time.time() of the caller.
"""

from __future__ import annotations

import sys
import time
from typing import Any


class ScoredError(Exception):
    """The first request was scored: nothing more is asked."""


def main() -> None:
    """Evaluates until the first answer."""
    model, tasks, started = sys.argv[1], sys.argv[2], float(sys.argv[3])
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    call = HFLM._model_call

    def first(self: Any, *arguments: Any, **options: Any) -> Any:
        call(self, *arguments, **options)
        print(time.time() - started)
        raise ScoredError

    HFLM._model_call = first
    manager = TaskManager(include_path=tasks, include_defaults=False)
    try:
        simple_evaluate(
            HFLM(model, dtype="float32", device="cpu", batch_size=8), tasks=["toy_quiz"], task_manager=manager
        )
    except ScoredError:
        return


if __name__ == "__main__":
    main()
