"""Where a GGUF file lies, and names for its content."""

from __future__ import annotations

from pathlib import Path

from benchbench.backends.gguf.header import GGUFHeader, split_files
from benchbench.backends.hf.source import Source, find_model
from benchbench.backends.identity import file_identity
from benchbench.core.errors import ModelError
from benchbench.core.ids import content_hash


def find_gguf(model: str, revision: str | None = None) -> Source:
    """The file that `model` names: a path, a folder with one GGUF file, `org/repo:file.gguf` or `org/repo/file.gguf`.

    A hub file is downloaded, or taken from the cache. Raises ModelError where there is none.
    """
    source = find_model(model, revision)
    if source.gguf_file is None:
        raise ModelError(
            f"{model} is a transformers model, not a GGUF file; the backend gguf reads .gguf files only. Use "
            "--backend hf, or name a file."
        )
    split_files(source.folder / source.gguf_file)
    return source


def file_content_identity(path: Path) -> str:
    """sha256 over the bytes of the file, or of all parts of a split model."""
    parts = split_files(path)
    if len(parts) == 1:
        return file_identity(path)
    return content_hash([file_identity(part) for part in parts], digits=64)


def vocabulary_identity(header: GGUFHeader) -> str:
    """sha256 over the file's tokenizer: vocabulary, merges, special tokens, chat template."""
    tokenizer = {key: value for key, value in header.metadata.items() if key.startswith("tokenizer.")}
    return content_hash(tokenizer, digits=64)
