"""Models behind an OpenAI-compatible server: vLLM, llama.cpp, or a hosted one."""

from __future__ import annotations

from benchbench.backends.engines import Abilities, Choice, Engine, ModelOptions


def _choose(options: ModelOptions) -> Choice | None:
    named = any(name == "base_url" for name, _ in options.model_args)
    return Choice("api", "an address was given") if named else None


ENGINE = Engine(
    name="api",
    opener="benchbench.backends.api.tokens:open_server",
    options="benchbench.backends.api.options:ServerOptions",
    abilities=Abilities(beams=False, ngrams=False),
    module="httpx",
    install="pip install 'benchbench-eval[api]'",
    choose=_choose,
)
