"""The chat template of a model that is not opened: for showing prompts."""

from __future__ import annotations

from benchbench.backends.chat import ChatTemplate, template_of


def open_template(name: str, *, trust_remote_code: bool = False) -> ChatTemplate:
    """The template of a folder, a hub name or a GGUF file. No weights are read; of a GGUF file only its front.

    Raises ModelError where there is no such model, or no template.
    """
    if name.endswith(".gguf"):
        from benchbench.backends.gguf.chat import gguf_template
        from benchbench.backends.gguf.header import read_header
        from benchbench.backends.gguf.source import find_gguf

        source = find_gguf(name)
        path = source.folder / str(source.gguf_file)
        return gguf_template(path.name, read_header(path), None)
    from benchbench.backends.hf.source import find_tokenizer
    from benchbench.backends.hf.tokenizer import load_tokenizer

    return template_of(load_tokenizer(find_tokenizer(name), trusted=trust_remote_code))
