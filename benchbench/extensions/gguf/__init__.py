"""The llama.cpp engine: GGUF files, scored with their quantised weights as they are."""

from __future__ import annotations

from benchbench.backends.engines import GENERAL, Abilities, Choice, Engine, ModelOptions
from benchbench.backends.models.find import names_gguf


def _choose(options: ModelOptions) -> Choice | None:
    if not names_gguf(options.model):
        return None
    if ENGINE.installed is not None:
        return Choice("gguf", "a GGUF file, and llama-cpp-python is installed")
    return Choice(
        GENERAL,
        "a GGUF file, but llama-cpp-python is not installed, so its weights are expanded to full precision; "
        f"{ENGINE.install} runs it as it is",
    )


ENGINE = Engine(
    name="gguf",
    opener="benchbench.extensions.gguf.backend:GGUFBackend",
    options="benchbench.extensions.gguf.backend:GGUFOptions",
    plans=("auto", "plain"),
    abilities=Abilities(beams=False),
    module="llama_cpp",
    packages=("llama-cpp-python",),
    install="pip install 'benchbench-eval[gguf]'",
    choose=_choose,
)
