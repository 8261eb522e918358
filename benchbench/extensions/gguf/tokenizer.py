"""The tokenizer inside a GGUF file, with the few methods of a transformers tokenizer that `Encoder` calls."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from benchbench.backends.control import Pieces
from benchbench.core.errors import ModelError
from benchbench.extensions.gguf.llama import LlamaModel


class GGUFTokenizer:
    """Texts to token ids and back, by llama.cpp. Special tokens that are written in a text count as such."""

    def __init__(self, model: LlamaModel) -> None:
        """ModelError where the file names neither a beginning nor an end of sequence token."""
        self._lib, self._vocab, self._model = model.lib, model.vocab, model
        self.bos_token_id = self._id(self._lib.llama_vocab_bos(self._vocab))
        self.eos_token_id = self._id(self._lib.llama_vocab_eos(self._vocab))
        if self.bos_token_id is None and self.eos_token_id is None:
            raise ModelError(
                "the GGUF file names neither a beginning nor an end of sequence token, so an empty context cannot "
                "be put."
            )
        self.eos = frozenset(i for i in range(model.vocab_size) if self._lib.llama_vocab_is_eog(self._vocab, i))
        """Every token that ends a text."""

    def _id(self, token: int) -> int | None:
        return int(token) if 0 <= token < self._model.vocab_size else None

    def __call__(
        self,
        texts: Sequence[str],
        *,
        add_special_tokens: bool = True,
        return_attention_mask: bool = False,
        verbose: bool = False,
    ) -> dict[str, list[list[int]]]:
        """`{"input_ids": [...]}`: token ids of each text, with the file's own special tokens unless told otherwise."""
        return {"input_ids": [self._encode(text, add_special_tokens) for text in texts]}

    def _encode(self, text: str, special: bool, *, parse: bool = True) -> list[int]:
        data = text.encode("utf-8", errors="replace")
        room = len(data) + 8
        ids = (ctypes.c_int32 * room)()
        count = self._lib.llama_tokenize(self._vocab, data, len(data), ids, room, special, parse)
        if count < 0:
            ids = (ctypes.c_int32 * -count)()
            count = self._lib.llama_tokenize(self._vocab, data, len(data), ids, -count, special, parse)
        return ids[:count]

    def encode_pieces(self, pieces: Pieces) -> list[int]:
        """Token ids of text and of control tokens between it; what looks like one within the text stays text."""
        return [token for text, is_control in pieces for token in self._encode(text, False, parse=is_control)]

    def decode(self, ids: int | Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Text of the tokens; bytes that are no UTF-8 become `�`, as everywhere."""
        listed = [ids] if isinstance(ids, int) else list(ids)
        array = (ctypes.c_int32 * len(listed))(*listed)
        room = 16 * len(listed) + 64
        for _ in range(2):
            text = ctypes.create_string_buffer(room)
            size = self._lib.llama_detokenize(
                self._vocab, array, len(listed), text, room, False, not skip_special_tokens
            )
            if size >= 0:
                break
            room = -size
        return text.raw[: max(0, size)].decode("utf-8", errors="replace")
