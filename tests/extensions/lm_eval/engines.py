"""A made-up model behind two doors: a backend of ours, an `LM` of lm-eval's. Asked the same, it says the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from benchbench.backends.engines import ModelOptions
from benchbench.backends.protocol import NOTHING, RequestKeys
from benchbench.backends.scripted import ScriptedBackend
from benchbench.core.ids import content_hash
from benchbench.core.types import Completion, GenerateRequest, Loglikelihood, LoglikelihoodRequest, RollingRequest


def unit(*asked: object) -> float:
    """From 0 to 1, following from what was asked."""
    return int(content_hash([str(part) for part in asked], digits=12), 16) / 16**12


class Answers:
    """What the model says. `right` maps a prompt to the answer that it gives every other time."""

    def __init__(self) -> None:
        self.right: dict[str, str] = {}

    def loglikelihood(self, context: str, continuation: str) -> tuple[float, bool]:
        """Longer texts are less likely."""
        drawn = unit(context, continuation)
        return -0.2 * len(continuation) - 3 * drawn, drawn < 0.4

    def text(self, prompt: str, again: int, until: Sequence[str]) -> str:
        """The right answer, one that belongs to another prompt, or a sentence around the right one."""
        others = sorted(self.right.values()) or ["42"]
        other = others[int(unit(prompt, again, "other") * len(others))]
        right = self.right.get(prompt, other)
        drawn = unit(prompt, again)
        text = right if drawn < 0.5 else other if drawn < 0.7 else f"The answer is {right}. So {other}"
        cut = min((place for stop in until if stop and (place := text.find(stop)) >= 0), default=len(text))
        return text[:cut]


class Ours(ScriptedBackend):
    """The backend. Counts what it answers, and may stop in the middle as if killed."""

    def __init__(self, answers: Answers, *, stop_after: int | None = None) -> None:
        super().__init__(ModelOptions("hash,salt=answers", backend="scripted"))
        self.answers, self.answered, self.stop_after = answers, 0, stop_after

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood]:
        for request in self._wanted(requests, skip):
            total, greedy = self.answers.loglikelihood(request.prompt.text, request.continuation)
            yield Loglikelihood(request, total, greedy, max(1, len(request.continuation.split())), 1)

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood]:
        for request in self._wanted(requests, skip):
            total, greedy = self.answers.loglikelihood("", request.text)
            yield Loglikelihood(request, total, greedy, max(1, len(request.text.split())), 0)

    def generate(self, requests: Sequence[GenerateRequest], *, skip: RequestKeys = NOTHING) -> Iterator[Completion]:
        asked: Counter[tuple[int, str]] = Counter()
        again = {}
        for request in requests:
            key = (request.doc_id, request.prompt.text)
            again[request.key] = asked[key]
            asked[key] += 1
        for request in self._wanted(requests, skip):
            text = self.answers.text(request.prompt.text, again[request.key], request.params.until)
            yield Completion(request, text, "stop", len(text.split()), 1)

    def _wanted(self, requests: Sequence[Any], skip: RequestKeys) -> Iterator[Any]:
        for request in requests:
            if request.key not in skip:
                if self.stop_after is not None and self.answered >= self.stop_after:
                    raise KeyboardInterrupt
                self.answered += 1
                yield request


def theirs(answers: Answers) -> Any:
    """The model as lm-eval sees it."""
    from lm_eval.api.model import LM

    class Theirs(LM):  # type: ignore[misc]
        def loglikelihood(self, requests: Any) -> list[tuple[float, bool]]:
            return [answers.loglikelihood(*request.args) for request in requests]

        def loglikelihood_rolling(self, requests: Any) -> list[float]:
            return [answers.loglikelihood("", request.args[0])[0] for request in requests]

        def generate_until(self, requests: Any) -> list[str]:
            asked: Counter[tuple[str, int, str]] = Counter()
            found = []
            for request in requests:
                prompt, options = request.args
                until = options.get("until") or []
                key = (request.task_name, request.doc_id, prompt)
                found.append(answers.text(prompt, asked[key], [until] if isinstance(until, str) else until))
                asked[key] += 1
            return found

    return Theirs()
