"""Asking a server in token ids, by the model's own tokenizer: boundaries and overflow as with local weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.backends.api import ENGINE
from benchbench.backends.api.answers import TextScore, ids_score
from benchbench.backends.api.backend import TextBackend
from benchbench.backends.api.client import AnswerError
from benchbench.backends.api.options import server_options
from benchbench.backends.api.server import PROBES, ServerConnection
from benchbench.backends.api.shapes import IdsAnswer
from benchbench.backends.encode import EncodedPair, Encoder
from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.find import find_model
from benchbench.backends.models.identity import tokenizer_identity
from benchbench.backends.models.tokenizer import load_tokenizer
from benchbench.backends.tokens import Exhausted, Scored, TokenBackend
from benchbench.backends.writing import Job, Written
from benchbench.core.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


DEFAULT_LENGTH = 2048
"""Taken where neither the user nor the server tells how much the model holds."""


def open_server(options: ModelOptions) -> TextBackend | TokensBackend:
    """The backend for the server in `options`: in tokens where the tokenizer is known and the server takes ids."""
    named = server_options(options).tokenizer
    if named is None:
        return TextBackend(options, ServerConnection(options))
    tokenizer, identity = _load(named, options)
    ids = _probe(tokenizer)
    server = ServerConnection(options, ids)
    if server.facts.scoring == "ids":
        return TokensBackend(options, server, tokenizer, identity)
    return TextBackend(options, server, tokenizer)


def _load(named: str, options: ModelOptions) -> tuple[PreTrainedTokenizerBase, str]:
    source = find_model(named)
    return load_tokenizer(source, trusted=options.trust_remote_code), tokenizer_identity(Path(source.folder))


class TokensBackend(TokenBackend):
    """A server that takes token ids and returns their log-probabilities."""

    abilities = ENGINE.abilities

    def __init__(
        self, options: ModelOptions, server: ServerConnection, tokenizer: PreTrainedTokenizerBase, identity: str
    ) -> None:
        super().__init__()
        self.options, self.server = options, server
        self.work = server.work
        length = _length(options, server)
        self._encoder = Encoder(tokenizer, length)
        self._identity, self._probe = identity, _probe(tokenizer)
        self.info = server.describe(options, tokenizer=identity, max_length=length)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about this model that a reader of its results should see."""
        return self.server.notes()

    def score_pairs(self, pairs: Sequence[EncodedPair], skip: Collection[int]) -> Iterator[Scored | Exhausted]:
        """One question per distinct text, however many requests ask it."""
        asked: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for i, pair in enumerate(pairs):
            if i not in skip:
                asked.setdefault((len(pair.context), pair.context + pair.continuation), []).append(i)
        yield from self._stream(list(asked.items()), self._score)

    async def _score(self, job: tuple[tuple[int, tuple[int, ...]], list[int]]) -> list[Scored | Exhausted]:
        (context, ids), requests = job

        def read(answer: IdsAnswer) -> TextScore:
            return ids_score(answer, ids, context)

        body = {"prompt": list(ids), "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        try:
            score = await self.server.post("completions", body, IdsAnswer, read)
        except AnswerError as error:
            return [Exhausted(request, str(error), error.kind) for request in requests]
        return [Scored(request, score.total, score.is_greedy, score.num_tokens, True) for request in requests]

    def write_jobs(self, jobs: Sequence[Job], skip: Collection[int]) -> Iterator[Written | Exhausted]:
        """One question per job."""
        yield from self._stream([(i, job) for i, job in enumerate(jobs) if i not in skip], self._write)

    async def _write(self, job: tuple[int, Job]) -> list[Written | Exhausted]:
        index, asked = job
        try:
            text, _ = await self.server.write(list(asked.context), asked, index)
        except AnswerError as error:
            return [Exhausted(index, str(error), error.kind)]
        return [text]

    def _stream(self, jobs: Sequence[Any], handle: Any) -> Iterator[Any]:
        found = self.server.loop.stream(jobs, handle, width=self.server.options.concurrency)
        return self.counted(answer for answers in found for answer in answers)

    def count_work(self) -> None:
        """See `TokenBackend`."""
        self.server.count()

    def load_weights(self, checkpoint: str) -> None:
        """Ask another model of the same server, with the same tokenizer. ModelError where it has none such."""
        options = replace(self.options, model=checkpoint)
        server = ServerConnection(options, self._probe)
        if server.facts.scoring != "ids" or _length(options, server) != self._encoder.max_length:
            server.close()
            raise ModelError(
                f"{checkpoint} is another kind of model than {self.options.model}; open it as a model of its own."
            )
        self.server.close()
        self.options, self.server = options, server
        server.work = self.work
        info = server.describe(options, tokenizer=self._identity, max_length=self._encoder.max_length)
        self.info = replace(info, chosen=self.info.chosen)

    def close(self) -> None:
        """Close the connections."""
        self.forget_tokens()
        self.server.close()


def _probe(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    return list(tokenizer(PROBES[0], add_special_tokens=False)["input_ids"])


def _length(options: ModelOptions, server: ServerConnection) -> int:
    """Tokens a text may have: two less than the server holds, for it reads the last scored token and writes one."""
    limit = server.facts.max_length
    if options.max_length is not None and limit is not None and options.max_length > limit - 2:
        raise ArgumentError(
            f"--max-length {options.max_length:,} is more than the server's {limit:,} tokens, less two."
        )
    if limit is not None and limit <= 2:
        raise ModelError(f"the server says that {options.model} holds {limit} tokens; a text of one needs 3.")
    return options.max_length or (limit - 2 if limit else DEFAULT_LENGTH)
