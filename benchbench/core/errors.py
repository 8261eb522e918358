"""Errors a user can act on. Each is a sentence: what was given, what was expected, what to do next.

The command line prints the sentence and exits with 2. Anything else that is raised is a bug of ours: it becomes a file
to send (`cli/bug.py`), and exit code 70.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BenchbenchError(Exception):
    """Base of all errors that are the input's fault, not ours."""


class TaskError(BenchbenchError):
    """A task file, template or task name is wrong."""


class DataError(BenchbenchError):
    """A data set is missing, empty or not what the task says."""


class ModelError(BenchbenchError):
    """A model cannot be found, read or trusted."""


class BackendError(BenchbenchError):
    """An engine is missing, or cannot do what was asked."""


class StoreError(BenchbenchError):
    """A run folder cannot be written, read or is in use."""


class DamageError(StoreError):
    """A file of a run folder is not what was written there: torn, changed, missing, or no such file at all."""


class VersionError(StoreError):
    """A file of a run folder is of a later version of benchbench."""


class RunInUse(StoreError):  # noqa: N818 - it reads as a sentence
    """Another process writes the run folder just now."""


class StoppedError(BenchbenchError):
    """Work ended where it was told to end, with all of it kept: the same command goes on."""


class ArgumentError(BenchbenchError):
    """A command was given arguments that do not fit together."""


def did_you_mean(given: str, known: Iterable[str], *, count: int = 3) -> str:
    """`" Did you mean a or b?"` with the nearest known names, or the empty string."""
    near = get_close_matches(given, list(known), n=count, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""
