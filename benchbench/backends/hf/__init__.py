"""The transformers engine: causal and encoder-decoder scoring over the prefix plan, generation."""

from __future__ import annotations

from benchbench.backends.engines import Engine

ENGINE = Engine(
    name="hf",
    opener="benchbench.backends.hf.backend:HFBackend",
    options="benchbench.backends.models.options:TransformersOptions",
    plans=("auto", "packed", "branched", "plain", "unpadded", "single"),
    module="torch",
    packages=("torch",),
    install="pip install benchbench-eval",
)
