"""A model's tokenizer, opened the way lm-eval's HFLM does: fast if there is one, padding left, some pad token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchbench.backends.models.files import ModelSource, check_files, quiet, read_object
from benchbench.backends.models.identity import TEKKEN, tokenizer_identity
from benchbench.core.errors import ArgumentError, ModelError, did_you_mean
from benchbench.core.json_record import object_at

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


TEKKEN_MODULES = ("mistral_common", "PIL")
"""Without both transformers reads Mistral's vocabulary with no token that begins a text."""
VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "*.tiktoken",
)
"""A folder with a tokenizer has at least one of these, or brings its own tokenizer code."""


def load_tokenizer(
    source: ModelSource,
    *,
    trusted: bool,
    config: PretrainedConfig | None = None,
    add_bos_token: bool | None = None,
    prefix_token_id: int | None = None,
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model. `trusted` lets a repository's own Python tokenizer run.

    `add_bos_token` takes the place of the tokenizer's own setting; with a `prefix_token_id` it need not name a token
    that begins or ends a text. Raises ModelError where there is none, or where it needs code that is not trusted;
    ArgumentError for a beginning that it does not have.
    """
    from transformers import AutoTokenizer

    check_files(source.folder)
    kwargs: dict[str, Any] = {"gguf_file": source.gguf_file} if source.gguf_file else {"use_fast": True}
    if add_bos_token is not None:
        kwargs["add_bos_token"] = add_bos_token
    own_code = has_own_tokenizer(source.folder) and not source.gguf_file
    if not source.gguf_file and not own_code:
        _check_there(source)
        if _is_tekken(source.folder):
            kwargs["mistral_format"] = True
    try:
        with quiet(source):
            tokenizer = AutoTokenizer.from_pretrained(
                source.folder, config=config, trust_remote_code=trusted, local_files_only=True, **kwargs
            )
    except ModelError as error:
        if own_code and not trusted:
            raise ModelError(
                f"the tokenizer of {source.name} is Python code of its own. Running it gives whoever wrote it the "
                "rights of your account: read it, then give --trust-remote-code."
            ) from error
        raise
    length: object = tokenizer.model_max_length
    if not isinstance(length, int | float) or length != length or length < 1:
        raise ModelError(
            f"the tokenizer of {source.name} has model_max_length {length!r}; expected a number of tokens."
        )
    with quiet(source):
        tokenizer.padding_side = "left"
        _ensure_pad(tokenizer)
        if prefix_token_id is None:
            prefix_token(tokenizer)
        _cut_nothing(tokenizer)
        tokenizer("a")  # a damaged one opens, and fails on its first text
        begins = not add_bos_token or tokenizer.encode("a")[:1] == [tokenizer.bos_token_id]
    if not begins:
        why = "for it has none" if tokenizer.bos_token_id is None else "though it has one"
        raise ArgumentError(
            f"--model-args add_bos_token=true: the tokenizer of {source.name} puts no beginning-of-sequence token "
            f"before a text, {why}."
        )
    return tokenizer


def _check_there(source: ModelSource) -> None:
    """ModelError where the folder has no tokenizer, or one that needs a package."""
    if _is_tekken(source.folder) and not all(util.find_spec(module) for module in TEKKEN_MODULES):
        raise ModelError(
            f"the only tokenizer of {source.name} is Mistral's {TEKKEN}, which needs packages to be read: "
            "pip install mistral-common pillow"
        )
    if not has_tokenizer(source.folder):
        raise ModelError(
            f"{source.name} has no tokenizer: expected tokenizer.json, tokenizer.model or vocab.json there. "
            "Copy the tokenizer files of the model that it was trained from."
        )


def _is_tekken(folder: Path) -> bool:
    """Whether Mistral's vocabulary is all that there is: transformers would read it without its special tokens."""
    return (folder / TEKKEN).is_file() and not any(any(folder.glob(name)) for name in VOCABULARIES)


def _cut_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    """Forgets the truncation and padding of whoever saved the tokenizer last, which are no part of it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()


def has_own_tokenizer(folder: Path) -> bool:
    """Whether the folder's tokenizer is Python code of its own."""
    return "AutoTokenizer" in object_at(read_object(folder / "tokenizer_config.json"), "auto_map")


def own_tokenizer_identity(folder: Path, trusted: bool) -> str:
    """Identity of the tokenizer in `folder`, with its Python code where that is trusted to run."""
    own_code = trusted and has_own_tokenizer(folder)
    return tokenizer_identity(folder, code=folder.glob("*.py") if own_code else [])


def prefix_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that stands before an empty context: beginning, else end of sequence. ModelError if none."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise ModelError(
        f"the tokenizer of {tokenizer.name_or_path} names neither a beginning nor an end of sequence token; "
        "set bos_token or eos_token in its tokenizer_config.json."
    )


def end_tokens(named: object, tokenizer: PreTrainedTokenizerBase, place: str) -> frozenset[int]:
    """Every token that ends a text: those that a configuration names, one or a list, and the tokenizer's own.

    Raises ModelError, naming `place`, for something else than numbers.
    """
    ids = [*named] if isinstance(named, (list, tuple)) else [] if named is None else [named]
    if not all(isinstance(token, int) for token in ids):
        raise ModelError(f"{place}: eos_token_id is {named!r}, expected a number or a list of numbers.")
    return frozenset([*ids] if tokenizer.eos_token_id is None else [*ids, tokenizer.eos_token_id])


def has_tokenizer(folder: Path) -> bool:
    """Whether the folder has files of a tokenizer, or names one that needs none, such as ByT5's bytes."""
    if any(any(folder.glob(pattern)) for pattern in (*VOCABULARIES, TEKKEN)):
        return True
    files = vocabulary_files(folder)
    return files is not None and (not files or any((folder / name).is_file() for name in files))


def vocabulary_files(folder: Path) -> tuple[str, ...] | None:
    """The files that transformers' own class of this tokenizer reads, () for one that needs none; None: not known."""
    named = [read_object(folder / name).get("tokenizer_class") for name in ("tokenizer_config.json", "config.json")]
    name = next((name for name in named if isinstance(name, str)), None)
    if name is None:
        return None
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    try:
        found: Any = tokenizer_class_from_name(name)
        files: Mapping[str, object] = found.vocab_files_names
    except (ImportError, AttributeError):  # a package is missing, or the class reads nothing itself
        return None
    if not found.__module__.startswith("transformers.models."):  # a base of all tokenizers
        return None
    return tuple(file for file in files.values() if isinstance(file, str))


def _ensure_pad(tokenizer: PreTrainedTokenizerBase) -> None:
    """Padding is masked everywhere, so which token it is changes no number; it only has to exist."""
    if tokenizer.pad_token_id is not None:
        return
    if tokenizer.unk_token_id is not None:
        tokenizer.pad_token_id = tokenizer.unk_token_id
    elif tokenizer.eos_token_id is not None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    else:
        tokenizer.add_special_tokens({"pad_token": "<|pad|>"})


_TOKEN = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}|[a-z]{2}_[A-Z]{2}")
"""NLLB's and mBART's; M2M100 keeps a list of its own."""

_PAIRS = """
arb:ar bul:bg cat:ca ces:cs dan:da deu:de ell:el eng:en est:et eus:eu fin:fi fra:fr glg:gl hrv:hr hun:hu isl:is ita:it
jpn:ja kor:ko lit:lt lvs:lv nld:nl pol:pl por:pt ron:ro rus:ru slk:sk slv:sl spa:es srp:sr swe:sv tur:tr ukr:uk vie:vi
zho:zh
"""
TWO_LETTERS: dict[str, str] = {pair[:3]: pair[4:] for pair in _PAIRS.split()}
"""ISO 639-3, as FLORES codes begin, to ISO 639-1, as M2M100 and mBART-50 have it."""


class Languages:
    """The languages that a translation model has tokens for: NLLB's `ces_Latn`, M2M100's `__cs__`, mBART-50's `cs_CZ`.

    Such a model reads the language of the source from a token beside the sentence, which its tokenizer sets, and writes
    in the language whose token it is made to begin with (`forced_bos_token_id` of transformers' `generate`). Other
    models have none.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tokens: dict[str, str] = {}
        """The tokenizer's own code → its token."""
        if hasattr(tokenizer, "lang_code_to_token"):
            self._tokens = dict(tokenizer.lang_code_to_token)
        elif hasattr(tokenizer, "src_lang"):
            self._tokens = {token: token for token in tokenizer.get_added_vocab() if _TOKEN.fullmatch(token)}

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def code(self, language: str) -> str | None:
        """The tokenizer's own code for `language`, itself such a code or one of FLORES; None where it has none."""
        if language in self._tokens:
            return language
        name, script, _ = language.partition("_")
        short = TWO_LETTERS.get(name, name) if script else name
        return next((code for code in self._tokens if re.fullmatch(f"{re.escape(short)}(_[A-Z]{{2}})?", code)), None)

    def token_id(self, language: str) -> int:
        """The token that a text in `language` begins with. KeyError where `code` knows none."""
        return int(cast(int, self._tokenizer.convert_tokens_to_ids(self._tokens[self.code(language) or language])))

    def cannot(self, language: str | None) -> str | None:
        """Why the model does not translate from or into `language`, or None if it does."""
        if language is None:
            return (
                "A translation model needs both languages: the prompt gives `src_lang` without `tgt_lang`, or reversed."
            )
        if self.code(language) is not None:
            return None
        near = did_you_mean(language, self._tokens)
        return f"The model has no token for the language {language!r}; it has {len(self._tokens)} others.{near}"

    @contextmanager
    def reading(self, language: str) -> Iterator[None]:
        """The tokenizer takes texts for `language` meanwhile."""
        before = self._tokenizer.src_lang
        self._tokenizer.src_lang = self.code(language)
        try:
            yield
        finally:
            self._tokenizer.src_lang = before
