"""An open server: asked at the start what it is and what it can do, then on a thread of its own; and what that cost."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from benchbench.backends.api.answers import (
    Messages,
    ServerFacts,
    check_name,
    echo_body,
    echoed_tokens,
    going_on,
    ids_score,
    writing_body,
    written,
)
from benchbench.backends.api.client import AnswerError, Client
from benchbench.backends.api.options import server_options
from benchbench.backends.api.shapes import (
    Answer,
    BadAnswerError,
    EchoedAnswer,
    IdsAnswer,
    ModelEntry,
    ModelList,
    NextAnswer,
    WrittenAnswer,
    read_entry,
)
from benchbench.backends.engines import ModelOptions
from benchbench.backends.protocol import Work
from benchbench.backends.writing import Job
from benchbench.core.errors import BackendError, ModelError, did_you_mean
from benchbench.core.ids import content_hash
from benchbench.core.types import BackendInfo

A = TypeVar("A", bound=Answer)
J = TypeVar("J")
T = TypeVar("T")

VERSION = "2"
"""Raised when a change of ours moves a log-likelihood beyond rounding: results of old versions are not reused."""

MOST_NAMES = 1000
LONGEST_NAME = 100
"""Names, and characters of one, among which a model that is not listed is looked for."""

PROBES = ("The quick brown fox jumps over the", "2, 4, 6, 8, 10,", "Paris is the capital of", "once upon a time there")
CHECKS = 4
"""How many tokens are compared between what the server would write and what it says of the same text as a prompt."""
TOLERANCE = 0.25
"""In nats. Half-precision servers differ from themselves by a few hundredths; a neighbour's value by many nats."""
CONNECTION_TROUBLE = frozenset(["timeout", "unreachable", "connection", "server_error", "rate_limited"])


async def explore(client: Client, model: str, ids: Sequence[int] | None) -> ServerFacts:
    """Who answers, at which endpoint, and how prompts can be scored. `ids` are the first probe's, if they are known.

    Raises BackendError or ModelError where the server cannot be reached, has no such model or answers as another one.
    """
    listed = await _listed(client, model)
    facts = ServerFacts(model, listed=listed, entry=_entry(client, model, listed))
    options = client.options
    facts.chat = options.endpoint == "chat"
    if not facts.chat:
        try:
            await _ask(client, facts, WrittenAnswer, {"prompt": PROBES[0], "max_tokens": 1, "temperature": 0})
        except AnswerError as error:
            if options.endpoint == "completions" or error.kind in CONNECTION_TROUBLE:
                raise BackendError(f"the server at {options.base_url} does not complete text: {error}") from None
            facts.chat = True
    if facts.chat:
        await _probe_chat(client, facts)
        facts.why_no_scoring = "its chat endpoint returns no log-probabilities of prompts"
        return facts
    await _probe_scoring(client, facts, ids)
    return facts


async def _listed(client: Client, model: str) -> Mapping[str, Any]:
    """The model's entry in the server's list; {} where it keeps none."""
    try:
        entries = (await client.get("models", ModelList)).data
    except AnswerError as error:
        if error.kind in CONNECTION_TROUBLE:
            raise BackendError(f"the server at {client.options.base_url} {error}") from None
        return {}
    by_name: dict[str, Mapping[str, Any]] = {
        str(entry.get("id")): entry for entry in entries if isinstance(entry, dict)
    }
    if not by_name or model in by_name:
        return by_name.get(model, {})
    known = [shown for name in sorted(by_name)[:MOST_NAMES] if (shown := client.key.redact(name[:LONGEST_NAME]))]
    raise ModelError(
        f"the server at {client.options.base_url} has no model {model!r}; it has {', '.join(known[:5])}."
        f"{did_you_mean(model, known)}"
    )


def _entry(client: Client, model: str, listed: Mapping[str, Any]) -> ModelEntry:
    try:
        return read_entry(listed)
    except BadAnswerError as error:
        raise BackendError(
            f"the server at {client.options.base_url} lists {model} with numbers that cannot be: "
            f"{client.key.redact(str(error))}."
        ) from None


async def _ask(
    client: Client, facts: ServerFacts, shape: type[A], body: Mapping[str, object], *, path: str = "completions"
) -> A:
    """One probe."""
    answer = await client.post(path, {"model": facts.asked, **body}, shape, lambda found: found)
    check_name(facts, answer, client.options.answers_as)
    return answer


async def _probe_chat(client: Client, facts: ServerFacts) -> None:
    body = {"messages": [{"role": "user", "content": PROBES[0]}]}
    try:
        await _ask(client, facts, WrittenAnswer, body | {"max_tokens": 1}, path="chat/completions")
    except AnswerError as error:
        if "max_completion_tokens" not in str(error):
            raise BackendError(
                f"the server at {client.options.base_url} neither completes nor chats: {error}"
            ) from None
        await _ask(client, facts, WrittenAnswer, body | {"max_completion_tokens": 16}, path="chat/completions")


async def _probe_scoring(client: Client, facts: ServerFacts, ids: Sequence[int] | None) -> None:
    if ids is not None and await _scores_ids(client, facts, ids):
        facts.scoring = "ids"
        return
    try:
        facts.why_no_scoring = await _echo_trouble(client, facts)
    except (AnswerError, BadAnswerError) as error:
        facts.why_no_scoring = f"it returns no log-probabilities of prompts ({str(error).rstrip('.')})"
    facts.scoring = "echo" if not facts.why_no_scoring else None


async def _scores_ids(client: Client, facts: ServerFacts, ids: Sequence[int]) -> bool:
    """Whether the server takes token ids, and its tokens are those of the tokenizer that was named."""
    try:
        body = {"prompt": list(ids), "max_tokens": 1, "prompt_logprobs": 0}
        answer = await _ask(client, facts, IdsAnswer, body)
        ids_score(answer, ids, 1)
    except (AnswerError, BadAnswerError):
        return False
    rows = (answer.choices[0].prompt_logprobs or [])[1:]
    decoded = [(row or {})[str(token)].decoded_token or "" for token, row in zip(ids[1:], rows, strict=True)]
    if not PROBES[0].endswith("".join(decoded)):
        raise ModelError(
            f"the tokenizer {client.options.tokenizer} is not that of {facts.asked}: the server reads its tokens as "
            f"{client.key.redact(''.join(decoded))!r}, not as {PROBES[0]!r}."
        )
    return True


async def _echo_trouble(client: Client, facts: ServerFacts) -> str:
    """Compares what the server would write next with what it says of the same token in a prompt; "" if they agree."""
    checked, worst = 0, 0.0
    for text in PROBES:
        body = {"prompt": text, "max_tokens": 1, "temperature": 0, "logprobs": 5}
        found = (await _ask(client, facts, NextAnswer, body)).choices[0].logprobs
        likely = (found.top_logprobs if found else None) or [None]
        for token, value in sorted((likely[0] or {}).items(), key=lambda pair: -pair[1])[:CHECKS]:
            as_prompt = await _as_prompt(client, facts, text, token)
            if as_prompt is not None:
                checked, worst = checked + 1, max(worst, abs(as_prompt - value))
            if checked >= CHECKS:
                break
    if not checked:
        return "its log-probabilities of prompts could not be checked"
    if worst > TOLERANCE:
        return (
            f"the log-probabilities it returns for prompts are not those of their tokens: one is {worst:.1f} nats off "
            "what the same server gives the same token when it writes"
        )
    return ""


async def _as_prompt(client: Client, facts: ServerFacts, text: str, token: str) -> float | None:
    """Log-probability of `token` at the end of a prompt; None where it does not stand there as one token."""
    if not token.isascii() or not token.isprintable() or not token.strip():
        return None
    whole = text + token
    answer = await _ask(client, facts, EchoedAnswer, echo_body(whole))
    last = echoed_tokens(answer, whole)[-1]
    return last.logprob if last.text == token and last.start == len(text) else None


class LoopThread:
    """Runs coroutines while the caller waits, or iterates over what comes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="benchbench-api", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stream(self, jobs: Iterable[J], handle: Callable[[J], Awaitable[T]], *, width: int) -> Iterator[T]:
        """`handle` of every job, at most `width` at once, as they finish.

        What `handle` raises ends the iteration, after what was finished before; so does closing the iterator.
        """
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        end = object()

        async def worker(feed: Iterator[J]) -> None:
            for job in feed:
                done.put(await handle(job))

        async def work() -> None:
            feed = iter(jobs)
            workers = [asyncio.ensure_future(worker(feed)) for _ in range(width)]
            try:
                await asyncio.gather(*workers)
            finally:
                for one in workers:
                    one.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                done.put(end)

        running = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            while (result := done.get()) is not end:
                yield result
            running.result()
        finally:
            running.cancel()

    def close(self) -> None:
        """Ends the thread."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
        if not self._loop.is_running():
            self._loop.close()


class ServerConnection:
    """An open server: what it is, what it has been asked, and what that cost."""

    def __init__(self, options: ModelOptions, ids: Sequence[int] | None = None) -> None:
        """`ids` are the tokens of the first probe, where the tokenizer is known."""
        self.options = server_options(options)
        self.client = Client(self.options)
        self.loop = LoopThread()
        self.work = Work()
        try:
            self.facts: ServerFacts = self.loop.run(explore(self.client, options.model, ids))
        except BaseException:
            self.close()
            raise
        self.length_name = "max_tokens"
        self._at_open = self._tokens_read()

    def _tokens_read(self) -> int:
        counts = self.client.counts
        return counts["prompt_tokens"] - counts["cached_tokens"] + counts["completion_tokens"]

    def describe(self, options: ModelOptions, *, tokenizer: str, max_length: int) -> BackendInfo:
        """The identity of a model that is known by name only: host, names, and what the server says of it."""
        facts = self.facts
        listed = {key: facts.listed.get(key) for key in ("root", "meta") if facts.listed.get(key)}
        known = {
            "host": self.options.host,
            "model": facts.answered or facts.asked,
            "asked": facts.asked,
            "said": listed,
        }
        fingerprint = sorted(facts.fingerprints)[:1]
        return BackendInfo(
            name="api",
            version=VERSION,
            model=options.model,
            model_identity="api:" + content_hash({**known, "fingerprint": fingerprint}, digits=64),
            tokenizer_identity=tokenizer,
            dtype="unstated",
            device=self.options.host,
            max_length=max_length,
            vocab_size=0,
            plan="plain",
            numerics=f"{'chat' if facts.chat else 'completions'}, scoring {facts.scoring or 'none'}",
        )

    def notes(self) -> tuple[str, ...]:
        """What a reader of the results should know."""
        facts = self.facts
        found = [
            f"{facts.answered or facts.asked} on {self.options.host} is known by its name only: its weights cannot be "
            "checked, and may change behind that name"
        ]
        if len(facts.fingerprints) > 1:
            shown = sorted(facts.fingerprints)
            more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
            found.append(f"the server changed while it answered: system_fingerprint {', '.join(shown[:5])}{more}")
        if self.client.longest_asked > self.options.timeout:
            found.append(
                "the server asked for longer waits (Retry-After) than were made: at most the timeout of "
                f"{self.options.timeout:g} s at once"
            )
        return tuple(found)

    def count(self, needed: int = 0) -> None:
        """Bring `work` up to date; `needed` tokens were asked for. `served` includes the checks at the start."""
        counts, work = self.client.counts, self.work
        work.tokens_needed += needed
        work.tokens_computed = self._tokens_read() - self._at_open
        work.batches = counts["requests"]
        names = ("requests", "retries", "prompt_tokens", "completion_tokens")
        work.served = {name: counts[name] for name in names}
        if self.client.waited:
            work.served["waited_seconds"] = round(self.client.waited, 3)
        if (cost := self.client.cost()) is not None:
            work.served["cost"] = cost

    async def post(self, path: str, body: Mapping[str, object], shape: type[A], read: Callable[[A], T]) -> T:
        """What `read` makes of the answer, which has to be that of the model asked for. Raises as `Client.post`."""

        def parse(answer: A) -> T:
            check_name(self.facts, answer, self.options.answers_as)
            return read(answer)

        return await self.client.post(path, {"model": self.facts.asked, **body}, shape, parse)

    async def write(self, prompt: str | Sequence[int] | Messages, job: Job, index: int) -> tuple[Any, int]:
        """(text, prompt tokens) of one job. AnswerError where there is none."""

        def read(answer: WrittenAnswer) -> Any:
            return written(answer, index, job.params)

        body = writing_body(job, length_name=self.length_name)
        if not self.facts.chat:
            return await self.post("completions", body | {"prompt": prompt}, WrittenAnswer, read)
        messages: Any = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        try:
            asked = body | {"messages": messages} | going_on(messages)
            return await self.post("chat/completions", asked, WrittenAnswer, read)
        except AnswerError as error:
            if self.length_name in body and "max_completion_tokens" in str(error) and error.kind == "refused":
                self.length_name = "max_completion_tokens"
                return await self.write(prompt, job, index)
            raise

    def refuse_scoring(self) -> BackendError:
        """Why this server cannot score, and what can."""
        return BackendError(
            f"the server at {self.options.base_url} cannot score: {self.facts.why_no_scoring}. Tasks that compare "
            "log-likelihoods need a server that returns them, such as vLLM, or the model itself (--backend hf, vllm or "
            "gguf); tasks that generate text work here."
        )

    def close(self) -> None:
        """Close connections and thread."""
        self.loop.run(self.client.close())
        self.loop.close()
