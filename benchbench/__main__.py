"""`python -m benchbench`, and what the script `benchbench` calls: the command line, from its first import on."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Runs the command line; Ctrl-C while it is imported ends it as quietly as later."""
    try:
        from benchbench.cli.main import main as command_line
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    command_line()


if __name__ == "__main__":
    main()
