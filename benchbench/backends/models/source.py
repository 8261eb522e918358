"""A model on this machine: the folder or file, its format, and the commit that it is of."""

from __future__ import annotations

import contextlib
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.core.errors import ModelError

LOAD_ERRORS = (
    *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError, AssertionError, EOFError),
    *(struct.error, pickle.UnpicklingError),
)
"""What transformers raises for a model that it cannot build; the repository's own code may raise any of them."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model on this machine."""

    path: Path
    """The folder or file that is loaded."""
    format: str = "folder"
    """Its name in `formats.FORMATS`."""
    revision: str | None = None
    """Commit of a hub name; None for local models."""

    @property
    def folder(self) -> Path:
        """Where the files beside the weights lie: configuration, tokenizer, code."""
        return self.path.parent if self.path.is_file() else self.path

    @property
    def gguf_file(self) -> str | None:
        """Name of the GGUF file in `folder`, as transformers wants it, if that is what is loaded."""
        return self.path.name if self.format == "gguf" else None

    @property
    def name(self) -> str:
        """For sentences."""
        return str(self.path)


@contextlib.contextmanager
def quiet(source: ModelSource) -> Iterator[None]:
    """transformers without progress bars and warnings; what it raises becomes a ModelError naming the model."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (*LOAD_ERRORS, StrictDataclassError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])
        raise ModelError(f"transformers cannot load {source.name}: {said}") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
