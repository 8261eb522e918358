"""Text to tokens: the boundary rule, the overflow policy and rolling windows, in one place.

The rules are those of lm-eval 0.4.13, so that the same prompt becomes the same tokens:
whole = encode(context + continuation), the context's trailing spaces move to the continuation, and
the continuation is what the whole has beyond the context's own tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, cast

from benchbench.backends.chat import CHAT, START, ChatTemplate, template_of
from benchbench.core.chat import Conversation
from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, Prompt, RollingRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Architecture = Literal["causal", "seq2seq"]

PROBES = ("a", "1", ".")
"""Texts of which every tokenizer knows one."""


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A context and the tokens to score after it, cut to the model's length."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]
    dropped_shots: int = 0
    truncated_tokens: int = 0

    @property
    def inputs(self) -> tuple[int, ...]:
        """What the model reads: everything but the last token."""
        return (self.context + self.continuation)[:-1]

    @property
    def first_row(self) -> int:
        """Index of the input whose output predicts the first continuation token."""
        return len(self.context) - 1


@dataclass(frozen=True, slots=True)
class EncodedContext:
    """A context to generate from, cut so that the new tokens fit."""

    context: tuple[int, ...]
    dropped_shots: int = 0
    truncated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Unencodable:
    """A request that this model cannot be asked, and why."""

    kind: str
    message: str


THINKS = Unencodable(
    "unsupported",
    "With enable_thinking the answer comes after what the model thinks first, so how likely a given answer is right "
    "behind the question says nothing; ask such tasks with enable_thinking=false.",
)


class SourceLanguages(Protocol):
    """A tokenizer that can be told which language the texts are in."""

    def cannot(self, language: str | None) -> str | None:
        """Why it cannot, or None."""
        ...

    def reading(self, language: str) -> AbstractContextManager[None]:
        """Texts are taken for `language` meanwhile."""
        ...


class Tokenizer(Protocol):
    """What is used of a tokenizer, of transformers or of an engine's own."""

    @property
    def bos_token_id(self) -> int | None:
        """The token that a text begins with."""
        ...

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends a text."""
        ...

    def __call__(
        self, texts: list[str], /, *, add_special_tokens: bool = True, return_attention_mask: bool, verbose: bool
    ) -> Mapping[str, list[list[int]]]:
        """`input_ids` of each text."""
        ...

    def decode(self, ids: int | list[int], /, *, skip_special_tokens: bool = False) -> str | list[str]:
        """Text of the tokens; a list is for lists of texts, which are not asked for."""
        ...


class Encoder:
    """A tokenizer with lm-eval's rules for beginning-of-sequence tokens and boundaries.

    `tokenizer` is a transformers tokenizer, or one with `open_chat`, which finds its chat template; `max_length` counts
    tokens; `languages` are those of a translation model.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        architecture: Architecture = "causal",
        languages: SourceLanguages | None = None,
        open_chat: Callable[[], ChatTemplate] | None = None,
        *,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
    ) -> None:
        """`add_bos_token`: whether texts begin with a beginning-of-sequence token; None: as the tokenizer does.
        `prefix_token_id`: the token before an empty context; None: the tokenizer's beginning, else its end.
        """
        self.tokenizer = tokenizer
        self.languages = languages
        self._open_chat = open_chat
        self.max_length = max_length
        self.architecture = architecture
        self._add_bos = add_bos_token if architecture == "causal" else None
        own = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        prefix = own if prefix_token_id is None else prefix_token_id
        special = {} if own is None else {own: str(tokenizer.decode(own))}
        if prefix is not None and not tokenizer.decode([prefix], skip_special_tokens=True):
            special[prefix] = str(tokenizer.decode(prefix))
        self._beginnings = tuple(filter(None, special.values()))
        """Texts of the tokens that a text may begin with by itself."""
        self.prefix_token_id = cast(int, prefix)  # `load_tokenizer` refuses one that has neither

    @cached_property
    def appended(self) -> tuple[int, ...]:
        """The special tokens that the tokenizer puts behind every text, which the texts of a causal model go without.

        They would stand between a context and what comes next, or be scored in place of the last token. An encoder
        reads a text that is finished, so those of an encoder-decoder stay.
        """
        return appended_tokens(self.tokenizer) if self.architecture == "causal" else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results may not expect, as sentences without a full stop."""
        if not self.appended or self._add_bos is False:
            return ()
        text = "".join(str(self.tokenizer.decode(token)) for token in self.appended)
        return (f"the tokenizer puts {text} behind every text; it is left out, because the text goes on there",)

    @cached_property
    def chat(self) -> ChatTemplate:
        """How conversations become text. ModelError where the tokenizer has no chat template, or a broken one."""
        if self._open_chat is not None:
            return self._open_chat()
        return template_of(cast("PreTrainedTokenizerBase", self.tokenizer))

    def _texts(self, prompts: Sequence[Prompt | Conversation]) -> list[str]:
        """Each prompt as text; conversations through the chat template, marked as such."""
        conversations = {prompt: "" for prompt in prompts if isinstance(prompt, Conversation)}
        for conversation in conversations:
            conversations[conversation] = CHAT + self.chat.marked(conversation)
        return [prompt.text if isinstance(prompt, Prompt) else conversations[prompt] for prompt in prompts]

    def _ending(self, request: LoglikelihoodRequest) -> str:
        if isinstance(request.prompt, Prompt):
            return request.continuation
        return self.chat.control.mark(self.chat.continuation(request.prompt, request.continuation))

    def tokens(self, texts: Sequence[str], *, special: bool | None = None) -> list[list[int]]:
        """Token ids of each text. `special=None` means the tokenizer's own habit, except that a text
        which already begins with the prefix token gets no second one, and that a chat template writes all of them.
        """
        texts = list(texts)
        templated = [i for i, text in enumerate(texts) if text.startswith(CHAT) or START in text]
        if templated:
            return self._templated(texts, frozenset(templated), special)
        if special is not None:
            return self._encode(texts, special)
        # A prompt that spells out `<s>` would get a second one from the tokenizer, which no training text has.
        own = [i for i, text in enumerate(texts) if text.startswith(self._beginnings)]
        if not own:
            return self._encode(texts, self._add_bos)
        encoded = self._encode(texts, self._add_bos)
        for i, ids in zip(own, self._encode([texts[i] for i in own], False), strict=True):
            encoded[i] = ids
        return encoded

    def _templated(self, texts: list[str], templated: frozenset[int], special: bool | None) -> list[list[int]]:
        encoded: list[list[int]] = [[] for _ in texts]
        others = [i for i in range(len(texts)) if i not in templated]
        simple = [i for i in templated if START not in texts[i]]
        for i, ids in zip(others, self.tokens([texts[i] for i in others], special=special), strict=True):
            encoded[i] = ids
        for i, ids in zip(simple, self._encode([texts[i].removeprefix(CHAT) for i in simple], False), strict=True):
            encoded[i] = ids
        for i in templated.difference(simple):
            encoded[i] = self.chat.control.encode(texts[i])
        return encoded

    def _encode(self, texts: list[str], special: bool | None) -> list[list[int]]:
        if not texts:
            return []
        kwargs = {} if special is None else {"add_special_tokens": special}
        encoded = self.tokenizer(texts, return_attention_mask=False, verbose=False, **kwargs)
        end = () if special is False else self.appended
        return [_without_end(list(ids), end) for ids in encoded["input_ids"]]

    def pairs(self, requests: Sequence[LoglikelihoodRequest]) -> list[EncodedPair | Unencodable]:
        """Encode and fit. Requests of one doc with the same prompt lose the same shots."""
        is_chat = bool(requests) and isinstance(requests[0].prompt, Conversation)
        if is_chat and self.chat.arguments.get("enable_thinking") is True:
            return [THINKS] * len(requests)
        prompts = [request.prompt for request in requests]
        endings = [self._ending(request) for request in requests]
        dropped = [0] * len(requests)
        split = self._split(list(zip(self._texts(prompts), endings, strict=True)))
        pending = self._too_long(split, range(len(requests)))
        while pending:
            shared = {(requests[i].task, requests[i].doc_id, id(requests[i].prompt)) for i in pending}
            again = []
            for i, request in enumerate(requests):
                shorter = prompts[i].shorter()
                if (request.task, request.doc_id, id(request.prompt)) in shared and shorter is not None:
                    prompts[i] = shorter
                    dropped[i] = len(request.prompt.shots) - len(shorter.shots)
                    again.append(i)
            if not again:
                break
            renewed = self._split(
                list(zip(self._texts([prompts[i] for i in again]), [endings[i] for i in again], strict=True))
            )
            for i, pair in zip(again, renewed, strict=True):
                split[i] = pair
            pending = self._too_long(split, again)
        return [self._cut(*pair, n) for pair, n in zip(split, dropped, strict=True)]

    def _too_long(self, split: Sequence[tuple[list[int], list[int]]], indices: Iterable[int]) -> list[int]:
        return [i for i in indices if not self._fits(*split[i])]

    def _fits(self, context: list[int], continuation: list[int]) -> bool:
        if self.architecture == "seq2seq":
            return len(context) <= self.max_length
        # The last token is only predicted, never read: one more than the model holds fits.
        return len(context) + len(continuation) <= self.max_length + 1

    def _split(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """(context ids, continuation ids) of each pair, by the boundary rule."""
        moved = [move_spaces(context, continuation) for context, continuation in pairs]
        contexts = list(dict.fromkeys(context for context, _ in moved if context))
        context_ids = dict(zip(contexts, self.tokens(contexts), strict=True))
        if self.architecture == "seq2seq":
            alone = self.tokens([continuation for _, continuation in moved], special=False)
            empty = [self.prefix_token_id]
            return [(context_ids.get(c, empty), ids) for (c, _), ids in zip(moved, alone, strict=True)]
        wholes = list(dict.fromkeys(c + k for c, k in moved if c))
        whole_ids = dict(zip(wholes, self.tokens(wholes), strict=True))
        bare = list(dict.fromkeys(k for c, k in moved if not c or len(whole_ids[c + k]) <= len(context_ids[c])))
        bare_ids = dict(zip(bare, self.tokens(bare, special=False), strict=True))
        result = []
        for context, continuation in moved:
            if context:
                head = context_ids[context]
                # Cut by count, as lm-eval does: where tokens merge across the boundary, the context still has the ids
                # that it has alone, and the continuation those that the whole has beyond that many.
                # Where the continuation merges into the context's last token nothing is left of
                # it; it is then encoded alone, rather than scored as empty.
                tail = whole_ids[context + continuation][len(head) :] or bare_ids[continuation]
            else:
                head, tail = [self.prefix_token_id], bare_ids[continuation]
                # A continuation that begins with the prefix token brings its own: two would be another text.
                if tail and tail[0] == self.prefix_token_id:
                    head, tail = tail[:1], tail[1:]
            result.append((head, tail))
        return result

    def _cut(self, context: list[int], continuation: list[int], dropped: int) -> EncodedPair | Unencodable:
        if len(continuation) > self.max_length:
            return Unencodable(
                "continuation_too_long",
                f"The continuation has {len(continuation):,} tokens, the model reads at most {self.max_length:,}.",
            )
        limit = self.max_length if self.architecture == "seq2seq" else self.max_length + 1 - len(continuation)
        cut = max(0, len(context) - limit)
        return EncodedPair(tuple(context[cut:]), tuple(continuation), dropped, cut)

    def contexts(self, requests: Sequence[GenerateRequest]) -> list[EncodedContext | Unencodable]:
        """Encode and fit the prompts to generate from; new tokens must fit behind a causal context."""
        prompts = [request.prompt for request in requests]
        dropped = [0] * len(requests)
        rooms = [self._room(request) for request in requests]
        languages = [self._language(request) for request in requests]
        ids = self._unique_tokens(self._texts(prompts), languages)
        pending = [i for i in range(len(requests)) if 0 < rooms[i] < len(ids[i])]
        while pending:
            again = []
            for i in pending:
                shorter = prompts[i].shorter()
                if shorter is not None:
                    prompts[i] = shorter
                    dropped[i] = len(requests[i].prompt.shots) - len(shorter.shots)
                    again.append(i)
            renewed = self._unique_tokens(self._texts([prompts[i] for i in again]), [languages[i] for i in again])
            for i, shorter_ids in zip(again, renewed, strict=True):
                ids[i] = shorter_ids
            pending = [i for i in again if len(ids[i]) > rooms[i]]
        return [self._context(*row) for row in zip(requests, ids, rooms, dropped, strict=True)]

    def _room(self, request: GenerateRequest) -> int:
        return self.max_length - (request.params.max_gen_toks if self.architecture == "causal" else 0)

    def _context(
        self, request: GenerateRequest, ids: list[int], room: int, dropped: int
    ) -> EncodedContext | Unencodable:
        if room <= 0:
            return Unencodable(
                "no_room",
                f"max_gen_toks is {request.params.max_gen_toks:,}, but the model holds only {self.max_length:,} tokens "
                "in all. Set a smaller max_gen_toks in the task's generation_kwargs.",
            )
        cut = max(0, len(ids) - room)
        return EncodedContext(tuple(ids[cut:]), dropped, cut)

    def _language(self, request: GenerateRequest) -> str | None:
        """The language that the tokenizer is told; None where it would not understand."""
        language = request.params.src_lang
        return None if self.languages is None or self.languages.cannot(language) is not None else language

    def _unique_tokens(self, texts: list[str], languages: list[str | None]) -> list[list[int]]:
        known: dict[tuple[str, str | None], list[int]] = {}
        for language in dict.fromkeys(languages):
            unique = list(dict.fromkeys(t for t, of in zip(texts, languages, strict=True) if of == language))
            if language is None or self.languages is None:
                found = self.tokens(unique)
            else:
                with self.languages.reading(language):
                    found = self.tokens(unique)
            known |= {(text, language): ids for text, ids in zip(unique, found, strict=True)}
        empty = [self.prefix_token_id] if self.architecture == "causal" else []
        return [known[key] or empty for key in zip(texts, languages, strict=True)]

    def windows(self, request: RollingRequest) -> list[EncodedPair]:
        """Disjoint windows over the text: each token is scored once, with as much text before it as fits."""
        tokens = self.tokens([request.text])[0] if request.text else []
        return rolling_windows(tokens, self.prefix_token_id, self.max_length)


def rolling_windows(tokens: Sequence[int], prefix_token: int, max_length: int) -> list[EncodedPair]:
    """Windows of lm-eval's rolling log-likelihood: the first is predicted from `prefix_token`, later
    ones from the token before them, and the last reaches back as far as the model's length allows.
    """
    tokens = tuple(tokens)
    if not tokens:
        return []
    first = min(max_length, len(tokens))
    windows = [EncodedPair((prefix_token,), tokens[:first])]
    done = first
    while done < len(tokens):
        size = min(len(tokens) - done, max_length)
        end = done + size
        begin = max(0, end - max_length - 1)
        windows.append(EncodedPair(tokens[begin:done], tokens[done:end]))
        done = end
    return windows


def appended_tokens(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The special tokens that `tokenizer` puts behind a text: what follows the text's own ids."""
    for probe in PROBES:
        whole, bare = (
            tokenizer([probe], add_special_tokens=special, return_attention_mask=False, verbose=False)["input_ids"][0]
            for special in (True, False)
        )
        for end in range(len(bare), len(whole) + 1):
            if bare and list(whole[end - len(bare) : end]) == list(bare):
                return tuple(whole[end:])
    return ()


def _without_end(ids: list[int], end: tuple[int, ...]) -> list[int]:
    return ids[: -len(end)] if end and tuple(ids[-len(end) :]) == end else ids


def move_spaces(context: str, continuation: str) -> tuple[str, str]:
    """White space at the end of the context goes to the continuation."""
    kept = context.rstrip()
    return kept, context[len(kept) :] + continuation
