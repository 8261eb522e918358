"""What a person gets instead of a traceback: a sentence, and a file to send."""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from benchbench.core import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "numpy", "pandas", "pyarrow", "vllm", "lm_eval", "typer")
SHOWN = (
    "LANG",
    "LC_ALL",
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "COLUMNS",
)
"""Variables of the environment whose values help and tell nothing about their owner."""
PLAIN = (
    *SHOWN,
    "HOME",
    "PATH",
    "PWD",
    "OLDPWD",
    "SHELL",
    "TERM",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "VIRTUAL_ENV",
    "PYTHONPATH",
)
"""Variables whose values may stand in a report. Wherever it holds the value of another one, the name stands instead."""
SHORTEST, SHORTEST_KEY = 8, 4
"""Characters from which a value of the environment is looked for: shorter ones stand in any text. The second is for
variables that are named as if they held a key."""
LONGEST_SENTENCE = 300
MOST_CHARACTERS = 200_000
_NAMES_KEY = re.compile(r"(?i)key|token|secret|pass|auth|cred|cookie|session")
_SECRETS = re.compile(
    r"(?i)(?P<before>bearer\s+|://[^\s/@:]*:|(?:key|token|secret|password|passwd)[\"']?\s*[=:]\s*[\"']?)[^\s\"'@,;]+"
    r"|\b(?:sk|hf|ghp|gho|xoxb|AKIA)[-_]?[A-Za-z0-9_-]{12,}"
)


class BugReports:
    """Takes what nobody caught, in any thread, and makes a sentence and a file of it."""

    def __init__(self) -> None:
        self.count = 0

    def install(self) -> None:
        """Also for threads, for what is raised where nobody can catch it, and at the end of the process."""
        sys.excepthook = self._hook
        sys.unraisablehook = lambda found: self._hook(found.exc_type, found.exc_value, found.exc_traceback)
        threading.excepthook = lambda found: self._hook(found.exc_type, found.exc_value, found.exc_traceback)

    def _hook(self, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt | SystemExit | BrokenPipeError):
            self.tell((error if error is not None else kind()).with_traceback(trace))

    def tell(self, error: BaseException) -> None:
        """Writes the report and says on stderr what happened and where the report is."""
        self.count += 1
        say(sentence(error, write_report(error)))


def say(text: str) -> None:
    """A line on stderr, if there still is one."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def sentence(error: BaseException, file: Path | None) -> str:
    """What happened, in words for the person at the command line; `file`: the report, if it could be written."""
    from benchbench.core.format import clean

    what = clean(without_secrets(_what(error)))[:LONGEST_SENTENCE]
    where = "No report could be written here." if file is None else f"Attach the file {clean(file)}."
    return (
        f"This is a bug in benchbench: {what}. Please report it. {where} What was computed is kept: the same command "
        "goes on from there."
    )


def _what(error: BaseException) -> str:
    import traceback

    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception may fail to say what it is
        text = ""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{f': {text}' if text else ''}".rstrip(".") + place


def report(error: BaseException) -> str:
    """Versions, the command line and the traceback, without keys."""
    import platform

    lines = [f"benchbench {__version__}, Python {platform.python_version()}, {platform.platform()}", *_versions()]
    lines += ["", "command: " + " ".join(map(repr, sys.argv)), f"folder: {_folder()}"]
    lines += [f"{name}={os.environ[name]}" for name in SHOWN if name in os.environ]
    whole = "\n".join([*lines, "", *_traceback(error)])
    if len(whole) > MOST_CHARACTERS:
        whole = f"{whole[: MOST_CHARACTERS // 2]}\n[cut]\n{whole[-MOST_CHARACTERS // 2 :]}"
    return without_secrets(whole) + "\n"


def _traceback(error: BaseException) -> list[str]:
    import traceback

    try:
        return [part.rstrip("\n") for part in traceback.TracebackException.from_exception(error, limit=-60).format()]
    except Exception as other:  # noqa: BLE001 - better half a report than none
        return [f"{type(error).__name__}, whose traceback could not be written: {type(other).__name__}"]


def _versions() -> Iterator[str]:
    from importlib import metadata

    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}"


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError as error:
        return f"unknown ({error.strerror})"


def without_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text without values of the environment, which may be keys, and without what looks like a key."""
    known = os.environ if environment is None else environment
    values = {value.strip(): name for name, value in known.items() if _is_hidden(name, value.strip())}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, f"[${values[value]}]").replace(repr(value)[1:-1], f"[${values[value]}]")
    return _SECRETS.sub(lambda found: f"{found['before'] or ''}[hidden]", text)


def _is_hidden(name: str, value: str) -> bool:
    if _NAMES_KEY.search(name):
        return len(value) >= SHORTEST_KEY
    return name not in PLAIN and len(value) >= SHORTEST and not value.isdigit() and not Path(value).is_absolute()


def write_report(error: BaseException) -> Path | None:
    """Writes the report into the folder that the command was given in, else where temporary files go.

    None where neither can be written.
    """
    text = report(error)
    name = f"benchbench-bug-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
    for folder in _folders():
        for number in range(1, 100):
            path = folder / f"{name}{f'-{number}' if number > 1 else ''}.txt"
            try:
                with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)
            except FileExistsError:
                continue
            except OSError:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                break
            return path
    return None


def _folders() -> Iterable[Path]:
    import tempfile

    found = [Path()]
    with suppress(OSError):
        found.append(Path(tempfile.gettempdir()))
    return found
