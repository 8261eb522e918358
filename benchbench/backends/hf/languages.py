"""Language tokens of translation models: NLLB's `ces_Latn`, M2M100's `__cs__`, mBART-50's `cs_CZ`.

Such a model reads the language of the source from a token beside the sentence, which its tokenizer sets, and writes in
the language whose token it is made to begin with (`forced_bos_token_id` of transformers' `generate`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchbench.core.errors import did_you_mean

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
    """The languages that a tokenizer has tokens for; none where the model is not such a translation model."""

    def __init__(self, tokenizer: Any) -> None:
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
        return int(self._tokenizer.convert_tokens_to_ids(self._tokens[self.code(language) or language]))

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
