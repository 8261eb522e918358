"""llama.cpp through llama-cpp-python's low-level calls: a model, its tokenizer, and a cache of sequences.

Only what scoring and writing need. Objects of the C library are freed by `close`.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchbench.backends.chat import Pieces
from benchbench.core.errors import BackendError, ModelError

CELL_ROUNDING = 256
"""Contexts are made in steps of this many tokens: llama.cpp pads its attention to it."""
SEQUENCES = 256
"""Most sequences that llama.cpp holds side by side."""
_WARNING, _ERROR, _CONTINUED = 2, 3, 5


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """How llama.cpp computes."""

    threads: int
    gpu_layers: int
    """Layers on the GPU; -1 for all, 0 for none."""
    cache_type: str
    """float32 or float16: the type of keys and values."""
    flash_attention: bool
    batch_tokens: int
    """Most tokens in one call."""


@dataclass(frozen=True, slots=True)
class Step:
    """One token to read: where it stands, in which sequence, and whether its logits are wanted."""

    token: int
    position: int
    sequence: int
    wanted: bool


class OutOfCellsError(Exception):
    """The cache has no room, or memory ran out: the sentence holds the reason that llama.cpp gives."""


def library() -> Any:
    """The module llama_cpp. Raises BackendError where it is not installed or cannot be loaded."""
    try:
        import llama_cpp
    except ImportError:
        raise BackendError(
            "the backend gguf needs llama-cpp-python, which is not installed here: pip install "
            "'benchbench-eval[gguf]' (it compiles for some minutes). --backend hf reads llama-like GGUF files too."
        ) from None
    except (OSError, RuntimeError) as error:
        raise BackendError(f"llama-cpp-python is installed but cannot be loaded: {error}") from None
    return llama_cpp


def default_threads() -> int:
    """OMP_NUM_THREADS, else the cores that this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdigit() and int(named) > 0 else len(os.sched_getaffinity(0))


class _Log:
    """Keeps the last warnings and errors of llama.cpp instead of printing everything."""

    def __init__(self, lib: Any) -> None:
        self.lines: deque[str] = deque(maxlen=20)
        self._level = 0

        def note(level: int, text: bytes, _: Any) -> None:
            self._level = level if level != _CONTINUED else self._level
            line = text.decode("utf-8", errors="replace").strip()
            if self._level in (_WARNING, _ERROR) and line:
                self.lines.append(line)

        self._callback = lib.llama_log_callback(note)
        lib.llama_log_set(self._callback, ctypes.c_void_p(0))

    def last(self) -> str:
        """The last line, without the name of the C function that wrote it."""
        texts = [line.partition(": ")[2] or line for line in self.lines]
        return texts[0].rstrip(".") if texts else "llama.cpp gave no reason"


_LOG: list[_Log] = []
"""The one log of this process: the C library keeps a pointer to it."""


def _log(lib: Any) -> _Log:
    if not _LOG:
        _LOG.append(_Log(lib))
        lib.llama_backend_init()
    return _LOG[0]


class LlamaModel:
    """Weights and vocabulary of one GGUF file."""

    def __init__(self, path: Path, options: LlamaOptions) -> None:
        """ModelError where llama.cpp cannot load the file."""
        self.lib = lib = library()
        self._log = _log(lib)
        self._log.lines.clear()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 999 if options.gpu_layers < 0 else options.gpu_layers
        self.handle = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self.handle:
            raise ModelError(f"llama.cpp cannot load {path}: {self._log.last()}.")
        self.options = options
        self.vocab = lib.llama_model_get_vocab(self.handle)
        self.vocab_size = int(lib.llama_vocab_n_tokens(self.vocab))
        self.train_length = int(lib.llama_model_n_ctx_train(self.handle))
        self.num_parameters = int(lib.llama_model_n_params(self.handle))
        self.shares_prefixes = not (lib.llama_model_is_recurrent(self.handle) or lib.llama_model_is_hybrid(self.handle))
        """Whether the tail of a sequence can be taken back: a recurrent state cannot."""

    def close(self) -> None:
        """Give the weights' memory back."""
        if self.handle:
            self.lib.llama_model_free(self.handle)
            self.handle = None


class LlamaContext:
    """A cache of `cells` tokens over one model, and the call that fills it."""

    def __init__(self, model: LlamaModel, cells: int, sequences: int = SEQUENCES) -> None:
        """OutOfCellsError where the memory does not hold so many tokens."""
        self.model, self.lib = model, model.lib
        self.cells = -(-cells // CELL_ROUNDING) * CELL_ROUNDING
        self.tokens_read = 0
        options = model.options
        params = self.lib.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.kv_unified = self.cells, sequences, True
        params.n_batch = params.n_ubatch = options.batch_tokens
        params.n_threads = params.n_threads_batch = options.threads
        params.type_k = params.type_v = 0 if options.cache_type == "float32" else 1  # ggml's numbers of F32 and F16
        params.flash_attn_type = int(options.flash_attention)
        params.offload_kqv = params.op_offload = options.gpu_layers != 0
        params.no_perf = True
        log = _log(self.lib)
        log.lines.clear()
        self.handle = self.lib.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise OutOfCellsError(f"llama.cpp cannot make a context of {self.cells:,} tokens: {log.last()}")
        self.memory = self.lib.llama_get_memory(self.handle)
        self._batch = self.lib.llama_batch_init(options.batch_tokens, 0, 1)

    def read(self, steps: Sequence[Step]) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Put tokens through the model, in order. Yields (index of the step, logits) for the wanted ones.

        The logits are a view that the next call overwrites. Raises OutOfCellsError where the cache is full.
        """
        size = self.model.options.batch_tokens
        for start in range(0, len(steps), size):
            part = steps[start : start + size]
            self._fill(part)
            code = self.lib.llama_decode(self.handle, self._batch)
            if code != 0:
                raise OutOfCellsError(f"llama_decode returned {code} for {len(part)} tokens: {_log(self.lib).last()}")
            self.tokens_read += len(part)
            for i, step in enumerate(part):
                if step.wanted:
                    pointer = self.lib.llama_get_logits_ith(self.handle, i)
                    yield start + i, np.ctypeslib.as_array(pointer, (self.model.vocab_size,))

    def _fill(self, steps: Sequence[Step]) -> None:
        batch = self._batch
        batch.n_tokens = len(steps)
        for i, step in enumerate(steps):
            batch.token[i], batch.pos[i], batch.logits[i] = step.token, step.position, int(step.wanted)
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = step.sequence

    def copy(self, source: int, target: int) -> None:
        """Let sequence `target` begin with all that `source` holds; costs no computation."""
        self.lib.llama_memory_seq_cp(self.memory, source, target, -1, -1)

    def cut(self, sequence: int, length: int) -> None:
        """Keep only the first `length` tokens of a sequence; 0 removes it."""
        if not self.lib.llama_memory_seq_rm(self.memory, sequence, length, -1):
            raise BackendError("llama.cpp could not take back the end of a sequence of this model.")

    def clear(self) -> None:
        """Forget everything that was computed."""
        self.lib.llama_memory_clear(self.memory, True)

    def close(self) -> None:
        """Give the cache's memory back."""
        if self.handle:
            self.lib.llama_batch_free(self._batch)
            self.lib.llama_free(self.handle)
            self.handle = None


class GGUFTokenizer:
    """Texts to token ids and back, by llama.cpp. Special tokens that are written in a text count as such."""

    def __init__(self, model: LlamaModel) -> None:
        """ModelError where the file names neither a beginning nor an end of sequence token."""
        self._lib, self._vocab, self._model = model.lib, model.vocab, model
        self.bos_token_id = self._id(self._lib.llama_vocab_bos(self._vocab))
        self.eos_token_id = self._id(self._lib.llama_vocab_eos(self._vocab))
        if self.bos_token_id is None and self.eos_token_id is None:
            raise ModelError(
                "the GGUF file names neither a beginning nor an end of sequence token, so nothing can be asked "
                "without a context."
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
