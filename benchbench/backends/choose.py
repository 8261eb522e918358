"""Which engine runs a model on this machine, and why: by device, installed packages and kind of model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchbench.backends.identity import read_json
from benchbench.backends.machine import gpus, installed
from benchbench.backends.options import ModelOptions
from benchbench.core.errors import ModelError

INSTALL = {
    "hf": "pip install benchbench-eval",
    "vllm": "pip install 'benchbench-eval[vllm]'",
    "gguf": "pip install 'benchbench-eval[gguf]'",
    "api": "pip install 'benchbench-eval[api]'",
}
"""The command that brings what a backend needs."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend and, in words that follow a colon, why it was taken."""

    backend: str
    reason: str


def choose(options: ModelOptions) -> Choice:
    """The backend that `--backend auto` means for `options` on this machine."""
    if any(name == "base_url" for name, _ in options.model_args):
        return Choice("api", "an address was given")
    if names_gguf(options.model):
        if installed("llama_cpp") is not None:
            return Choice("gguf", "a GGUF file, and llama-cpp-python is installed")
        return Choice(
            "hf",
            "a GGUF file, but llama-cpp-python is not installed, so its weights are expanded to full precision; "
            f"{INSTALL['gguf']} runs it as it is",
        )
    if options.device == "cpu":
        return Choice("hf", "the CPU was asked for")
    if installed("vllm") is None:
        return Choice("hf", "vLLM is not installed")
    if not gpus():
        return Choice("hf", "there is no GPU here")
    if _translates(options.model):
        return Choice("hf", "an encoder-decoder model, which vLLM does not run")
    return Choice("vllm", "there is a GPU, and vLLM is installed")


def names_gguf(model: str) -> bool:
    """Whether `model` names a GGUF file, by its name, or a folder with one and no transformers model."""
    if model.endswith(".gguf"):
        return True
    folder = Path(model).expanduser()
    return folder.is_dir() and not (folder / "config.json").is_file() and any(folder.glob("*.gguf"))


def _translates(model: str) -> bool:
    """Whether a local folder holds an encoder-decoder model. Of models on the Hub nothing is known before opening."""
    try:
        return bool(read_json(Path(model).expanduser() / "config.json").get("is_encoder_decoder"))
    except (ModelError, AttributeError):
        return False
