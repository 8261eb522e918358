"""The api backend: a model behind an OpenAI-compatible server, asked in text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from benchbench.backends.api import ENGINE
from benchbench.backends.api.answers import (
    ServerChat,
    TemplatedText,
    TextScore,
    as_messages,
    echo_body,
    echo_score,
    echoed_tokens,
    question_key,
)
from benchbench.backends.api.client import AnswerError
from benchbench.backends.api.server import ServerConnection
from benchbench.backends.api.shapes import EchoedAnswer
from benchbench.backends.chat import template_of
from benchbench.backends.encode import move_spaces
from benchbench.backends.engines import ModelOptions, refusal
from benchbench.backends.protocol import NOTHING, ChatFormat, RequestKeys
from benchbench.backends.writing import Job, seed_text
from benchbench.core.chat import Conversation
from benchbench.core.errors import BackendError
from benchbench.core.ids import content_hash
from benchbench.core.types import (
    BackendInfo,
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Prompt,
    Request,
    RollingRequest,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TextBackend:
    """Asks in text: the server tokenises. A prompt that it calls too long is shortened by the usual policy, then
    asked anew.

    `--model-args`: base_url (or OPENAI_BASE_URL), endpoint (auto, completions or chat), tokenizer, answers_as,
    concurrency, requests_per_minute, retries, timeout in seconds, key_variable (default OPENAI_API_KEY), input_price
    and output_price per million tokens.
    """

    def __init__(
        self, options: ModelOptions, server: ServerConnection, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> None:
        """`tokenizer` has the chat template, where conversations are sent as text."""
        self.options, self.server, self._tokenizer = options, server, tokenizer
        self.work = server.work
        self.info = self._describe()

    def _describe(self) -> BackendInfo:
        known = self.options.max_length or self.server.facts.max_length or 0
        return self.server.describe(self.options, tokenizer="the server's own", max_length=known)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about this model that a reader of its results should see."""
        return self.server.notes()

    def refuses(self, params: GenerationParams) -> str | None:
        """Why a server cannot write with these settings, or None if it can."""
        return refusal(params, "an OpenAI-compatible server", ENGINE.abilities)

    @property
    def chat(self) -> ChatFormat:
        """The server's own, where it takes messages; else that of the tokenizer that is named."""
        if self.server.facts.chat:
            return ServerChat()
        return self._templated.template

    @cached_property
    def _templated(self) -> TemplatedText:
        if self._tokenizer is None:
            raise BackendError(
                f"{self.options.model} is asked through the completions endpoint of {self.server.options.host}, which "
                "takes text: name the tokenizer whose chat template makes text of conversations (--model-args "
                "tokenizer=...), or ask the chat endpoint (--model-args endpoint=chat)."
            )
        return TemplatedText(template_of(self._tokenizer), self._tokenizer)

    def _asked(self, prompt: Prompt | Conversation) -> Any:
        """Text or messages, as the server takes them."""
        if isinstance(prompt, Prompt):
            return prompt.text
        return as_messages(prompt) if self.server.facts.chat else self._templated.text(prompt)

    def request_keys(self, docs: Sequence[Sequence[Request]]) -> list[str]:
        """One hash per doc over the texts that its requests ask the model."""
        return [content_hash([self._question(request) for request in doc], digits=64) for doc in docs]

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """Score each continuation after its prompt; choices of one doc lose the same shots."""
        groups: dict[tuple[str, int, int], list[LoglikelihoodRequest]] = {}
        for request in requests:
            if request.key in skip:
                continue
            if not request.continuation:
                yield Loglikelihood(request, 0.0, True, 0)
            else:
                groups.setdefault((request.task, request.doc_id, id(request.prompt)), []).append(request)
        if groups and self.server.facts.scoring is None:
            raise self.server.refuse_scoring()
        for answers in self._stream(list(groups.values()), self._score_group):
            for answer in answers:
                self.server.count(_tokens(answer))
                yield answer

    async def _score_group(self, group: Sequence[LoglikelihoodRequest]) -> list[Loglikelihood | Failure]:
        """Requests with the same prompt: when one does not fit, all are asked with a shorter prompt."""
        prompt: Prompt | Conversation | None = group[0].prompt
        whole = group[0].prompt
        while prompt is not None:
            answers: list[Loglikelihood | Failure] = []
            for request in group:
                answer = await self._score_text(request, prompt, len(whole.shots) - len(prompt.shots))
                answers.append(answer)
                if isinstance(answer, Failure) and answer.kind == "context_too_long":
                    break
            else:
                return answers
            prompt, last = prompt.shorter(), answers[-1]
        message = last.message if isinstance(last, Failure) else ""
        return [Failure(request, "context_too_long", message) for request in group]

    async def _score_text(
        self, request: LoglikelihoodRequest, prompt: Prompt | Conversation, dropped: int
    ) -> Loglikelihood | Failure:
        try:
            ending = request.continuation
            if isinstance(prompt, Conversation):
                ending = self._templated.continuation(prompt, ending)
            context, continuation = move_spaces(self._asked(prompt), ending)
            score = await self._echo(context + continuation, len(context))
        except AnswerError as error:
            return Failure(request, error.kind, str(error))
        return Loglikelihood(request, score.total, score.is_greedy, score.num_tokens, score.prompt_tokens, dropped)

    async def _echo(self, text: str, context: int) -> TextScore:
        def read(answer: EchoedAnswer) -> TextScore:
            return echo_score(echoed_tokens(answer, text), context)

        return await self.server.post("completions", echo_body(text), EchoedAnswer, read)

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """Score each whole text, if it fits the server at once: windows need the tokenizer."""
        wanted = [request for request in requests if request.key not in skip]
        if any(request.text for request in wanted) and self.server.facts.scoring is None:
            raise self.server.refuse_scoring()
        for answer in self._stream(wanted, self._score_whole):
            self.server.count(_tokens(answer))
            yield answer

    async def _score_whole(self, request: RollingRequest) -> Loglikelihood | Failure:
        if not request.text:
            return Loglikelihood(request, 0.0, True, 0)
        try:
            score = await self._echo(request.text, 0)
        except AnswerError as error:
            more = " Name the model's tokenizer (--model-args tokenizer=...) for a server that takes token ids."
            told = more if error.kind in ("context_too_long", "first_token_unknown") else ""
            return Failure(request, error.kind, f"{error}{told}")
        return Loglikelihood(request, score.total, score.is_greedy, score.num_tokens)

    def generate(
        self, requests: Sequence[GenerateRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Completion | Failure]:
        """Write text after each prompt."""
        wanted = [request for request in requests if request.key not in skip]
        for answer in self._stream(wanted, self._write):
            self.server.count(_tokens(answer))
            yield answer

    async def _write(self, request: GenerateRequest) -> Completion | Failure:
        params, length = request.params, self.info.max_length
        if (why := self.refuses(params)) is not None:
            return Failure(request, "unsupported", why)
        if 0 < length <= params.max_gen_toks:
            return Failure(
                request,
                "no_room",
                f"max_gen_toks is {params.max_gen_toks:,}, but the model holds only {length:,} tokens in all. Set a "
                "smaller max_gen_toks in the task's generation_kwargs.",
            )
        prompt: Prompt | Conversation | None = request.prompt
        failure = Failure(request, "context_too_long", "The prompt does not fit the server.")
        while prompt is not None:
            try:
                text, read = await self.server.write(self._asked(prompt), Job((), params, seed_text(request)), 0)
            except AnswerError as error:
                failure = Failure(request, error.kind, str(error))
                prompt = prompt.shorter() if error.kind == "context_too_long" else None
                continue
            dropped = len(request.prompt.shots) - len(prompt.shots)
            return Completion(request, text.text, text.finish_reason, text.num_tokens, read, dropped)
        return failure

    def _stream(self, jobs: Sequence[Any], handle: Any) -> Iterator[Any]:
        return self.server.loop.stream(jobs, handle, width=self.server.options.concurrency)

    def _question(self, request: Request) -> list[object]:
        kind = type(request).__name__
        if isinstance(request, RollingRequest):
            return question_key([kind, request.text])
        prompt: Any = request.prompt.text
        if isinstance(request.prompt, Conversation):
            prompt = [self.chat.sha256, as_messages(request.prompt)]
        asked = [kind, prompt, request.prompt.overflow]
        if isinstance(request, GenerateRequest):
            named = [seed_text(request)] if request.params.do_sample else []
            return question_key([*asked, *named], request.params)
        return question_key([*asked, request.continuation])

    def load_weights(self, checkpoint: str) -> None:
        """Ask another model of the same server from now on. ModelError where it has none of that name."""
        options = replace(self.options, model=checkpoint)
        server = ServerConnection(options)
        self.server.close()
        self.options, self.server = options, server
        server.work = self.work
        self.info = replace(self._describe(), chosen=self.info.chosen)

    def close(self) -> None:
        """Close the connections."""
        self.server.close()


def _tokens(answer: Loglikelihood | Completion | Failure) -> int:
    return 0 if isinstance(answer, Failure) else answer.prompt_tokens + answer.num_tokens
