"""Puts another checkpoint's weights into a running engine. vLLM checks neither configuration nor tensors; we do."""

from __future__ import annotations

from benchbench.backends.hf.load import read_config
from benchbench.backends.hf.pretrained import unchanged
from benchbench.backends.hf.source import find_model, split_revision
from benchbench.backends.hf.swap import BROKEN_OFF, check_same
from benchbench.backends.identity import model_identity, read_json
from benchbench.backends.vllm.open import OpenedModel, tensor_shapes
from benchbench.backends.weights import check_weights
from benchbench.core.errors import ModelError


def load_weights_into(opened: OpenedModel, checkpoint: str) -> None:
    """Swap the weights of `checkpoint` into the engine and empty its prefix cache, which holds what the old ones saw.

    Configuration, tokenizer, code and tensors must be those of the open model: else ModelError is raised, and the
    weights are as they were.
    """
    source = find_model(*split_revision(checkpoint))
    if source.composer:
        raise ModelError(f"{source.name} is a Composer checkpoint, which vLLM does not read; --backend hf does.")
    if source.gguf_file:
        raise ModelError(f"{source.name} is a GGUF file; open it as a model of its own, with --backend gguf.")
    files = check_weights(source.folder)
    check_same(opened, source, read_config(source.folder), read_json(source.folder / "generation_config.json"))
    tensors = tensor_shapes(files)
    _check_tensors(opened, tensors, source.name)
    code = sorted(source.folder.glob("*.py")) if opened.own_code else []
    identity = model_identity(source.folder, files, code=code)
    with unchanged(files):
        opened.identity = BROKEN_OFF
        opened.engine.reload(str(source.folder))
        opened.engine.forget()
    opened.identity, opened.source, opened.revision = identity, source, source.revision


def _check_tensors(opened: OpenedModel, tensors: dict[str, tuple[int, ...]], name: str) -> None:
    of_its_own = "open it as a model of its own."
    if bool(tensors) != bool(opened.tensors):
        raise ModelError(f"{name} has another kind of weight files than {opened.source.name}; {of_its_own}")
    for tensor in sorted(tensors.keys() | opened.tensors.keys()):
        new, old = tensors.get(tensor), opened.tensors.get(tensor)
        if new != old:
            found = f"has {tensor} with shape {list(new)}" if new else f"lacks {tensor}"
            asked = f"has it with shape {list(old)}" if old else "has no such tensor"
            raise ModelError(f"{name} {found}, the open model {asked}; {of_its_own}")
