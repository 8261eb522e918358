"""A judge at work: an open model, the judgements that are kept of it, and a budget.

Every judgement is a line of `<results>/judgements/<judge>/judgements.jsonl`, appended when it is given and never
changed: what it was asked (as a hash), what it said, what it cost. What is there is not asked again, by any command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.backends.protocol import Backend, ChatFormat
from benchbench.core.chat import Conversation
from benchbench.core.errors import BackendError, ModelError, StoppedError
from benchbench.core.ids import content_hash
from benchbench.core.types import PASSING_FAILURES, Completion, Failure, GenerateRequest, GenerationParams, Json, Prompt
from benchbench.extensions.judge.options import JudgeOptions
from benchbench.runner.events import Note, OnEvent, OpeningModel, SegmentsScored
from benchbench.store.files import make_folder
from benchbench.store.lines import LineLog, read_lines
from benchbench.store.lock import RunLock
from benchbench.store.names import folder_name

JUDGEMENTS = "judgements"
"""Folder in a results folder."""
BLOCK = 32
"""Judgements that are asked together; the layout is the same however often the work was interrupted."""
BYTES_PER_TOKEN = 4


class BudgetSpentError(StoppedError):
    """The judge's budget is spent. What was judged is kept, and the same command goes on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One judgement to be made."""

    system: str
    text: str
    repeat: int = 0
    """Which of several judgements of the same; each draws its own words."""

    @property
    def size(self) -> int:
        """Bytes that the judge reads."""
        return len(self.system.encode("utf-8", "replace")) + len(self.text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge said."""

    text: str | None
    """None where it could not be asked, for good: too long for it, say."""
    prompt_tokens: int = 0
    tokens: int = 0
    failure: str | None = None


class Judge(Protocol):
    """Answers judge prompts."""

    name: str

    def judged(self, asked: Sequence[Asked]) -> list[Judgement]:
        """A judgement for each, in their order."""
        ...


@dataclass(slots=True)
class Spent:
    """What judging cost in this session, over all judges."""

    budget: int | None
    judgements: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    served: dict[str, float] = field(default_factory=dict)

    @property
    def is_spent(self) -> bool:
        """Nothing more may be asked."""
        return self.budget is not None and self.prompt_tokens + self.tokens >= self.budget

    def sentence(self) -> str:
        """For people."""
        cost = f", cost {self.served['cost']:.4g}" if "cost" in self.served else ""
        return (
            f"{self.judgements:,} judgements asked: {self.prompt_tokens:,} tokens read, {self.tokens:,} written{cost}"
        )


class ModelJudge:
    """A judge that is a model on one of the engines."""

    def __init__(
        self, options: ModelOptions, settings: JudgeOptions, results: Path, spent: Spent, on_event: OnEvent
    ) -> None:
        """Opens the model. Raises as `open_backend`."""
        on_event(OpeningModel(options.model))
        self._backend: Backend = open_backend(options)
        self._settings, self._spent, self._on_event = settings, spent, on_event
        self.chat = chat_of(self._backend)
        self.name = short_name(options.model)
        info = self._backend.info
        self.weights = info.model_identity
        self.identity: dict[str, Json] = {
            "judge": self.name,
            "backend": info.name,
            "weights": info.model_identity,
            "revision": info.revision,
            "chat": None if self.chat is None else self.chat.sha256[:12],
            "dtype": info.dtype,
            "temperature": settings.temperature,
            "max_gen_toks": settings.max_gen_toks,
        }
        digest = content_hash(self.identity, digits=8)
        self._folder = results / JUDGEMENTS / folder_name(f"{self.name}-{digest}")
        self._log = self._folder / "judgements.jsonl"
        self.facts: dict[str, Json] = {**self.identity, "version": info.version, "numerics": info.numerics}

    def key(self, asked: Asked) -> str:
        """32 hex digits: equal keys of one judge, equal judgements."""
        return content_hash([asked.system, asked.text, asked.repeat], digits=32)

    def known(self) -> dict[str, Judgement]:
        """Judgements that are kept, by their key."""
        found = {}
        for line in read_lines(self._log):
            text, failure = line.get("text"), line.get("failure")
            found[str(line.get("key"))] = Judgement(
                None if text is None else str(text),
                _count(line.get("prompt_tokens")),
                _count(line.get("tokens")),
                None if failure is None else str(failure),
            )
        return found

    def judged(self, asked: Sequence[Asked]) -> list[Judgement]:
        """See Judge.

        Raises:
            BudgetSpentError: before the first block that the budget does not allow.
            BackendError: the judge gave no answer for a reason that may pass; what it answered before is kept.
        """
        keys = [self.key(one) for one in asked]
        known = self.known()
        wanted = dict(zip(keys, asked, strict=True))
        if any(key not in known for key in wanted):
            make_folder(self._folder)
            with ExitStack() as stack:
                stack.enter_context(RunLock(self._folder))
                known = self.known()
                log = stack.enter_context(LineLog(self._log))
                for key, judgement in self._asked(wanted, known, log):
                    known[key] = judgement
        return [known[key] for key in keys]

    def _asked(
        self, wanted: Mapping[str, Asked], known: Mapping[str, Judgement], log: LineLog
    ) -> Iterator[tuple[str, Judgement]]:
        keys = list(wanted)
        left = sum(key not in known for key in keys)
        for start in range(0, len(keys), BLOCK):
            block = keys[start : start + BLOCK]
            if all(key in known for key in block):
                continue
            if self._spent.is_spent:
                raise BudgetSpentError(
                    f"the budget of {self._spent.budget:,} tokens is spent ({self._spent.sentence()}); {left:,}"
                    " judgements are left. What was judged is kept: the same command goes on with it."
                )
            for key, judgement in self._block(block, wanted, known):
                log.append(
                    {
                        "key": key,
                        "text": judgement.text,
                        "prompt_tokens": judgement.prompt_tokens,
                        "tokens": judgement.tokens,
                        "failure": judgement.failure,
                        "repeat": wanted[key].repeat,
                    }
                )
                left -= 1
                self._on_event(SegmentsScored(1))
                yield key, judgement

    def _block(
        self, block: Sequence[str], wanted: Mapping[str, Asked], known: Mapping[str, Judgement]
    ) -> Iterator[tuple[str, Judgement]]:
        requests = {key: self._request(key, wanted[key]) for key in block}
        of = {request.key: key for key, request in requests.items()}
        skip = frozenset(requests[key].key for key in block if key in known)
        away: Failure | None = None
        before = self._backend.work.copy()
        for response in self._backend.generate([*requests.values()], skip=skip):
            key = of[response.request.key]
            if isinstance(response, Failure) and response.kind in PASSING_FAILURES:
                away = response
                continue
            judgement = _judgement(response)
            self._spent.judgements += 1
            self._spent.prompt_tokens += judgement.prompt_tokens
            self._spent.tokens += judgement.tokens
            yield key, judgement
        for name, value in self._backend.work.since(before).served.items():
            self._spent.served[name] = self._spent.served.get(name, 0.0) + value
        if away is not None:
            raise BackendError(
                f"the judge {self.name} gave no answer ({away.kind}: {away.message.rstrip('.')}). What it judged so far"
                " is kept: the same command goes on with it."
            )

    def _request(self, key: str, asked: Asked) -> GenerateRequest:
        sampled = self._settings.temperature > 0
        params = GenerationParams(
            until=(),
            max_gen_toks=self._settings.max_gen_toks,
            do_sample=sampled,
            temperature=self._settings.temperature if sampled else 1.0,
        )
        prompt: Prompt | Conversation
        if self.chat is None:
            prompt = Prompt("", (), f"{asked.system}\n\n{asked.text}\n\nVerdict:", "truncate_left")
        else:
            prompt = Conversation(asked.system, (), asked.text, bare_system=asked.system)
        return GenerateRequest("judge", int(key[:12], 16), 0, prompt, params)

    def close(self) -> None:
        """Gives the model's memory back."""
        self._backend.close()


def _count(value: Json) -> int:
    return value if isinstance(value, int) else 0


def short_name(model: str) -> str:
    """What to call a judge in a column: hub names, folders and files by their last part.

    >>> short_name("org/Judge-7B"), short_name("/models/judge.gguf"), short_name("hash,salt=2")
    ('Judge-7B', 'judge', 'hash_salt_2')
    """
    name = Path(model.rstrip("/")).name.removesuffix(".gguf")
    return re.sub(r"[^\w.-]+", "_", name) or "model"


def chat_of(backend: Backend) -> ChatFormat | None:
    """The model's chat template; None where it has none, and reads judge prompts as plain text."""
    try:
        return backend.chat
    except (ModelError, BackendError):
        return None


def _judgement(response: Completion | Failure) -> Judgement:
    if isinstance(response, Failure):
        return Judgement(None, failure=f"{response.kind}: {response.message}")
    cut = response.truncated_tokens or response.dropped_shots
    if cut:  # what it judged is not what it was to judge
        why = "too_long: what it was to read did not fit its context"
        return Judgement(None, response.prompt_tokens, response.num_tokens, why)
    return Judgement(response.text, response.prompt_tokens, response.num_tokens)


class Panel:
    """The judges of a command, opened when they are first asked for."""

    def __init__(self, settings: JudgeOptions, on_event: OnEvent) -> None:
        self.settings, self._on_event = settings, on_event
        self.spent = Spent(settings.budget)
        self._judges: list[ModelJudge] = []

    def judges(self, results: Path) -> list[ModelJudge]:
        """All judges, open. Raises as `open_backend`."""
        if not self._judges:
            for options in self.settings.model_options():
                judge = ModelJudge(options, self.settings, results, self.spent, self._on_event)
                self._judges.append(judge)
                if judge.chat is None:
                    self._on_event(Note(f"The judge {judge.name} has no chat template: it reads plain text."))
        return self._judges

    def close(self) -> None:
        """Closes the judges that were opened."""
        for judge in self._judges:
            judge.close()
        self._judges = []
