"""A backend without a model: answers come from a table or from a hash of the request. For tests and for the docs.

    --backend scripted --model answers.jsonl          a table, one answer a line
    --backend scripted --model hash                   made up from the request's text, always the same
    --backend scripted --model hash,salt=2,delay=0.01,fail=0.05,batch=4

A table line holds `text`, or `loglikelihood` with `continuation` or `rolling`. `prompt` is the whole prompt;
a line without one answers every prompt:

    {"prompt": "2 + 2 =", "continuation": " 4", "loglikelihood": -0.1, "is_greedy": true}
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchbench.backends.engines import Engine, ModelOptions
from benchbench.backends.protocol import NOTHING, ChatFormat, RequestKeys, Work
from benchbench.core.errors import BackendError, ModelError, did_you_mean
from benchbench.core.ids import content_hash
from benchbench.core.types import (
    BackendInfo,
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Json,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    RollingRequest,
)

LONGEST_DELAY = 3600
R = TypeVar("R", LoglikelihoodRequest, RollingRequest, GenerateRequest)
TableKey = tuple[str | None, str | None]
"""(whole prompt or None for any, continuation or None for a generation)."""


@dataclass(frozen=True, slots=True)
class Script:
    """How the backend answers."""

    table: dict[TableKey, dict[str, Json]]
    hashed: bool
    """Requests that the table does not answer are answered from their hash; otherwise they fail."""
    salt: str = ""
    """Another salt is another model: other weights, other answers."""
    delay: float = 0.0
    """Seconds each batch takes."""
    pace: float = 0.0
    """Seconds that every thousand characters of it take beside."""
    fail: float = 0.0
    """Share of requests that fail."""
    batch: int = 4
    """Requests in one batch."""


class ScriptedBackend:
    """Answers from a script. Values depend in their last digits on the batch, as those of a real engine do."""

    notes: tuple[str, ...] = ()

    def __init__(self, options: ModelOptions) -> None:
        """ModelError if the table cannot be read or an option is unknown."""
        self._script = _read_script(options.model.removeprefix("scripted:"))
        self.work = Work()
        identity = {"table": sorted(map(repr, self._script.table.items())), "salt": self._script.salt}
        self.info = BackendInfo(
            name="scripted",
            version="1",
            model=options.model,
            model_identity=content_hash({**identity, "hashed": self._script.hashed}, digits=64),
            tokenizer_identity="words",
            dtype="float32" if options.dtype == "auto" else options.dtype,
            device="cpu",
            max_length=2048 if options.max_length is None else options.max_length,
            vocab_size=256,
            revision=options.revision,
        )

    def refuses(self, params: GenerationParams) -> str | None:
        """Nothing: a table has no settings."""
        return None

    @property
    def chat(self) -> ChatFormat:
        """See `Backend`."""
        raise BackendError("the backend scripted answers plain prompts only. Leave --apply-chat-template out.")

    def request_keys(self, docs: Sequence[Sequence[Request]]) -> list[str]:
        """See `Backend`."""
        return [content_hash([_asked(request) for request in doc], digits=64) for doc in docs]

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """See `Backend`."""
        for request, noise in self._laid_out(requests, skip):
            yield self._score(request, request.prompt.text, request.continuation, noise)

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """See `Backend`."""
        for request, noise in self._laid_out(requests, skip):
            yield self._score(request, "", request.text, noise)

    def generate(
        self, requests: Sequence[GenerateRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Completion | Failure]:
        """See `Backend`."""
        for request, _ in self._laid_out(requests, skip):
            yield self._write(request)

    def load_weights(self, checkpoint: str) -> None:
        """Becomes the model that `checkpoint` names."""
        self.__init__(ModelOptions(model=checkpoint, backend="scripted"))  # type: ignore[misc]

    def close(self) -> None:
        """Nothing to give back."""

    def _laid_out(self, requests: Sequence[R], skip: RequestKeys) -> Iterator[tuple[R, float]]:
        """The wanted requests, longest first in batches, each with its batch's tiny share of the value."""
        ordered = sorted(requests, key=lambda request: (-len(_text(request)), request.key))
        for start in range(0, len(ordered), self._script.batch):
            batch = ordered[start : start + self._script.batch]
            if all(request.key in skip for request in batch):
                continue
            seconds = self._script.delay + self._script.pace * sum(len(_text(request)) for request in batch) / 1000
            if seconds:
                time.sleep(seconds)
            noise = _unit([_text(request) for request in batch]) * 1e-9
            self._count(batch, skip)
            yield from ((request, noise) for request in batch if request.key not in skip)

    def _count(self, batch: Sequence[Request], skip: RequestKeys) -> None:
        sizes = {request.key: _tokens(_text(request)) for request in batch}
        self.work.batches += 1
        self.work.tokens_needed += sum(size for key, size in sizes.items() if key not in skip)
        self.work.tokens_computed += max(sizes.values()) * len(batch)

    def _score(
        self, request: LoglikelihoodRequest | RollingRequest, prompt: str, continuation: str, noise: float
    ) -> Loglikelihood | Failure:
        line = self._find(prompt, continuation)
        if self._fails(request) or (line is None and not self._script.hashed):
            return self._failure(request)
        made_up = -8.0 * _unit([self._script.salt, prompt, continuation]) + noise
        said: Any = None if line is None else line["loglikelihood"]
        total = made_up if line is None else float(said)
        greedy = total > -0.8 if line is None else bool(line.get("is_greedy", False))
        if math.isnan(total):
            return Failure(request, "nan_logits", "the table says NaN")
        if not continuation and line is None:
            return Loglikelihood(request, 0.0, True, 0, _tokens(prompt))
        return Loglikelihood(request, total, greedy, _tokens(continuation), _tokens(prompt))

    def _write(self, request: GenerateRequest) -> Completion | Failure:
        prompt = request.prompt.text
        line = self._find(prompt, None)
        if self._fails(request) or (line is None and not self._script.hashed):
            return self._failure(request)
        text = content_hash([self._script.salt, prompt], digits=8) if line is None else str(line["text"])
        cuts = [position for stop in request.params.until if stop and (position := text.find(stop)) >= 0]
        text = text[: min(cuts)] if cuts else text
        return Completion(request, text, "stop" if cuts else "eos", _tokens(text), _tokens(prompt))

    def _find(self, prompt: str, continuation: str | None) -> dict[str, Json] | None:
        table = self._script.table
        return table.get((prompt, continuation), table.get((None, continuation)))

    def _fails(self, request: Request) -> bool:
        return self._script.fail > 0 and _unit(["fail", self._script.salt, _asked(request)]) < self._script.fail

    def _failure(self, request: Request) -> Failure:
        if self._fails(request):
            return Failure(request, "scripted", "this request was chosen to fail")
        return Failure(request, "not_in_table", "the table has no answer for this request")


def _read_script(model: str) -> Script:
    source, *rest = model.split(",")
    options: dict[str, Any] = {}
    known = {"salt": str, "delay": float, "pace": float, "fail": float, "batch": int}
    for part in rest:
        name, _, value = part.partition("=")
        if name not in known:
            raise ModelError(
                f"the scripted model has no option {name!r}; it has {', '.join(known)}.{did_you_mean(name, known)}"
            )
        try:
            options[name] = known[name](value)
        except ValueError:
            raise ModelError(f"the scripted model's {name} is {value!r}; it must be a number.") from None
    table = {} if source == "hash" else _read_table(Path(source))
    script = Script(table, hashed=source == "hash", **options)
    waits = all(0 <= seconds <= LONGEST_DELAY for seconds in (script.delay, script.pace))
    if script.batch < 1 or not 0 <= script.fail <= 1 or not waits:
        raise ModelError(
            f"the scripted model {model!r}: batch is 1 or more, fail a share from 0 to 1, delay and pace 0 to "
            f"{LONGEST_DELAY} s."
        )
    return script


def _read_table(path: Path) -> dict[TableKey, dict[str, Json]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ModelError(
            f"cannot read the table of answers {path}: {error.strerror}. Give a JSON lines file or `hash`."
        ) from None
    table: dict[TableKey, dict[str, Json]] = {}
    for number, text in enumerate(lines, start=1):
        if text.strip():
            table.update([_table_entry(path, number, text)])
    return table


def _table_entry(path: Path, number: int, text: str) -> tuple[TableKey, dict[str, Json]]:
    try:
        line = json.loads(text)
        if "text" in line:
            return (line.get("prompt"), None), line
        float(line["loglikelihood"])
        return (
            "" if "rolling" in line else line.get("prompt"),
            line.get("rolling", line.get("continuation", "")),
        ), line
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(
            f"{path}, line {number}: expected an object with `text`,"
            " or with `loglikelihood` and `continuation` or `rolling`."
        ) from None


def _asked(request: Request) -> list[Json]:
    if isinstance(request, RollingRequest):
        return ["rolling", request.text]
    if isinstance(request, GenerateRequest):
        return ["generate", request.prompt.text, request.params.as_json()]
    return ["loglikelihood", request.prompt.text, request.continuation]


def _text(request: Request) -> str:
    if isinstance(request, RollingRequest):
        return request.text
    return request.prompt.text + (request.continuation if isinstance(request, LoglikelihoodRequest) else "")


def _tokens(text: str) -> int:
    return len(text.split())


def _unit(value: object) -> float:
    """A number from 0 to 1 that follows from `value`."""
    return int(content_hash(value, digits=13), 16) / 16**13


ENGINE = Engine(name="scripted", opener="benchbench.backends.scripted:ScriptedBackend")
