"""`python -m benchbench.extensions.demo FOLDER [STEPS]`: trains the demo's model alone, one line a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

from benchbench.core.errors import BenchbenchError
from benchbench.extensions.demo.training import DemoSettings, Progress, train


def main() -> None:
    """Trains; wrong input ends in a sentence on stderr and exit code 2."""
    folder = Path(sys.argv[1])
    try:
        train(DemoSettings(steps=int(sys.argv[2])) if len(sys.argv) > 2 else DemoSettings(), folder, on_progress=_say)
    except BenchbenchError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def _say(progress: Progress) -> None:
    if progress.saved is not None:
        numbers = f"loss {progress.loss:.2f}, {progress.tokens_per_second:,.0f} tokens/s"
        sys.stdout.write(f"step {progress.step}/{progress.steps}: {numbers}, saved {progress.saved}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
