"""Starts COMET's process and talks to it: one JSON line there, one back. It lives until it is closed."""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated, TypeGuard

from benchbench.core.errors import ArgumentError, BackendError, ModelError
from benchbench.core.ids import content_hash
from benchbench.core.json_record import object_at
from benchbench.core.settings import Setting
from benchbench.core.types import FilterSpec, Item, Json, ScoringSpec
from benchbench.extensions.comet import DEFAULT_MODEL, CometModel, Segment
from benchbench.scoring.filters import FilterContext, apply_filter

PYTHON_ENV = "BENCHBENCH_COMET_PYTHON"
HOME = ".venv-comet"
WORKER = Path(__file__).with_name("worker.py")
_ADVICE = {
    "no_comet": "`make env-comet` makes an environment that has it; or name another with --comet-python.",
    "no_checkpoint": "--comet-model takes a name on the Hub, a model's folder or its checkpoint file.",
    "no_pkg_resources": "`make env-comet` makes an environment with setuptools below 81.",
    "no_gpu": "--device cpu computes without.",
    "not_loaded": "Is the file whole, and made by unbabel-comet?",
    "not_loaded_offline": "With HF_HUB_OFFLINE the encoder's tokenizer and configuration must be in the cache, too.",
}


@dataclass(frozen=True, slots=True)
class CometOptions:
    """Which model, where it runs, and how long an answer may take."""

    model: Annotated[
        str,
        Setting("A name on the Hub, a model's folder or its checkpoint file.", panel="COMET", flags=("--comet-model",)),
    ] = DEFAULT_MODEL
    python: Annotated[
        Path | None,
        Setting(
            "The python of its environment. Default: .venv-comet here.",
            panel="COMET",
            flags=("--comet-python",),
            env=PYTHON_ENV,
        ),
    ] = None
    batch_size: Annotated[int, Setting("Segments in one batch.", panel="COMET")] = 16
    device: Annotated[str, Setting("auto (the first GPU if there is one), cpu or cuda.", panel="COMET")] = "auto"
    timeout: Annotated[
        float,
        Setting("Seconds that loading, or one block of segments, may take.", panel="COMET", flags=("--comet-timeout",)),
    ] = 1800.0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ArgumentError(f"--batch-size is {self.batch_size}; it must be 1 or more.")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ArgumentError(
                f"--device is {self.device!r}; it is auto, cpu or cuda (CUDA_VISIBLE_DEVICES says which GPU)."
            )
        if not self.timeout > 0:
            raise ArgumentError(f"--comet-timeout is {self.timeout}; it must be more than 0 seconds.")


def find_python(given: Path | None) -> Path:
    """The python of COMET's environment: the one given, of BENCHBENCH_COMET_PYTHON, or in `.venv-comet` here.

    Raises:
        BackendError: there is none; the sentence says how to get one.
    """
    named = given or (Path(os.environ[PYTHON_ENV]) if os.environ.get(PYTHON_ENV) else None)
    if named is None:
        found = Path(HOME, "bin", "python")
        if found.is_file():
            return found
        raise BackendError(
            f"COMET needs an environment of its own, and there is no {HOME} in this folder. `make env-comet` makes it"
            f" in a checkout of benchbench; elsewhere name its python with --comet-python or {PYTHON_ENV}."
        )
    python = named / "bin" / "python" if named.is_dir() else named
    if not python.is_file() or not os.access(python, os.X_OK):
        said = "--comet-python" if given is not None else PYTHON_ENV
        raise BackendError(f"{said} {named}: no python is there. `make env-comet` makes COMET's environment.")
    return python


class CometProcess:
    """A running process with a loaded model."""

    def __init__(self, options: CometOptions) -> None:
        """Starts it and loads the model.

        Raises:
            BackendError: no environment, or a process that dies, is silent or answers nonsense.
            ModelError: the model is not there or cannot be loaded.
        """
        python = find_python(options.python)
        self._options = options
        self._rest = b""
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own python, our own file
                [str(python), "-u", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                stderr=self._stderr,
                env=_environment(),
            )
        except OSError as error:
            self._stderr.close()
            raise BackendError(f"{python} cannot be started: {error.strerror or error}.") from error
        self._stdin, self._stdout = _pipe(self._process.stdin), _pipe(self._process.stdout)
        try:
            self.model = self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> CometModel:
        offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        asked = {"do": "load", "model": self._options.model, "device": self._options.device, "offline": offline}
        answer = self._ask(asked, f"load {self._options.model}")
        try:
            return CometModel.of(self._options.model, object_at(answer, "facts"))
        except (KeyError, TypeError) as error:
            raise BackendError(f"COMET's process answered {_shown(answer)} when it was to load a model.") from error

    def score(self, segments: Sequence[Segment]) -> list[float]:
        """One score per segment, in order.

        Raises:
            BackendError: the process died, is silent, failed, or answered something else than that many numbers.
        """
        if not segments:
            return []
        rows = [segment.row() for segment in segments]
        asked = {"do": "score", "rows": rows, "batch_size": self._options.batch_size}
        answer = self._ask(asked, f"score {len(rows)} segments")
        scores = answer.get("scores")
        numbers = [float(one) for one in scores if _is_number(one)] if isinstance(scores, list) else []
        if not isinstance(scores, list) or not len(scores) == len(numbers) == len(rows):
            raise BackendError(f"COMET's process answered {_shown(answer)} to {len(rows)} segments.")
        return numbers

    def _ask(self, request: Mapping[str, object], doing: str) -> dict[str, Json]:
        line = self._exchange(json.dumps(request).encode("ascii") + b"\n", doing)
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise BackendError(
                f"COMET's process wrote {line[:80].decode('utf-8', 'replace')!r} where a JSON line was expected; it"
                f" should {doing}. Is --comet-python the python of COMET's environment?"
            ) from error
        if not isinstance(answer, dict):
            raise BackendError(f"COMET's process answered {_shown(answer)}, which is no JSON object.")
        if "error" in answer:
            raise _refused(answer, doing)
        return answer

    def _exchange(self, line: bytes, doing: str) -> bytes:
        """Writes a line and reads one, both before the time is up: a process that hangs may not read either."""
        until = time.monotonic() + self._options.timeout
        os.set_blocking(self._stdin.fileno(), False)
        while line:
            self._wait(self._stdin, selectors.EVENT_WRITE, until, doing)
            try:
                line = line[os.write(self._stdin.fileno(), line) :]
            except OSError:  # it died; what it said on stderr tells more than a broken pipe
                raise self._died(doing) from None
        while b"\n" not in self._rest:
            self._wait(self._stdout, selectors.EVENT_READ, until, doing)
            block = os.read(self._stdout.fileno(), 1 << 16)
            if not block:
                raise self._died(doing)
            self._rest += block
        answer, _, self._rest = self._rest.partition(b"\n")
        return answer

    def _wait(self, pipe: IO[bytes], event: int, until: float, doing: str) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0.0, until - time.monotonic())):
                raise BackendError(
                    f"COMET's process did not {doing} within {self._options.timeout:g} seconds. Allow more with"
                    " --comet-timeout, or take a smaller --batch-size."
                )

    def _died(self, doing: str) -> BackendError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        memory = " Out of memory? A smaller --batch-size needs less." if code == -9 else ""
        return BackendError(f"COMET's process {how} when it should {doing}.{memory}{self._last_words()}")

    def _last_words(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 4000))
        lines = [line for line in self._stderr.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return f" Its last words: {lines[-1][:300]}" if lines else ""

    def close(self) -> None:
        """Ends the process; one that does not end by itself is killed."""
        with suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        self._stderr.close()

    def __enter__(self) -> CometProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("the process was started without a pipe")
    return pipe


def _environment() -> dict[str, str]:
    """Ours without what would make the other python look for its packages in our places."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**own, "PYTHONIOENCODING": "utf-8", "TOKENIZERS_PARALLELISM": "false"}


def _refused(answer: Mapping[str, Json], doing: str) -> BackendError | ModelError:
    kind, message = str(answer["error"]), str(answer.get("message", "")).strip()
    if kind not in _ADVICE:
        return BackendError(f"COMET's process could not {doing}: {message}")
    error = ModelError if kind in ("no_checkpoint", "not_loaded", "not_loaded_offline") else BackendError
    return error(f"COMET: {message} {_ADVICE[kind]}")


def _is_number(value: Json) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}…"


Texts = tuple[tuple[Segment, ...], ...]
"""The texts that a filter leaves of an item, each against all of the item's references."""


def segments_of(spec: ScoringSpec, item: Item, source: str, *, reads_reference: bool) -> dict[str | None, Texts]:
    """Filter name → segments of a scored item. An answer in which a filter finds nothing is scored as empty text."""
    pipelines: tuple[FilterSpec | None, ...] = spec.filters or (None,)
    references: tuple[str | None, ...] = item.targets if reads_reference else (None,)
    return {
        None if pipeline is None else pipeline.name: tuple(
            tuple(Segment(source, text, reference) for reference in references)
            for text in apply_filter(pipeline, item.texts, FilterContext()).texts or ("",)
        )
        for pipeline in pipelines
    }


def segment_key(model: CometModel, segment: Segment) -> str:
    """16 hex digits: equal keys mean that a score may be taken over."""
    return content_hash([model.facts, segment.source, segment.translation, segment.reference])


def item_score(texts: Texts, known: Mapping[Segment, float]) -> float | None:
    """Mean over the texts, each by its best reference; None if a score is not a number."""
    best = [max(known[segment] for segment in references) for references in texts]
    mean = math.fsum(best) / len(best)
    return mean if math.isfinite(mean) else None
